package test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Each foreign program sends from one house to the other and reads there what came back, with certificates checked.

// command runs a program that must succeed.
func command(t *testing.T, stdin string, env []string, program string, args ...string) string {
	t.Helper()
	c := exec.Command(program, args...)
	c.Stdin = strings.NewReader(stdin)
	c.Env = append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// file writes a file that a program reads.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func (h *house) cert() string { return filepath.Join(h.dir, "tls", "cert.pem") }

func TestPython(t *testing.T) {
	python := need(t, "python3")
	a, b := twoHouses(t)
	const script = `
import smtplib, imaplib, ssl, sys, time, email.message
host, submission, submissions, imap, imaps, me, password, to, ca, step = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.check_hostname = True
if step == "send":
    m = email.message.EmailMessage()
    m["From"], m["To"], m["Subject"] = me, to, "from python"
    m.set_content("Grüße\n" * 3)
    m.add_attachment(bytes(range(256)) * 100, maintype="application", subtype="octet-stream", filename="ü.bin")
    with smtplib.SMTP(host, int(submission)) as s:
        s.starttls(context=context)
        s.login(me, password)
        s.send_message(m)
    with smtplib.SMTP_SSL(host, int(submissions), context=context) as s:
        s.login(me, password)
        s.send_message(m)
else:
    with imaplib.IMAP4(host, int(imap)) as c:
        c.starttls(ssl_context=context)
        c.login(me, password)
        c.select("INBOX")
        ok, data = c.search(None, "SUBJECT", '"from python"')
        print("found", len(data[0].split()))
    with imaplib.IMAP4_SSL(host, int(imaps), ssl_context=context) as c:
        c.login(me, password)
        c.select("INBOX")
        ok, data = c.fetch("1", "(FLAGS BODY.PEEK[])")
        m = email.message_from_bytes(data[0][1])
        assert m.get_payload()[1].get_payload(decode=True) == bytes(range(256)) * 100
        ok, _ = c.append("Drafts", "(\\Draft)", imaplib.Time2Internaldate(time.time()), b"Subject: draft\r\n\r\nx\r\n")
        assert ok == "OK"
        ok, _ = c.store("1", "+FLAGS", "(\\Seen \\Flagged)")
        assert ok == "OK"
        ok, _ = c.copy("1", "Archive") if c.create("Archive") else None
        print("read")
`
	name := file(t, script)
	args := func(h *house, me, to, step string) []string {
		p := func(n int) string { return fmt.Sprint(h.base + n) }
		return []string{name, "127.0.0.1", p(587), p(465), p(143), p(993), me, password, to, h.cert(), step}
	}
	command(t, "", nil, python, args(a, "alice@a.test", "bob@b.test", "send")...)
	command(t, "", nil, python, args(b, "bob@b.test", "alice@a.test", "send")...)
	a.await("alice@a.test", 2)
	b.await("bob@b.test", 2)
	for h, me := range map[*house]string{a: "alice@a.test", b: "bob@b.test"} {
		out := command(t, "", nil, python, args(h, me, me, "read")...)
		if !strings.Contains(out, "found 2") || !strings.Contains(out, "read") {
			t.Error(out)
		}
	}
}

func TestCurl(t *testing.T) {
	curl := need(t, "curl")
	a, b := twoHouses(t)
	send := func(h *house, me, to string) {
		for _, url := range []string{"smtp://" + h.addr(587), "smtps://" + h.addr(465)} {
			command(t, letter(me, to, "from curl", "hello"), nil, curl, "-sS", "--ssl-reqd", "--cacert", h.cert(), "--url", url,
				"--user", me+":"+password, "--mail-from", me, "--mail-rcpt", to, "-T", "-")
		}
	}
	send(a, "alice@a.test", "bob@b.test")
	send(b, "bob@b.test", "alice@a.test")
	a.await("alice@a.test", 2)
	b.await("bob@b.test", 2)
	for _, url := range []string{"imap://" + b.addr(143), "imaps://" + b.addr(993)} {
		out := command(t, "", nil, curl, "-sS", "--ssl-reqd", "--cacert", b.cert(), "--user", "bob@b.test:"+password, "--url", url+"/INBOX;MAILINDEX=1")
		if !strings.Contains(out, "Subject: from curl") {
			t.Error(out)
		}
	}
	out := command(t, "", nil, curl, "-sS", "--cacert", b.cert(), "--user", "bob@b.test:"+password, "--url", "imaps://"+b.addr(993)+"/INBOX", "-X", "SEARCH SUBJECT curl")
	if !strings.Contains(out, "* SEARCH 1 2") {
		t.Error(out)
	}
}

func TestSwaks(t *testing.T) {
	swaks := need(t, "swaks")
	a, b := twoHouses(t)
	send := func(h *house, me, to string) (n int) {
		for _, mech := range []string{"PLAIN", "LOGIN"} {
			for _, way := range [][]string{{"--server", h.addr(587), "--tls"}, {"--server", h.addr(465), "--tls-on-connect"}} {
				command(t, "", nil, swaks, append(way, "--auth", mech, "--auth-user", me, "--auth-password", password,
					"--from", me, "--to", to, "--header", "Subject: from swaks", "--body", "hello")...)
				n++
			}
		}
		return n
	}
	n := send(a, "alice@a.test", "bob@b.test")
	a.await("alice@a.test", send(b, "bob@b.test", "alice@a.test"))
	command(t, "", nil, swaks, "--server", b.addr(25), "--from", "x@x.example", "--to", "bob@b.test", "--body", "from outside")
	command(t, "", nil, swaks, "--server", b.addr(24), "--protocol", "LMTP", "--from", "x@x.example", "--to", "bob@b.test", "--body", "by LMTP")
	command(t, "", nil, swaks, "--socket", filepath.Join(b.dir, "run", "lmtp.sock"), "--protocol", "LMTP", "--from", "x@x.example", "--to", "bob@b.test", "--body", "by socket")
	b.await("bob@b.test", n+3)
	if out, err := exec.Command(swaks, "--server", b.addr(25), "--from", "x@x.example", "--to", "victim@elsewhere.example").CombinedOutput(); err == nil || !strings.Contains(string(out), "550 5.7.1") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestMsmtp(t *testing.T) {
	msmtp := need(t, "msmtp")
	a, b := twoHouses(t)
	send := func(from *house, me string, to *house, whom string) {
		ways := []string{fmt.Sprintf("port %d\ntls_starttls on", from.base+587), fmt.Sprintf("port %d\ntls_starttls off", from.base+465)}
		for i, way := range ways {
			rc := file(t, "defaults\nhost 127.0.0.1\n"+way+"\ntls on\ntls_trust_file "+from.cert()+"\nauth on\nuser "+me+
				"\npassword "+password+"\nfrom "+me+"\naccount default\n")
			command(t, letter(me, whom, "from msmtp", "hello"), nil, msmtp, "-C", rc, whom)
			to.await(whom, i+1)
		}
	}
	send(a, "alice@a.test", b, "bob@b.test")
	send(b, "bob@b.test", a, "alice@a.test")
}

func TestMbsync(t *testing.T) {
	mbsync := need(t, "mbsync")
	_, b := twoHouses(t)
	for i := range 5 {
		if err := b.send("x@x.example", []string{"bob@b.test"}, letter("x@x.example", "bob@b.test", fmt.Sprint("mail ", i), "hello")); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	rc := file(t, fmt.Sprintf(`IMAPAccount b
Host localhost
Port %d
User bob@b.test
Pass %s
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account b

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`, b.base+993, password, b.cert(), dir, dir))
	command(t, "", []string{"HOME=" + dir}, mbsync, "-c", rc, "-a")
	files, _ := filepath.Glob(filepath.Join(dir, "INBOX", "*", "*"))
	if len(mails(files)) != 5 {
		t.Fatalf("%d messages came: %v", len(files), files)
	}
	// a message more here, one fewer here, a folder more here: the other side follows
	if err := os.WriteFile(filepath.Join(dir, "INBOX", "new", "1.local"), []byte("Subject: local\n\nwritten here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(mails(files)[0]); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, "Projects", d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "", []string{"HOME=" + dir}, mbsync, "-c", rc, "-a")
	b.await("bob@b.test", 5)
	if got := strings.Join(b.messages("bob@b.test", "INBOX"), ""); !strings.Contains(got, "Subject: local\r\n") {
		t.Error(got)
	}
	if b.messages("bob@b.test", "Projects") != nil {
		t.Error("the new folder is not empty")
	}
}

// mails leaves out mbsync's own files.
func mails(files []string) (out []string) {
	for _, f := range files {
		if !strings.HasPrefix(filepath.Base(f), ".") {
			out = append(out, f)
		}
	}
	return out
}

func TestMutt(t *testing.T) {
	mutt := need(t, "mutt")
	a, b := twoHouses(t)
	dir := t.TempDir()
	send := func(from *house, me string, to *house, whom string) {
		rc := file(t, fmt.Sprintf(`set smtp_url="smtp://%s@127.0.0.1:%d/"
set smtp_pass="%s"
set smtp_authenticators="plain"
set ssl_force_tls=yes
set certificate_file="%s"
set ssl_verify_host=no
set from="%s"
set realname="Mutt"
set use_from=yes
set copy=no
`, me, from.base+587, password, from.cert(), me))
		command(t, "hello\n", []string{"HOME=" + dir, "TERM=dumb"}, mutt, "-n", "-F", rc, "-s", "from mutt", "--", whom)
		to.await(whom, 1)
	}
	send(a, "alice@a.test", b, "bob@b.test")
	send(b, "bob@b.test", a, "alice@a.test")
	read := file(t, fmt.Sprintf(`set folder="imaps://bob@b.test@127.0.0.1:%d/"
set imap_user="bob@b.test"
set imap_pass="%s"
set imap_authenticators="login"
set spoolfile="+INBOX"
set certificate_file="%s"
set ssl_verify_host=no
set imap_idle=no
set wait_key=no
set quit=yes
set delete=yes
set confirmappend=no
set header_cache=""
set mbox="+INBOX"
set move=no
set confirmcreate=no
push "<copy-message><kill-line>%s/out<enter><quit>"
`, b.base+993, password, b.cert(), dir))
	terminal(t, []string{"HOME=" + dir, "TERM=xterm"}, mutt, "-n", "-F", read)
	text, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil || !strings.Contains(string(text), "Subject: from mutt") {
		t.Error(err, string(text))
	}
}

// terminal runs a program that wants a terminal, by script(1).
func terminal(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	script := need(t, "script")
	words := []string{program}
	for _, a := range args {
		words = append(words, "'"+a+"'")
	}
	command(t, "", env, "timeout", "60", script, "-qec", strings.Join(words, " "), "/dev/null")
}

// TestAuthSocket: another mail server on this machine asks who may log in, by the Dovecot auth protocol.
func TestAuthSocket(t *testing.T) {
	h := newHouse(t, "a.test")
	h.start()
	c, err := net.Dial("unix", filepath.Join(h.dir, "run", "accounts.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	talk := &conversation{t, c, bufio.NewReader(c)}
	talk.hear("DONE")
	plain := func(password string) string {
		return base64.StdEncoding.EncodeToString([]byte("\x00admin@a.test\x00" + password))
	}
	fmt.Fprintf(c, "VERSION\t1\t2\nCPID\t%d\nAUTH\t1\tPLAIN\tservice=smtp\tsecured\tresp=%s\n", os.Getpid(), plain(password))
	if l := talk.hear("OK\t1"); !strings.Contains(l, "user=admin@a.test") {
		t.Error(l)
	}
	fmt.Fprintf(c, "AUTH\t2\tPLAIN\tservice=smtp\tsecured\tresp=%s\n", plain("wrong"))
	talk.hear("FAIL\t2")
}
