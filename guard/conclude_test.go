package guard

import (
	"context"
	"net"
	"testing"

	"github.com/samotop/samotop/mail"
)

// choosy reads only what goes to bob.
type choosy struct{ scores }

func (c *choosy) Wants(_ context.Context, _ *Message, to mail.Address) bool { return to.Local == "bob" }

// TestSettled: where the content can change nothing, the last word is said at RCPT, and it is the one that is said at the end.
func TestSettled(t *testing.T) {
	alice, bob := mail.Target{Address: address(t, "alice@example.test")}, mail.Target{Address: address(t, "bob@example.test")}
	ruled := mail.Target{Address: alice.Address, Folder: "Lists"}
	away := mail.Target{Address: address(t, "x@far.test"), Remote: true}
	where := rules{
		"alice@example.test": {OurDomain: true, Targets: []mail.Target{alice}},
		"bob@example.test":   {OurDomain: true, Targets: []mail.Target{bob}},
		"list@example.test":  {OurDomain: true, Targets: []mail.Target{ruled}},
		"team@example.test":  {OurDomain: true, Targets: []mail.Target{alice, away}},
		"gated@example.test": {OurDomain: true, Targets: []mail.Target{alice}, Gated: []bool{true}},
	}
	lists := listing{"named alice": {Allowed, "named@far.test", true}, "net alice": {Allowed, "192.0.2.0/24", false}}
	const junk = "<alice@example.test>;folder=Junk;note=yes+3B+20score+3D8.0+3B+20sender+20+2B8.0"
	for _, x := range []struct {
		from    string
		to      []string
		settled bool
		targets string // of the first
		end     string // of the last
	}{
		{"x@far.test", []string{"alice@example.test"}, true, "<alice@example.test>", "250"},
		{"dubious@far.test", []string{"alice@example.test"}, true, junk, "251"},
		{"dubious@far.test", []string{"list@example.test"}, true, "<alice@example.test>;folder=Lists;note=no+3B+20score+3D8.0+3B+20sender+20+2B8.0", "251"},
		{"dubious@far.test", []string{"team@example.test"}, true, junk + " <x@far.test>;remote", "251"},
		{"net@far.test", []string{"alice@example.test"}, true, "<alice@example.test>", "250"},
		// A reader wants the content of what goes to bob, and of no other's.
		{"dubious@far.test", []string{"bob@example.test"}, false, "<bob@example.test>", "251"},
		{"dubious@far.test", []string{"alice@example.test", "bob@example.test"}, false, junk, "251"},
		// A signature may still prove something.
		{"named@far.test", []string{"alice@example.test"}, false, "<alice@example.test>", "251"},
		{"prove@far.test", []string{"gated@example.test"}, false, "<alice@example.test>", "550"},
		{"stranger@far.test", []string{"gated@example.test"}, false, "<alice@example.test>;folder=Contacts/Unknown", "250"},
		{"friend@far.test", []string{"gated@example.test"}, true, "<alice@example.test>", "250"},
	} {
		c, told := &choosy{scores{sender: map[string]float64{"dubious": 8, "named": 8}}}, events{}
		s := &mail.Session{RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}}
		r, err := New(Config{Rules: where, Contacts: &book{}, Lists: lists, Judges: []Judge{c}, Readers: []Reader{c}, Journal: &told}).Open(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := r.Begin(t.Context(), s, mail.Sender{Address: address(t, x.from)})
		if err != nil {
			t.Fatal(err)
		}
		if tx.(mail.Settler).Settled() {
			t.Error("settled before there is a recipient")
		}
		var first []mail.Target
		for i, to := range x.to {
			rcpt := mail.Recipient{Address: address(t, to)}
			if err := tx.Recipient(t.Context(), &rcpt); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = rcpt.Targets
			}
		}
		if got := tx.(mail.Settler).Settled(); got != x.settled {
			t.Errorf("%s to %s: settled is %v", x.from, x.to, got)
		}
		if got := mail.FormatTargets(first); got != x.targets {
			t.Errorf("%s to %s: %s, want %s", x.from, x.to, got, x.targets)
		}
		replies, err := tx.Commit(t.Context())
		if err != nil || len(replies) != len(x.to) || replies[len(replies)-1].String()[:3] != x.end {
			t.Errorf("%s to %s: %v, %v; want %s", x.from, x.to, replies, err, x.end)
		}
		if dubious := x.from == "dubious@far.test"; dubious != (len(told) > 0) && x.from != "named@far.test" {
			t.Errorf("%s to %s: told %v", x.from, x.to, told)
		}
		if x.settled && c.closed != 0 {
			t.Errorf("%s to %s: it was read", x.from, x.to)
		}
		if where["alice@example.test"].Targets[0] != alice {
			t.Fatal("the rules were changed")
		}
	}
}
