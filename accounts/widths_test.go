package accounts

import (
	"net/netip"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/mem"
)

// A contact is pinned to a network that is as wide as the room was told, and keeps it where that changes.
func TestContactNetworks(t *testing.T) {
	ctx := t.Context()
	e := mem.New(mem.Options{})
	c := config(e)
	c.Networks = mail.Networks{IPv4Bits: 28, IPv6Bits: 64}
	a := open(t, c)
	must(t)(a.AddDomain(ctx, "our.test"))
	must(t)(a.AddAccount(ctx, "alice@our.test", Options{}))
	ok(t, a.SetPolicy(ctx, "alice@our.test", PolicyAsk))
	from := func(a *Accounts, sender, ip string) Decision {
		d, err := a.Decide(ctx, Question{To: addr(t, "alice@our.test"), Sender: addr(t, sender), IP: netip.MustParseAddr(ip)})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	from(a, "x@far.test", "192.0.2.17")
	from(a, "y@far.test", "2001:db8:1:2::1")
	for _, who := range []string{"x@far.test", "y@far.test"} {
		if _, err := a.SetContact(ctx, "alice@our.test", who, Decided{State: Approved}); err != nil {
			t.Fatal(err)
		}
	}
	wide := open(t, Config{Engine: e, Hash: weak, Networks: mail.Networks{IPv4Bits: 16}})
	for _, a := range []*Accounts{a, wide} {
		for ip, want := range map[string]Decision{"192.0.2.30": Known, "192.0.2.32": Prove} {
			if got := from(a, "x@far.test", ip); got != want {
				t.Errorf("from %s: %v", ip, got)
			}
		}
		for ip, want := range map[string]Decision{"2001:db8:1:2:ffff::": Known, "2001:db8:1:3::1": Prove} {
			if got := from(a, "y@far.test", ip); got != want {
				t.Errorf("from %s: %v", ip, got)
			}
		}
	}
}
