package test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap/imaptest"
)

// TestImaptestScripts runs the scripts of imaptest against the whole program, over TLS.
func TestImaptestScripts(t *testing.T) {
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../shared"
	}
	dir = filepath.Join(dir, "vectors", "imaptest")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("the imaptest scripts are missing, set SAMOTOP_SHARED: %v", err)
	}
	h := newHouse(t, "one.test", "alice")
	h.start()
	dial := func(ctx context.Context) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		return d.DialContext(ctx, "tcp", h.addr(993))
	}
	groups := 0
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, ".mbox") || strings.HasSuffix(name, ".md") {
			continue
		}
		r, err := imaptest.Run(t.Context(), imaptest.Config{Dial: dial, User: "alice@one.test", Password: password, Script: filepath.Join(dir, name), Timeout: patience})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, f := range r.Failures {
			t.Errorf("%s: %v", name, f)
		}
		if r.Skipped != "" {
			t.Logf("%s is not for this server: %s", name, r.Skipped)
		}
		groups += r.Groups
	}
	if groups < 300 {
		t.Errorf("only %d commands were tried", groups)
	}
	t.Logf("%d commands of the scripts were tried", groups)
}
