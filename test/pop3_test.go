package test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
)

// many is how many messages a client has to cope with: in CI, and with SAMOTOP_NIGHTLY.
func many() int {
	if os.Getenv("SAMOTOP_NIGHTLY") != "" {
		return 5000
	}
	return 300
}

// fill appends n messages to a mailbox, some with lines that begin with dots and lines of 8-bit text, and returns them.
func (h *house) fill(user, mailbox string, n int) []string {
	h.t.Helper()
	c := h.imap(user)
	defer c.Close()
	var out []string
	var cmds []*imapclient.AppendCommand
	settle := func() {
		for _, cmd := range cmds {
			if _, err := cmd.Wait(); err != nil {
				h.t.Fatal(err)
			}
		}
		cmds = cmds[:0]
	}
	for i := range n {
		text := strings.Repeat("a line\r\n.\r\n..dots\r\n", i%7) + "Grüße\r\n"
		m := fmt.Sprintf("From: x@x.example\r\nTo: %s\r\nSubject: message %d\r\nDate: Mon, 2 Jan 2006 15:04:05 +0100\r\nMessage-ID: <%d.fill@x.example>\r\n"+
			"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s", user, i, i, text)
		cmd := c.Append(mailbox, int64(len(m)), nil)
		if _, err := cmd.Write([]byte(m)); err != nil {
			h.t.Fatal(err)
		}
		if err := cmd.Close(); err != nil {
			h.t.Fatal(err)
		}
		out = append(out, m)
		if cmds = append(cmds, cmd); len(cmds) == 50 {
			settle()
		}
	}
	settle()
	return out
}

// hashes of messages, sorted, whatever their line ends.
func hashes(messages []string) []string {
	var out []string
	for _, m := range messages {
		m = strings.TrimRight(strings.ReplaceAll(m, "\r\n", "\n"), "\n")
		out = append(out, fmt.Sprintf("%x", sha256.Sum256([]byte(m))))
	}
	slices.Sort(out)
	return out
}

// readFiles reads the files of directories.
func readFiles(t *testing.T, dirs ...string) (out []string) {
	t.Helper()
	for _, d := range dirs {
		files, err := filepath.Glob(filepath.Join(d, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(b))
		}
	}
	return out
}

// stripped takes fields that a fetcher puts in front away.
func stripped(messages []string, first string) []string {
	for i, m := range messages {
		if at := strings.Index(m, first); at > 0 {
			messages[i] = m[at:]
		}
	}
	return messages
}

func popHouse(t *testing.T, n int) (*house, []string) {
	h := newHouse(t, "b.test", "bob")
	h.start()
	return h, h.fill("bob@b.test", "INBOX", n)
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if a, b := hashes(got), hashes(want); !slices.Equal(a, b) {
		t.Errorf("%d messages came, %d should have, or they differ", len(a), len(b))
	}
}

func TestPoplib(t *testing.T) {
	python := need(t, "python3")
	h, want := popHouse(t, many())
	const script = `
import poplib, ssl, sys, os
host, pop, pops, me, password, ca, out = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
c = poplib.POP3(host, int(pop))
assert "STLS" in c.capa(), c.capa()
assert "USER" not in c.capa(), c.capa()
c.stls(context=context)
c.utf8()
c.user(me)
c.pass_(password)
n, octets = c.stat()
uidl = c.uidl()[1]
sizes = [int(l.split()[1]) for l in c.list()[1]]
assert n == len(uidl) == len(sizes) and sum(sizes) == octets
for i in range(1, n + 1):
    lines = c.retr(i)[1]
    data = b"\r\n".join(lines) + b"\r\n"
    assert len(data) == sizes[i-1], (i, len(data), sizes[i-1])
    open(os.path.join(out, str(i)), "wb").write(data)
assert len(c.top(1, 1)[1]) <= len(c.retr(1)[1])
c.dele(1); c.dele(n); c.rset(); c.dele(2)
c.quit()
c = poplib.POP3_SSL(host, int(pops), context=context)
try:
    poplib.POP3_SSL(host, int(pops), context=context).pass_("x")
    assert False
except poplib.error_proto: pass
c.user(me)
c.pass_(password)
after = c.uidl()[1]
assert [u.split()[1] for u in after] == [u.split()[1] for u in uidl[:1] + uidl[2:]]
c.dele(1)
c.close() # without QUIT: nothing is deleted
c = poplib.POP3_SSL(host, int(pops), context=context)
for attempt in range(100):
    try:
        c.user(me)
        c.pass_(password)
        break
    except poplib.error_proto as e: # the lock, until the server has seen the end of the other session
        assert b"IN-USE" in e.args[0], e
        import time; time.sleep(0.1)
assert c.stat()[0] == n - 1
c.quit()
print("done")
`
	dir := t.TempDir()
	out := command(t, "", nil, python, file(t, script), "127.0.0.1", fmt.Sprint(h.base+110), fmt.Sprint(h.base+995), "bob@b.test", password, h.cert(), dir)
	if !strings.Contains(out, "done") {
		t.Error(out)
	}
	same(t, readFiles(t, dir), want)
	h.await("bob@b.test", len(want)-1)
}

// nobody runs a program that refuses to run as root; what it needs is below dir.
func nobody(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	c := exec.Command(program, args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	if os.Geteuid() == 0 {
		err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(p, nobodyID, nobodyID))
		})
		if err != nil {
			t.Fatal(err)
		}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%.2000s", program, err, out)
	}
}

