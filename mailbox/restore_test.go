package mailbox

import (
	"context"
	"testing"
	"time"

	"github.com/samotop/samotop/store/mem"
)

// TestRenumber: after it every number is beyond those that were given, nothing else is changed, and Verify is content.
func TestRenumber(t *testing.T) {
	e := mem.New(mem.Options{})
	m := open(t, e, Config{})
	for n := 1; n <= 3; n++ {
		deliver(t, m, letter(n), rcpt(n%2+1))
	}
	type state struct {
		validity uint32
		modseq   uint64
	}
	look := func(m *Mailbox, n int) state {
		a := login(t, m, n)
		box, snap := choose(t, a, "INBOX")
		defer box.Close()
		return state{uint32(snap.UIDValidity), uint64(snap.HighestModSeq)}
	}
	before := []state{look(m, 1), look(m, 2)}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	seen := int64(0)
	if err := Renumber(context.Background(), e, time.Now(), func(n int64) { seen = n }); err != nil || seen != 2 {
		t.Fatalf("%d accounts, %v", seen, err)
	}
	if faults, err := VerifyDatabase(context.Background(), e, nil); err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	m = open(t, e, Config{})
	for i, old := range before {
		if now := look(m, i+1); now.validity <= old.validity || now.modseq <= old.modseq {
			t.Errorf("account %d: was %+v, is %+v", i+1, old, now)
		}
	}
	deliver(t, m, letter(4), rcpt(1))
	if faults, err := m.Verify(context.Background(), nil); err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
}
