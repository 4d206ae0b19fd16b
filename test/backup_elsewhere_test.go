package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// elsewhere is a directory on another file system, if this machine has one.
func elsewhere(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "samotop-test")
	if err != nil {
		t.Log("no other file system: the backup stays on this one: ", err)
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// highest is the UIDVALIDITY and HIGHESTMODSEQ of an INBOX.
func (h *house) highest(user string) (validity uint32, modseq uint64) {
	h.t.Helper()
	c := h.imap(user)
	defer c.Close()
	data, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	if err != nil {
		h.t.Fatal(err)
	}
	return data.UIDValidity, data.HighestModSeq
}

// TestBackupOfSplitHouse backs up a house of many processes twice to another file system: the second copies only what is
// new. The house that is made of it has all mail, and numbers beyond all that a client saw, also after the backup.
func TestBackupOfSplitHouse(t *testing.T) {
	s := newSplit(t, "s.test", "alice")
	s.route(&house{domain: "far.test", base: s.base + 50}) // where nobody listens
	s.kill("qm", syscall.SIGTERM)
	s.startRoom("qm")
	to := filepath.Join(elsewhere(t), "backups")
	sent := 0
	send := func(n int) {
		t.Helper()
		for range n {
			sent++
			text := fmt.Sprintf("Subject: s\r\n\r\nnumber %d\r\n%s", sent, strings.Repeat("something to copy\r\n", 5000))
			if err := s.send("x@x.example", []string{"alice@s.test"}, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	backup := func() (m struct{ Dir string }) {
		t.Helper()
		if err := json.Unmarshal([]byte(s.run("", "backup", to, "--json")), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	send(10)
	if err := s.submit("alice@s.test", []string{"someone@far.test"}, letter("alice@s.test", "someone@far.test", "out", "hello")); err != nil {
		t.Fatal(err)
	}
	first := backup()
	send(3)
	second := backup()
	if one, two := segment(t, first.Dir), segment(t, second.Dir); !os.SameFile(one, two) {
		t.Error("the first segment of the mails was copied twice")
	}
	send(4) // is lost, and was seen
	validity, modseq := s.highest("alice@s.test")
	for _, r := range rooms {
		s.kill(r, syscall.SIGTERM)
	}
	again := &house{t: t, dir: filepath.Join(t.TempDir(), "again"), base: s.base, domain: s.domain}
	again.run("", "restore", to)
	again.run("", "verify")
	again.start()
	if v, m := again.highest("alice@s.test"); v <= validity || m <= modseq {
		t.Errorf("numbers were %d and %d, are %d and %d", validity, modseq, v, m)
	}
	again.await("alice@s.test", 13)
	again.queued(1)
	again.drain()
}

// segment is the first segment of the mails in a backup.
func segment(t *testing.T, backup string) os.FileInfo {
	t.Helper()
	st, err := os.Stat(filepath.Join(backup, "mails", "log", "00000001.log"))
	if err != nil {
		t.Fatal(err)
	}
	return st
}
