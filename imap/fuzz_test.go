package imap_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
)

// scriptConn is a connection whose peer has said everything already.
type scriptConn struct {
	in  io.Reader
	out bytes.Buffer
}

func (c *scriptConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *scriptConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *scriptConn) Close() error                     { return nil }
func (c *scriptConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 143} }
func (c *scriptConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

// say runs a whole session on what the client says and returns the answers.
func say(t testing.TB, text string) string { return sayTo(t, text, nil) }

// sayTo is say to a server that was changed.
func sayTo(t testing.TB, text string, change func(*imap.Server)) string {
	var log bytes.Buffer
	srv := &imap.Server{
		Backend: imapmem.New(), Auth: imapmem.Passwords{"alice": "secret"}, PlaintextLoopback: true,
		Log:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})),
		Limits: imap.Limits{LoginDelay: -1, CommandOctets: 8 << 10, MessageOctets: 64 << 10, SkipOctets: 64 << 10},
	}
	if change != nil {
		change(srv)
	}
	c := &scriptConn{in: bytes.NewReader([]byte(text))}
	srv.ServeConn(context.Background(), c)
	if log.Len() > 0 {
		t.Fatalf("%q\n%s", text, log.String())
	}
	return c.out.String()
}

const fuzzMail = "m1 APPEND INBOX (\\Seen $K) {167+}\r\nFrom: a <a@b.c>\r\nSubject: =?utf-8?q?=C3=A4?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nTo: d\r\n\r\n--x--\r\n\r\n"

// fuzzStates brings a session into each of its states.
var fuzzStates = []string{
	"",
	"l LOGIN alice secret\r\n",
	"l LOGIN alice secret\r\n" + fuzzMail + fuzzMail + "s SELECT INBOX\r\n",
	"l LOGIN alice secret\r\n" + fuzzMail + fuzzMail + "e ENABLE IMAP4rev2 QRESYNC UIDONLY\r\ns EXAMINE INBOX\r\n",
	"l LOGIN alice secret\r\n" + fuzzMail + "s SELECT INBOX\r\ni IDLE\r\n",
	"l LOGIN alice secret\r\n" + fuzzMail + "s SELECT INBOX\r\nn NOTIFY SET (selected (MessageNew (uid flags) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge MailboxName))\r\n",
	"l LOGIN alice secret\r\n" + fuzzMail + fuzzMail + "s SELECT INBOX\r\nc UID SEARCH RETURN (UPDATE) UNSEEN\r\nd SORT RETURN (UPDATE) (SUBJECT) UTF-8 ALL\r\n",
	"l LOGIN alice secret\r\nm APPEND INBOX {400000}\r\n",
	"a AUTHENTICATE PLAIN\r\n",
}

var tagOfAnswer = regexp.MustCompile(`(?m)^(\S+) (OK|NO|BAD) `)

// FuzzSession: whatever a client says in whatever state, the server answers it without breaking, and goes on or says
// why not.
func FuzzSession(f *testing.F) {
	files, _ := filepath.Glob("testdata/dialogue/*.txt")
	for i, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var b strings.Builder
		for line := range strings.Lines(string(raw)) {
			if text, ok := strings.CutPrefix(line, "C: "); ok {
				b.WriteString(strings.TrimSpace(text) + "\r\n")
				f.Add(uint8(i), strings.TrimSpace(text)+"\r\n")
			}
		}
		for state := range fuzzStates { // a whole dialogue in each state
			f.Add(uint8(state), b.String())
		}
	}
	f.Fuzz(func(t *testing.T, state uint8, text string) {
		out := say(t, fuzzStates[int(state)%len(fuzzStates)]+text)
		if !strings.HasPrefix(out, "* OK ") {
			t.Fatalf("%q: %q", text, out)
		}
	})
}

// FuzzUTF7: what decodes, encodes back to itself.
func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"", "a&-b", "p&AOQA5A-", "&2D3eCg-", "&AGE-", "&", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := imap.DecodeUTF7(s)
		if err != nil {
			return
		}
		if back := string(imap.AppendUTF7(nil, name)); back != s {
			t.Fatalf("%q decodes to %q encodes to %q", s, name, back)
		}
	})
}

func TestUTF7(t *testing.T) {
	for name, wire := range map[string]string{
		"INBOX": "INBOX", "a&b": "a&-b", "pää": "p&AOQA5A-", "~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "😀": "&2D3eAA-",
	} {
		if got := string(imap.AppendUTF7(nil, name)); got != wire {
			t.Errorf("%q: %q, want %q", name, got, wire)
		}
		if got, err := imap.DecodeUTF7(wire); err != nil || got != name {
			t.Errorf("%q: %q %v", wire, got, err)
		}
	}
	for _, wire := range []string{"&", "&AGE-", "a\x80", "&AOQ", "&2D0-", "&AOQ-&AOQ-", "&AO\r\nQ-", "&AOR-"} {
		if got, err := imap.DecodeUTF7(wire); err == nil {
			t.Errorf("%q is taken as %q", wire, got)
		}
	}
}

// TestEveryCommandAnswered: each tagged line gets exactly one tagged answer.
func TestEveryCommandAnswered(t *testing.T) {
	out := say(t, fuzzStates[2]+"a1 FETCH 1 (BODY[])\r\na2 FROB\r\na3 SEARCH (\r\na4 CREATE {100000+}\r\n"+strings.Repeat("x", 100000)+"\r\na5 LIST \"\" *\r\na6 STORE 1 FLAGS ()\r\na7 LOGOUT\r\n")
	seen := map[string]int{}
	for _, m := range tagOfAnswer.FindAllStringSubmatch(out, -1) {
		seen[m[1]]++
	}
	for _, tag := range []string{"l", "m1", "s", "a1", "a2", "a3", "a5", "a6", "a7"} {
		want := 1
		if tag == "m1" {
			want = 2
		}
		if seen[tag] != want && !strings.Contains(out, "* BYE [TOOBIG]") {
			t.Errorf("%s was answered %d times in %s", tag, seen[tag], out)
		}
	}
}
