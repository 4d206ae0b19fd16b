package spf_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	other "blitiri.com.ar/go/spf"
	"pgregory.net/rapid"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/spf"
	"github.com/samotop/samotop/resolver"
)

// world is a small name system, for both implementations.
type world struct {
	txt   map[string][]string
	mx    map[string][]string
	addrs map[string][]netip.Addr
	ptr   []string
}

func missing[T any](v []T) error {
	if len(v) == 0 {
		return resolver.ErrNoName
	}
	return nil
}

func (w *world) name(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

func (w *world) TXT(_ context.Context, name string) ([]string, resolver.Answer, error) {
	v := w.txt[w.name(name)]
	return v, resolver.Answer{}, missing(v)
}

func (w *world) MX(_ context.Context, name string) (out []resolver.MX, _ resolver.Answer, _ error) {
	v := w.mx[w.name(name)]
	for _, h := range v {
		out = append(out, resolver.MX{Preference: 10, Host: h})
	}
	return out, resolver.Answer{}, missing(v)
}

func (w *world) Addrs(_ context.Context, name string, f resolver.Family) (out []netip.Addr, _ resolver.Answer, _ error) {
	for _, ip := range w.addrs[w.name(name)] {
		if f == resolver.AnyFamily || ip.Is4() == (f == resolver.IPv4) {
			out = append(out, ip)
		}
	}
	return out, resolver.Answer{}, missing(out)
}

func (w *world) PTR(context.Context, netip.Addr) ([]string, resolver.Answer, error) {
	return w.ptr, resolver.Answer{}, missing(w.ptr)
}

func (w *world) TLSA(context.Context, string) ([]resolver.TLSA, resolver.Answer, error) {
	return nil, resolver.Answer{}, resolver.ErrNoData
}

// theirs is the same world as the other implementation asks for it.
type theirs struct{ w *world }

func gone(err error, name string) error {
	if err == nil {
		return nil
	}
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (t theirs) LookupTXT(ctx context.Context, name string) ([]string, error) {
	v, _, err := t.w.TXT(ctx, name)
	return v, gone(err, name)
}

func (t theirs) LookupMX(ctx context.Context, name string) (out []*net.MX, _ error) {
	v, _, err := t.w.MX(ctx, name)
	for _, m := range v {
		out = append(out, &net.MX{Host: m.Host + ".", Pref: m.Preference})
	}
	return out, gone(err, name)
}

func (t theirs) LookupIPAddr(ctx context.Context, host string) (out []net.IPAddr, _ error) {
	v, _, err := t.w.Addrs(ctx, host, resolver.AnyFamily)
	for _, ip := range v {
		out = append(out, net.IPAddr{IP: ip.AsSlice()})
	}
	return out, gone(err, host)
}

func (t theirs) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	v, _, err := t.w.PTR(ctx, netip.Addr{})
	return v, gone(err, addr)
}

// TestDifferential compares with another implementation on random policies of a few domains that refer to each other. All are
// well formed: the other one finds what is not only if it comes there, where RFC 7208 section 4.6 wants it found at once.
func TestDifferential(t *testing.T) {
	names := []string{"a.test", "b.test", "c.test", "x.a.test", "none.test"}
	ips := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("198.51.100.7"),
		netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:1::2")}
	name, ip := rapid.SampledFrom(names), rapid.SampledFrom(ips)
	qualifier := rapid.SampledFrom([]string{"", "+", "-", "~", "?"})
	term := rapid.Custom(func(t *rapid.T) string {
		q, n := qualifier.Draw(t, "qualifier"), name.Draw(t, "name")
		return rapid.SampledFrom([]string{q + "all", q + "include:" + n, "include:" + n, q + "a", q + "a:" + n, q + "a:" + n + "/24", q + "a:" + n + "/16//32",
			q + "mx", q + "mx:" + n, q + "mx:" + n + "/25", q + "ip4:192.0.2.0/24", q + "ip4:192.0.2.1", q + "ip4:198.51.100.0/28", q + "ip6:2001:db8::/32",
			q + "ip6:2001:db8::1", q + "exists:" + n, q + "exists:%{o}", q + "exists:%{l}.test", q + "exists:x.%{d}", q + "exists:%{d2r}", q + "exists:%{i}.%{h}",
			q + "ptr:" + n, "redirect=" + n, "exp=" + n, "unknown=modifier", q + "exists:%{s}",
			q + "exists:%{o1}.test"}).Draw(t, "term")
	})
	equal := 0
	rapid.Check(t, func(t *rapid.T) {
		w := &world{txt: map[string][]string{}, mx: map[string][]string{}, addrs: map[string][]netip.Addr{}}
		for _, n := range names {
			if n != "none.test" {
				w.txt[n] = append(w.txt[n], "v=spf1 "+strings.Join(rapid.SliceOfN(term, 0, 4).Draw(t, "terms"), " "))
			}
			w.addrs[n] = rapid.SliceOfN(ip, 0, 3).Draw(t, "addresses")
			w.mx[n] = rapid.SliceOfN(name, 0, 3).Draw(t, "exchangers")
		}
		w.ptr = rapid.SliceOfN(name, 0, 2).Draw(t, "reverse names")
		from := mail.Address{Local: rapid.SampledFrom([]string{"a", "b.c"}).Draw(t, "local"), Domain: name.Draw(t, "domain")}
		client := ip.Draw(t, "client")
		got := (&spf.Checker{Resolver: w}).Check(context.Background(), client, "x.a.test", from)
		want, err := other.CheckHostWithSender(client.AsSlice(), "x.a.test", from.String(), other.WithResolver(theirs{w}), other.OverrideVoidLookupLimit(1000))
		if got.Err != nil && (strings.Contains(got.Err.Error(), "answers without records") || strings.HasSuffix(got.Err.Error(), " twice")) {
			return // the other one counts such answers in another way, so that its limit is off; and takes modifiers that come twice
		}
		if string(got.Status) != string(want) {
			t.Fatalf("%s for %s from %v: %s (%s %v), the other says %s (%v)\n%+v", w.txt[from.Domain], from, client, got.Status, got.Mechanism, got.Err, want, err, w)
		}
		equal++
	})
	if equal == 0 {
		t.Error("nothing was compared")
	}
}

// FuzzMacro expands any macro-string in a question and in an explanation.
func FuzzMacro(f *testing.F) {
	for _, s := range []string{"%{ir}.%{v}.%{d2}.test", "%{l1r-}.%{o}.test", "%{S}.%{p}.%%%_%-.test", "%{d99r.+-}.a.test", "%{H12/=}.x.test"} {
		f.Add(s, "see http://%{o}/why?s=%{S}&ip=%{c}&t=%{t}&r=%{r}", "local.part-x+y", "h.test")
	}
	f.Fuzz(func(t *testing.T, target, explanation, local, helo string) {
		z := &asked{world: world{txt: map[string][]string{"a.test": {"v=spf1 exists:" + target + " include:" + target + " -all exp=e.test"}, "e.test": {explanation}}, ptr: []string{helo}}}
		r := (&spf.Checker{Resolver: z, Receiver: "mx.test"}).Check(t.Context(), netip.MustParseAddr("2001:db8::1"), helo, mail.Address{Local: local, Domain: "a.test"})
		for _, n := range z.names {
			if len(strings.TrimSuffix(n, ".")) > 253 {
				t.Errorf("a question of %d octets: %q", len(n), n)
			}
		}
		if z.n > 300 {
			t.Errorf("%d questions", z.n)
		}
		for _, c := range []byte(r.Explanation) {
			if c >= 0x80 {
				t.Errorf("the explanation is not ASCII: %q", r.Explanation)
				break
			}
		}
	})
}

// asked writes down what is asked.
type asked struct {
	world
	names []string
	n     int
}

func (a *asked) TXT(ctx context.Context, name string) ([]string, resolver.Answer, error) {
	a.names, a.n = append(a.names, name), a.n+1
	return a.world.TXT(ctx, name)
}

func (a *asked) Addrs(ctx context.Context, name string, f resolver.Family) ([]netip.Addr, resolver.Answer, error) {
	a.names, a.n = append(a.names, name), a.n+1
	return a.world.Addrs(ctx, name, f)
}
