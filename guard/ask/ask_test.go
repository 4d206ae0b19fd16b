package ask_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/guard/ask"
	"github.com/samotop/samotop/mail"
)

var alice = mail.Address{Local: "alice", Domain: "example.org"}

const content = "From: x@example.com\r\nSubject: two\r\n lines\r\n\r\nhello\r\nyou\r\n"

// opinion shows a message to a filter in small pieces.
func opinion(t testing.TB, f *ask.Filter, content string) (guard.Opinion, error) {
	t.Helper()
	m := &guard.Message{Session: &mail.Session{ID: "id-1", Hello: "mx.example.com", RemoteName: "mx.example.com"},
		From: mail.Sender{Address: mail.Address{Local: "x", Domain: "example.com"}}, To: []mail.Address{alice}, IP: netip.MustParseAddr("192.0.2.7")}
	r, err := f.Read(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for rest := content; rest != ""; {
		n := min(7, len(rest))
		if _, err := io.WriteString(r, rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	return r.Opinion(t.Context(), alice)
}

func TestRspamd(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		code         int
		score        float64
		put          bool
		reason, text string
	}{
		{name: "nothing", answer: `{"action":"no action","score":0.6,"symbols":{"A":{"score":0.6},"B":{"score":0}}}`, code: 200, score: 0.5, reason: "rspamd: no action A(0.6) +0.5"},
		{name: "junk", answer: `{"action":"add header","score":7.2,"symbols":{"BAYES_SPAM":{"score":5.1},"X":{"score":2.1}}}`, code: 200, score: 6, reason: "rspamd: add header BAYES_SPAM(5.1) X(2.1) +6.0"},
		{name: "reject", answer: `{"action":"reject","score":20}`, code: 200, score: 1000, reason: "rspamd: reject +1000.0"},
		{name: "later", answer: `{"action":"soft reject","score":0}`, code: 200, put: true, reason: "rspamd: soft reject +0.0"},
		{name: "told", answer: `{"action":"reject","score":20,"messages":{"smtp_message":"no\r\nmore"}}`, code: 200, score: 1000, reason: "rspamd: reject +1000.0", text: "no more"},
		{name: "no messages", answer: `{"action":"reject","score":20,"messages":[]}`, code: 200, score: 1000, reason: "rspamd: reject +1000.0"},
		{name: "skipped", answer: `{"is_skipped":true}`, code: 200},
		{name: "skipped, no action", answer: `{"is_skipped":true,"action":"no action","score":2}`, code: 200},
		{name: "settled without rules", answer: `{"is_skipped":true,"action":"reject","score":15}`, code: 200, score: 1000, reason: "rspamd: reject +1000.0"},
		{name: "broken", answer: `{`, code: 200},
		{name: "no action", answer: `{}`, code: 200},
		{name: "error", answer: `{"error":"no"}`, code: 200},
		{name: "refused", answer: `{}`, code: 500},
		{name: "huge", answer: strings.Repeat(" ", 2<<20) + `{"action":"reject"}`, code: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				if string(got) != content || r.URL.Path != "/checkv2" || r.Header.Get("IP") != "192.0.2.7" || r.Header.Get("From") != "x@example.com" || r.Header.Get("Rcpt") != "alice@example.org" || r.Header.Get("Helo") != "mx.example.com" || r.Header.Get("Password") != "pw" {
					t.Errorf("%s %q %v", r.URL, got, r.Header)
				}
				w.WriteHeader(c.code)
				io.WriteString(w, c.answer)
			}))
			defer srv.Close()
			conf := ask.Config{Name: "rspamd", URL: srv.URL + "/checkv2", Password: "pw", Timeout: 10 * time.Second}
			o, err := opinion(t, ask.New(conf), content)
			if err != nil || o.Score != c.score || o.Defer != c.put || strings.Join(o.Reasons, "|") != c.reason || o.Text != c.text {
				t.Errorf("%+v, %v", o, err)
			}
			conf.Required = true
			o, err = opinion(t, ask.New(conf), content)
			if broken := c.reason == "" && !strings.HasPrefix(c.name, "skipped"); err != nil || o.Defer != (c.put || broken) {
				t.Errorf("where it is required: %+v, %v", o, err)
			}
		})
	}
}

