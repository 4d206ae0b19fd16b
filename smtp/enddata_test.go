package smtp_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

// endings are what somebody, somewhere, takes for the end of data, and RFC 5321 section 4.1.1.4 does not.
var endings = []struct {
	name, octets string
	content      bool // it is content like other where lengths count: BDAT
}{
	{"LF.LF", "\n.\n", false},
	{"LF.CRLF", "\n.\r\n", false},
	{"LF.CR", "\n.\r", false},
	{"CR.CR", "\r.\r", false},
	{"CR.LF", "\r.\n", false},
	{"CR.CRLF", "\r.\r\n", false},
	{"CRLF.LF", "\r\n.\n", false},
	{"CRLF.CR", "\r\n.\r", false},
	{"CRLF.CRCR LF", "\r\n.\r\r\n", false},
	{"CRCRLF.CRLF", "\r\r\n.\r\n", false},
	{"CRLF NUL.CRLF", "\r\n\x00.\r\n", false},
	{"CRLF.NUL CRLF", "\r\n.\x00\r\n", true},
	{"CRLF NUL.NUL CRLF", "\r\n\x00.\x00\r\n", false},
	{"CRLF NUL NUL.CRLF", "\r\n\x00\x00.\r\n", false},
	{"CRLF.CR NUL LF", "\r\n.\r\x00\n", false},
	{"CR NUL LF.CRLF", "\r\x00\n.\r\n", false},
	{"CR NUL LF.CR NUL LF", "\r\x00\n.\r\x00\n", false},
	{"LF NUL.CRLF", "\n\x00.\r\n", false},
}

// smuggled is a second message that nobody sent.
const smuggled = "MAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nevil\r\n.\r\n"

// counting counts transactions.
type counting struct {
	*mailtest.Recorder
	begun int
}

func (c *counting) Open(context.Context, *mail.Session) (mail.Receiver, error) { return c, nil }

func (c *counting) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	c.begun++
	return c.Recorder.Begin(ctx, s, from)
}

// slowly is a connection that reads few octets at a time.
type slowly struct {
	net.Conn
	n int
}

func (s slowly) Read(p []byte) (int, error) { return s.Conn.Read(p[:min(len(p), s.n)]) }

// sayAll serves a session in which the client says all of this at once, and returns what it is told.
func sayAll(t *testing.T, d mail.Door, said string, piece int) string {
	t.Helper()
	client, server := smtptest.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&smtp.Server{Door: d, Hostname: "mx.test"}).ServeConn(context.Background(), slowly{server, piece})
	}()
	if _, err := io.WriteString(client, said); err != nil {
		t.Fatal(err)
	}
	if half, ok := client.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	told, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	<-done
	return string(told)
}

const opening = "EHLO a.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"

// TestEndOfData: none of them ends a message, by DATA, by BDAT in one chunk or two, whatever the pieces in which they come.
func TestEndOfData(t *testing.T) {
	for _, e := range endings {
		content := "x" + e.octets + smuggled
		for _, piece := range []int{1, 2, 7, 1 << 16} {
			d := &counting{Recorder: recorder()}
			told := sayAll(t, d, opening+"DATA\r\n"+content+"\r\n.\r\n", piece)
			if d.begun != 1 || len(d.Messages()) != 0 || !strings.HasSuffix(told, "\r\n554 5.6.0 Bare CR or LF in the content\r\n") {
				t.Errorf("%s by DATA in pieces of %d: %d transactions, %d messages, %q", e.name, piece, d.begun, len(d.Messages()), told)
			}
		}
		for cut := range len(content) {
			if cut > len(e.octets)+2 {
				break
			}
			d := &counting{Recorder: recorder()}
			said := fmt.Sprintf("%sBDAT %d\r\n%sBDAT %d LAST\r\n%sQUIT\r\n", opening, cut, content[:cut], len(content)-cut, content[cut:])
			told := sayAll(t, d, said, 1+cut)
			got := d.Messages()
			switch {
			case d.begun != 1 || !strings.HasSuffix(told, "221 2.0.0 mx.test closing connection\r\n"):
				t.Errorf("%s by BDAT, cut at %d: %d transactions, %q", e.name, cut, d.begun, told)
			case !e.content && (len(got) != 0 || !strings.Contains(told, "\r\n554 5.6.0 ")):
				t.Errorf("%s by BDAT, cut at %d: it was taken: %q", e.name, cut, told)
			case e.content && (len(got) != 1 || string(got[0].Content) != content):
				t.Errorf("%s by BDAT, cut at %d: %v", e.name, cut, got)
			}
		}
	}
}

// TestEndOfDataLeaves: nor does our client send one, whatever the pieces in which it is given the content; what it sends
// arrives as it was.
func TestEndOfDataLeaves(t *testing.T) {
	for _, e := range endings {
		content := "x" + e.octets + "QUIT\r\n"
		for _, chunking := range []bool{false, true} {
			for piece := 1; piece < len(e.octets)+3; piece++ {
				d := &counting{Recorder: recorder()}
				srv := &smtp.Server{Door: d, Hostname: "mx.test", Extensions: smtp.ExtPipelining}
				if chunking {
					srv.Extensions |= smtp.ExtChunking
				}
				cl, err := (&smtp.Dialer{}).Client(t.Context(), connect(t, srv), "")
				if err != nil {
					t.Fatal(err)
				}
				res, err := cl.Send(t.Context(), &smtp.Message{Envelope: envelope("c@d.test"), Body: inPieces{strings.NewReader(content), piece}})
				cl.Close()
				switch got := d.Messages(); {
				case d.begun != 1:
					t.Errorf("%s in pieces of %d: %d transactions", e.name, piece, d.begun)
				case e.content:
					if err != nil || len(got) != 1 || string(got[0].Content) != content {
						t.Errorf("%s in pieces of %d: %v, %v", e.name, piece, got, err)
					}
				case len(got) != 0 || res.Recipients[0].Reply.Positive():
					t.Errorf("%s in pieces of %d, chunking %v: it was sent: %v", e.name, piece, chunking, got)
				}
			}
		}
	}
}

type inPieces struct {
	io.Reader
	n int
}

func (p inPieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.n)]) }

// TestEncoderNUL: the encoder sees a line of NULs and one dot in whatever writes it comes, and nothing else for one.
func TestEncoderNUL(t *testing.T) {
	for _, c := range []struct {
		content string
		bad     bool
	}{
		{"\x00.\r\n", true}, {"\x00.", true}, {"\x00\x00.\x00\r\n", true}, {"a\r\n\x00.\r\nb\r\n", true},
		{"\x00\r\n", false}, {"\x00..\r\n", false}, {"\x00.x\r\n", false}, {"x\x00.\r\n", false}, {".\x00\r\n", false}, {"\x00x.\r\n\x00\r\n.\r\n", false},
	} {
		for cut := range len(c.content) + 1 {
			var out bytes.Buffer
			w := smtp.DotWriter(&out)
			_, err := w.Write([]byte(c.content[:cut]))
			if err == nil {
				_, err = w.Write([]byte(c.content[cut:]))
			}
			if err == nil {
				err = w.Close()
			}
			if (err != nil) != c.bad {
				t.Errorf("%q, cut at %d: %v, want an error: %v", c.content, cut, err, c.bad)
			}
			if err == nil {
				back, err := io.ReadAll(smtp.DotReader(bufio.NewReader(&out)))
				if want := strings.TrimSuffix(c.content, "\r\n") + "\r\n"; err != nil || string(back) != want {
					t.Errorf("%q came back as %q, %v", c.content, back, err)
				}
			}
		}
	}
}
