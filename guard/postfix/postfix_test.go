package postfix_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/guard/postfix"
	"github.com/samotop/samotop/mail"
)

// verdicts refuses by the local part of the recipient, and looks at the session.
type verdicts struct{ t testing.TB }

func (v verdicts) Open(context.Context, *mail.Session) (mail.Receiver, error) { return v, nil }

func (v verdicts) Begin(_ context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	if ip, ok := mail.IPOf(s.RemoteAddr); !ok || ip != netip.MustParseAddr("192.0.2.7") || s.Hello != "mx.far.test" || s.RemoteName != "" || from.Address.String() != "x@far.test" {
		v.t.Errorf("%+v %v", s, from)
	}
	return tx{}, nil
}

type tx struct{ mail.Transaction }

func (tx) Abort() error { return nil }

func (tx) Recipient(_ context.Context, r *mail.Recipient) error {
	switch r.Address.Local {
	case "nobody":
		return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "no such user\r\naction=OK")
	case "new":
		return mail.NewReply(451, mail.Enhanced{4, 7, 1}, "you are new")
	case "broken":
		return errors.New("disk")
	}
	return nil
}

func served(t testing.TB, serve func(context.Context, net.Listener) error) net.Conn {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// say sends and reads what comes back until the peer is silent at so many octets, or ends.
func say(t testing.TB, c net.Conn, text string, want int) string {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		return ""
	}
	b := make([]byte, want)
	n, _ := io.ReadFull(c, b)
	return string(b[:n])
}

const ask = "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=192.0.2.7\nclient_name=unknown\nhelo_name=mx.far.test\nsender=x@far.test\ninstance=1.2\n"

func TestPolicy(t *testing.T) {
	p := &postfix.Policy{Door: verdicts{t}, Ours: func(_ context.Context, a mail.Address) (bool, error) {
		return a.Domain == "example.org", map[bool]error{true: errors.New("away")}[a.Domain == "away.test"]
	}}
	c := served(t, p.Serve)
	for _, x := range []struct{ more, want string }{
		{"recipient=alice@example.org\n", "DUNNO"},
		{"recipient=nobody@example.org\n", "550 5.1.1 no such user  action=OK"},
		{"recipient=new@example.org\n", "DEFER_IF_PERMIT 4.7.1 you are new"},
		{"recipient=broken@example.org\n", "DEFER_IF_PERMIT 4.3.0 Temporary local problem, please try again later"},
		{"recipient=nobody@elsewhere.test\n", "DUNNO"},
		{"recipient=nobody@away.test\n", "DEFER_IF_PERMIT 4.3.0 temporary local problem"},
		{"recipient=nobody@example.org\nsasl_username=alice\n", "DUNNO"},
		{"recipient=nobody@example.org\nprotocol_state=DATA\n", "DUNNO"},
		{"recipient=bad\n", "DUNNO"},
		{"recipient=alice@example.org\nsender=bad\n", "550 5.1.7 this is no address of a sender"},
		{"recipient=alice@example.org\nclient_address=unknown\n", "DEFER_IF_PERMIT 4.3.0 the address of the client cannot be read"},
	} {
		want := "action=" + x.want + "\n\n"
		if got := say(t, c, ask+x.more+"\n", len(want)); got != want {
			t.Errorf("%q: %q, want %q", x.more, got, want)
		}
	}
	for _, bad := range []string{"request=other\n\n", "nothing\n", strings.Repeat("x", 9000), strings.Repeat("a=b\n", 1) + "\n", "\n"} {
		if got := say(t, served(t, p.Serve), bad, 1); got != "" {
			t.Errorf("%.30q is answered by %q", bad, got)
		}
	}
}

func TestMaps(t *testing.T) {
	m := &postfix.Maps{Lookup: func(_ context.Context, name, key string) (string, bool, error) {
		if key == "broken" {
			return "", false, errors.New("away")
		}
		if key == "long" {
			return strings.Repeat("x", 100_000), true, nil
		}
		return "to@example.org", name == "virtual_alias_maps" && key == "a@example.org", nil
	}}
	c := served(t, m.Serve)
	for _, x := range [][2]string{
		{"32:virtual_alias_maps a@example.org,", "17:OK to@example.org,"},
		{"19:other a@example.org,", "9:NOTFOUND ,"},
		{"8:a broken,", "31:TEMP it cannot be looked up now,"},
		{"6:a long,", "26:PERM the value is too long,"},
		{"5:alone,", "29:PERM not of the form NAME KEY,"},
	} {
		if got := say(t, c, x[0], len(x[1])); got != x[1] {
			t.Errorf("%q: %q, want %q", x[0], got, x[1])
		}
	}
	for _, bad := range []string{"x", ":", "99999:", "123456:", "1:ab", "-1:,"} {
		if got := say(t, served(t, m.Serve), bad, 1); got != "" {
			t.Errorf("%q is answered by %q", bad, got)
		}
	}
}

// once is a listener of one connection that says something and listens.
type once struct {
	conn net.Conn
	done chan struct{}
}

func (o *once) Accept() (net.Conn, error) {
	if c := o.conn; c != nil {
		o.conn = nil
		return c, nil
	}
	<-o.done
	return nil, net.ErrClosed
}
func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return &net.UnixAddr{} }

// heard is a connection at whose other end all was said already.
type heard struct {
	net.Conn
	r    *bytes.Reader
	got  bytes.Buffer
	done chan struct{}
	once sync.Once
}

func (h *heard) Read(p []byte) (int, error)      { return h.r.Read(p) }
func (h *heard) Write(p []byte) (int, error)     { return h.got.Write(p) }
func (h *heard) SetDeadline(time.Time) error     { return nil }
func (h *heard) SetReadDeadline(time.Time) error { return nil }
func (h *heard) Close() error                    { h.once.Do(func() { close(h.done) }); return nil }

func FuzzTalk(f *testing.F) {
	f.Add([]byte(ask+"recipient=alice@example.org\n\n"), true)
	f.Add([]byte("32:virtual_alias_maps a@example.org,"), false)
	f.Fuzz(func(t *testing.T, raw []byte, policy bool) {
		c := &heard{r: bytes.NewReader(raw), done: make(chan struct{})}
		door := mail.DoorFunc(func(context.Context, *mail.Session) (mail.Receiver, error) {
			return nil, mail.NewReply(550, mail.Enhanced{5, 0, 0}, "no")
		})
		l := &once{conn: c, done: c.done}
		if policy {
			(&postfix.Policy{Door: door, IdleTime: time.Second}).Serve(t.Context(), l)
		} else {
			(&postfix.Maps{Lookup: func(context.Context, string, string) (string, bool, error) { return "", false, nil }, IdleTime: time.Second}).Serve(t.Context(), l)
		}
		for _, line := range strings.SplitAfter(c.got.String(), "\n\n") {
			if policy && line != "" && !strings.HasPrefix(line, "action=") {
				t.Fatalf("%q", line)
			}
		}
	})
}