const nobodyID = 65534

// patientGetmail runs getmail, which forks a child for each message and only then asks to be told of its end: a child that is
// faster is waited for until a minute has passed, and getmail fails. Here it waits as everybody does.
const patientGetmail = `import os, runpy, sys
from getmailcore.baseclasses import ForkingBase
ForkingBase._prepare_child = lambda self: None
ForkingBase._wait_for_child = lambda self, pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
`

func TestGetmail(t *testing.T) {
	getmail, python := need(t, "getmail"), need(t, "/usr/bin/python3")
	h, want := popHouse(t, many())
	dir, err := os.MkdirTemp("", "getmail") // t.TempDir is closed to nobody
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	makeMaildir(t, dir)
	cert, err := os.ReadFile(h.cert())
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`[retriever]
type = SimplePOP3SSLRetriever
server = localhost
port = %d
username = bob@b.test
password = %s
ca_certs = %s/cert.pem
[destination]
type = Maildir
path = %s/
[options]
delete = false
read_all = false
received = false
delivered_to = false
`, h.base+995, password, dir, dir)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "rc"), []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600)); err != nil {
		t.Fatal(err)
	}
	run := func() {
		nobody(t, dir, python, "-c", patientGetmail, getmail, "--getmaildir", dir, "--rcfile", filepath.Join(dir, "rc"), "--quiet")
	}
	run()
	first := "From: x@x.example"
	same(t, stripped(readFiles(t, filepath.Join(dir, "new")), first), want)
	run() // unique-ids are the same: nothing comes twice
	more := h.fill("bob@b.test", "INBOX", 1)
	run()
	same(t, stripped(readFiles(t, filepath.Join(dir, "new")), first), append(want, more...))
}

// maildir makes an empty one.
func maildir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mail")
	makeMaildir(t, dir)
	return dir
}

func makeMaildir(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFetchmail(t *testing.T) {
	fetchmail := need(t, "fetchmail")
	h, want := popHouse(t, many()/3)
	dir := t.TempDir()
	take := file(t, "#!/bin/sh\nexec cat >\"$(mktemp "+dir+"/m.XXXXXXXX)\"\n")
	if err := os.Chmod(take, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(port int, options string) {
		t.Helper()
		rc := file(t, fmt.Sprintf("set no bouncemail\npoll localhost service %d protocol POP3\n  user \"bob@b.test\" password %q\n  options %s sslcertck sslcertfile %q\n  fetchall\n  mda %q\n",
			port, password, options, h.cert(), take))
		home := t.TempDir()
		command(t, "", []string{"HOME=" + home, "FETCHMAILHOME=" + home}, fetchmail, "--fetchmailrc", rc, "--nosyslog", "--invisible", "--pidfile", filepath.Join(home, "pid"))
	}
	run(h.base+995, "ssl keep")
	same(t, stripped(readFiles(t, dir), "From: x@x.example"), want)
	run(h.base+110, "sslproto TLS1.2+ no keep") // by STLS, and deletes
	same(t, stripped(readFiles(t, dir), "From: x@x.example"), append(want, want...))
	h.await("bob@b.test", 0)
}

func TestMpop(t *testing.T) {
	mpop := need(t, "mpop")
	h, want := popHouse(t, many())
	run := func(dir string, port int, starttls, keep string) {
		t.Helper()
		state := filepath.Join(dir, "uidls")
		rc := file(t, fmt.Sprintf("defaults\nhost localhost\nport %d\ntls on\ntls_starttls %s\ntls_trust_file %s\nuser bob@b.test\npassword %s\n"+
			"delivery maildir %s\nuidls_file %s\nkeep %s\nreceived_header off\naccount default\n", port, starttls, h.cert(), password, dir, state, keep))
		command(t, "", []string{"HOME=" + dir}, mpop, "-C", rc, "-q")
	}
	a := maildir(t)
	run(a, h.base+995, "off", "on")
	run(a, h.base+995, "off", "on") // nothing comes twice
	same(t, readFiles(t, filepath.Join(a, "new")), want)
	b := maildir(t)
	run(b, h.base+110, "on", "off")
	same(t, readFiles(t, filepath.Join(b, "new")), want)
	h.await("bob@b.test", 0)
}

func TestCurlPOP3(t *testing.T) {
	curl := need(t, "curl")
	h, want := popHouse(t, 3)
	args := []string{"-sS", "--ssl-reqd", "--cacert", h.cert(), "--user", "bob@b.test:" + password, "--url"}
	for _, url := range []string{"pop3://" + h.addr(110), "pop3s://" + h.addr(995)} {
		if out := command(t, "", nil, curl, append(args, url+"/")...); strings.Count(out, "\r\n") != 3 {
			t.Errorf("LIST: %q", out)
		}
		if out := command(t, "", nil, curl, append(args, url+"/2")...); out != want[1] {
			t.Errorf("RETR: got %q, want %q", out, want[1])
		}
		for _, mech := range []string{"PLAIN", "LOGIN"} {
			out := command(t, "", nil, curl, append([]string{"--login-options", "AUTH=" + mech}, append(args, url+"/", "-X", "UIDL")...)...)
			if !strings.Contains(out, "1 ") {
				t.Errorf("%s, UIDL: %q", mech, out)
			}
		}
	}
	command(t, "", nil, curl, append(args, "pop3s://"+h.addr(995)+"/1", "-X", "DELE", "--head")...)
	h.await("bob@b.test", 2)
}
