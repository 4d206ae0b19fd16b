package spf

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/resolver"
)

// checkMacro checks the syntax of a macro-string (RFC 7208 section 7.1); a domain-spec must also end in a macro or
// in a top label that is no number.
func checkMacro(s string, domainSpec bool) error {
	last := byte(0)
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c != '%':
			if c < 0x21 || c > 0x7e {
				return fmt.Errorf("%w: bad character", errSyntax)
			}
			last = c
			i++
		case i+1 < len(s) && strings.IndexByte("%_-", s[i+1]) >= 0:
			last = s[i+1]
			i += 2
		default:
			m, n, err := parseMacro(s[i:])
			if err != nil {
				return err
			}
			if domainSpec && strings.IndexByte("crt", m.letter) >= 0 {
				return fmt.Errorf("%w: macro %c is for explanations only", errSyntax, m.letter)
			}
			last = '}'
			i += n
		}
	}
	if !domainSpec {
		return nil
	}
	if s == "" {
		return fmt.Errorf("%w: no domain", errSyntax)
	}
	if last == '}' {
		return nil
	}
	return checkTop(s)
}

// checkTop checks the top label of a domain-spec: domain-end of section 7.1.
func checkTop(s string) error {
	s = strings.TrimSuffix(s, ".")
	top := s[strings.LastIndexByte(s, '.')+1:]
	if top == s && !strings.Contains(s, "%") || top == "" || top[0] == '-' || top[len(top)-1] == '-' {
		return fmt.Errorf("%w: bad domain", errSyntax)
	}
	digits := true
	for i := 0; i < len(top); i++ {
		c := top[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && c != '-' && (c < '0' || c > '9') {
			return fmt.Errorf("%w: bad domain", errSyntax)
		}
		digits = digits && c >= '0' && c <= '9'
	}
	if digits {
		return fmt.Errorf("%w: bad domain", errSyntax)
	}
	return nil
}

// macro is %{letter [digits] [r] [delimiters]}.
type macro struct {
	letter     byte // lower case
	escape     bool // was upper case: URL encoding
	parts      int  // 0: all
	reverse    bool
	delimiters string
}

// parseMacro reads a macro at the beginning of s and returns its length.
func parseMacro(s string) (m macro, n int, err error) {
	end := strings.IndexByte(s, '}')
	if len(s) < 4 || s[1] != '{' || end < 3 {
		return m, 0, fmt.Errorf("%w: bad macro", errSyntax)
	}
	m.letter = s[2] | 0x20
	m.escape = s[2] < 'a'
	if strings.IndexByte("slodiphcrtv", m.letter) < 0 || m.letter == s[2]^0x20 != m.escape {
		return m, 0, fmt.Errorf("%w: unknown macro", errSyntax)
	}
	body := s[3:end]
	digits := 0
	for digits < len(body) && body[digits] >= '0' && body[digits] <= '9' {
		digits++
	}
	if digits > 0 {
		if m.parts, err = strconv.Atoi(body[:digits]); err != nil || m.parts == 0 {
			return m, 0, fmt.Errorf("%w: bad macro", errSyntax)
		}
	}
	body = body[digits:]
	if body != "" && body[0]|0x20 == 'r' {
		m.reverse, body = true, body[1:]
	}
	if strings.Trim(body, ".-+,/_=") != "" {
		return m, 0, fmt.Errorf("%w: bad macro", errSyntax)
	}
	m.delimiters = body
	return m, end + 1, nil
}

// expand expands a macro-string that was checked.
func (k *check) expand(ctx context.Context, domain, s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if b.Len() > MaxMacroOctets {
			return "", fmt.Errorf("%w: expands to too much", errSyntax)
		}
		if s[i] != '%' || i+1 == len(s) {
			b.WriteByte(s[i])
			i++
			continue
		}
		if at := strings.IndexByte("%_-", s[i+1]); at >= 0 {
			b.WriteString([]string{"%", " ", "%20"}[at])
			i += 2
			continue
		}
		m, n, err := parseMacro(s[i:])
		if err != nil {
			return "", err
		}
		b.WriteString(m.transform(k.value(ctx, domain, m.letter)))
		i += n
	}
	return b.String(), nil
}

