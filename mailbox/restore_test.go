package mailbox

import (
	"context"
	"testing"
	"time"

	"github.com/samotop/samotop/store"
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

// TestRecount: a mailbox whose set of UIDs and counters tell of messages that are not there, and not of one that is, is
// made to fit its messages.
func TestRecount(t *testing.T) {
	ctx := context.Background()
	e := mem.New(mem.Options{})
	m := open(t, e, Config{})
	for n := 1; n <= 6; n++ {
		deliver(t, m, letter(n), rcpt(1))
	}
	var ar arena
	var chunks []store.KV
	err := e.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, []byte{kindChunk}, []byte{kindChunk + 1}, false) {
			if err != nil {
				return err
			}
			chunks = append(chunks, store.KV{Key: ar.copyOf(kv.Key), Value: ar.copyOf(kv.Value)})
		}
		return nil
	})
	if err != nil || len(chunks) != 1 {
		t.Fatal(chunks, err)
	}
	var c chunk
	if err := decodeChunk(chunks[0].Value, &c); err != nil {
		t.Fatal(err)
	}
	c.drop(2)
	c.put(2000, 0)
	c.put(2001, 0)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Commit(ctx, e, &store.Batch{Ops: []store.Op{store.Put(chunks[0].Key, c.appendTo(nil))}}); err != nil {
		t.Fatal(err)
	}
	if faults, err := VerifyDatabase(ctx, e, nil); err != nil || len(faults) == 0 {
		t.Fatal(faults, err)
	}
	if err := Recount(ctx, e, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if faults, err := VerifyDatabase(ctx, e, nil); err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	m = open(t, e, Config{})
	box, snap := choose(t, login(t, m, 1), "INBOX")
	defer box.Close()
	if snap.Messages != 6 {
		t.Errorf("%d messages", snap.Messages)
	}
}
