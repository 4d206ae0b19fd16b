package test

import (
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// foreign is the directory of a program that is not ours, which it may enter after it has dropped root, with a path that is short
// enough for sockets.
type foreign struct {
	t   *testing.T
	dir string
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	dir, err := os.MkdirTemp("", "foreign")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &foreign{t, dir}
}

func (f *foreign) path(name string) string { return filepath.Join(f.dir, name) }

func (f *foreign) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// start runs a program in the foreground until the test ends, or stop is called, and waits until something listens.
func (f *foreign) start(network, address, program string, args ...string) (stop func()) {
	f.t.Helper()
	out := &output{news: make(chan struct{}, 1)}
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.WaitDelay = 5 * time.Second // its children may hold its output
	if err := c.Start(); err != nil {
		f.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL); _ = c.Process.Kill() })
		_ = c.Wait()
		late.Stop()
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // its children
	})
	f.t.Cleanup(func() {
		stop()
		if f.t.Failed() {
			text, _ := os.ReadFile(f.path("log"))
			f.t.Logf("%s: %s%s", program, out, text)
		}
	})
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial(network, address); err == nil {
			conn.Close()
			return stop
		}
		if time.Now().After(end) {
			f.t.Fatalf("%s does not listen on %s", program, address)
		}
	}
}

// rootOnly skips where a program cannot be started by others.
func rootOnly(t *testing.T, program string) string {
	t.Helper()
	p := need(t, program)
	if os.Getuid() != 0 {
		t.Skipf("%s is started by root only", program)
	}
	return p
}

// open lets another user's program reach the sockets of a house, as groups do in earnest.
func (h *house) open(sockets ...string) {
	h.t.Helper()
	for d := h.dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(h.dir, "run"), 0o755); err != nil {
		h.t.Fatal(err)
	}
	for _, s := range sockets {
		if err := os.Chmod(filepath.Join(h.dir, "run", s), 0o666); err != nil {
			h.t.Fatal(err)
		}
	}
}

