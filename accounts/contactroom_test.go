package accounts

import (
	"errors"
	"fmt"
	"testing"

	"github.com/samotop/samotop/mail"
)

// Contacts that an owner makes are limited too, and removing some makes room.
func TestContactLimit(t *testing.T) {
	b := newBook(t, PolicyAsk)
	const most = 20
	b.c.MaxContacts = most
	for i := range most - 1 {
		b.set(fmt.Sprintf("c%d@far.test", i), Approved, 0)
	}
	wrote := func(to string) Decision {
		t.Helper()
		if err := b.WroteTo(t.Context(), "alice@our.test", []mail.Address{parsed(t, to)}, ""); err != nil {
			t.Fatal(err)
		}
		return b.decide(to, "192.0.2.1", true)
	}
	b.want("the last one", wrote("last@far.test"), Known)
	b.want("one more", wrote("more@far.test"), Later)
	if _, err := b.SetContact(t.Context(), "alice@our.test", "x@far.test", Decided{State: Approved}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	b.set("last@far.test", Rejected, 0) // who is one already
	for _, name := range []string{"c0@far.test", "c1@far.test", "more@far.test"} {
		if err := b.RemoveContact(t.Context(), "alice@our.test", name); err != nil {
			t.Fatal(err)
		}
	}
	b.now = b.now.Add(countAgain)
	b.set("x@far.test", Approved, 0)
	b.want("with room again", b.decide("x@far.test", "192.0.2.1", true), Known)
}
