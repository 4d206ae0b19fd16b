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
	h.Outgoing.Forget("Alice@our.test")
	if v := h.Outgoing.sent.get(h.Outgoing.sent.name(sentAccount, []byte("alice@our.test")), day0); !v.first.IsZero() {
		t.Errorf("what she has sent: %+v", v)
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
