package imap_test

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

// newServer starts a server over a backend in memory and returns its address.
func newServer(t testing.TB, change func(*imap.Server)) string {
	t.Helper()
	srv := &imap.Server{
		Backend: imapmem.New(), Auth: imapmem.Passwords{"alice@example.test": "secret", "bob@example.test": "hidden"},
		PlaintextLoopback: true,
		Limits:            imap.Limits{LoginDelay: -1},
	}
	if change != nil {
		change(srv)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != imap.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// sharedScripts lists the imaptest scripts, or skips the test.
func sharedScripts(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../shared"
	}
	dir = filepath.Join(dir, "vectors", "imaptest")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("imaptest scripts are missing, set SAMOTOP_SHARED: %v", err)
	}
	var out []string
	for _, e := range entries {
		if n := e.Name(); !strings.HasSuffix(n, ".mbox") && !strings.HasSuffix(n, ".md") {
			out = append(out, filepath.Join(dir, n))
		}
	}
	return out
}

func dialer(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
}

func TestScripts(t *testing.T) {
	scripts := sharedScripts(t)
	addr := newServer(t, nil)
	ran := 0
	for _, path := range scripts {
		t.Run(filepath.Base(path), func(t *testing.T) {
			rep, err := imaptest.Run(t.Context(), imaptest.Config{
				Dial: dialer(addr), User: "alice@example.test", Password: "secret", Script: path,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range rep.Failures {
				t.Error(f)
			}
			if rep.Skipped != "" {
				t.Log("not run:", rep.Skipped)
				return
			}
			ran++
		})
	}
	if ran < 30 {
		t.Errorf("only %d scripts were run", ran)
	}
}
