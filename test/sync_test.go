package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// Two-way syncs of many messages: both sides change, and then they must be the same.

// tree is a local copy of an account's INBOX, as a maildir.
type tree struct {
	t     *testing.T
	inbox string
	sync  func()
}

func (x tree) files() []string {
	x.t.Helper()
	files, err := filepath.Glob(filepath.Join(x.inbox, "*", "*"))
	if err != nil {
		x.t.Fatal(err)
	}
	var out []string
	for _, f := range mails(files) {
		if d := filepath.Base(filepath.Dir(f)); d == "cur" || d == "new" {
			out = append(out, f)
		}
	}
	return out
}

func (x tree) read() []string {
	x.t.Helper()
	var out []string
	for _, f := range x.files() {
		b, err := os.ReadFile(f)
		if err != nil {
			x.t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return without("X-TUID: ", out) // mbsync's own mark
}

// without takes a header field that a program adds away.
func without(begin string, messages []string) []string {
	for i, m := range messages {
		at := strings.Index(m, begin)
		if at < 0 || at > 0 && m[at-1] != '\n' {
			continue
		}
		if end := strings.IndexByte(m[at:], '\n'); end >= 0 {
			messages[i] = m[:at] + m[at+end+1:]
		}
	}
	return messages
}

// bothWays syncs, changes both sides, and syncs again.
func bothWays(h *house, x tree, want []string) {
	t := x.t
	t.Helper()
	x.sync()
	same(t, x.read(), want)

	// here: one goes, one is flagged, one comes
	files := x.files()
	if len(files) < 10 {
		t.Fatalf("%d files", len(files))
	}
	flagged := filepath.Join(x.inbox, "cur", strings.SplitN(filepath.Base(files[1]), ":2,", 2)[0]+":2,FS")
	err := errors.Join(os.Remove(files[0]), os.Rename(files[1], flagged),
		os.WriteFile(filepath.Join(x.inbox, "new", "1.local"), []byte("Subject: local\nMessage-ID: <local@x.example>\n\nwritten here\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	// there: a tenth goes, others are marked as answered, ten come
	c := h.imap("bob@b.test")
	defer c.Close()
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	n := uint32(len(want))
	part := func(from, to uint32) imap.SeqSet { return imap.SeqSet{imap.SeqRange{Start: from, Stop: to}} }
	err = errors.Join(
		c.Store(part(n/2, n/2+n/10), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(),
		c.Store(part(n/4, n/4+n/10), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagAnswered}}, nil).Close(),
		c.Expunge().Close())
	if err != nil {
		t.Fatal(err)
	}
	h.fill("bob@b.test", "INBOX", 10)
	x.sync()
	x.sync() // nothing is left to do, and nothing is done
	there := h.messages("bob@b.test", "INBOX")
	if wantN := len(want) - int(n/10+1) + 10; len(there) != wantN && len(there) != wantN+1 { // the removed one may be of the tenth
		t.Errorf("%d messages on the server, want about %d", len(there), wantN)
	}
	same(t, x.read(), without("X-TUID: ", there))
	if !strings.Contains(strings.Join(there, ""), "Subject: local\r\n") {
		t.Error("what was written here did not come")
	}
	count := func(flags ...imap.Flag) int {
		t.Helper()
		data, err := c.Search(&imap.SearchCriteria{Flag: flags}, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return len(data.AllSeqNums())
	}
	local := func(letter string) (n int) {
		for _, f := range x.files() {
			if _, flags, _ := strings.Cut(filepath.Base(f), ":2,"); strings.Contains(flags, letter) {
				n++
			}
		}
		return n
	}
	if here, there := local("R"), count(imap.FlagAnswered); here != there || here < int(n/10) {
		t.Errorf("answered: %d here, %d there", here, there)
	}
	if here, there := local("F"), count(imap.FlagFlagged); here != there || here > 1 { // 0: it was of the tenth
		t.Errorf("flagged: %d here, %d there", here, there)
	}
}

func TestMbsyncBothWays(t *testing.T) {
	mbsync := need(t, "mbsync")
	h, want := popHouse(t, many())
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

Channel inbox
Far :far:
Near :near:
Create Near
Expunge Both
SyncState *
`, h.base+993, password, h.cert(), dir, dir))
	bothWays(h, tree{t, filepath.Join(dir, "INBOX"), func() {
		t.Helper()
		command(t, "", []string{"HOME=" + dir}, mbsync, "-c", rc, "-a")
	}}, want)
}

func TestOfflineimap(t *testing.T) {
	offlineimap := need(t, "offlineimap")
	h, want := popHouse(t, many())
	dir := t.TempDir()
	rc := file(t, fmt.Sprintf(`[general]
accounts = b
metadata = %s/meta
ui = quiet
[Account b]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %s/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = %d
remoteuser = bob@b.test
remotepass = %s
ssl = yes
sslcacertfile = %s
folderfilter = lambda name: name == "INBOX"
`, dir, dir, h.base+993, password, h.cert()))
	bothWays(h, tree{t, filepath.Join(dir, "mail", "INBOX"), func() {
		t.Helper()
		command(t, "", []string{"HOME=" + dir}, offlineimap, "-o", "-c", rc)
	}}, want)
}

func TestImapfilter(t *testing.T) {
	imapfilter := need(t, "imapfilter")
	h, want := popHouse(t, 50)
	dir := t.TempDir()
	rc := file(t, fmt.Sprintf(`options.create = true
account = IMAP { server = 'localhost', port = %d, username = 'bob@b.test', password = '%s', ssl = 'auto' }
found = account.INBOX:contain_subject('message 1')
found:mark_flagged()
found:move_messages(account['Filtered/One'])
account.INBOX:contain_subject('message 3'):delete_messages()
`, h.base+993, password))
	command(t, "", []string{"HOME=" + dir}, imapfilter, "-t", h.cert(), "-c", rc)
	moved, left := h.messages("bob@b.test", "Filtered/One"), h.messages("bob@b.test", "INBOX")
	if len(moved) != 11 || len(left) != len(want)-11-11 { // 1, 10 to 19; 3, 30 to 39
		t.Errorf("%d were moved, %d are left", len(moved), len(left))
	}
}

// TestGetmailIMAP fetches by IMAP and deletes.
func TestGetmailIMAP(t *testing.T) {
	getmail, python := need(t, "getmail"), need(t, "/usr/bin/python3")
	h, want := popHouse(t, 50)
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
	text := fmt.Sprintf("[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\nport = %d\nusername = bob@b.test\npassword = %s\nca_certs = %s/cert.pem\n"+
		"mailboxes = (\"INBOX\",)\n[destination]\ntype = Maildir\npath = %s/\n[options]\ndelete = true\nread_all = true\nreceived = false\ndelivered_to = false\n", h.base+993, password, dir, dir)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "rc"), []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600)); err != nil {
		t.Fatal(err)
	}
	nobody(t, dir, python, "-c", patientGetmail, getmail, "--getmaildir", dir, "--rcfile", filepath.Join(dir, "rc"), "--quiet")
	same(t, without("X-getmail-retrieved-from-mailbox: ", stripped(readFiles(t, filepath.Join(dir, "new")), "From: x@x.example")), want)
	h.await("bob@b.test", 0)
}
