package authproto

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDoveadm lets Dovecot's own client log in. It cannot say that TLS protects its client, so that is on loopback.
func TestDoveadm(t *testing.T) {
	doveadm, err := exec.LookPath("doveadm")
	if err != nil {
		t.Skip("doveadm is not installed: apt-get install dovecot-core")
	}
	c := start(t, &Server{})()
	conf := filepath.Join(t.TempDir(), "dovecot.conf")
	if err := os.WriteFile(conf, []byte("base_dir = "+t.TempDir()+"\nlog_path = /dev/stderr\nssl = no\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]string{"pencil": "auth succeeded", "wrong": "auth failed"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, _ := exec.CommandContext(ctx, doveadm, "-c", conf, "auth", "test", "-a", c.RemoteAddr().String(),
			"-x", "service=smtp", "-x", "rip=127.0.0.1", "alice@example.test", password).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("%s: %s", password, out)
		}
	}
}
