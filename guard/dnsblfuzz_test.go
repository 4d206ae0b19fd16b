package guard

import (
	"net/netip"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/resolver/resolvertest"
)

// FuzzAnswers: only an answer that means something counts: one in 127.0.0.0/8, and of those the ones that were asked for.
func FuzzAnswers(f *testing.F) {
	f.Add(uint32(0x7f000002), uint32(0x7fffff01), false, uint8(32))
	f.Add(uint32(0x08080808), uint32(0x7f000001), true, uint8(8))
	f.Fuzz(func(t *testing.T, a, b uint32, named bool, bits uint8) {
		ip := func(n uint32) netip.Addr {
			return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		}
		l := DNSBL{Zone: "list.test", Weight: 3}
		if named {
			p, err := ip(a).Prefix(int(bits % 33))
			if err != nil {
				t.Fatal(err)
			}
			l.Answers = []netip.Prefix{p}
		}
		dns := resolvertest.New(t, "1.2.0.192.list.test A "+ip(a).String()+"\n1.2.0.192.list.test A "+ip(b).String()+"\n")
		o := NewDNSBLs(DNSBLConfig{Resolver: dns, Lists: []DNSBL{l}}).Judge(t.Context(), &Message{Session: &mail.Session{}, IP: netip.MustParseAddr("192.0.2.1")}, mail.Address{})
		want := 0.0
		for _, n := range []uint32{a, b} {
			switch {
			case n>>24 != 127:
			case named && l.Answers[0].Contains(ip(n)), !named && n>>8 != 0x7fffff:
				want = 3
			}
		}
		if o.Score != want {
			t.Errorf("%s and %s, of %v: %v, want %v", ip(a), ip(b), l.Answers, o.Score, want)
		}
	})
}
