package mailbox

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
	"github.com/samotop/samotop/imap/imaptest"
)

// serve starts an IMAP server over the room for user1 and returns its address.
func serve(t testing.TB, m *Mailbox) string { return serveTo(t, m, imap.Limits{LoginDelay: -1}, 1) }

// serveTo starts one for so many users, whose password is "secret".
func serveTo(t testing.TB, m *Mailbox, limits imap.Limits, users int) string {
	t.Helper()
	passwords := imapmem.Passwords{}
	for n := 1; n <= users; n++ {
		passwords[user(n)] = "secret"
	}
	srv := &imap.Server{Backend: m.Backend(), Auth: passwords, PlaintextLoopback: true, Limits: limits}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		<-done
	})
	return l.Addr().String()
}

// TestScripts runs the imaptest scripts against an IMAP server over the room.
func TestScripts(t *testing.T) {
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../shared"
	}
	dir = filepath.Join(dir, "vectors", "imaptest")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("imaptest scripts are missing, set SAMOTOP_SHARED: %v", err)
	}
	m := newBox(t, Config{})
	addr := serve(t, m)
	ran := 0
	for _, e := range entries {
		if n := e.Name(); strings.HasSuffix(n, ".mbox") || strings.HasSuffix(n, ".md") {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			rep, err := imaptest.Run(t.Context(), imaptest.Config{
				Dial: func(ctx context.Context) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", addr)
				},
				User: user(1), Password: "secret", Script: filepath.Join(dir, e.Name()),
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range rep.Failures {
				t.Error(f)
			}
			if rep.Skipped != "" {
				t.Skip(rep.Skipped)
			}
			ran++
		})
	}
	if ran < 30 {
		t.Errorf("only %d scripts were run", ran)
	}
	if err := m.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	verify(t, m)
}