// A filter that is away, or says nothing, holds nothing up for longer than its time.
func TestAway(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, at := range []net.Addr{silent.Addr(), gone.Addr()} {
		for _, c := range []ask.Config{{URL: "http://" + at.String() + "/checkv2"}, {Network: "tcp", Address: at.String()}} {
			for _, required := range []bool{false, true} {
				c.Name, c.Required, c.Timeout = "away", required, 100*time.Millisecond
				o, err := opinion(t, ask.New(c), content)
				if err != nil || o.Score != 0 || o.Defer != required {
					t.Errorf("%+v: %+v, %v", c, o, err)
				}
			}
		}
	}
	f := ask.New(ask.Config{Name: "long", URL: "http://" + gone.Addr().String(), MaxOctets: 3, Required: true})
	if o, err := opinion(t, f, content); err != nil || o.Defer {
		t.Errorf("what is too long to be shown is accepted: %+v, %v", o, err)
	}
}

// fakeMilter answers by a script: for each command letter, the packets that follow; else it continues.
type fakeMilter struct {
	steps  uint32
	answer map[byte][]string
	mu     sync.Mutex
	heard  []string
}

func (m *fakeMilter) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		m.talk(c)
		c.Close()
	}
}

func packet(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func (m *fakeMilter) talk(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		var n [4]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(n[:]))
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		m.mu.Lock()
		m.heard = append(m.heard, string(b))
		m.mu.Unlock()
		silent := map[byte]uint32{'C': 1 << 12, 'H': 1 << 13, 'M': 1 << 14, 'R': 1 << 15, 'T': 1 << 16, 'L': 1 << 7, 'N': 1 << 18, 'B': 1 << 19}
		switch out, ok := m.answer[b[0]]; {
		case b[0] == 'O' && !ok:
			c.Write(packet("O" + string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 6), 0x31), m.steps))))
		case ok:
			for _, s := range out {
				c.Write(packet(s))
			}
		case b[0] == 'D', b[0] == 'Q', m.steps&silent[b[0]] != 0:
		default:
			c.Write(packet("c"))
		}
	}
}

