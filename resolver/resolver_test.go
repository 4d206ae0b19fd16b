package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
)

const zone = `
	example.test       300 SOA ns.example.test hostmaster.example.test 1 3600 600 86400 30
	example.test       60 MX 20 b.example.test
	example.test       60 MX 10 a.example.test
	a.example.test     A 192.0.2.1
	a.example.test     AAAA 2001:db8::1
	b.example.test     A 192.0.2.2
	null.test          MX 0 .
	mixed.test         MX 0 .
	mixed.test         MX 5 a.example.test
	txt.test           TXT "one" " two"
	txt.test           TXT "quote\" back\\ \200"
	alias.test         100 CNAME step.test
	step.test          50 CNAME a.example.test
	dangling.test      CNAME gone.example.test
	loop1.test         CNAME loop2.test
	loop2.test         CNAME loop1.test
	1.2.0.192.in-addr.arpa PTR liar.test
	1.2.0.192.in-addr.arpa PTR a.example.test
	2.2.0.192.in-addr.arpa PTR liar.test
	liar.test          A 192.0.2.99
	_25._tcp.a.example.test TLSA 3 1 1 00ff10
	*.wild.test        MX 1 a.example.test
	xn--bcher-kva.test A 192.0.2.7
`

func TestRecords(t *testing.T) {
	r, ctx := resolvertest.New(t, zone), context.Background()
	mx, ans, err := r.MX(ctx, "Example.TEST.")
	if want := []resolver.MX{{10, "a.example.test"}, {20, "b.example.test"}}; err != nil || !reflect.DeepEqual(mx, want) {
		t.Errorf("MX: %v, %v", mx, err)
	}
	if ans.TTL != time.Minute || ans.Name != "example.test" || ans.Authentic {
		t.Errorf("MX answer: %+v", ans)
	}
	if mx, _, err := r.MX(ctx, "null.test"); err != nil || len(mx) != 1 || mx[0].Host != "" {
		t.Errorf("null MX: %v, %v", mx, err)
	}
	if mx, _, err := r.MX(ctx, "mixed.test"); err != nil || len(mx) != 1 || mx[0].Host == "" {
		t.Errorf("null MX beside another: %v, %v", mx, err)
	}
	if mx, _, err := r.MX(ctx, "any.wild.test"); err != nil || len(mx) != 1 {
		t.Errorf("wildcard: %v, %v", mx, err)
	}
	six, four := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		f    resolver.Family
		want []netip.Addr
	}{{resolver.AnyFamily, []netip.Addr{six, four}}, {resolver.IPv4, []netip.Addr{four}}, {resolver.IPv6, []netip.Addr{six}}} {
		if got, _, err := r.Addrs(ctx, "a.example.test", c.f); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("Addrs(%v): %v, %v", c.f, got, err)
		}
	}
	if txt, _, err := r.TXT(ctx, "txt.test"); err != nil || !reflect.DeepEqual(txt, []string{"one two", "quote\" back\\ \xc8"}) {
		t.Errorf("TXT: %q, %v", txt, err)
	}
	tlsa, _, err := r.TLSA(ctx, "_25._tcp.a.example.test")
	if err != nil || !reflect.DeepEqual(tlsa, []resolver.TLSA{{3, 1, 1, []byte{0, 255, 16}}}) {
		t.Errorf("TLSA: %v, %v", tlsa, err)
	}
	if got, _, err := r.Addrs(ctx, "bücher.test", resolver.IPv4); err != nil || len(got) != 1 {
		t.Errorf("U-label: %v, %v", got, err)
	}
}

func TestAliases(t *testing.T) {
	r, ctx := resolvertest.New(t, zone), context.Background()
	got, ans, err := r.Addrs(ctx, "alias.test", resolver.IPv4)
	if err != nil || len(got) != 1 || !reflect.DeepEqual(ans.Chain, []string{"step.test", "a.example.test"}) {
		t.Errorf("%v, %+v, %v", got, ans, err)
	}
	if ans.TTL != 50*time.Second || ans.Name != "a.example.test" {
		t.Errorf("%+v", ans)
	}
	if _, _, err := r.Addrs(ctx, "dangling.test", resolver.AnyFamily); !errors.Is(err, resolver.ErrNoName) {
		t.Errorf("dangling: %v", err)
	}
	if _, _, err := r.Addrs(ctx, "loop1.test", resolver.AnyFamily); !errors.Is(err, resolver.ErrTemporary) {
		t.Errorf("loop: %v", err)
	}
}