// transform splits, reverses, cuts and joins (section 7.3).
func (m macro) transform(v string) string {
	delimiters := m.delimiters
	if delimiters == "" {
		delimiters = "."
	}
	if m.reverse || m.parts > 0 || m.delimiters != "" {
		parts := strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(delimiters, r) })
		if m.reverse {
			for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
		if m.parts > 0 && m.parts < len(parts) {
			parts = parts[len(parts)-m.parts:]
		}
		v = strings.Join(parts, ".")
	}
	if m.escape {
		v = strings.ReplaceAll(url.QueryEscape(v), "+", "%20")
	}
	return v
}

// value is what a macro letter stands for (section 7.2).
func (k *check) value(ctx context.Context, domain string, letter byte) string {
	switch letter {
	case 's':
		return k.sender.Local + "@" + k.sender.Domain
	case 'l':
		return k.sender.Local
	case 'o':
		return k.sender.Domain
	case 'd':
		return domain
	case 'i':
		return dotted(k.ip)
	case 'p':
		return k.pointer(ctx, domain)
	case 'v':
		if k.ip.Is4() {
			return "in-addr"
		}
		return "ip6"
	case 'h':
		return k.helo
	case 'c':
		return k.ip.String()
	case 'r':
		if k.c.Receiver == "" {
			return "unknown"
		}
		return k.c.Receiver
	}
	now := time.Now
	if k.c.Clock != nil {
		now = k.c.Clock
	}
	return strconv.FormatInt(now().Unix(), 10)
}

// dotted is an address as the macro i has it: IPv6 as nibbles.
func dotted(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	const digits = "0123456789ABCDEF" // as the openspf test suite has them
	b := make([]byte, 0, 63)
	for i, o := range ip.As16() {
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, digits[o>>4], '.', digits[o&15])
	}
	return string(b)
}

// pointer is the macro p: a validated name of the client, preferably of the domain itself, then below it.
func (k *check) pointer(ctx context.Context, domain string) string {
	if k.validated == "" {
		k.validated = "unknown"
		best := 0
		for _, name := range k.names(ctx) {
			rank := 1
			switch {
			case strings.EqualFold(name, domain):
				rank = 3
			case below(name, domain):
				rank = 2
			}
			if rank > best && k.confirmed(ctx, name) {
				best, k.validated = rank, name
			}
		}
	}
	return k.validated
}

func below(name, domain string) bool {
	n, d := strings.ToLower(name), strings.ToLower(domain)
	return n == d || strings.HasSuffix(n, "."+d)
}

// names are the PTR names of the client, as many as may be looked at.
func (k *check) names(ctx context.Context) []string {
	names, _, err := k.c.Resolver.PTR(ctx, k.ip)
	if err != nil {
		return nil
	}
	return names[:min(len(names), MaxNames)]
}

// confirmed reports whether a name has the client's address. Failures count as no (section 5.5).
func (k *check) confirmed(ctx context.Context, name string) bool {
	ips, _, err := k.c.Resolver.Addrs(ctx, name, k.family())
	if err != nil {
		return false
	}
	for _, ip := range ips {
		if ip.Unmap() == k.ip {
			return true
		}
	}
	return false
}

func (k *check) family() resolver.Family {
	if k.ip.Is4() {
		return resolver.IPv4
	}
	return resolver.IPv6
}

// target expands a domain-spec into a domain to ask about. One that grew too long loses labels on the left
// (section 7.3).
func (k *check) target(ctx context.Context, domain, spec string) (string, error) {
	if spec == "" {
		return domain, nil
	}
	d, err := k.expand(ctx, domain, spec)
	if err != nil {
		return "", err
	}
	d = strings.TrimSuffix(d, ".")
	for len(d) > 253 {
		_, rest, ok := strings.Cut(d, ".")
		if !ok {
			break
		}
		d = rest
	}
	return d, nil
}
