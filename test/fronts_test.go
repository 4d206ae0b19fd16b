package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestFrontsShareEvidence: a second front, with a directory of its own, hears of bans and tells of guesses, and an account that
// sends by both sends no more than it may: the guard is one.
func TestFrontsShareEvidence(t *testing.T) {
	back := newHouse(t, "a.test", "alice")
	back.dropIn("guard", strangersConf)
	p, err := back.serve("accounts", "guard", "mailbox", "qm", "management", "mta", "msa")
	if err != nil {
		t.Fatal(err)
	}
	back.process = p
	var links strings.Builder
	links.WriteString("[links]\n")
	for room, socket := range map[string]string{"mailbox": "lmtp", "qm": "qm", "guard": "guard", "rules": "rules", "accounts": "accounts",
		"events": "events", "evidence": "evidence"} {
		fmt.Fprintf(&links, "%s = %q\n", room, "unix:"+filepath.Join(back.dir, "run", socket+".sock"))
	}
	front := newHouse(t, "a.test")
	front.dropIn("guard", strangersConf)
	front.dropIn("links", links.String())
	if p, err = front.serve("mta", "msa"); err != nil {
		t.Fatal(err)
	}
	front.process = p

	says := func(h *house, ip string) string { return h.stranger(ip, 25).says("") }
	var names []string
	for i := range 5 {
		names = append(names, fmt.Sprintf("nobody%d@a.test", i))
	}
	front.stranger("203.0.113.1", 25).mail("x@far.test", names...)
	for _, h := range []*house{back, front} {
		h.until("who guesses at the second front is banned at both", func() bool { return strings.HasPrefix(says(h, "203.0.113.1"), "554 5.7.1 You are banned") })
	}
	back.run("", "ban", "remove", "203.0.113.1")
	front.until("the second front hears that he is not any more", func() bool { return strings.HasPrefix(says(front, "203.0.113.1"), "220") })

	for i, h := range []*house{back, front, front} { // two in an hour
		err := h.submit("alice@a.test", []string{"admin@a.test"}, letter("alice@a.test", "admin@a.test", "much", "hello"))
		if (err != nil) != (i == 2) || err != nil && !strings.Contains(err.Error(), "4.7.1") {
			t.Errorf("message %d: %v", i, err)
		}
	}
}