func TestDenials(t *testing.T) {
	z := resolvertest.Zone(t, zone)
	z.SetAuthentic(true)
	z.Fail("bogus.test", resolver.ErrBogus)
	z.Fail("down.test", resolver.ErrTemporary)
	r, ctx := z.Resolver(resolver.Config{TrustAD: true}), context.Background()
	for name, want := range map[string]error{
		"nothing.test": resolver.ErrNoName, "b.example.test": resolver.ErrNoData, "bogus.test": resolver.ErrBogus,
		"down.test": resolver.ErrTemporary, "_tcp.a.example.test": resolver.ErrNoData, "": resolver.ErrBadName,
		"a..b": resolver.ErrBadName, strings.Repeat("x", 64) + ".test": resolver.ErrBadName, "a b.test": resolver.ErrBadName,
		"[192.0.2.1]": resolver.ErrNoName, "a\\.b": resolver.ErrBadName,
	} {
		_, ans, err := r.MX(ctx, name)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
		if denial := want == resolver.ErrNoName || want == resolver.ErrNoData; ans.Authentic != denial {
			t.Errorf("%q: authentic %v", name, ans.Authentic)
		}
	}
	if _, _, err := r.MX(ctx, "bogus.test"); !errors.Is(err, resolver.ErrTemporary) {
		t.Error("bogus is not temporary")
	}
}

func TestAuthentic(t *testing.T) {
	z := resolvertest.Zone(t, zone)
	z.SetAuthentic(true)
	for _, trust := range []bool{false, true} {
		r := z.Resolver(resolver.Config{TrustAD: trust})
		if _, ans, err := r.Addrs(context.Background(), "a.example.test", resolver.AnyFamily); err != nil || ans.Authentic != trust {
			t.Errorf("trust %v: %+v, %v", trust, ans, err)
		}
	}
}

