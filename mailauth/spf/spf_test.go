package spf_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/spf"
	"github.com/samotop/samotop/resolver"
)

// suite is one document of the openspf test suite.
type suite struct {
	Description string
	Tests       map[string]struct {
		Host, Helo, Mailfrom, Explanation string
		Result                            any
	}
	Zonedata map[string][]any
}

// zone answers from a suite's zone data.
type zone struct {
	data map[string][]any
}

func (z zone) find(name, typ string) ([]any, error) {
	var found []any
	records, ok := z.data[strings.ToLower(strings.TrimSuffix(name, "."))]
	if !ok {
		return nil, resolver.ErrNoName
	}
	for _, r := range records {
		switch r := r.(type) {
		case string: // TIMEOUT: what is not there before it times out
			if len(found) == 0 {
				return nil, resolver.ErrTemporary
			}
		case map[string]any:
			if v, ok := r[typ]; ok {
				if v == "NONE" {
					continue
				}
				if v == "TIMEOUT" {
					return nil, resolver.ErrTemporary
				}
				found = append(found, v)
			} else if v, ok := r["CNAME"]; ok {
				return z.find(v.(string), typ)
			}
		}
	}
	if len(found) == 0 {
		return nil, resolver.ErrNoData
	}
	return found, nil
}

func (z zone) TXT(_ context.Context, name string) ([]string, resolver.Answer, error) {
	found, err := z.find(name, "TXT")
	var texts []string
	for _, f := range found {
		switch f := f.(type) {
		case string:
			texts = append(texts, f)
		case []any:
			s := ""
			for _, x := range f {
				s += x.(string)
			}
			texts = append(texts, s)
		}
	}
	if err == nil && texts == nil {
		err = resolver.ErrNoData
	}
	return texts, resolver.Answer{}, err
}

func (z zone) Addrs(_ context.Context, name string, f resolver.Family) ([]netip.Addr, resolver.Answer, error) {
	typ := "A"
	if f == resolver.IPv6 {
		typ = "AAAA"
	}
	found, err := z.find(name, typ)
	var ips []netip.Addr
	for _, x := range found {
		ips = append(ips, netip.MustParseAddr(x.(string)))
	}
	return ips, resolver.Answer{}, err
}

func (z zone) MX(_ context.Context, name string) ([]resolver.MX, resolver.Answer, error) {
	found, err := z.find(name, "MX")
	var mx []resolver.MX
	for _, x := range found {
		mx = append(mx, resolver.MX{Preference: uint16(x.([]any)[0].(int)), Host: x.([]any)[1].(string)})
	}
	return mx, resolver.Answer{}, err
}

func (z zone) PTR(_ context.Context, ip netip.Addr) ([]string, resolver.Answer, error) {
	name := ""
	if ip.Is4() {
		b := ip.As4()
		name = fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
	} else {
		b := ip.As16()
		for i := 15; i >= 0; i-- {
			name += fmt.Sprintf("%x.%x.", b[i]&15, b[i]>>4)
		}
		name += "ip6.arpa"
	}
	found, err := z.find(name, "PTR")
	var names []string
	for _, x := range found {
		names = append(names, x.(string))
	}
	return names, resolver.Answer{}, err
}

func (z zone) TLSA(context.Context, string) ([]resolver.TLSA, resolver.Answer, error) {
	return nil, resolver.Answer{}, resolver.ErrNoData
}

// load reads the documents of a test file. As its introduction says, SPF records stand for TXT ones where a name has
// none.
func load(t *testing.T, name string) []suite {
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	b, err := os.ReadFile(filepath.Join(dir, "vectors", "spf", name))
	if os.IsNotExist(err) {
		t.Skipf("test vectors of others are missing: %v (set SAMOTOP_SHARED)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []suite
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var s suite
		if err := d.Decode(&s); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		lower := map[string][]any{}
		for name, records := range s.Zonedata {
			hasTXT := false
			for _, r := range records {
				if m, ok := r.(map[string]any); ok && m["TXT"] != nil {
					hasTXT = true
				}
			}
			for _, r := range records {
				if m, ok := r.(map[string]any); ok && m["SPF"] != nil && !hasTXT {
					r = map[string]any{"TXT": m["SPF"]}
				}
				lower[strings.ToLower(name)] = append(lower[strings.ToLower(name)], r)
			}
		}
		s.Zonedata = lower
		all = append(all, s)
	}
}

func sender(s string) mail.Address {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		if s == "" {
			return mail.Address{}
		}
		return mail.Address{Local: "postmaster", Domain: s}
	}
	return mail.Address{Local: s[:at], Domain: s[at+1:]}
}

func TestSuites(t *testing.T) {
	for _, file := range []string{"rfc7208-tests.yml", "rfc4408-tests.yml"} {
		n := 0
		for _, s := range load(t, file) {
			for name, c := range s.Tests {
				n++
				want := map[string]bool{}
				switch r := c.Result.(type) {
				case string:
					want[r] = true
				case []any:
					for _, x := range r {
						want[x.(string)] = true
					}
				}
				checker := &spf.Checker{Resolver: zone{s.Zonedata}, Receiver: "receiver.test", Clock: func() time.Time { return time.Unix(1, 0) }}
				got := checker.Check(t.Context(), netip.MustParseAddr(c.Host), c.Helo, sender(c.Mailfrom))
				if !want[string(got.Status)] {
					t.Errorf("%s: %s: %s: got %s (%v), want %v", file, s.Description, name, got.Status, got.Err, c.Result)
				}
				if c.Explanation != "" && c.Explanation != "DEFAULT" && got.Status == spf.Fail && got.Explanation != c.Explanation {
					t.Errorf("%s: %s: %s: explanation %q, want %q", file, s.Description, name, got.Explanation, c.Explanation)
				}
			}
		}
		if n < 10 {
			t.Errorf("%s: only %d cases were read", file, n)
		}
		t.Logf("%s: %d cases", file, n)
	}
}

func TestField(t *testing.T) {
	r := spf.Result{Status: spf.Pass, Domain: "evil.test) (", Sender: mail.Address{Local: "a\"b", Domain: "c"}, Mechanism: "ip4:1.2.3.4"}
	got := r.Field("mx.test", netip.MustParseAddr("192.0.2.1"), "x\r\nEvil: y")
	want := "pass (evil.test_ _: ip4:1.2.3.4) receiver=\"mx.test\";\r\n\tclient-ip=\"192.0.2.1\"; envelope-from=\"_a__b_@c\"; helo=\"x__Evil: y\""
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzRecord(f *testing.F) {
	for _, s := range []string{"v=spf1 a mx ip4:1.2.3.0/24 -all", "v=spf1 include:%{ir}.%{v}.%{d2} exists:%{l1r-}.x.test ?all", "v=spf1 redirect=a.test exp=%{S}.b.test", "v=spf1 a:b.test/24//64 ptr"} {
		f.Add(s, "local-part")
	}
	f.Fuzz(func(t *testing.T, record, local string) {
		z := zone{map[string][]any{"a.test": {map[string]any{"TXT": record}}}}
		(&spf.Checker{Resolver: z}).Check(t.Context(), netip.MustParseAddr("192.0.2.1"), "h.test", mail.Address{Local: local, Domain: "a.test"})
	})
}
