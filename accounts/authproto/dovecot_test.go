package authproto

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
)

const dovecotConf = `protocols =
base_dir = %[1]s/run
state_dir = %[1]s/state
instance_name = authproto
log_path = %[1]s/log
ssl = no
auth_mechanisms = plain login scram-sha-256
first_valid_uid = 0
default_internal_user = dovecot
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=1000 gid=1000 home=%[1]s
}
service auth {
  unix_listener %[1]s/auth.sock {
    mode = 0600
  }
}
`

// TestDovecotAuth logs in at Dovecot's auth socket, as a submission server in front of Dovecot does.
func TestDovecotAuth(t *testing.T) {
	dovecot, err := exec.LookPath("dovecot")
	if err != nil {
		t.Skip("dovecot is not installed: apt-get install dovecot-core")
	}
	if os.Getuid() != 0 {
		t.Skip("dovecot needs root to start as it is packaged")
	}
	dir, err := os.MkdirTemp("", "auth") // its sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, dir), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dovecot, "-F", "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}()
	c := &Client{BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "auth.sock"))
	}}
	defer c.Close()
	s := &mail.Session{ID: "x", Service: "msa", TLS: new(tls.ConnectionState), RemoteAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}}
	for i := 0; len(c.Mechanisms(s)) == 0; i++ {
		if i == 500 {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("dovecot does not answer: %s", text)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, m := range []string{sasl.Plain, sasl.Login, sasl.ScramSHA256} {
		who, err := login(t, c, s, m, sasl.ClientConfig{User: "alice@example.test", Password: "secret", TLS: s.TLS, NoChannelBinding: true})
		if err != nil || who.Account != "alice@example.test" {
			t.Errorf("%s: %v, %v", m, who, err)
		}
	}
	if _, err := login(t, c, s, sasl.Plain, sasl.ClientConfig{User: "alice@example.test", Password: "wrong", TLS: s.TLS}); !errors.Is(err, mail.ErrCredentials) {
		t.Errorf("wrong password: %v", err)
	}
}