func TestConfirm(t *testing.T) {
	r, ctx := resolvertest.New(t, zone), context.Background()
	if name, _, err := resolver.Confirm(ctx, r, netip.MustParseAddr("::ffff:192.0.2.1")); err != nil || name != "a.example.test" {
		t.Errorf("%q, %v", name, err)
	}
	if name, _, err := resolver.Confirm(ctx, r, netip.MustParseAddr("192.0.2.2")); !errors.Is(err, resolver.ErrNoData) {
		t.Errorf("a name that does not lead back: %q, %v", name, err)
	}
	if _, _, err := resolver.Confirm(ctx, r, netip.MustParseAddr("2001:db8::7")); !errors.Is(err, resolver.ErrNoName) {
		t.Errorf("no PTR: %v", err)
	}
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := resolvertest.Zone(t, zone)
		r, ctx := z.Resolver(resolver.Config{}), context.Background()
		ask := func(name string) { _, _, _ = r.MX(ctx, name) }
		for range 3 {
			ask("example.test")
			ask("none.example.test")
		}
		if n := z.Asked("example.test", "MX"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(29 * time.Second)
		ask("none.example.test")
		if _, ans, _ := r.MX(ctx, "example.test"); ans.TTL != 31*time.Second {
			t.Errorf("time to live is not counted down: %v", ans.TTL)
		}
		if n := z.Asked("none.example.test", "MX"); n != 1 {
			t.Errorf("denial asked %d times", n)
		}
		time.Sleep(2 * time.Second)
		ask("none.example.test")
		if n := z.Asked("none.example.test", "MX"); n != 2 {
			t.Errorf("denial asked %d times after its SOA minimum", n)
		}
		time.Sleep(30 * time.Second)
		ask("example.test")
		if n := z.Asked("example.test", "MX"); n != 2 {
			t.Errorf("asked %d times after its time to live", n)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	z := resolvertest.Zone(t, zone)
	r, ctx := z.Resolver(resolver.Config{MaxCacheEntries: 3}), context.Background()
	for i := range 10 {
		_, _, _ = r.MX(ctx, fmt.Sprintf("n%d.wild.test", i))
	}
	_, _, _ = r.MX(ctx, "n9.wild.test")
	_, _, _ = r.MX(ctx, "n0.wild.test")
	if z.Asked("n9.wild.test", "MX") != 1 || z.Asked("n0.wild.test", "MX") != 2 {
		t.Error("the cache does not forget the oldest first")
	}
}

func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := resolvertest.Zone(t, zone)
		z.Fail("slow.test", context.DeadlineExceeded)
		r := z.Resolver(resolver.Config{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, _, err := r.MX(ctx, "slow.test"); !errors.Is(err, resolver.ErrTemporary) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		if n := z.Asked("slow.test", "MX"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(time.Hour) // the flight itself ends too
	})
}

func TestOverSockets(t *testing.T) {
	var big strings.Builder
	big.WriteString(zone)
	for i := range 200 {
		fmt.Fprintf(&big, "big.test TXT \"record %d %s\"\n", i, strings.Repeat("x", 100))
	}
	addr := resolvertest.Serve(t, resolvertest.Zone(t, big.String()))
	dead, err := net.ListenPacket("udp", "127.0.0.1:0") // a server that never answers
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	r, err := resolver.New(resolver.Config{Servers: []string{dead.LocalAddr().String(), addr}, Timeout: 200 * time.Millisecond, MaxRecords: 150})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if mx, _, err := r.MX(ctx, "example.test"); err != nil || len(mx) != 2 {
		t.Errorf("MX: %v, %v", mx, err)
	}
	txt, _, err := r.TXT(ctx, "big.test")
	if err != nil || len(txt) != 150 {
		t.Errorf("an answer over TCP: %d records, %v", len(txt), err)
	}
}

func TestLiesAreIgnored(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			bad := append([]byte(nil), buf[:n]...)
			bad[0] ^= 1 // another id
			bad[2] |= 0x80
			_, _ = pc.WriteTo(bad, from)
			_, _ = pc.WriteTo([]byte("garbage"), from)
			good := append([]byte(nil), buf[:n]...)
			good[2] |= 0x80
			good[3] = good[3]&0xf0 | 3 // NXDOMAIN
			_, _ = pc.WriteTo(good, from)
		}
	}()
	r, err := resolver.New(resolver.Config{Servers: []string{pc.LocalAddr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.MX(context.Background(), "example.test"); !errors.Is(err, resolver.ErrNoName) {
		t.Errorf("%v", err)
	}
}

func TestNewRefusesBadServers(t *testing.T) {
	for _, s := range []string{"", "localhost", "127.0.0.1:", "1.2.3.4:99999", "dns.example:53"} {
		if _, err := resolver.New(resolver.Config{Servers: []string{s}}); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	for _, s := range []string{"127.0.0.1", "::1", "[::1]:5353", "127.0.0.1:53"} {
		if _, err := resolver.New(resolver.Config{Servers: []string{s}}); err != nil {
			t.Error(err)
		}
	}
}

// FuzzServer lets a server answer anything.
func FuzzServer(f *testing.F) {
	f.Add([]byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 4, 't', 'e', 's', 't', 0, 0, 15, 0, 1})
	f.Add([]byte{0x81, 0x83, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, answer []byte) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			buf := make([]byte, 1500)
			n, err := server.Read(buf) // net.Pipe is a stream, so package dns frames by length as over TCP
			if err != nil || n < 4 {
				return
			}
			if n == 2 {
				n, _ = server.Read(buf)
			}
			msg := append([]byte{buf[2], buf[3]}, answer...)
			_, _ = server.Write(append([]byte{byte(len(msg) >> 8), byte(len(msg))}, msg...))
		}()
		r, err := resolver.New(resolver.Config{Servers: []string{"127.0.0.1"}, Timeout: 50 * time.Millisecond, Attempts: 1,
			Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }})
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = r.MX(context.Background(), "example.test")
	})
}

func FuzzZone(f *testing.F) {
	f.Add("example.test MX 10 a.example.test\n", "example.test")
	f.Add("a CNAME a\n", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		z, err := resolver.ParseZone(text)
		if err != nil {
			return
		}
		r := z.Resolver(resolver.Config{})
		_, _, _ = r.Addrs(context.Background(), name, resolver.AnyFamily)
		_, _, _ = r.MX(context.Background(), name)
	})
}

func BenchmarkCached(b *testing.B) {
	z, err := resolver.ParseZone("example.test MX 10 a.example.test\n")
	if err != nil {
		b.Fatal(err)
	}
	r := z.Resolver(resolver.Config{})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.MX(context.Background(), "example.test"); err != nil {
			b.Fatal(err)
		}
	}
}

func TestOnlyCached(t *testing.T) {
	z, err := resolver.ParseZone("example.test MX 10 a.example.test\n")
	if err != nil {
		t.Fatal(err)
	}
	r := z.Resolver(resolver.Config{})
	only := resolver.OnlyCached(t.Context())
	if _, _, err := r.MX(only, "example.test"); !errors.Is(err, resolver.ErrNotCached) || !errors.Is(err, resolver.ErrTemporary) {
		t.Errorf("before it was asked: %v", err)
	}
	if _, _, err := r.MX(t.Context(), "example.test"); err != nil {
		t.Fatal(err)
	}
	if mx, _, err := r.MX(only, "example.test"); err != nil || len(mx) != 1 {
		t.Errorf("afterwards: %v %v", mx, err)
	}
}
