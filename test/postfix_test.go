package test

import (
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
myhostname = mx.front.test
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
smtpd_delay_open_until_valid_rcpt = no
virtual_mailbox_domains = socketmap:inet:127.0.0.1:MAPS:virtual_mailbox_domains
virtual_mailbox_maps = socketmap:inet:127.0.0.1:MAPS:virtual_mailbox_maps
virtual_alias_maps = socketmap:inet:127.0.0.1:MAPS:virtual_alias_maps
virtual_transport = lmtp:inet:127.0.0.1:LMTP
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service inet:127.0.0.1:POLICY
`

const postfixMaster = `127.0.0.1:PORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
lmtp unix - - n - - lmtp
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
`

// startPostfix runs a Postfix with main.cf in a directory of its own, as its master wants it: by root. again lets it try
// at once what it has put off.
func startPostfix(t *testing.T, main string, replace ...string) (again func()) {
	t.Helper()
	program := need(t, "postfix")
	if os.Getuid() != 0 {
		t.Skip("Postfix is started by root only")
	}
	dir, err := os.MkdirTemp("", "pf") // its sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{"queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "", nil, "chown", "postfix", filepath.Join(dir, "data"))
	names := strings.NewReplacer(append(replace, "DIR", dir)...)
	for name, text := range map[string]string{"main.cf": main, "master.cf": postfixMaster} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(names.Replace(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "", nil, program, "-c", dir, "start")
	t.Cleanup(func() {
		if out, err := exec.Command(program, "-c", dir, "stop").CombinedOutput(); err != nil {
			t.Errorf("postfix stop: %v\n%s", err, out)
		}
	})
	return func() { command(t, "", nil, "postqueue", "-c", dir, "-f") }
}

// TestPostfixAsks: a Postfix takes mail for a house, asks its guard about each recipient and its accounts about domains
// and aliases, and delivers by LMTP.
func TestPostfixAsks(t *testing.T) {
	h := newHouse(t, "a.test", "alice", "bob", "shy", "careful")
	policy, maps, port := freePort(t), freePort(t), freePort(t)
	h.dropIn("front", fmt.Sprintf("[guard]\npolicy_listen = \"127.0.0.1:%s\"\nsocketmap_listen = \"127.0.0.1:%s\"\n", policy, maps))
	h.run("", "alias", "add", "team@a.test", "alice@a.test", "bob@a.test")
	h.run("", "contact", "policy", "shy@a.test", "closed")
	h.run("", "contact", "policy", "careful@a.test", "ask")
	h.start()
	startPostfix(t, postfixMain, "MAPS", maps, "POLICY", policy, "LMTP", fmt.Sprint(h.base+24), "PORT", port)
	listens(t, port)
	c, err := smtp.Dial("127.0.0.1:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("x@far.test"); err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"nobody@a.test":    "no such user here",
		"shy@a.test":       "the recipient takes no mail",
		"x@elsewhere.test": "Relay access denied",
	} {
		if err := c.Rcpt(to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", to, err, want)
		}
	}
	for range 3 { // not even where the content would be looked at, if it were shown
		if err := c.Rcpt("careful@a.test"); err == nil || !strings.HasPrefix(err.Error(), "450 ") {
			t.Errorf("who is not approved: %v", err)
		}
	}
	h.shows("careful@a.test", pending, "x@far.test")
	h.move("careful@a.test", pending, approved)
	if err := c.Rcpt("careful@a.test"); err != nil {
		t.Errorf("who is approved: %v", err)
	}
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := transact(c, "x@far.test", []string{"team@a.test"}, letter("x@far.test", "team@a.test", "by Postfix", "hello")); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"alice@a.test", "bob@a.test"} {
		if got := h.await(who, 1); !strings.Contains(got[0], "by mx.front.test (Postfix)") {
			t.Errorf("%s", got[0])
		}
	}
}

// listens waits until something listens on a port of this machine.
func listens(t *testing.T, port string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
