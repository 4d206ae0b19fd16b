package test

import (
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// rcpt is what a stranger's server hears at RCPT.
func (h *house) rcpt(from, to string) string {
	h.t.Helper()
	c := h.talk(25)
	defer c.c.Close()
	for _, line := range []string{"", "EHLO mail.far.test", "MAIL FROM:<" + from + ">"} {
		if line != "" {
			c.say(line)
		}
		c.hear("2")
		for c.r.Buffered() > 0 {
			c.hear("2")
		}
	}
	c.say("RCPT TO:<" + to + ">")
	return strings.TrimSpace(c.hear(""))
}

func (h *house) hears(from, to, want string) {
	h.t.Helper()
	if got := h.rcpt(from, to); !strings.HasPrefix(got, want) {
		h.t.Errorf("%s to %s: %s, want %s", from, to, got, want)
	}
}

// askHouse makes a house in which strangers ask alice.
func askHouse(t *testing.T, strangers ...string) *house {
	h := newHouse(t, "a.test", "alice")
	h.run("", "contact", "policy", "alice@a.test", "ask")
	h.start()
	for _, s := range strangers {
		h.hears(s, "alice@a.test", "450 4.7.1")
	}
	h.shows("alice@a.test", pending, strangers...)
	return h
}

// TestContactsPython decides by Python's imaplib as programs do that know no MOVE: by COPY, or by sending the message anew, and
// EXPUNGE. The next RCPT meets each decision, and a session that has the folder open sees it.
func TestContactsPython(t *testing.T) {
	python := need(t, "python3")
	const alice = "alice@a.test"
	h := askHouse(t, "copied@x.test", "sent@x.test", "backwards@x.test", "no@x.test")
	seen, stop := h.idle(alice, approved)
	script := file(t, `
import imaplib, sys
port, user, password, how, who, to = sys.argv[1:]
c = imaplib.IMAP4_SSL("127.0.0.1", int(port))
c.login(user, password)
c.select("Contacts/Pending")
ok, data = c.uid("SEARCH", "SUBJECT", who)
uid = data[0].split()[0]
ok, data = c.uid("FETCH", uid, "(BODY.PEEK[])")
text = data[0][1]
def delete():
    assert c.uid("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
    assert c.expunge()[0] == "OK"
def send():
    assert c.append(to, r"(\Seen)", None, text)[0] == "OK"
if how == "copy":
    assert c.uid("COPY", uid, to)[0] == "OK"
    delete()
elif how == "send":
    send()
    delete()
elif how == "backwards":
    delete()
    send()
c.logout()
`)
	act := func(how, who, to string) {
		t.Helper()
		command(t, "", nil, python, script, fmt.Sprint(h.base+993), alice, password, how, who, to)
	}
	act("copy", "copied@x.test", approved)
	h.hears("copied@x.test", alice, "250 ")
	select {
	case <-seen:
	case <-time.After(patience):
		t.Fatal("IDLE does not tell of the decision")
	}
	stop()
	act("send", "sent@x.test", approved)
	h.hears("sent@x.test", alice, "250 ")
	act("backwards", "backwards@x.test", approved)
	h.hears("backwards@x.test", alice, "250 ")
	act("copy", "no@x.test", rejected)
	h.hears("no@x.test", alice, "550 5.7.1")
	h.shows(alice, approved, "copied@x.test", "sent@x.test", "backwards@x.test")
	h.shows(alice, rejected, "no@x.test")
	h.shows(alice, pending)
	h.drain()
	if out, err := h.try("", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestContactsMbsync decides with mbsync, by moving files of the local copy.
func TestContactsMbsync(t *testing.T) {
	mbsync := need(t, "mbsync")
	const alice = "alice@a.test"
	h := askHouse(t, "yes@x.test", "no@x.test", "gone@x.test", "later@x.test")
	dir := t.TempDir()
	rc := file(t, fmt.Sprintf(`IMAPAccount a
Host localhost
Port %d
User %s
Pass %s
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account a

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns Contacts/*
Create Both
Expunge Both
SyncState *
`, h.base+993, alice, password, h.cert(), dir, dir))
	sync := func() { command(t, "", []string{"HOME=" + dir}, mbsync, "-c", rc, "-a") }
	sync()
	here := func(folder string) map[string]string {
		t.Helper()
		files, _ := filepath.Glob(filepath.Join(dir, folder, "[cn]*", "*"))
		out := map[string]string{}
		for _, f := range mails(files) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(text), "\nSubject: Contact ")
			who, _, _ := strings.Cut(rest, "\n")
			out[strings.TrimSpace(who)] = f
		}
		return out
	}
	files := here(pending)
	if len(files) != 4 {
		t.Fatalf("%v came", files)
	}
	name := func(n int) string { return fmt.Sprintf("17%08d.%d_1.here:2,S", n, n) } // of mail that mbsync has not seen
	for i, x := range []struct{ who, to string }{{"yes@x.test", approved}, {"no@x.test", rejected}} {
		if err := os.Rename(files[x.who], filepath.Join(dir, x.to, "cur", name(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(files["gone@x.test"]); err != nil {
		t.Fatal(err)
	}
	sync()
	h.hears("yes@x.test", alice, "250 ")
	h.hears("no@x.test", alice, "550 5.7.1")
	h.hears("gone@x.test", alice, "550 5.7.1")
	sync()
	sync()
	h.shows(alice, approved, "yes@x.test")
	h.shows(alice, rejected, "no@x.test", "gone@x.test")
	h.shows(alice, pending, "later@x.test")
	if a, r, p := here(approved), here(rejected), here(pending); len(a) != 1 || len(r) != 2 || len(p) != 1 {
		t.Errorf("the local copy has %v, %v, %v", a, r, p)
	}
}

// TestContactsMutt decides with mutt: save to another folder.
func TestContactsMutt(t *testing.T) {
	mutt := need(t, "mutt")
	const alice = "alice@a.test"
	h := askHouse(t, "yes@x.test")
	dir := t.TempDir()
	url := fmt.Sprintf("imaps://%s@127.0.0.1:%d/", alice, h.base+993)
	rc := file(t, fmt.Sprintf(`set folder="%s"
set imap_user="%s"
set imap_pass="%s"
set imap_authenticators="login"
set spoolfile="+Contacts/Pending"
set certificate_file="%s"
set ssl_verify_host=no
set imap_idle=no
set wait_key=no
set quit=yes
set delete=yes
set confirmappend=no
set header_cache=""
set move=no
set confirmcreate=no
set resolve=no
push "<save-message><kill-line>+Contacts/Approved<enter><sync-mailbox><quit>"
`, url, alice, password, h.cert()))
	terminal(t, []string{"HOME=" + dir, "TERM=xterm"}, mutt, "-n", "-F", rc)
	h.hears("yes@x.test", alice, "250 ")
	h.shows(alice, approved, "yes@x.test")
	h.shows(alice, pending)
}

// TestContactsPolicies walks through each policy at port 25.
func TestContactsPolicies(t *testing.T) {
	const alice = "alice@a.test"
	h := newHouse(t, "a.test", "alice")
	h.start()
	h.run("", "contact", "approve", alice, "friend@x.test")
	h.run("", "contact", "reject", alice, "bad@x.test")
	h.run("", "contact", "reject", alice, "@worse.test")
	for _, x := range []struct{ policy, stranger string }{{"open", "250 "}, {"show", "250 "}, {"ask", "450 4.7.1"}, {"closed", "550 5.7.1"}} {
		h.run("", "contact", "policy", alice, x.policy)
		h.hears("stranger-"+x.policy+"@x.test", alice, x.stranger)
		h.hears("friend@x.test", alice, "250 ")
		h.hears("bad@x.test", alice, "550 5.7.1")
		h.hears("anybody@worse.test", alice, "550 5.7.1")
		for _, role := range []string{"postmaster@a.test", "abuse@a.test", "postmaster"} {
			h.hears("bad@x.test", role, "250 ")
		}
	}
	h.run("", "contact", "policy", "admin@a.test", "closed") // who gets postmaster's mail
	h.hears("bad@x.test", "admin@a.test", "550 5.7.1")
	h.hears("bad@x.test", "postmaster@a.test", "250 ")

	// One sender for a time.
	h.run("", "contact", "policy", alice, "ask")
	suffix := strings.Fields(h.run("", "contact", "suffix", alice, "--for", "1h"))[0]
	h.hears("code@shop.test", suffix, "250 ")
	h.hears("receipt@shop.test", suffix, "250 ")
	h.hears("other@elsewhere.test", suffix, "450 4.7.1")
	h.hears("code@shop.test", alice, "450 4.7.1")

	// An approval that ends.
	h.run("", "contact", "approve", alice, "short@x.test", "--for", "1s")
	h.until("the approval ends", func() bool { return strings.HasPrefix(h.rcpt("short@x.test", alice), "450 4.7.1") })

	// To whom she writes is approved, but not whom she rejected.
	h.hears("pen@pal.test", alice, "450 4.7.1")
	if err := h.submit(alice, []string{"pen@pal.test", "bad@x.test"}, letter(alice, "pen@pal.test", "hello", "hello")); err != nil {
		t.Fatal(err)
	}
	h.hears("pen@pal.test", alice, "250 ")
	h.hears("bad@x.test", alice, "550 5.7.1")
	if list := h.run("", "contact", "list", alice); !strings.Contains(list, "pen@pal.test") {
		t.Error(list)
	}
	h.run("", "contact", "remove", alice, "pen@pal.test")
	h.hears("pen@pal.test", alice, "450 4.7.1")
}

// TestContactsKilled kills the house while alice decides: what her program was told is decided, and in the end each contact is one
// message in the folder of its state, whatever was under way.
func TestContactsKilled(t *testing.T) {
	const alice = "alice@a.test"
	var who []string
	for i := range 24 {
		who = append(who, fmt.Sprintf("s%02d@x.test", i))
	}
	h := askHouse(t, who...)
	sure := map[string]bool{} // approved for certain
	for round := range 4 {
		c := h.imap(alice)
		if _, err := c.Select(pending, nil).Wait(); err != nil {
			t.Fatal(err)
		}
		data, err := c.Fetch(imap.SeqSet{imap.SeqRange{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Envelope: true}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan string, len(data))
		go func() {
			defer close(done)
			for _, m := range data[:len(data)/2] {
				if _, err := c.Move(imap.UIDSetNum(m.UID), approved).Wait(); err != nil {
					return
				}
				done <- strings.TrimPrefix(m.Envelope.Subject, "Contact ")
			}
		}()
		for range round + 1 { // a different place in each round
			if s, ok := <-done; ok {
				sure[s] = true
			}
		}
		if err := h.cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-h.ended
		for s := range done {
			sure[s] = true
		}
		c.Close()
		h.start()
		for s := range sure {
			h.hears(s, alice, "250 ")
		}
	}
	if len(sure) < 10 {
		t.Errorf("only %d decisions were made", len(sure))
	}
	state := map[string][]string{}
	for line := range strings.Lines(h.run("", "contact", "list", alice)) {
		for _, s := range who {
			if f := strings.Fields(line); len(f) > 1 && f[0] == s {
				state[f[1]] = append(state[f[1]], s)
			}
		}
	}
	if len(state["pending"])+len(state["approved"]) != len(who) {
		t.Errorf("contacts: %v", state)
	}
	h.shows(alice, approved, state["approved"]...)
	h.shows(alice, pending, state["pending"]...)
	h.shows(alice, rejected)
	h.drain()
	if out, err := h.try("", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

const contactsPostfix = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
myhostname = mx.b.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:MX
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_tls_security_level = may
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
`

// TestContactsPostfix: the stranger's server is a Postfix, which keeps what was put off and comes again.
func TestContactsPostfix(t *testing.T) {
	const alice = "alice@a.test"
	h := askHouse(t)
	port := freePort(t)
	again := startPostfix(t, contactsPostfix, "PORT", port, "MX", fmt.Sprint(h.base+25))
	listens(t, port)
	send := func(subject string) {
		t.Helper()
		c, err := smtp.Dial("127.0.0.1:" + port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := transact(c, "bob@b.test", []string{alice}, letter("bob@b.test", alice, subject, "hello")); err != nil {
			t.Fatal(err)
		}
	}
	send("may I")
	h.shows(alice, pending, "bob@b.test")
	h.await(alice, 0)
	h.move(alice, pending, approved)
	h.until("what it has kept arrives", func() bool {
		again() // as it would by itself, sooner or later
		return len(h.messages(alice, "INBOX")) > 0
	})
	h.await(alice, 1)
	send("once more")
	h.await(alice, 2)
}
