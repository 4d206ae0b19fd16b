package accounts

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

func (b *addressBook) known(name string) *Contact {
	b.t.Helper()
	c, err := b.contact(b.t.Context(), 1, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// Under ask the second attempt is read: what is learnt is shown to the owner.
func TestContentIsLearnt(t *testing.T) {
	b := newBook(t, PolicyAsk)
	b.want("first", b.decide("x@far.test", "192.0.2.1", true), Later)
	b.want("second", b.decide("x@far.test", "192.0.2.1", true), Look)
	q := Content{Sender: parsed(t, "x@far.test"), First: Look, Signed: []string{"far.test"}, Subject: "Hel\x1blo\u202e " + strings.Repeat("ü", 200)}
	b.want("read", b.content(q), Later)
	if c := b.known("x@far.test"); !strings.HasPrefix(c.Subject, "Hel lo") || len(c.Subject) > maxSubjectOctets || c.Signed != "far.test" || !c.Read {
		t.Errorf("%+v", c)
	}
	b.want("third", b.decide("x@far.test", "192.0.2.1", true), Later)
	b.set("x@far.test", Rejected, 0)
	b.want("rejected while the content came", b.content(q), Refuse)

	show := newBook(t, PolicyShow)
	show.want("first", show.decide("x@far.test", "192.0.2.1", true), Apart)
	q.First = Apart
	show.want("read", show.content(q), Apart)
	if c := show.known("x@far.test"); c.Signed != "far.test" || c.Subject == "" {
		t.Errorf("%+v", c)
	}
}

// A list is a contact by its List-Id, for as long as the same domain signs.
func TestListContact(t *testing.T) {
	b := newBook(t, PolicyAsk)
	mailOf := func(n int, signed ...string) Content {
		return Content{Sender: parsed(t, fmt.Sprintf("news-return-%d-x@list.test", n)), First: Look, Signed: signed, ListSigned: signed, List: "News.List.Test", Subject: "issue"}
	}
	sender := "news-return-1-x@list.test"
	b.want("first", b.decide(sender, "192.0.2.1", true), Later)
	b.want("second", b.decide(sender, "192.0.2.1", true), Look)
	b.want("read", b.content(mailOf(1, "list.test")), Later)
	if c := b.known("list:news.list.test"); c == nil || c.State != Pending || c.Signed != "list.test" || c.Subject != "issue" {
		t.Fatalf("the list does not wait: %+v", c)
	}
	if c := b.known("news-return-1-x@list.test"); c.List != "news.list.test" {
		t.Errorf("its sender is not known to be its: %+v", c)
	}
	b.want("while it waits", b.decide(sender, "192.0.2.1", true), Later)
	b.set("list:news.list.test", Approved, 0)
	b.want("its sender", b.decide(sender, "192.0.2.1", true), Look)
	b.want("its mail", b.content(mailOf(1, "list.test")), Known)
	b.want("another sender of it", b.decide("news-return-2-x@list.test", "192.0.2.1", true), Look)
	b.want("its mail", b.content(mailOf(2, "other.test", "list.test")), Known)
	b.want("who says he is it", b.content(mailOf(3, "evil.test")), Later)
	b.want("who says he is it, unsigned", b.content(mailOf(3)), Later)
	b.want("any stranger", b.decide("y@far.test", "192.0.2.1", true), Look)
	b.want("whose mail is of no list", b.content(Content{Sender: parsed(t, "y@far.test"), First: Look}), Later)
	b.set("list:news.list.test", Rejected, 0)
	b.want("its sender, rejected", b.decide(sender, "192.0.2.1", true), Refuse)
	b.want("its mail, rejected", b.content(mailOf(9)), Refuse)

	b.set("list:by.hand.test", Approved, 0) // before any mail came
	q := Content{Sender: parsed(t, "owner@hand.test"), First: Look, Signed: []string{"evil.test"}, ListSigned: []string{"evil.test"}, List: "by.hand.test"}
	b.want("signed by somebody", b.content(q), Later)
	q.Sender = parsed(t, "x@evil.test")
	b.want("signed by somebody for himself", b.content(q), Later)
	q.Sender, q.Signed, q.ListSigned = parsed(t, "owner@hand.test"), []string{"hand.test"}, nil
	b.want("by a signature that does not cover the List-Id", b.content(q), Later)
	q.ListSigned = q.Signed
	b.want("signed by its domain", b.content(q), Known)
	q.Sender, q.Signed, q.ListSigned = parsed(t, "x@evil.test"), []string{"evil.test"}, []string{"evil.test"}
	b.want("and by no other from then on", b.content(q), Later)
	for _, bad := range []string{"list:", "list:nodot", "list:a b.test", "list:<a.test>", "list:" + strings.Repeat("a", 300) + ".test"} {
		if _, err := b.SetContact(t.Context(), "alice@our.test", bad, Decided{State: Approved}); err == nil {
			t.Errorf("%s is a contact", bad)
		}
	}
	b2 := newBook(t, PolicyClosed)
	b2.want("closed", b2.decide(sender, "192.0.2.1", true), Refuse)
	b2.set("list:news.list.test", Approved, 0)
	b2.want("closed, with a list", b2.decide(sender, "192.0.2.1", true), Look)
	b2.want("closed, of the list", b2.content(mailOf(1, "list.test")), Known)
	b2.want("closed, a stranger", b2.content(Content{Sender: parsed(t, "y@far.test"), First: Look}), Refuse)
}

// Reports are let in that name a message the owner has sent.
func TestReports(t *testing.T) {
	b := newBook(t, PolicyAsk)
	b.want("who never sent", b.decide("<>", "192.0.2.1", false), Refuse)
	if err := b.WroteTo(t.Context(), "alice@our.test", []mail.Address{parsed(t, "bob@far.test")}, "<m1@our.test>"); err != nil {
		t.Fatal(err)
	}
	report := func(ids ...string) Decision { return b.content(Content{First: Look, Refers: ids}) }
	b.want("before its content", b.decide("<>", "192.0.2.1", false), Look)
	b.want("about nothing", report(), Refuse)
	b.want("about something else", report("x@far.test", "m1@our"), Refuse)
	b.want("about it", report("x@far.test", "m1@our.test"), Accept)
	b.now = b.now.Add(9 * 24 * time.Hour)
	b.want("nine days later", report("m1@our.test"), Accept)
	b.now = b.now.Add(48 * time.Hour)
	if err := b.WroteTo(t.Context(), "alice@our.test", nil, "m2@our.test"); err != nil {
		t.Fatal(err)
	}
	b.want("after it was forgotten", report("m1@our.test"), Refuse)
	b.want("about another", report("<m2@our.test>"), Accept)
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprint(i))
	}
	b.want("about very much", report(append(many, "m2@our.test")...), Refuse)
	if err := b.SetPolicy(t.Context(), "alice@our.test", PolicyShow); err != nil {
		t.Fatal(err)
	}
	b.want("shown apart", report("x"), Apart)
}

