package accounts

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"testing"
)

// TestFilter: what was added is always found, and little else.
func TestFilter(t *testing.T) {
	var g growing
	seed := maphash.MakeSeed()
	const n = 100_000
	for i := range n {
		g.add(maphash.String(seed, fmt.Sprint("in", i)))
	}
	wrong := 0
	for i := range n {
		if !g.has(maphash.String(seed, fmt.Sprint("in", i))) {
			t.Fatal("lost", i)
		}
		if g.has(maphash.String(seed, fmt.Sprint("out", i))) {
			wrong++
		}
	}
	if wrong > n/20 {
		t.Errorf("%d of %d are found that were never added", wrong, n)
	}
}

// TestContactsFromMemory: a decision about whom the room knows, and about whom nobody knows, reads nothing.
func TestContactsFromMemory(t *testing.T) {
	a, e := house(t)
	ctx := t.Context()
	ok(t, a.SetPolicy(ctx, "bob@example.test", PolicyClosed))
	must(t)(a.SetContact(ctx, "bob@example.test", "friend@far.test", Decided{State: Approved}))
	b := open(t, config(e))
	waitLoaded(t, b)
	decide := func(sender string) Decision {
		t.Helper()
		d, err := b.Decide(ctx, Question{To: addr(t, "bob@example.test"), Sender: addr(t, sender), IP: netip.MustParseAddr("192.0.2.1"), Proven: true})
		ok(t, err)
		return d
	}
	if d := decide("friend@far.test"); d != Known {
		t.Error(d)
	}
	reads, refused := b.reads.Load(), 0
	for i := range 1000 {
		if decide("friend@far.test") != Known {
			t.Fatal("forgotten")
		}
		if decide(fmt.Sprintf("stranger%d@x%d.test", i, i)) == Refuse {
			refused++
		}
	}
	if n := b.reads.Load() - reads; n > 100 || refused != 1000 {
		t.Errorf("%d reads, %d refused", n, refused)
	}
	// A decision holds at once.
	must(t)(b.SetContact(ctx, "bob@example.test", "friend@far.test", Decided{State: Rejected}))
	must(t)(b.SetContact(ctx, "bob@example.test", "stranger1@x1.test", Decided{State: Approved}))
	if x, y := decide("friend@far.test"), decide("stranger1@x1.test"); x != Refuse || y == Refuse {
		t.Error(x, y)
	}
	ok(t, b.RemoveContact(ctx, "bob@example.test", "stranger1@x1.test"))
	if d := decide("stranger1@x1.test"); d != Refuse {
		t.Error(d)
	}
}
