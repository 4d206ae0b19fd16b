package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestBackupUnderLoad makes three backups under a load of ten sessions, the later ones on top of the first, and a house of
// each. Whatever was acknowledged before a backup began is in it, nothing is there twice but after a lost answer, and every mailbox
// has another UIDVALIDITY.
func TestBackupUnderLoad(t *testing.T) {
	h := newHouse(t, "a.test", "u0", "u1", "u2")
	h.start()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{h: h, acked: map[string]bool{}, lost: map[string]int{}}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for w := range 10 {
		wg.Go(func() { l.run(ctx, w) })
	}
	to := filepath.Join(t.TempDir(), "backups")
	type backup struct {
		dir    string
		before []string
	}
	var backups []backup
	for n := range 3 {
		before := l.waitFor((n + 1) * 60)
		var m struct{ Dir string }
		if err := json.Unmarshal([]byte(h.run("", "backup", to, "--keep", "3", "--json")), &m); err != nil {
			t.Fatal(err)
		}
		backups = append(backups, backup{m.Dir, before})
	}
	stop()
	wg.Wait()
	old := h.validity()
	h.settle()
	h.drain()
	for n, b := range backups {
		r := &house{t: t, dir: filepath.Join(t.TempDir(), "again"), base: h.base, domain: h.domain}
		r.run("", "restore", b.dir)
		r.start()
		if now := r.validity(); now <= old {
			t.Errorf("backup %d: UIDVALIDITY was %d and is %d", n, old, now)
		}
		r.settle()
		r.holds(n, b.before, l)
		r.run("", "verify")
		r.drain()
	}
}

// validity is the UIDVALIDITY of an INBOX.
func (h *house) validity() uint32 {
	h.t.Helper()
	c := h.imap("u0@a.test")
	defer c.Close()
	data, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		h.t.Fatal(err)
	}
	return data.UIDValidity
}

// waitFor waits until so many messages were acknowledged, and returns which.
func (l *load) waitFor(n int) []string {
	l.h.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		var ids []string
		for id := range l.acked {
			ids = append(ids, id)
		}
		l.mu.Unlock()
		if len(ids) >= n {
			return ids
		}
	}
	l.h.t.Fatalf("%d messages were not acknowledged in %v", n, patience)
	return nil
}

// holds looks for messages, each once, or as often as its answer was lost besides.
func (h *house) holds(n int, ids []string, l *load) {
	h.t.Helper()
	id := regexp.MustCompile(`Message-ID: <([0-9.]+)@kill>`)
	seen := map[string]int{}
	for i := range 3 {
		for _, m := range h.messages(fmt.Sprintf("u%d@a.test", i), "INBOX") {
			if found := id.FindStringSubmatch(m); found != nil {
				seen[found[1]]++
			}
		}
	}
	for _, id := range ids {
		if seen[id] == 0 {
			h.t.Errorf("backup %d: message %s was acknowledged before it began, and is missing", n, id)
		}
	}
	for id, times := range seen {
		if times > 1+l.lost[id] {
			h.t.Errorf("backup %d: message %s is there %d times", n, id, times)
		}
	}
}

// TestDamagedBackupIsRefused damages a body in a backup: no house is made of it, and the next backup does not rely on it.
func TestDamagedBackupIsRefused(t *testing.T) {
	h := newHouse(t, "a.test", "u0")
	h.start()
	if err := h.send("x@x.example", []string{"u0@a.test"}, "Subject: x\r\n\r\ndamage me\r\n"); err != nil {
		t.Fatal(err)
	}
	h.drain()
	to := filepath.Join(t.TempDir(), "b")
	var m struct{ Dir string }
	if err := json.Unmarshal([]byte(h.run("", "backup", to, "--json")), &m); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(m.Dir, "mails", "log", "*.log"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Index(string(text), "damage me")
		if at < 0 {
			continue
		}
		text[at] ^= 1
		if err := os.Remove(name); err != nil { // it is shared with the house
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &house{t: t, dir: filepath.Join(t.TempDir(), "r"), base: h.base, domain: h.domain}
	if out, err := r.try("", "restore", to); err == nil || !strings.Contains(out, "restore: database mails") {
		t.Errorf("a damaged backup was restored: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "samotop.toml")); err == nil {
		t.Error("a part of a house was left")
	}
	h.run("", "backup", to)
	r.run("", "restore", to)
	r.run("", "verify")
}
