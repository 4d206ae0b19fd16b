package guard

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
)

func from(t testing.TB, sender, addr string) *Message {
	return &Message{Session: &mail.Session{}, From: mail.Sender{Address: address(t, sender)}, IP: netip.MustParseAddr(addr)}
}

func TestDNSBL(t *testing.T) {
	z := resolvertest.Zone(t, `
1.2.0.192.bad.test. A 127.0.0.2
1.2.0.192.some.test. A 127.0.0.10
2.2.0.192.some.test. A 127.0.0.3
2.2.0.192.some.test. A 127.0.0.10
1.2.0.192.good.test. A 127.0.0.5
*.all.test. A 127.0.0.2
3.2.0.192.bad.test. A 203.0.113.9
4.2.0.192.bad.test. A 127.255.255.254
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bad.test. A 127.0.0.4
spam.test.dom.test. A 127.0.1.2
*.domall.test. A 127.0.1.2
`)
	d := NewDNSBLs(DNSBLConfig{Resolver: z.Resolver(resolver.Config{}), Own: []netip.Prefix{pre("10.0.0.0/8")}, Lists: []DNSBL{
		{Zone: "bad.test", Weight: 5}, {Zone: "some.test", Weight: 2, Answers: []netip.Prefix{pre("127.0.0.3/32")}},
		{Zone: "good.test", Weight: -3}, {Zone: "all.test", Weight: 9}, {Zone: "dom.test", Weight: 4, Domains: true}, {Zone: "domall.test", Weight: 9, Domains: true},
	}})
	for _, x := range []struct{ sender, ip, want string }{
		{"x@far.test", "192.0.2.1", "score 2.0: bad.test says 127.0.0.2 +5.0, good.test says 127.0.0.5 -3.0"},
		{"x@far.test", "::ffff:192.0.2.2", "score 2.0: some.test says 127.0.0.3 +2.0"},
		{"x@far.test", "192.0.2.3", "score 0.0"},
		{"x@far.test", "192.0.2.4", "score 0.0"},
		{"x@far.test", "2001:db8::1", "score 5.0: bad.test says 127.0.0.4 +5.0"},
		{"x@Spam.test", "192.0.2.9", "score 4.0: dom.test says 127.0.1.2 +4.0"},
		{"", "192.0.2.9", "score 0.0"},
		{"x@[192.0.2.7]", "192.0.2.9", "score 0.0"},
		{"x@far.test", "10.0.0.1", "score 0.0"},
		{"x@far.test", "127.0.0.1", "score 0.0"},
	} {
		o := d.Judge(t.Context(), from(t, x.sender, x.ip), mail.Address{})
		if o.String() != x.want {
			t.Errorf("%s %s: %s, want %s", x.sender, x.ip, o.String(), x.want)
		}
	}
	if o := d.Judge(t.Context(), from(t, "x@far.test", "192.0.2.1"), address(t, "a@example.test")); o.Score != 0 {
		t.Error("asked again for each account", o)
	}
}

// silent never answers; it counts.
type silent struct {
	resolver.Resolver
	asked int
}

func (s *silent) Addrs(ctx context.Context, _ string, _ resolver.Family) ([]netip.Addr, resolver.Answer, error) {
	s.asked++
	<-ctx.Done()
	return nil, resolver.Answer{}, fmt.Errorf("%w: %w", resolver.ErrTemporary, ctx.Err())
}

// TestDeadDNSBL: a list that does not answer delays some mail by its time, and then none; it is tried again now and then.
func TestDeadDNSBL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &silent{}
		d := NewDNSBLs(DNSBLConfig{Resolver: s, Lists: []DNSBL{{Zone: "dead.test", Weight: 50}}})
		var waited time.Duration
		for range 1000 {
			start := time.Now()
			if o := d.Judge(t.Context(), from(t, "x@far.test", "192.0.2.1"), mail.Address{}); o.Score != 0 {
				t.Fatal(o)
			}
			waited += time.Since(start)
			time.Sleep(3 * time.Second)
		}
		if s.asked > 14 || s.asked < 8 || waited > time.Duration(s.asked)*dnsblTime {
			t.Error(s.asked, waited)
		}
	})
}

func TestLooks(t *testing.T) {
	l := Looks{Hostname: "mx.example.test", Own: []netip.Prefix{pre("10.0.0.0/8")}}
	for _, x := range []struct{ hello, fcrdns, ip, want string }{
		{"mail.far.test", "pass", "192.0.2.1", "score 0.0"},
		{"mail.far.test.", "temperror", "192.0.2.1", "score 0.0"},
		{"mail.far.test", "fail", "192.0.2.1", "score 1.5: no reverse name +1.5"},
		{"MX.example.test", "pass", "192.0.2.1", "score 3.0: says it is this server +3.0"},
		{"localhost", "fail", "192.0.2.1", "score 2.5"},
		{"[192.0.2.1]", "pass", "192.0.2.1", "score 0.0"},
		{"[IPv6:2001:db8::1]", "pass", "2001:db8::1", "score 0.0"},
		{"[192.0.2.2]", "pass", "192.0.2.1", "score 1.5: says it is [192.0.2.2] +1.5"},
		{"a b", "pass", "192.0.2.1", "score 1.0: says no full name +1.0"},
		{"", "", "192.0.2.1", "score 0.0"},
		{"localhost", "fail", "10.0.0.1", "score 0.0"},
		{"localhost", "fail", "127.0.0.1", "score 0.0"},
	} {
		m := from(t, "x@far.test", x.ip)
		m.Session.Hello = x.hello
		m.Session.SetFact("fcrdns", x.fcrdns)
		if o := l.Judge(t.Context(), m, mail.Address{}); !strings.HasPrefix(o.String(), x.want) {
			t.Errorf("%+v: %s", x, o.String())
		}
	}
}

func FuzzLooks(f *testing.F) {
	f.Add("mail.far.test", "192.0.2.1")
	f.Add("[IPv6:", "::1")
	f.Fuzz(func(t *testing.T, hello, ip string) {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return
		}
		m := &Message{Session: &mail.Session{Hello: hello}, IP: a}
		if o := (Looks{}).Judge(t.Context(), m, mail.Address{}); o.Score < 0 || o.Score > 3 {
			t.Fatal(o)
		}
		if r := reversed(a); !mail.IsDomain(r + "list.test") {
			t.Fatal(r)
		}
	})
}
