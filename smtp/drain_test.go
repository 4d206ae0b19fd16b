package smtp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

// say writes lines and reads as many replies.
func say(t *testing.T, conn net.Conn, r *bufio.Reader, text string, want ...string) {
	t.Helper()
	if text != "" {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Error(err)
		}
	}
	for _, w := range want {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Errorf("want %q: %v", w, err)
				return
			}
			if line[3] == ' ' {
				if !strings.HasPrefix(line, w) {
					t.Errorf("got %q, want %q", line, w)
				}
				break
			}
		}
	}
}

// TestShutdown: the idle session gets 421 at once, the running transaction its answer first, the one that hangs is cut
// when the time is over.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := recorder()
		srv := &smtp.Server{Door: rec}
		conn := func() (net.Conn, *bufio.Reader) {
			c, s := smtptest.Pipe()
			go srv.ServeConn(context.Background(), s)
			return c, bufio.NewReader(c)
		}
		idle, ir := conn()
		busy, br := conn()
		hung, hr := conn()
		say(t, idle, ir, "EHLO a\r\n", "220", "250")
		say(t, busy, br, "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n", "220", "250", "250", "250", "354")
		say(t, hung, hr, "EHLO a\r\nMAIL FROM:<>\r\n", "220", "250", "250")
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		done := make(chan error)
		go func() { done <- srv.Shutdown(ctx) }()
		say(t, idle, ir, "", "421 4.3.2")
		if time.Since(start) != 0 {
			t.Error("idle session waited")
		}
		time.Sleep(10 * time.Second)
		say(t, busy, br, "x\r\n.\r\nMAIL FROM:<>\r\n", "250", "421 4.3.2")
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 20*time.Second {
			t.Error(err, time.Since(start))
		}
		if _, err := hr.ReadByte(); err == nil {
			t.Error("hung session was not cut")
		}
		late, lr := conn()
		say(t, late, lr, "", "421 4.3.2")
		if len(rec.Messages()) != 1 {
			t.Error("message of the running transaction was lost")
		}
	})
}

func TestServerTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for text, wait := range map[string]time.Duration{
			"":         5 * time.Minute,
			"EHLO a\r": 5 * time.Minute,
			"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nx": 3 * time.Minute,
		} {
			c, s := smtptest.Pipe()
			var stats smtp.Stats
			srv := &smtp.Server{Door: recorder(), Ended: func(_ *mail.Session, st smtp.Stats) { stats = st }}
			start := time.Now()
			go srv.ServeConn(context.Background(), s)
			_, _ = io.WriteString(c, text)
			all, _ := io.ReadAll(c)
			synctest.Wait()
			if time.Since(start) != wait || !strings.Contains(string(all), "421 4.4.2") || stats.Err == nil {
				t.Errorf("%q: after %v: %q, %v", text, time.Since(start), all, stats.Err)
			}
			c.Close()
		}
		// One octet a minute keeps nobody here for longer than the session may last.
		c, s := smtptest.Pipe()
		start := time.Now()
		go (&smtp.Server{Door: recorder()}).ServeConn(context.Background(), s)
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				break
			}
			time.Sleep(time.Minute)
		}
		if d := time.Since(start); d > 62*time.Minute {
			t.Error(d)
		}
	})
}

func TestWaitQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, early := range []bool{false, true} {
			door := mail.DoorFunc(func(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
				if s.Stage != mail.StageConnect {
					return nil, nil
				}
				got, err := smtp.WaitQuiet(ctx, 2*time.Second)
				if got != early || err != nil {
					t.Error(got, err)
				}
				return nil, nil
			})
			c, s := smtptest.Pipe()
			start := time.Now()
			go (&smtp.Server{Door: door}).ServeConn(context.Background(), s)
			r := bufio.NewReader(c)
			if early {
				say(t, c, r, "EHLO a\r\n", "220", "250")
			} else {
				say(t, c, r, "", "220")
			}
			if (time.Since(start) == 0) != early {
				t.Error(early, time.Since(start))
			}
			c.Close()
		}
	})
}

