package spf_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/spf"
	"github.com/samotop/samotop/resolver"
)

// hostile answers whatever a test wants, and counts.
type hostile struct {
	txt   func(name string) []string
	mx    func(name string) []resolver.MX
	addrs func(name string) []netip.Addr
	ptr   []string
	asked *int
}

func answer[T any](h hostile, got []T) ([]T, resolver.Answer, error) {
	*h.asked++
	if len(got) == 0 {
		return nil, resolver.Answer{}, resolver.ErrNoName
	}
	return got, resolver.Answer{}, nil
}

func (h hostile) TXT(_ context.Context, name string) ([]string, resolver.Answer, error) {
	if h.txt == nil {
		return answer[string](h, nil)
	}
	return answer(h, h.txt(name))
}

func (h hostile) MX(_ context.Context, name string) ([]resolver.MX, resolver.Answer, error) {
	if h.mx == nil {
		return answer[resolver.MX](h, nil)
	}
	return answer(h, h.mx(name))
}

func (h hostile) Addrs(_ context.Context, name string, _ resolver.Family) ([]netip.Addr, resolver.Answer, error) {
	if h.addrs == nil {
		return answer[netip.Addr](h, nil)
	}
	return answer(h, h.addrs(name))
}

func (h hostile) PTR(context.Context, netip.Addr) ([]string, resolver.Answer, error) {
	return answer(h, h.ptr)
}

func (h hostile) TLSA(context.Context, string) ([]resolver.TLSA, resolver.Answer, error) {
	return nil, resolver.Answer{}, resolver.ErrNoData
}

// Whatever the domain's owner answers, the cost is bounded: MaxLookups terms, each of at most 1 + MaxNames questions, and
// one for each record.
func TestHostileAnswers(t *testing.T) {
	const most = spf.MaxLookups*(2+spf.MaxNames) + 2
	always := func(s string) func(string) []string { return func(string) []string { return []string{s} } }
	many := make([]netip.Addr, 100_000)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	exchangers := func(n int) func(string) []resolver.MX {
		return func(string) []resolver.MX {
			var mx []resolver.MX
			for i := range n {
				mx = append(mx, resolver.MX{Host: fmt.Sprintf("mx%d.x.test", i)})
			}
			return mx
		}
	}
	some := func(string) []netip.Addr { return many[:1] }
	var names []string
	for i := range 10_000 {
		names = append(names, fmt.Sprintf("h%d.a.test", i))
	}
	for name, c := range map[string]struct {
		dns  hostile
		want spf.Status
	}{
		"includes itself":             {hostile{txt: always("v=spf1 include:a.test -all")}, spf.PermError},
		"redirects to itself":         {hostile{txt: always("v=spf1 redirect=a.test")}, spf.PermError},
		"includes two of itself":      {hostile{txt: always("v=spf1 include:a.test include:b.test -all")}, spf.PermError},
		"grows with every step":       {hostile{txt: func(n string) []string { return []string{"v=spf1 include:x." + n + " -all"} }}, spf.PermError},
		"ever longer macros":          {hostile{txt: always("v=spf1 include:%{d}.%{d} -all")}, spf.PermError},
		"hundred thousand addresses":  {hostile{txt: always("v=spf1 a -all"), addrs: func(string) []netip.Addr { return many }}, spf.Fail},
		"addresses for every term":    {hostile{txt: always("v=spf1" + strings.Repeat(" a", 100) + " -all"), addrs: some}, spf.PermError},
		"ten exchangers, ten times":   {hostile{txt: always("v=spf1" + strings.Repeat(" mx", 10) + " -all"), mx: exchangers(10), addrs: some}, spf.Fail},
		"eleven exchangers":           {hostile{txt: always("v=spf1 mx -all"), mx: exchangers(11), addrs: some}, spf.PermError},
		"thousands of exchangers":     {hostile{txt: always("v=spf1 mx -all"), mx: exchangers(10_000), addrs: some}, spf.PermError},
		"exchangers without address":  {hostile{txt: always("v=spf1 mx -all"), mx: exchangers(10)}, spf.PermError},
		"thousands of reverse names":  {hostile{txt: always("v=spf1 ptr -all"), ptr: names, addrs: some}, spf.Fail},
		"void after void":             {hostile{txt: always("v=spf1 a:x.test a:y.test a:z.test -all")}, spf.PermError},
		"a record of a megabyte":      {hostile{txt: always("v=spf1 " + strings.Repeat("ip4:192.0.2.0/32 ", 60_000) + "-all")}, spf.PermError},
		"a thousand records":          {hostile{txt: func(string) []string { return strings.Split(strings.Repeat("v=spf1 -all|", 1000), "|") }}, spf.PermError},
		"many records of other kinds": {hostile{txt: func(string) []string { return append(strings.Split(strings.Repeat("x|", 10_000), "|"), "v=spf1 -all") }}, spf.Fail},
		"control characters":          {hostile{txt: always("v=spf1 a:\x00\x01.test -all")}, spf.PermError},
	} {
		asked := 0
		c.dns.asked = &asked
		r := (&spf.Checker{Resolver: c.dns}).Check(t.Context(), netip.MustParseAddr("192.0.2.1"), "h.test", mail.Address{Local: "l", Domain: "a.test"})
		if r.Status != c.want {
			t.Errorf("%s: %s (%v), want %s", name, r.Status, r.Err, c.want)
		}
		if asked > most {
			t.Errorf("%s: %d questions, at most %d are allowed", name, asked, most)
		}
	}
}
