package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRescue damages the log of the mails in the middle, as a user would find it: the server does not start, verify names
// file and offset, a rescue loses one message and no other, tells so, and the house serves again, with a new UIDVALIDITY.
func TestRescue(t *testing.T) {
	h := newHouse(t, "a.test", "u0")
	h.start()
	const messages = 9
	for n := range messages {
		if err := h.send("x@x.example", []string{"u0@a.test"}, fmt.Sprintf("Subject: s\r\n\r\nthe text of number %d\r\n", n)); err != nil {
			t.Fatal(err)
		}
	}
	old := h.validity()
	if err := h.stop(syscall.SIGKILL); err == nil {
		t.Fatal("the server ended by itself")
	}
	name := filepath.Join(h.dir, "mails", "log", "00000001.log")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(text), "the text of number 4")
	if at < 0 {
		t.Fatal("the message is not in the first segment")
	}
	text[at] ^= 1
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(args ...string) {
		t.Helper()
		out, err := h.try("", args...)
		if err == nil || !strings.Contains(out, name+": offset ") || !strings.Contains(out, "samotop store rescue mails") {
			t.Errorf("%s: %v\n%s", args[0], err, out)
		}
	}
	refused("serve")
	refused("verify")
	if out, err := h.try("", "store", "rescue", "mails"); err == nil || !strings.Contains(out, "--copied") {
		t.Errorf("a rescue without a copy: %v\n%s", err, out)
	}
	out := h.run("", "store", "rescue", "mails", "--copied")
	if !strings.Contains(out, "lost") || !strings.Contains(out, name) || !strings.Contains(out, "nothing in it is damaged") {
		t.Errorf("rescue: %s", out)
	}
	h.run("", "verify")
	h.start()
	if now := h.validity(); now <= old {
		t.Errorf("UIDVALIDITY was %d and is %d", old, now)
	}
	all := strings.Join(h.messages("u0@a.test", "INBOX"), "")
	for n := range messages {
		if there := strings.Contains(all, fmt.Sprintf("the text of number %d\r\n", n)); there == (n == 4) {
			t.Errorf("message %d is there: %v", n, there)
		}
	}
	if err := h.send("x@x.example", []string{"u0@a.test"}, "Subject: s\r\n\r\nafterwards\r\n"); err != nil {
		t.Error(err)
	}
	h.drain()
	h.run("", "backup", filepath.Join(t.TempDir(), "b"))
	h.run("", "verify")
}