func TestConnectionLimits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &smtp.Server{Door: recorder(), MaxConnectionsPerAddress: 1, MaxConnections: 2}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	open := func(want string) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		say(t, c, bufio.NewReader(c), "", want)
		return c
	}
	c := open("220")
	defer c.Close()
	for range 5 { // connections that were turned away do not count
		open("421 4.7.0").Close()
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// sessions keeps what the Door and the transaction were told.
type sessions struct {
	open, begin []mail.Session
	closed      int
}

func (s *sessions) Open(_ context.Context, m *mail.Session) (mail.Receiver, error) {
	s.open = append(s.open, *m)
	m.SetFact("stage", fmt.Sprint(m.Stage))
	return &closer{s}, nil
}

type closer struct{ s *sessions }

func (c *closer) Close() error { c.s.closed++; return nil }
func (c *closer) Begin(_ context.Context, m *mail.Session, _ mail.Sender) (mail.Transaction, error) {
	c.s.begin = append(c.s.begin, *m)
	return nil, mail.NewReply(550, mail.Enhanced{5, 7, 1}, "seen")
}

func TestXClientXForward(t *testing.T) {
	d := &sessions{}
	srv := &smtp.Server{Door: d, Hostname: "mx.test", Extensions: smtp.ExtPipelining, Trusted: trustAll}
	smtptest.Script(t, srv, `
		S: 220 *
		C: XCLIENT ADDR=nonsense
		S: 501 *
		C: XCLIENT NAME=host.test ADDR=IPV6:2001:db8::1 PORT=77 HELO=he.test PROTO=ESMTP LOGIN=x@y.test
		S: 220 mx.test ESMTP ready
		C: HELO he.test
		S: 250 *
		C: MAIL FROM:<> XFACTS=helo:x
		S: 555 *
		C: XFORWARD NAME=inner.test ADDR=[UNAVAILABLE]
		S: 250 *
		C: MAIL FROM:<>
		S: 550 seen
		C: QUIT
		S: 221 *`)
	if len(d.begin) != 1 || d.closed != len(d.open) {
		t.Fatal(d)
	}
	s := d.begin[0]
	if s.RemoteAddr.String() != "[2001:db8::1]:77" || s.RemoteName != "host.test" || s.Login.Account != "x@y.test" || s.Trusted ||
		s.Hello != "he.test" || s.Fact("xforward.name") != "inner.test" {
		t.Errorf("%+v", s)
	}
}

// TestFactsTravel: what the first room knows, the next one is told.
func TestFactsTravel(t *testing.T) {
	d := &sessions{}
	link := smtptest.OverPipe(t, d)
	tcp := func(s string) net.Addr { a, _ := net.ResolveTCPAddr("tcp", s); return a }
	want := &mail.Session{
		ID: "id1", RemoteAddr: tcp("192.0.2.1:25"), LocalAddr: tcp("[::1]:25"), RemoteName: "h.test", Hello: "he;l:o=+", Extended: true,
		Login: mail.Identity{Account: "a@b.test", Mechanism: "PLAIN"}, Start: time.Unix(1, 5).UTC(),
		Facts: []mail.Fact{{Name: "spf", Value: "pass; smtp.mailfrom=x\r\n y"}, {Name: "ü:;", Value: "ü"}},
	}
	r, err := link.Open(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Begin(t.Context(), want, mail.Sender{}); mail.AsReply(err).Code != 550 {
		t.Fatal(err)
	}
	got := d.begin[0]
	for _, f := range want.Facts {
		if got.Fact(f.Name) != f.Value {
			t.Errorf("fact %q is %q", f.Name, got.Fact(f.Name))
		}
	}
	if got.ID != want.ID || got.RemoteAddr.String() != want.RemoteAddr.String() || got.LocalAddr.String() != want.LocalAddr.String() ||
		got.Hello != want.Hello || got.Login != want.Login || !got.Start.Equal(want.Start) || got.LMTP || !got.Extended {
		t.Errorf("%+v", got)
	}
}

func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := recorder()
		srv := &smtp.Server{Door: rec, Extensions: smtp.ExtPipelining, LMTP: true}
		var dials atomic.Int32
		var last net.Conn
		down := false
		link := &smtp.Link{
			Dialer: smtp.Dialer{LMTP: true}, MaxTransactions: 3,
			Connect: func(context.Context) (net.Conn, error) {
				dials.Add(1)
				if down {
					return nil, errors.New("no route")
				}
				c, s := smtptest.Pipe()
				go srv.ServeConn(context.Background(), s)
				last = c
				return c, nil
			},
		}
		defer link.Close()
		begin := func() (mail.Transaction, error) {
			r, err := link.Open(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return r.Begin(t.Context(), nil, mail.Sender{})
		}
		send := func(text string) {
			t.Helper()
			tx, err := begin()
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Recipient(t.Context(), &mail.Recipient{Address: addr("unknown@d.test")}); mail.AsReply(err).Code != 550 {
				t.Error(err)
			}
			if err := tx.Recipient(t.Context(), &mail.Recipient{Address: addr("c@d.test")}); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(tx, text)
			tx.Trace(mail.Field{Name: "Late", Value: "but not too late"})
			if rs, err := tx.Commit(t.Context()); err != nil || len(rs) != 1 || rs[0].Code != 250 {
				t.Error(rs, err)
			}
		}
		send("1\r\n")
		send("2\r\n")
		last.Close() // the peer went away while the connection was idle
		send("3\r\n")
		tx, err := begin()
		if err != nil {
			t.Fatal(err)
		}
		_ = tx.Abort()
		send("4\r\n")
		send("5\r\n") // more than MaxTransactions
		if dials.Load() != 3 {
			t.Errorf("%d connections", dials.Load())
		}
		if m := rec.Messages(); len(m) != 5 || string(m[4].Content) != "Late: but not too late\r\n5\r\n" {
			t.Errorf("%d messages", len(m))
		}
		down = true
		time.Sleep(2 * time.Minute)
		for range 10 {
			if _, err := begin(); mail.AsReply(err).Code != 451 {
				t.Error(err)
			}
		}
		if dials.Load() != 4 {
			t.Errorf("%d attempts in no time", dials.Load()-3)
		}
		down = false
		time.Sleep(time.Second)
		send("6\r\n")
	})
}

func TestChildProcess(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no sh on this machine")
	}
	script := `printf '220 child LMTP\r\n'; while read v rest; do case $v in
		QUIT*) printf '221 bye\r\n'; exit;; DATA*) printf '354 go\r\n'; while read l; do case $l in .?) break;; esac; done; printf '250 taken\r\n';;
		*) printf '250 child\r\n';; esac; done`
	conn, err := smtp.Child(exec.Command("sh", "-c", script))
	if err != nil {
		t.Fatal(err)
	}
	d := smtp.Dialer{LMTP: true}
	c, err := d.Client(t.Context(), conn, "")
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Send(t.Context(), &smtp.Message{Envelope: envelope("c@d.test"), Body: strings.NewReader("x\r\n")})
	if err != nil || res.Recipients[0].Reply.Text != "taken" {
		t.Error(res, err)
	}
	if err := c.Quit(t.Context()); err != nil {
		t.Error(err)
	}
}
