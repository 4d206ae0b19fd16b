package spf

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/samotop/samotop/resolver"
)

// matches evaluates one mechanism (RFC 7208 section 5).
func (k *check) matches(ctx context.Context, domain string, t *term) (bool, error) {
	switch t.mechanism {
	case "all":
		return true, nil
	case "ip4", "ip6":
		return t.prefix.Contains(k.ip), nil
	}
	if err := k.count(); err != nil {
		return false, err
	}
	target, err := k.target(ctx, domain, t.domain)
	if err != nil {
		return false, err
	}
	switch t.mechanism {
	case "include":
		return k.include(ctx, target)
	case "a":
		return k.address(ctx, target, t)
	case "mx":
		return k.exchangers(ctx, target, t)
	case "ptr":
		return k.reverse(ctx, target)
	}
	return k.exists(ctx, target)
}

// include matches if the other domain's policy passes (section 5.2).
func (k *check) include(ctx context.Context, target string) (bool, error) {
	explain, explainDomain := k.explain, k.explainDomain
	r := k.host(ctx, target)
	k.explain, k.explainDomain = explain, explainDomain // an included record explains nothing (section 6.2)
	switch r.Status {
	case Pass:
		return true, nil
	case TempError:
		return false, temporary{r.Err}
	case PermError:
		return false, r.Err
	case None:
		return false, errLoop
	}
	return false, nil
}

// address is the mechanism a (section 5.3).
func (k *check) address(ctx context.Context, target string, t *term) (bool, error) {
	ips, err := k.addrs(ctx, target, k.family())
	if err != nil {
		return false, err
	}
	if len(ips) == 0 {
		return false, k.void()
	}
	return k.within(ips, t), nil
}

// addrs returns no addresses, and no error, for a name that has none.
func (k *check) addrs(ctx context.Context, name string, f resolver.Family) ([]netip.Addr, error) {
	if checkLabels(name) != nil {
		return nil, nil
	}
	ips, _, err := k.c.Resolver.Addrs(ctx, name, f)
	switch {
	case absent(err):
		return nil, nil
	case err != nil:
		return nil, temporary{err}
	}
	return ips, nil
}

func checkLabels(name string) error {
	for l := range strings.SplitSeq(name, ".") {
		if l == "" || len(l) > 63 {
			return errSyntax
		}
	}
	return nil
}

func (k *check) within(ips []netip.Addr, t *term) bool {
	bits := t.v6
	if k.ip.Is4() {
		bits = t.v4
	}
	for _, ip := range ips {
		ip = ip.Unmap()
		if p, err := ip.Prefix(bits); err == nil && ip.BitLen() == k.ip.BitLen() && p.Contains(k.ip) {
			return true
		}
	}
	return false
}

// exchangers is the mechanism mx (section 5.4).
func (k *check) exchangers(ctx context.Context, target string, t *term) (bool, error) {
	if checkLabels(target) != nil {
		return false, k.void()
	}
	mx, _, err := k.c.Resolver.MX(ctx, target)
	switch {
	case absent(err), err == nil && len(mx) == 0:
		return false, k.void()
	case err != nil:
		return false, temporary{err}
	case len(mx) > MaxNames:
		return false, errNames
	}
	for _, x := range mx {
		if x.Host == "" {
			continue
		}
		ips, err := k.addrs(ctx, x.Host, k.family())
		if err != nil {
			return false, err
		}
		if len(ips) == 0 {
			if err := k.void(); err != nil {
				return false, err
			}
			continue
		}
		if k.within(ips, t) {
			return true, nil
		}
	}
	return false, nil
}

// reverse is the mechanism ptr (section 5.5), which nobody should use.
func (k *check) reverse(ctx context.Context, target string) (bool, error) {
	names, _, err := k.c.Resolver.PTR(ctx, k.ip)
	if absent(err) || err == nil && len(names) == 0 {
		return false, k.void()
	}
	if err != nil {
		return false, nil // "If a DNS error occurs while doing the PTR RR lookup, then this mechanism fails to match."
	}
	for _, name := range names[:min(len(names), MaxNames)] {
		if below(name, target) && k.confirmed(ctx, name) {
			return true, nil
		}
	}
	return false, nil
}

// exists asks for an A record, whatever the client's address is (section 5.7).
func (k *check) exists(ctx context.Context, target string) (bool, error) {
	ips, err := k.addrs(ctx, target, resolver.IPv4)
	if err != nil {
		return false, err
	}
	if len(ips) == 0 {
		return false, k.void()
	}
	return true, nil
}

// explanation fetches and expands what the owner of the domain wants said (section 6.2). Whatever goes wrong,
// there is simply none.
func (k *check) explanation(ctx context.Context, domain string) string {
	target, err := k.target(ctx, domain, k.explain)
	if err != nil || checkLabels(target) != nil {
		return ""
	}
	texts, _, err := k.c.Resolver.TXT(ctx, target)
	if err != nil || len(texts) != 1 || len(texts[0]) > MaxRecordOctets {
		return ""
	}
	for i := 0; i < len(texts[0]); i++ {
		if c := texts[0][i]; c < ' ' || c > '~' {
			return ""
		}
	}
	if err := checkMacro(strings.ReplaceAll(texts[0], " ", "_"), false); err != nil {
		return ""
	}
	s, err := k.expand(ctx, domain, texts[0])
	if err != nil {
		return ""
	}
	return s
}

// Field returns the value of a Received-SPF field (section 9.1).
func (r Result) Field(receiver string, ip netip.Addr, helo string) string {
	why := r.Mechanism
	if r.Err != nil {
		why = r.Err.Error()
	}
	return fmt.Sprintf("%s (%s: %s) receiver=%s;\r\n\tclient-ip=%s; envelope-from=%s; helo=%s",
		r.Status, comment(r.Domain), comment(why), quoted(receiver), quoted(ip.String()), quoted(r.Sender.String()), quoted(helo))
}

// comment keeps text from ending a comment.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`()\`, r) {
			return '_'
		}
		return r
	}, s)
}

func quoted(s string) string {
	return `"` + strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, s) + `"`
}