// A suffix is for one sender, and for a time.
func TestSuffix(t *testing.T) {
	b := newBook(t, PolicyAsk)
	ask := func(via mail.Address, sender, ip string, proven bool) Decision {
		t.Helper()
		d, err := b.Decide(t.Context(), Question{To: parsed(t, "alice@our.test"), Via: via, Sender: parsed(t, sender), IP: netip.MustParseAddr(ip), Proven: proven})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	s, err := b.AddSuffix(t.Context(), "alice@our.test", 0)
	if err != nil || !strings.HasPrefix(s.Address.Local, "alice+") || s.Until != b.now.Add(DefaultSuffixFor) {
		t.Fatal(s, err)
	}
	res, err := b.Resolve(t.Context(), s.Address)
	if err != nil || len(res.Targets) != 1 || res.Targets[0].Address != s.Address || res.Accounts[0] != 1 {
		t.Fatalf("%s leads to %v, %v", s.Address, res.Targets, err)
	}
	wrong := s.Address
	wrong.Local = wrong.Local[:len(wrong.Local)-1] + "z"
	if wrong != s.Address {
		b.want("guessed", ask(wrong, "x@spam.test", "192.0.2.9", true), Later)
	}
	b.want("report", ask(s.Address, "<>", "192.0.2.9", true), Refuse)
	b.want("first", ask(s.Address, "noreply@shop.test", "192.0.2.1", true), Known)
	b.want("again, from another sender there", ask(s.Address, "code@shop.test", "198.51.100.1", true), Known)
	b.want("forged", ask(s.Address, "code@shop.test", "198.51.100.1", false), Prove)
	b.want("another", ask(s.Address, "x@other.test", "192.0.2.1", true), Later)
	b.want("without it", ask(parsed(t, "alice@our.test"), "noreply@shop.test", "192.0.2.1", true), Later)
	b.now = b.now.Add(DefaultSuffixFor)
	b.want("too late", ask(s.Address, "noreply2@shop.test", "192.0.2.1", true), Later)

	if s, err = b.AddSuffix(t.Context(), "alice@our.test", time.Minute); err != nil {
		t.Fatal(err)
	}
	b.set("bad@far.test", Rejected, 0)
	b.want("rejected", ask(s.Address, "bad@far.test", "192.0.2.1", true), Refuse)
	b.want("not authenticated", ask(s.Address, "noreply@plain.test", "192.0.2.1", false), Known)
	b.want("from his network", ask(s.Address, "noreply@plain.test", "192.0.2.200", false), Known)
	b.want("from another", ask(s.Address, "noreply@plain.test", "198.51.100.1", false), Prove)
	for _, d := range []time.Duration{-time.Second, MaxSuffixTime + 1} {
		if _, err := b.AddSuffix(t.Context(), "alice@our.test", d); err == nil {
			t.Error(d)
		}
	}
	for i := 1; i < MaxSuffixes; i++ {
		if _, err := b.AddSuffix(t.Context(), "alice@our.test", time.Minute); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := b.AddSuffix(t.Context(), "alice@our.test", time.Minute); err == nil {
		t.Error("more than the limit")
	}
	b.now = b.now.Add(time.Minute)
	if _, err := b.AddSuffix(t.Context(), "alice@our.test", time.Minute); err != nil {
		t.Error("none has ended:", err)
	}
}
