package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// postfixBehind takes mail for p.test, some of it not, hands it to Dovecot, and tells those who asked.
const postfixBehind = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
myhostname = mx.p.test
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtputf8_enable = yes
smtpd_tls_cert_file = CERT
smtpd_tls_key_file = KEY
smtpd_tls_security_level = may
virtual_mailbox_domains = p.test
virtual_mailbox_maps = static:all
virtual_transport = lmtp:unix:LMTP
transport_maps = inline:{a.test=smtp:[127.0.0.1]:BACK}
smtp_dns_support_level = disabled
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unauth_destination, check_recipient_access inline:{
  { gone@p.test = 550 5.1.1 He has moved away },
  { later@p.test = 450 4.2.1 His mailbox is being moved } }
smtpd_data_restrictions = check_sender_access inline:{ { bob@a.test = 554 5.7.1 Nothing of yours } }
`

const dovecotBehind = `
protocols = lmtp
base_dir = DIR/run
state_dir = DIR/state
instance_name = nexthop
log_path = DIR/log
ssl = no
mail_location = maildir:~/Maildir
first_valid_uid = 1
default_internal_user = dovecot
auth_username_format = %Ln
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
  inet_listener lmtp {
    address = 127.0.0.1
    port = PORT
  }
}
`

// startDovecot runs a Dovecot that takes mail by LMTP, from a socket and from a port, for carol and dave.
func startDovecot(t *testing.T) (f *foreign, port string) {
	t.Helper()
	return startDovecotWith(t, dovecotBehind)
}

func startDovecotWith(t *testing.T, conf string) (f *foreign, port string) {
	t.Helper()
	dovecot := rootOnly(t, "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		t.Skip("Dovecot's LMTP server is not installed: apt-get install dovecot-lmtpd")
	}
	f, port = newForeign(t), freePort(t)
	if err := os.Mkdir(f.path("mail"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(f.path("mail"), nobodyID, nobodyID); err != nil {
		t.Fatal(err)
	}
	f.write("users", "carol:{PLAIN}x::::::\ndave:{PLAIN}x::::::\n")
	f.write("dovecot.conf", strings.NewReplacer("DIR", f.dir, "PORT", port).Replace(conf))
	f.start("unix", f.path("lmtp"), dovecot, "-F", "-c", f.path("dovecot.conf"))
	return f, port
}

// has waits until one of Dovecot's accounts has as many messages, and returns them.
func (f *foreign) has(h *house, name string, n int) []string {
	f.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		files, err := filepath.Glob(f.path("mail/" + name + "/Maildir/new/*"))
		if err != nil {
			f.t.Fatal(err)
		}
		if len(files) == n {
			var texts []string
			for _, name := range files {
				text, err := os.ReadFile(name)
				if err != nil {
					f.t.Fatal(err)
				}
				texts = append(texts, string(text))
			}
			return texts
		}
		if len(files) > n || time.Now().After(end) {
			f.t.Fatalf("%s has %d messages, not %d\n%s", name, len(files), n, h.log)
		}
	}
}

// TestNextHops: a whole house sends to Debian's Postfix, and to Debian's Dovecot by LMTP, over a socket and over TCP: what they take
// arrives once and unchanged, what they refuse or put off, at whichever command, is told or kept for each recipient by himself.
func TestNextHops(t *testing.T) {
	d, lmtp := startDovecot(t)
	h := newHouse(t, "a.test", "alice", "bob")
	smtp := freePort(t)
	h.dropIn("routes", fmt.Sprintf(`
[dns]
resolver = ["127.0.0.1:9"]
[[qm.route]]
domain = "p.test"
to = "smtp://127.0.0.1:%s"
[[qm.route]]
domain = "socket.test"
to = "unix:%s"
[[qm.route]]
domain = "tcp.test"
to = "lmtp://127.0.0.1:%s"
`, smtp, d.path("lmtp"), lmtp))
	h.start()
	startPostfix(t, postfixBehind, "CERT", h.cert(), "KEY", filepath.Join(h.dir, "tls", "key.pem"), "LMTP", d.path("lmtp"), "BACK", fmt.Sprint(h.base+25), "PORT", smtp)
	listens(t, smtp)

	// By Postfix: one is taken, one refused, one put off, in one transaction.
	text := ".a dot\r\n..two\r\n" + strings.Repeat("x", 900) + "\r\nK\u00e4se"
	to := []string{"carol@p.test", "gone@p.test", "later@p.test"}
	if err := h.submit("alice@a.test", to, letter("alice@a.test", to[0], "by Postfix", text)); err != nil {
		t.Fatal(err)
	}
	got := d.has(h, "carol", 1)[0]
	for _, part := range []string{"\n.a dot\n..two\n" + strings.Repeat("x", 900) + "\nK\u00e4se\n", "by mx.p.test (Postfix)", "with ESMTPS"} {
		if !strings.Contains(strings.ReplaceAll(got, "\r\n", "\n"), part) {
			t.Errorf("it does not contain %.40q:\n%s", part, got)
		}
	}
	if report := h.await("alice@a.test", 1)[0]; !strings.Contains(report, "Final-Recipient: rfc822; gone@p.test") || !strings.Contains(report, "550 5.1.1") ||
		strings.Count(report, "Final-Recipient:") != 1 {
		t.Error(report)
	}
	h.deferred(1)
	if out := h.run("", "queue", "list", "--recipient", "later@p.test"); !strings.Contains(out, "His mailbox is being moved") {
		t.Error(out)
	}
	h.run("", "queue", "remove", "--all")

	// Refused after the recipients were taken.
	if err := h.submit("bob@a.test", []string{"carol@p.test"}, letter("bob@a.test", "carol@p.test", "no", "no")); err != nil {
		t.Fatal(err)
	}
	if report := h.await("bob@a.test", 1)[0]; !strings.Contains(report, "Nothing of yours") {
		t.Error(report)
	}

	// NOTIFY is passed on: it is Postfix that tells of the success.
	c, err := h.login("alice@a.test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, line := range []string{"MAIL FROM:<alice@a.test> RET=HDRS ENVID=e1", "RCPT TO:<dave@p.test> NOTIFY=SUCCESS,FAILURE"} {
		id, err := c.Text.Cmd("%s", line)
		if err != nil {
			t.Fatal(err)
		}
		c.Text.StartResponse(id)
		if _, _, err := c.Text.ReadResponse(250); err != nil {
			t.Fatal(err)
		}
		c.Text.EndResponse(id)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(letter("alice@a.test", "dave@p.test", "tell me", "hello"))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d.has(h, "dave", 1)
	reports := h.await("alice@a.test", 2)
	if report := strings.ToLower(reports[1]); !strings.Contains(report, "reporting-mta: dns; mx.p.test") || !strings.Contains(report, "original-envelope-id: e1") {
		t.Error(reports[1])
	}

	// By LMTP: each recipient has an answer of his own, to RCPT and to the end.
	for i, domain := range []string{"socket.test", "tcp.test"} {
		to := []string{"carol@" + domain, "dave@" + domain, "nobody@" + domain}
		if err := h.submit("alice@a.test", to, letter("alice@a.test", to[0], "by LMTP "+domain, "hello")); err != nil {
			t.Fatal(err)
		}
		d.has(h, "carol", 2+i)
		d.has(h, "dave", 2+i)
		reports := h.await("alice@a.test", 3+i)
		if report := reports[len(reports)-1]; !strings.Contains(report, "Final-Recipient: rfc822; nobody@"+domain) || strings.Count(report, "Final-Recipient:") != 1 {
			t.Error(report)
		}
	}
	h.queued(0)
}
