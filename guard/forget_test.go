package guard

import (
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/mem"
)

// What is forgotten is one name of a sender, and stays forgotten over a restart.
func TestForget(t *testing.T) {
	e := mem.New(mem.Options{})
	open := func() *History {
		h, err := OpenHistory(t.Context(), HistoryConfig{Engine: e, Clock: func() time.Time { return day0 }})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := open()
	alice := address(t, "alice@our.test")
	s := Sender{Address: address(t, "x@far.test"), IP: ip("192.0.2.7"), Proven: true}
	for range 5 {
		h.Reputation.Learn(s, alice, Junked)
		h.Send(Sending{Account: "alice@our.test", First: true, To: address(t, "y@else.test")})
	}
	known := func(h *History, who mail.Address) (names []string) {
		for _, x := range h.Reputation.Show(s, who) {
			if x.Score < 1 || x.Bad < 4 {
				t.Errorf("%+v", x)
			}
			names = append(names, x.Name+" "+x.Of)
		}
		return names
	}
	if got := known(h, alice); len(got) != 4 || got[0] != "network 192.0.2.0/24" || got[1] != "address 192.0.2.7" || got[2] != "domain @far.test" || got[3] != "sender x@far.test" {
		t.Errorf("%q", got)
	}
	if n := h.Reputation.Forget(Sender{IP: s.IP}, alice, false); n != 1 {
		t.Error(n)
	}
	if n := h.Reputation.Forget(Sender{IP: s.IP}, alice, false); n != 0 {
		t.Error("twice:", n)
	}
	if n := h.Reputation.Forget(Sender{Address: mail.Address{Domain: "FAR.test"}}, mail.Address{}, false); n != 1 {
		t.Error(n)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = open()
	defer h.Close()
	if got := known(h, alice); len(got) != 3 || got[1] != "domain @far.test" {
		t.Errorf("for alice, later: %q", got)
	}
	if got := known(h, mail.Address{}); len(got) != 3 || got[2] != "sender x@far.test" {
		t.Errorf("for all, later: %q", got)
	}
	if n := h.Reputation.Forget(Sender{IP: s.IP}, mail.Address{}, true); n != 1 {
		t.Error(n)
	}
}

// Of an account that is removed nothing is left, on disk neither, and of others all.
func TestForgetAccount(t *testing.T) {
	e := mem.New(mem.Options{})
	now := day0
	open := func() *History {
		h, err := OpenHistory(t.Context(), HistoryConfig{Engine: e, GreyLeast: -1, Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		return h
	}
	alice, bob := address(t, "alice@our.test"), address(t, "bob@our.test")
	s := Sender{Address: address(t, "x@far.test"), IP: ip("192.0.2.7"), Proven: true}
	m := Message{Session: &mail.Session{}, From: mail.Sender{Address: s.Address}, IP: s.IP}
	h := open()
	for _, who := range []mail.Address{alice, bob} {
		h.Reputation.Learn(s, who, Junked)
		h.Grey.Delay(&m, who, who, 0)
		h.Send(Sending{Account: who.String(), IP: ip("198.51.100.7"), First: true, To: address(t, "y@else.test")})
	}
	left := func(h *History, who mail.Address) (n int) {
		for _, table := range []*table{h.Reputation.table, h.Grey.table, h.Outgoing.sent, h.Outgoing.habits} {
			for i := range table.sets {
				for _, x := range table.sets[i].slots {
					if x.at != 0 && x.hash>>(64-tagBits) == table.tag([]byte(who.String())) {
						n++
					}
				}
			}
		}
		return n
	}
	const all = 4 + 2 + 1 + 1 + 1 + 2 // x, whom she wrote to, as a teller, greylisted, what she sent, and whence
	if a, b := left(h, alice), left(h, bob); a != all || b != all {
		t.Fatalf("%d of alice, %d of bob, not %d", a, b, all)
	}
	if err := h.Forget(t.Context(), address(t, "Alice@OUR.test")); err != nil {
		t.Fatal(err)
	}
	crashed := open() // nothing was closed: what is forgotten was on disk
	for _, h := range []*History{h, crashed} {
		if a, b := left(h, alice), left(h, bob); a != 0 || b != all {
			t.Errorf("%d of alice, %d of bob", a, b)
		}
		if got := len(h.Reputation.Show(s, alice)); got != 0 {
			t.Errorf("%d names are known to alice", got)
		}
		if got := len(h.Reputation.Show(s, mail.Address{})); got != 4 {
			t.Errorf("%d names are known to all", got)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// How wide a network is can be set, for all that looks at networks.
func TestWidths(t *testing.T) {
	for _, c := range []struct {
		nets       mail.Networks
		near, far  string // of 192.0.2.7: in its network, and not
		shown      string
		near6, at6 string
	}{
		{mail.Networks{}, "192.0.2.200", "192.0.3.7", "192.0.2.0/24", "2001:db8:1:ffff::1", "2001:db8:1::/48"},
		{mail.Networks{IPv4Bits: 28, IPv6Bits: 64}, "192.0.2.8", "192.0.2.200", "192.0.2.0/28", "2001:db8:1::77", "2001:db8:1::/64"},
		{mail.Networks{IPv4Bits: 16, IPv6Bits: 32}, "192.0.99.7", "192.1.2.7", "192.0.0.0/16", "2001:db8:ffff::", "2001:db8::/32"},
	} {
		now := day0
		h := openHistory(t, HistoryConfig{Networks: c.nets, GreyLeast: -1, Clock: func() time.Time { return now }})
		from := func(s string) *Message {
			return &Message{Session: &mail.Session{}, From: mail.Sender{Address: address(t, "x@far.test")}, IP: ip(s)}
		}
		alice := address(t, "alice@our.test")
		h.Grey.Delay(from("192.0.2.7"), alice, alice, 0)
		now = now.Add(time.Hour)
		if h.Grey.Delay(from(c.near), alice, alice, 0) {
			t.Errorf("%+v: who comes again from %s is put off", c.nets, c.near)
		}
		if !h.Grey.Delay(from(c.far), alice, alice, 0) {
			t.Errorf("%+v: who comes from %s passes", c.nets, c.far)
		}
		h.Reputation.Learn(Sender{IP: ip("192.0.2.7")}, alice, Junked)
		h.Reputation.Learn(Sender{IP: ip(c.near6)}, alice, Junked)
		if got := h.Reputation.Show(Sender{IP: ip(c.near)}, alice); len(got) == 0 || got[0].Of != c.shown {
			t.Errorf("%+v: %+v", c.nets, got)
		}
		if got := h.Reputation.Show(Sender{IP: ip("2001:db8:1::1")}, alice); len(got) == 0 || got[0].Of != c.at6 {
			t.Errorf("%+v: %+v", c.nets, got)
		}
		if got := h.Reputation.Show(Sender{IP: ip(c.far)}, alice); len(got) != 0 {
			t.Errorf("%+v: %+v", c.nets, got)
		}
		a := openAbuse(t, AbuseConfig{Networks: c.nets, WrongPasswords: 10, Clock: func() time.Time { return now }})
		for range 2 * networkFactor * 10 { // of two addresses, neither of which does too much by itself
			a.Did(t.Context(), WrongPassword, ip("192.0.2.1"))
			a.guilt.remove(a.guilt.prefix(kindAddress, addressOf(ip("192.0.2.1"))))
		}
		if _, banned := a.Banned(ip(c.near)); !banned {
			t.Errorf("%+v: %s is not banned with its network", c.nets, c.near)
		}
		if _, banned := a.Banned(ip(c.far)); banned {
			t.Errorf("%+v: %s is banned", c.nets, c.far)
		}
	}
}
