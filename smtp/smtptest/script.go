package smtptest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/smtp"
)

// stepTimeout bounds the wait for each line of a script.
const stepTimeout = 10 * time.Second

// A Step is one line of a dialogue.
type Step struct {
	Kind byte   // 'C' or 'S': who says it; 'c' or 's': the same without a line end; 'X': an instruction
	Text string // decoded
	Line int    // in the script
}

// Parse reads a dialogue, one step a line:
//
//	C: text      the client says text and CRLF
//	S: text      the server says text and CRLF; "*" stands for any octets
//	c: text      the same without CRLF, with \r \n \t \0 \\ and \xNN understood
//	s: text
//	S: EOF       the server closes its side
//	C: EOF       the client closes its side
//	X: tls       both sides negotiate TLS
//	# remark
//
// Blank lines are passed over.
func Parse(script string) ([]Step, error) {
	var steps []Step
	for i, l := range strings.Split(script, "\n") {
		l = strings.TrimLeft(l, " \t")
		if strings.TrimSpace(l) == "" || l[0] == '#' {
			continue
		}
		if len(l) < 2 || l[1] != ':' || !strings.ContainsRune("CScsX", rune(l[0])) {
			return nil, fmt.Errorf("line %d: %q is not a step", i+1, l)
		}
		s := Step{Kind: l[0], Text: strings.TrimPrefix(l[2:], " "), Line: i + 1}
		if s.Kind == 'c' || s.Kind == 's' {
			var err error
			if s.Text, err = unescape(s.Text); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("backslash at the end")
		}
		switch s[i] {
		case 'r':
			b.WriteByte('\r')
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '0':
			b.WriteByte(0)
		case '\\':
			b.WriteByte('\\')
		case 'x':
			var v byte
			if i+2 >= len(s) {
				return "", fmt.Errorf("\\x without two digits")
			}
			if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &v); err != nil {
				return "", fmt.Errorf("\\x%s: %w", s[i+1:i+3], err)
			}
			b.WriteByte(v)
			i += 2
		default:
			return "", fmt.Errorf("\\%c is not known", s[i])
		}
	}
	return b.String(), nil
}

// match compares with "*" standing for anything.
func match(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for i := 0; i <= len(s); i++ {
		if match(rest, s[i:]) {
			return true
		}
	}
	return false
}

// Script plays the client's part of a dialogue with srv and compares what the server says.
func Script(t testing.TB, srv *smtp.Server, script string) {
	t.Helper()
	client, server := Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeConn(ctx, server)
	}()
	if err := Play(client, 'C', script, nil); err != nil {
		t.Error(err)
	}
	client.Close()
	cancel()
	<-done
}

// Serve returns a connection whose other end plays the server's part of a dialogue: a scripted peer for a client under
// test. What goes wrong is reported to t, at the latest when the test ends.
func Serve(t testing.TB, script string) net.Conn {
	t.Helper()
	client, server := Pipe()
	done := make(chan error, 1)
	go func() {
		defer server.Close()
		done <- Play(server, 'S', script, nil)
	}()
	t.Cleanup(func() {
		client.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return client
}

// Play plays one part ('C' or 'S') of a dialogue on conn: it says its own lines and compares the others'. Conf is for
// "X: tls"; nil is TestTLS.
func Play(conn net.Conn, part byte, script string, conf *tls.Config) error {
	steps, err := Parse(script)
	if err != nil {
		return err
	}
	p := &player{conn: conn, r: bufio.NewReader(conn), part: part, conf: conf}
	for _, s := range steps {
		if err := p.step(s); err != nil {
			return fmt.Errorf("smtptest: line %d, %c: %s: %w", s.Line, s.Kind, s.Text, err)
		}
	}
	return nil
}

type player struct {
	conn net.Conn
	r    *bufio.Reader
	part byte
	conf *tls.Config
}

func (p *player) step(s Step) error {
	if err := p.conn.SetDeadline(time.Now().Add(stepTimeout)); err != nil {
		return err
	}
	own := s.Kind&^0x20 == p.part
	switch {
	case s.Kind == 'X':
		return p.instruct(s.Text)
	case own && s.Text == "EOF":
		return p.conn.(interface{ CloseWrite() error }).CloseWrite()
	case own && s.Kind&0x20 != 0:
		_, err := io.WriteString(p.conn, s.Text)
		return err
	case own:
		_, err := io.WriteString(p.conn, s.Text+"\r\n")
		return err
	case s.Text == "EOF":
		if b, err := p.r.ReadByte(); err == nil {
			rest, _ := p.r.Peek(p.r.Buffered())
			return fmt.Errorf("got %q", string(b)+string(rest))
		}
		return nil
	case s.Kind&0x20 != 0:
		got := make([]byte, len(s.Text))
		_, err := io.ReadFull(p.r, got)
		if err == nil && string(got) != s.Text {
			err = fmt.Errorf("got %q", got)
		}
		return err
	}
	line, err := p.r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("got %q: %w", line, err)
	}
	if !strings.HasSuffix(line, "\r\n") || !match(s.Text, line[:len(line)-2]) {
		return fmt.Errorf("got %q", line)
	}
	return nil
}

func (p *player) instruct(text string) error {
	if text != "tls" {
		return fmt.Errorf("instruction is not known")
	}
	if n := p.r.Buffered(); n > 0 {
		return fmt.Errorf("%d octets came before TLS", n)
	}
	conf := p.conf
	if conf == nil {
		var err error
		if conf, err = TestTLS(); err != nil {
			return err
		}
	}
	if p.part == 'C' {
		p.conn = tls.Client(p.conn, conf)
	} else {
		p.conn = tls.Server(p.conn, conf)
	}
	p.r = bufio.NewReader(p.conn)
	return p.conn.(*tls.Conn).HandshakeContext(context.Background())
}