// TestPostfixInFront: Postfix takes mail from strangers and from people, asks our accounts who may log in (Dovecot's auth protocol),
// and delivers to our mailbox (LMTP).
func TestPostfixInFront(t *testing.T) {
	postfix := rootOnly(t, "postfix")
	libexec, err := exec.Command(strings.TrimSuffix(postfix, "postfix")+"postconf", "-h", "daemon_directory").Output()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, "d.test", "alice")
	h.dropIn("plain", "[mailbox]\nplaintext_loopback = true\n")
	h.start()
	h.open("lmtp.sock", "accounts.sock")
	f := newForeign(t)
	port := h.base + 26
	for _, d := range []string{"etc", "data", "queue", "queue/pid", "queue/public", "queue/private", "queue/maildrop", "queue/active", "queue/bounce",
		"queue/corrupt", "queue/defer", "queue/deferred", "queue/flush", "queue/hold", "queue/incoming", "queue/saved", "queue/trace"} {
		if err := os.Mkdir(f.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "-R", "postfix", f.path("queue"), f.path("data")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, d := range []string{"queue", "queue/pid"} {
		if err := os.Chown(f.path(d), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	f.write("etc/main.cf", strings.NewReplacer("DIR", f.dir, "HOUSE", h.dir).Replace(`
compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = DIR
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
alias_maps =
alias_database =
virtual_mailbox_domains = d.test
virtual_mailbox_maps = static:all
virtual_transport = lmtp:unix:HOUSE/run/lmtp.sock
default_transport = error:nobody else
smtp_dns_support_level = disabled
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = unix:HOUSE/run/accounts.sock
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
notify_classes =
`))
	f.write("etc/master.cf", fmt.Sprintf(`127.0.0.1:%d inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`, port))
	address := fmt.Sprintf("127.0.0.1:%d", port)
	f.start("tcp", address, filepath.Join(strings.TrimSpace(string(libexec)), "master"), "-c", f.path("etc"))

	send := func(auth smtp.Auth, to string) error {
		c, err := smtp.Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if auth != nil {
			if err := c.Auth(auth); err != nil {
				return err
			}
		}
		return transact(c, "alice@d.test", []string{to}, letter("alice@d.test", to, "by Postfix", "hello"))
	}
	if err := send(nil, "alice@d.test"); err != nil {
		t.Error(err)
	}
	h.await("alice@d.test", 1)
	if err := send(smtp.PlainAuth("", "alice@d.test", password, "127.0.0.1"), "alice@d.test"); err != nil {
		t.Error("who logs in by our accounts: ", err)
	}
	h.await("alice@d.test", 2)
	if err := send(smtp.PlainAuth("", "alice@d.test", "wrong", "127.0.0.1"), "alice@d.test"); err == nil || !strings.HasPrefix(err.Error(), "535") {
		t.Errorf("a wrong password: %v", err)
	}
	if err := send(nil, "x@elsewhere.test"); err == nil || !strings.HasPrefix(err.Error(), "554") {
		t.Errorf("a stranger may relay: %v", err)
	}
}

// TestDovecotBehind: our MTA and queue deliver to Dovecot (LMTP), and our MSA asks Dovecot who may log in.
func TestDovecotBehind(t *testing.T) {
	dovecot := rootOnly(t, "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		t.Skip("Dovecot's LMTP server is not installed: apt-get install dovecot-lmtpd")
	}
	f := newForeign(t)
	if err := os.Mkdir(f.path("mail"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(f.path("mail"), nobodyID, nobodyID); err != nil {
		t.Fatal(err)
	}
	f.write("users", "alice@d.test:{PLAIN}dovecot-1::::::\n")
	f.write("dovecot.conf", strings.ReplaceAll(`
protocols = lmtp
base_dir = DIR/run
state_dir = DIR/state
instance_name = neighbour
log_path = DIR/log
ssl = no
auth_mechanisms = plain login scram-sha-256
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
first_valid_uid = 1
default_internal_user = dovecot
userdb {
  driver = passwd-file
  args = DIR/users
  override_fields = uid=65534 gid=65534 home=DIR/mail/%n
}
passdb {
  driver = passwd-file
  args = DIR/users
}
service lmtp {
  unix_listener DIR/lmtp {
    mode = 0666
  }
}
service auth {
  unix_listener DIR/auth {
    mode = 0666
  }
}
`, "DIR", f.dir))
	f.start("unix", f.path("lmtp"), dovecot, "-F", "-c", f.path("dovecot.conf"))

	h := newHouse(t, "d.test", "alice")
	h.dropIn("links", fmt.Sprintf("[links]\nmailbox = \"unix:%s\"\naccounts = \"unix:%s\"\n", f.path("lmtp"), f.path("auth")))
	var err error
	if h.process, err = h.serve("mta", "guard", "accounts", "qm", "management"); err != nil {
		t.Fatal(err)
	}
	people, err := h.serve("msa")
	if err != nil {
		t.Fatal(err)
	}
	arrived := func(n int) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			files, _ := filepath.Glob(f.path("mail/alice/Maildir/new/*"))
			if len(files) == n {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("Dovecot has %d messages, not %d\n%s\n%s", len(files), n, h.log, people.log)
			}
		}
	}
	c := h.talk(25)
	c.hear("220 ")
	for _, step := range [][2]string{{"EHLO x.example", "250 "}, {"MAIL FROM:<x@x.example>", "250 "}, {"RCPT TO:<nobody@d.test>", "550 5.1.1"},
		{"RCPT TO:<alice@d.test>", "250 "}, {"DATA", "354 "}, {letter("x@x.example", "alice@d.test", "in", "hello") + ".", "250 "}} {
		c.say(step[0])
		c.hear(step[1])
	}
	arrived(1)
	// Go's client says SMTPUTF8 whenever it may, and Dovecot does not know it: what does not need it passes.
	if err := h.send("x@x.example", []string{"alice@d.test"}, letter("x@x.example", "alice@d.test", "plain", "hellö")); err != nil {
		t.Errorf("needless SMTPUTF8: %v\n%s", err, h.log)
	}
	arrived(2)
	if err := h.send("x@x.example", []string{"alice@d.test"}, letter("x@x.example", "alice@d.test", "hellö", "hello")); err == nil || !strings.Contains(err.Error(), "5.6.7") {
		t.Errorf("SMTPUTF8 that is needed: %v", err)
	}

	submit := func(word string) error {
		c, err := smtp.Dial(h.addr(587))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.StartTLS(insecure); err != nil {
			return err
		}
		if err := c.Auth(smtp.PlainAuth("", "alice@d.test", word, "127.0.0.1")); err != nil {
			return err
		}
		return transact(c, "alice@d.test", []string{"alice@d.test"}, letter("alice@d.test", "alice@d.test", "out", "hello"))
	}
	if err := submit("dovecot-1"); err != nil {
		t.Errorf("who logs in by Dovecot: %v\n%s", err, people.log)
	}
	arrived(3)
	if err := submit(password); err == nil || !strings.HasPrefix(err.Error(), "535") {
		t.Errorf("our own password, which nobody is asked for: %v", err)
	}
}
