package smtptest

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

// trusting is an LMTP server between rooms of one house.
func trusting(d mail.Door) *smtp.Server {
	return &smtp.Server{
		Door: d, LMTP: true, Hostname: "door.test", Service: "test",
		Trusted:    func(net.Addr) bool { return true },
		Extensions: smtp.LinkExtensions,
	}
}

// OverPipe serves the door by LMTP over connections in memory and returns a Link to it.
func OverPipe(t testing.TB, d mail.Door) mail.Door {
	t.Helper()
	srv := trusting(d)
	ctx, cancel := context.WithCancel(context.Background())
	link := &smtp.Link{
		Dialer: smtp.Dialer{LMTP: true, Trusted: true, Hello: "link.test"},
		Connect: func(context.Context) (net.Conn, error) {
			c, s := Pipe()
			go srv.ServeConn(ctx, s)
			return c, nil
		},
	}
	t.Cleanup(func() { stop(t, link, srv, cancel) })
	return link
}

// OverUnix serves the door by LMTP on a Unix socket and returns a Link to it.
func OverUnix(t testing.TB, d mail.Door) mail.Door {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := trusting(d)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	link := &smtp.Link{
		Dialer:  smtp.Dialer{LMTP: true, Trusted: true, Hello: "link.test"},
		Network: "unix", Address: path,
	}
	t.Cleanup(func() {
		stop(t, link, srv, cancel)
		<-done
	})
	return link
}

func stop(t testing.TB, link *smtp.Link, srv *smtp.Server, cancel func()) {
	_ = link.Close()
	ctx, end := context.WithTimeout(context.Background(), 5*time.Second)
	defer end()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("smtptest: server does not drain: %v", err)
	}
	cancel()
}
