package accounts

import (
	"net/netip"
	"testing"

	"github.com/samotop/samotop/mail"
)

// Anybody can write an address of SRS that names a contact, and prove by SPF that he sent it.
func TestForwardedIsNotProven(t *testing.T) {
	b := newBook(t, PolicyAsk)
	const forged = "SRS0=HHH=TT=far.test=friend@evil.test"
	b.want("friend asks", b.decide("friend@far.test", "192.0.2.1", true), Later)
	b.set("friend@far.test", Approved, 0)
	b.set("@shop.test", Approved, 0)
	b.want("friend", b.decide("friend@far.test", "192.0.2.1", true), Known)
	b.want("forged, with SPF of the forger", b.decide(forged, "203.0.113.1", true), Prove)
	b.want("of an approved domain", b.decide("SRS0=HHH=TT=shop.test=x@evil.test", "203.0.113.1", true), Prove)
	b.want("through two", b.decide("SRS1=HH=one.test==HHH=TT=far.test=friend@evil.test", "203.0.113.1", true), Prove)
	q := Content{Sender: parsed(t, forged), First: Prove, Signed: []string{"evil.test"}}
	b.want("signed by the forger", b.content(q), Refuse)
	q.Signed = []string{"far.test"}
	b.want("forwarded, signed by who wrote it", b.content(q), Known)

	// Whom the owner wrote to is not whoever takes his name first.
	if err := b.WroteTo(t.Context(), "alice@our.test", []mail.Address{parsed(t, "dora@far.test")}, ""); err != nil {
		t.Fatal(err)
	}
	b.want("dora, forged", b.decide("SRS0=HHH=TT=far.test=dora@evil.test", "203.0.113.1", true), Prove)
	b.want("dora herself, from anywhere", b.decide("dora@far.test", "192.0.2.7", false), Accept)

	// A forwarder's mail that was there first is known by the forwarder's network.
	b.want("first by a forwarder", b.decide("SRS0=HHH=TT=far.test=emil@forward.test", "192.0.2.1", true), Later)
	b.set("emil@far.test", Approved, 0)
	b.want("again", b.decide("SRS0=XXX=TT=far.test=emil@forward.test", "192.0.2.2", true), Known)
	b.want("by another", b.decide("SRS0=XXX=TT=far.test=emil@evil.test", "203.0.113.1", true), Prove)
	b.want("himself", b.decide("emil@far.test", "198.51.100.1", true), Known)
}

// What a domain says not to have sent does not tell from where its people write.
func TestDisownedPinsNothing(t *testing.T) {
	b := newBook(t, PolicyAsk)
	if err := b.WroteTo(t.Context(), "alice@our.test", []mail.Address{parsed(t, "friend@far.test")}, ""); err != nil {
		t.Fatal(err)
	}
	from := parsed(t, "friend@far.test")
	d, err := b.Decide(t.Context(), Question{To: parsed(t, "alice@our.test"), Sender: from, IP: netip.MustParseAddr("203.0.113.1"), Failed: true})
	if err != nil || d != Prove {
		t.Error("SPF says that it is not his:", d, err)
	}
	b.want("then himself", b.decide("friend@far.test", "192.0.2.1", false), Accept)
	b.want("whose network it is now", b.decide("friend@far.test", "203.0.113.1", false), Prove)
}

// Who takes the name of a list first gains nothing, and does not keep the list from it.
func TestListNameTaken(t *testing.T) {
	b := newBook(t, PolicyAsk)
	read := func(sender, by string) {
		t.Helper()
		b.want("first", b.decide(sender, "192.0.2.1", true), Later)
		b.want("second", b.decide(sender, "192.0.2.1", true), Look)
		b.want("read", b.content(Content{Sender: parsed(t, sender), First: Look, Signed: []string{by}, ListSigned: []string{by}, List: "news.list.test"}), Later)
	}
	read("x@evil.test", "evil.test")
	if c := b.known("list:news.list.test"); c == nil || c.Signed != "evil.test" {
		t.Fatalf("%+v", c)
	}
	read("news@mail.list.test", "mail.list.test") // of the same organization as the list
	if c := b.known("list:news.list.test"); c.Signed != "mail.list.test" {
		t.Errorf("the list is still another's: %+v", c)
	}
	read("y@evil.test", "evil.test")
	if c := b.known("list:news.list.test"); c.Signed != "mail.list.test" {
		t.Errorf("taken back: %+v", c)
	}
	if c := b.known("y@evil.test"); c.List != "" {
		t.Errorf("who pretends to be of a list is not shown: %+v", c)
	}
	b.set("list:news.list.test", Approved, 0)
	b.want("the list", b.content(Content{Sender: parsed(t, "news@mail.list.test"), First: Look, ListSigned: []string{"mail.list.test"}, List: "news.list.test"}), Known)
	b.want("who took its name", b.content(Content{Sender: parsed(t, "x@evil.test"), First: Look, Signed: []string{"evil.test"}, ListSigned: []string{"evil.test"}, List: "news.list.test"}), Later)
	b.want("signed by the list's server, but not the List-Id", b.content(Content{Sender: parsed(t, "x@evil.test"), First: Look, Signed: []string{"mail.list.test"}, List: "news.list.test"}), Later)
}
