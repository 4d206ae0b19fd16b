package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSendmailLimit: what programs of this machine send is limited as what people submit is; the rest waits where it was dropped, and
// the postmaster hears of a user who has no mailbox.
func TestSendmailLimit(t *testing.T) {
	h := newHouse(t, "a.test", "alice")
	h.dropIn("limit", "[guard]\nsent_messages_per_hour = 2\n")
	h.start()
	s := newSendmail(h)
	for _, n := range []string{"1", "2", "3"} {
		s.want(0, "", 0, "Subject: mail "+n+"\n\nx\n", "alice@a.test")
	}
	h.await("alice@a.test", 2)
	if left, err := os.ReadDir(filepath.Join(h.dir, "spool", "drop")); err != nil || len(left) == 0 {
		t.Errorf("nothing waits: %v, %v", left, err)
	}
	if told := h.await("admin@a.test", 1)[0]; !strings.Contains(told, "Subject: Unusual sending from your account") || !strings.Contains(told, "2 messages in an hour") {
		t.Error(told)
	}
	h.await("alice@a.test", 2)
}
