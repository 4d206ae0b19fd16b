package accounts

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/mem"
)

// addressBook is a room with alice, and a clock that is moved by hand.
type addressBook struct {
	*Accounts
	t   *testing.T
	now time.Time
}

func newBook(t *testing.T, p Policy) *addressBook {
	t.Helper()
	b := &addressBook{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	a, err := Open(t.Context(), Config{Engine: mem.New(mem.Options{}), Clock: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	b.Accounts = a
	if _, err := a.AddDomain(t.Context(), "our.test"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddAccount(t.Context(), "alice@our.test", Options{}); err != nil {
		t.Fatal(err)
	}
	if err := a.SetPolicy(t.Context(), "alice@our.test", p); err != nil {
		t.Fatal(err)
	}
	return b
}

func parsed(t *testing.T, s string) mail.Address {
	t.Helper()
	if s == "<>" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (b *addressBook) decide(sender, ip string, proven bool) Decision {
	b.t.Helper()
	d, err := b.Decide(b.t.Context(), Question{To: parsed(b.t, "alice@our.test"), Sender: parsed(b.t, sender), IP: netip.MustParseAddr(ip), Proven: proven})
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *addressBook) content(q Content) Decision {
	b.t.Helper()
	q.To = parsed(b.t, "alice@our.test")
	d, err := b.Content(b.t.Context(), q)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *addressBook) set(sender string, s ContactState, d time.Duration) {
	b.t.Helper()
	if _, err := b.SetContact(b.t.Context(), "alice@our.test", sender, Decided{s, d}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *addressBook) list() (out []string) {
	b.t.Helper()
	for c, err := range b.Contacts(b.t.Context(), "alice@our.test") {
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, c.Sender+" "+c.State.String())
	}
	return out
}

func (b *addressBook) want(what string, got, want Decision) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("%s: %d, want %d", what, got, want)
	}
}

func TestPolicies(t *testing.T) {
	for p, want := range map[Policy]struct{ stranger, report Decision }{
		PolicyOpen: {Accept, Accept}, PolicyShow: {Apart, Apart}, PolicyAsk: {Later, Refuse}, PolicyClosed: {Refuse, Refuse},
	} {
		b := newBook(t, p)
		b.want(p.String()+" stranger", b.decide("x@far.test", "192.0.2.1", false), want.stranger)
		b.want(p.String()+" report", b.decide("<>", "192.0.2.1", false), want.report)
		if n := len(b.list()); n > 0 != (p == PolicyShow || p == PolicyAsk) {
			t.Errorf("%s: %d contacts wait", p, n)
		}
		b.set("bad@far.test", Rejected, 0)
		b.set("good@far.test", Approved, 0)
		b.want(p.String()+" rejected", b.decide("bad@far.test", "192.0.2.1", true), Refuse)
		b.want(p.String()+" approved", b.decide("GOOD@Far.test", "192.0.2.1", true), Known)
	}
}

// An approval is used only by the sender it was given to.
func TestApprovalIsHis(t *testing.T) {
	b := newBook(t, PolicyAsk)
	b.want("first", b.decide("known@far.test", "192.0.2.1", true), Later)
	b.want("first, not proven", b.decide("plain@far.test", "192.0.2.1", false), Later)
	b.set("known@far.test", Approved, 0)
	b.set("plain@far.test", Approved, 0)
	b.want("proven again", b.decide("known@far.test", "198.51.100.1", true), Known)
	b.want("forged", b.decide("known@far.test", "192.0.2.1", false), Prove)
	b.want("same network", b.decide("plain@far.test", "192.0.2.200", false), Known)
	b.want("another network", b.decide("plain@far.test", "198.51.100.1", false), Prove)
	b.want("another network, proven now", b.decide("plain@far.test", "198.51.100.1", true), Known)

	// Whom the owner wrote to: whoever of that name writes first says whence he writes.
	if err := b.WroteTo(t.Context(), "alice@our.test", []mail.Address{parsed(t, "friend@far.test")}, "<m1@our.test>"); err != nil {
		t.Fatal(err)
	}
	b.want("friend", b.decide("friend@far.test", "2001:db8:1:2::1", false), Accept)
	b.want("friend again", b.decide("friend@far.test", "2001:db8:1:ffff::1", false), Known)
	b.want("friend from elsewhere", b.decide("friend@far.test", "2001:db8:2::1", false), Prove)
	b.want("without a proof", b.content(Content{Sender: parsed(t, "friend@far.test"), First: Prove}), Refuse)
	b.want("with the proof of another", b.content(Content{Sender: parsed(t, "friend@far.test"), First: Prove, Signed: []string{"sub.far.test", "notfar.test"}}), Refuse)
	b.want("with a proof", b.content(Content{Sender: parsed(t, "friend@a.far.test"), First: Prove, Signed: []string{"x.test", "FAR.test"}}), Known)
	b.want("a report, now that she wrote", b.decide("<>", "192.0.2.1", false), Look)
	b.now = b.now.Add(sentRecent)
	b.want("a report, long after", b.decide("<>", "192.0.2.1", false), Refuse)
}

func TestWholeDomain(t *testing.T) {
	b := newBook(t, PolicyAsk)
	b.set("@far.test", Approved, 0)
	b.want("of the domain", b.decide("anybody@far.test", "192.0.2.1", true), Known)
	b.want("of the domain, forged", b.decide("anybody@far.test", "192.0.2.1", false), Prove)
	b.want("of a domain below", b.decide("anybody@sub.far.test", "192.0.2.1", true), Later)
	b.set("bad@far.test", Rejected, 0)
	b.want("one of them", b.decide("bad@far.test", "192.0.2.1", true), Refuse)
	b.set("@spam.test", Rejected, 0)
	b.want("rejected domain", b.decide("x@spam.test", "192.0.2.1", true), Refuse)
	b.set("@spam.test", Approved, time.Hour)
	b.want("approved for an hour", b.decide("x@spam.test", "192.0.2.1", true), Known)
	b.now = b.now.Add(time.Hour)
	b.want("and not longer", b.decide("x@spam.test", "192.0.2.1", true), Later)
}

// Nobody whom the owner rejected comes back because she wrote to many.
func TestWroteToRejected(t *testing.T) {
	b := newBook(t, PolicyAsk)
	b.set("bad@far.test", Rejected, 0)
	if err := b.WroteTo(t.Context(), "alice@our.test", []mail.Address{parsed(t, "bad@far.test")}, ""); err != nil {
		t.Fatal(err)
	}
	b.want("rejected", b.decide("bad@far.test", "192.0.2.1", true), Refuse)
}

// A flood of strangers fills nothing: who has waited longest gives way.
func TestFloodOfStrangers(t *testing.T) {
	b := newBook(t, PolicyAsk)
	for i := range MaxPending + 10 {
		b.now = b.now.Add(time.Second)
		b.want("stranger", b.decide(fmt.Sprintf("s%d@far.test", i), "192.0.2.1", false), Later)
	}
	list := b.list()
	if len(list) > MaxPending || len(list) < MaxPending-pendingRoom {
		t.Errorf("%d wait", len(list))
	}
	for _, gone := range list {
		if gone == "s0@far.test pending" || gone == "s9@far.test pending" {
			t.Error(gone)
		}
	}
	keys, err := b.pendingKeys(t.Context(), 1)
	if err != nil || len(keys) != len(list) {
		t.Error(len(keys), err)
	}
}

func TestContactsStay(t *testing.T) {
	e := mem.New(mem.Options{})
	a, err := Open(t.Context(), Config{Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []func() error{
		func() error { _, err := a.AddDomain(t.Context(), "our.test"); return err },
		func() error { _, err := a.AddAccount(t.Context(), "alice@our.test", Options{}); return err },
		func() error { return a.SetPolicy(t.Context(), "alice@our.test", PolicyClosed) },
		func() error {
			_, err := a.SetContact(t.Context(), "alice@our.test", "x@far.test", Decided{State: Approved})
			return err
		},
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	res, err := a.Resolve(t.Context(), mail.Address{Local: "alice+tag", Domain: "our.test"})
	if err != nil || len(res.Gated) != 1 || !res.Gated[0] {
		t.Errorf("gated %v, %v", res.Gated, err)
	}
	if res, err = a.Resolve(t.Context(), mail.Address{Local: "postmaster", Domain: "our.test"}); err != nil || res.Gated != nil {
		t.Errorf("postmaster is gated: %v %v", res.Gated, err)
	}
	if _, err := a.AddAccount(t.Context(), "abuse@our.test", Options{}); err != nil {
		t.Fatal(err)
	}
	if err := a.SetPolicy(t.Context(), "abuse@our.test", PolicyClosed); err != nil {
		t.Fatal(err)
	}
	if res, err = a.Resolve(t.Context(), mail.Address{Local: "Abuse", Domain: "our.test"}); err != nil || len(res.Targets) != 1 || res.Gated != nil {
		t.Errorf("abuse is gated: %v %v", res, err)
	}
	if _, err := a.RemoveAccount(t.Context(), "abuse@our.test"); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if a, err = Open(t.Context(), Config{Engine: e}); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if p, err := a.Policy(t.Context(), "alice@our.test"); p != PolicyClosed || err != nil {
		t.Error(p, err)
	}
	if faults, err := a.Verify(t.Context()); len(faults) > 0 || err != nil {
		t.Error(faults, err)
	}
	if _, err := a.RemoveAccount(t.Context(), "alice@our.test"); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{tagContact, tagGate, tagPending, tagSent, tagSubmitted, tagSuffix} {
		if k, err := a.first(t.Context(), []byte(tag)); k != nil || err != nil {
			t.Errorf("%s stays: %q %v", tag, k, err)
		}
	}
	if err := a.RemoveContact(t.Context(), "alice@our.test", "x@far.test"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestNormalSender(t *testing.T) {
	to := mail.Address{Local: "Alice", Domain: "our.test"}
	for in, want := range map[string]string{
		"Bob@Far.TEST":                                   "bob@far.test",
		"bob+tag@far.test":                               "bob+tag@far.test",
		"john1984@far.test":                              "john1984@far.test",
		"prvs=2987A7B7C7=bob@far.test":                   "bob@far.test",
		"prvs=bob=2987a7b7c7@far.test":                   "bob@far.test",
		"prvs=bob@far.test":                              "prvs=bob@far.test",
		"btv1==tag==bob@far.test":                        "bob@far.test",
		"SRS0=HHH=TT=far.test=bob@forward.test":          "bob@far.test",
		"SRS0+HHH=TT=far.test=b=b@forward.test":          "b=b@far.test",
		"SRS1=HH=one.test==HHH=TT=far.test=bob@two.test": "bob@far.test",
		"srs0=broken@forward.test":                       "srs0=broken@forward.test",
		"list-return-123-alice=our.test@far.test":        "list-return-123@far.test",
		"bounces-1234-alice=our.test@far.test":           "bounces@far.test",
		"bounces+987654-abc-x1@far.test":                 "bounces-abc@far.test",
		"bounces@far.test":                               "bounces@far.test",
		"alice=our.test@far.test":                        "alice=our.test@far.test",
	} {
		if got := NormalSender(parsed(t, in), to); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

func FuzzNormalSender(f *testing.F) {
	for _, s := range []string{"prvs=2987A7B7C7=bob", "SRS0=HHH=TT=far.test=bob", "SRS1=HH=one.test==HHH=TT=far.test=bob", "bounces-1-alice=our.test", "btv1==x==y", "srs1=", "srs0+", "=", ""} {
		f.Add(s, "far.test")
	}
	f.Fuzz(func(t *testing.T, local, domain string) {
		a := mail.Address{Local: local, Domain: domain}
		once := NormalSender(a, mail.Address{Local: "alice", Domain: "our.test"})
		if len(once) > 3*len(local)+2*len(domain)+300 { // a letter may be longer in lower case, and what is no letter is replaced
			t.Errorf("%q grew to %q", a, once)
		}
	})
}