func TestMilter(t *testing.T) {
	for _, c := range []struct {
		name   string
		steps  uint32
		answer map[byte][]string
		score  float64
		put    bool
		reason string
		text   string
		fields string
		broken bool
	}{
		{name: "continue"},
		{name: "silent", steps: 0xff080 & 0xff000},
		{name: "accept early", answer: map[byte][]string{'H': {"a"}}},
		{name: "reject", answer: map[byte][]string{'E': {"r"}}, score: 1000, reason: "m: rejects it +1000.0"},
		{name: "discard", answer: map[byte][]string{'B': {"d"}}, score: 1000, reason: "m: rejects it +1000.0"},
		{name: "tempfail", answer: map[byte][]string{'N': {"t"}}, put: true, reason: "m: puts it off"},
		{name: "code 5", answer: map[byte][]string{'E': {"y554 5.7.1 virus\r\nEICAR found\x00"}}, score: 1000, reason: "m: virus EICAR found +1000.0", text: "virus EICAR found"},
		{name: "code 4", answer: map[byte][]string{'M': {"y451 4.7.1 wait\x00"}}, put: true, reason: "m: wait", text: "wait"},
		{name: "no enhanced code", answer: map[byte][]string{'E': {"y550 1.2 not änough\x00"}}, score: 1000, reason: "m: 1.2 not ?nough +1000.0", text: "1.2 not ?nough"},
		{name: "no words", answer: map[byte][]string{'E': {"y\x00"}}, score: 1000, reason: "m: rejects it +1000.0"},
		{name: "recipient", answer: map[byte][]string{'R': {"r"}}, score: 1000, reason: "m: rejects it +1000.0"},
		{name: "fields", answer: map[byte][]string{'E': {"p", "hX-Spam-Flag\x00YES\x00", "i\x00\x00\x00\x01X-Scanned\x00 by\n\tme\x00", "m\x00\x00\x00\x01Subject\x00\x00", "hbad name\x00x\x00", "bnew body", "+<a@b.c>\x00", "qlooks odd\x00", "c"}},
			score: 16, reason: "m: marks it as spam +8.0|m: quarantine: looks odd +8.0", fields: "X-Spam-Flag: YES|X-Scanned: by me"},
		{name: "marked", answer: map[byte][]string{'E': {"hX-Spam-Flag\x00Yes\x00", "hx-spam-flag\x00YES\x00", "c"}}, score: 8, reason: "m: marks it as spam +8.0", fields: "X-Spam-Flag: Yes|x-spam-flag: YES"},
		{name: "not marked", answer: map[byte][]string{'E': {"hX-Spam-Flag\x00NO\x00", "c"}}, fields: "X-Spam-Flag: NO"},
		{name: "skip", answer: map[byte][]string{'B': {"s"}}},
		{name: "bad negotiation", answer: map[byte][]string{'O': {"c"}}, broken: true},
		{name: "bad version", answer: map[byte][]string{'O': {"O\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00"}}, broken: true},
		{name: "huge packet", answer: map[byte][]string{'E': {strings.Repeat("x", 2<<20)}}, broken: true},
		{name: "empty packet", answer: map[byte][]string{'C': {""}}, broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			m := &fakeMilter{steps: c.steps, answer: c.answer}
			go m.serve(l)
			o, err := opinion(t, ask.New(ask.Config{Name: "m", Network: "unix", Address: path, Hostname: "mx.example.org", Timeout: 5 * time.Second, Required: true}), content)
			var fields []string
			for _, f := range o.Fields {
				fields = append(fields, f.Name+": "+f.Value)
			}
			if c.broken {
				if !o.Defer || o.Score != 0 {
					t.Errorf("%+v, %v", o, err)
				}
				return
			}
			if err != nil || o.Score != c.score || o.Defer != c.put || strings.Join(o.Reasons, "|") != c.reason || o.Text != c.text || strings.Join(fields, "|") != c.fields {
				t.Errorf("%+v, %v", o, err)
			}
			if c.name != "continue" {
				return
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			var said []string
			body := ""
			for _, s := range m.heard {
				switch {
				case s[0] == 'B':
					body += s[1:]
				case s[0] != 'O' && s[0] != 'D':
					said = append(said, fmt.Sprintf("%q", s))
				}
			}
			want := []string{`"Cmx.example.com\x004\x00\x00192.0.2.7\x00"`, `"Hmx.example.com\x00"`, `"M<x@example.com>\x00"`, `"R<alice@example.org>\x00"`, `"T"`,
				`"LFrom\x00x@example.com\x00"`, `"LSubject\x00two\n lines\x00"`, `"N"`, `"E"`}
			if !slices.Equal(said[:min(len(said), len(want))], want) || body != "hello\r\nyou\r\n" {
				t.Errorf("%q\n%q", said, body)
			}
		})
	}
}

// Whatever a milter sends, there is an answer, and soon.
func FuzzMilter(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x31\x00\x00\x00\x00\x00\x00\x00\x01c"))
	f.Add([]byte("\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x31\x00\x1f\xff\xff\x00\x00\x00\x06hA\x00b\x00\x00\x00\x00\x01r"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				go io.Copy(io.Discard, theirs)
				theirs.Write(raw)
				theirs.Close()
			}()
			return ours, nil
		}
		o, err := opinion(t, ask.New(ask.Config{Name: "m", Network: "unix", Dial: dial, Timeout: time.Second}), content)
		if err != nil || len(o.Fields) > guard.MaxFields {
			t.Fatal(o, err)
		}
	})
}
