package imaptest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"
)

// dovecotConf is a Dovecot of one account, logging and listening in a directory of its own.
const dovecotConf = `protocols = imap
listen = 127.0.0.1
base_dir = %[1]s/run
state_dir = %[1]s/state
instance_name = imaptest
log_path = %[1]s/log
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = sdbox:%[1]s/mail/%%u
mail_uid = %[3]s
mail_gid = %[4]s
first_valid_uid = 0
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=%[3]s gid=%[4]s home=%[1]s/home
}
namespace inbox {
  inbox = yes
  separator = /
}
service imap-login {
  inet_listener imap {
    port = %[2]d
  }
  inet_listener imaps {
    port = 0
  }
}
`

// startDovecot starts Debian's Dovecot, or skips the test.
func startDovecot(t *testing.T) (addr string) {
	t.Helper()
	path, err := exec.LookPath("dovecot")
	if err != nil {
		t.Skip("dovecot is not installed (apt-get install dovecot-imapd)")
	}
	if os.Getuid() != 0 {
		t.Skip("dovecot needs root to start as it is packaged")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	dir, err := os.MkdirTemp("", "dovecot") // its sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	owner, err := user.Lookup("dovecot")
	if err != nil {
		t.Skip("there is no user dovecot")
	}
	uid, gid := 0, 0
	if _, err := fmt.Sscan(owner.Uid, &uid); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(owner.Gid, &gid); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"mail", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, d), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, dir, port, owner.Uid, owner.Gid), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-F", "-c", conf)
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	for range 500 {
		if nc, err := net.Dial("tcp", addr); err == nil {
			_ = nc.Close()
			return addr
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(filepath.Join(dir, "log"))
	more, _ := os.ReadFile(filepath.Join(dir, "out"))
	t.Fatalf("dovecot did not start: %s%s", text, more)
	return ""
}

// TestDovecot proves the runner on the server that the scripts were written for.
func TestDovecot(t *testing.T) {
	scripts := sharedScripts(t)
	addr := startDovecot(t)
	for _, path := range scripts {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			rep, err := Run(t.Context(), Config{
				Dial: func(ctx context.Context) (net.Conn, error) {
					var d net.Dialer
					return d.DialContext(ctx, "tcp", addr)
				},
				User: filepath.Base(path) + "@example.test", Password: "secret", Script: path,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range rep.Failures {
				t.Error(f)
			}
			if rep.Skipped != "" {
				t.Log("not run:", rep.Skipped)
			}
		})
	}
}
