package spf

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// record is a parsed SPF record (RFC 7208 section 4.6).
type record struct {
	terms         []term
	redirect, exp string // domain-specs; "" if not given
}

// term is one directive: a qualifier and a mechanism.
type term struct {
	text      string // as written
	result    Status
	mechanism string       // lower case
	domain    string       // domain-spec, macros not expanded; "" if not given
	prefix    netip.Prefix // of ip4 and ip6
	v4, v6    int          // CIDR lengths of a and mx
}

var errSyntax = errors.New("record is malformed")

func parse(text string) (*record, error) {
	if len(text) > MaxRecordOctets {
		return nil, errSyntax
	}
	r := &record{}
	var redirect, exp bool
	for word := range strings.SplitSeq(text[len("v=spf1"):], " ") {
		if word == "" {
			continue
		}
		if name, value, ok := modifier(word); ok {
			if err := checkMacro(value, name == "redirect" || name == "exp"); err != nil {
				return nil, fmt.Errorf("%s: %w", word, err)
			}
			switch name {
			case "redirect":
				if redirect {
					return nil, fmt.Errorf("%s: %w: redirect twice", word, errSyntax)
				}
				redirect, r.redirect = true, value
			case "exp":
				if exp {
					return nil, fmt.Errorf("%s: %w: exp twice", word, errSyntax)
				}
				exp, r.exp = true, value
			}
			continue
		}
		t, err := parseTerm(word)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
		r.terms = append(r.terms, t)
	}
	return r, nil
}

// modifier reads name "=" value. The name ends before anything that a mechanism could have there.
func modifier(word string) (name, value string, ok bool) {
	at := strings.IndexAny(word, "=:/")
	if at <= 0 || word[at] != '=' {
		return "", "", false
	}
	name = strings.ToLower(word[:at])
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '-' && c != '_' && c != '.' && (c < '0' || c > '9')) {
			return "", "", false
		}
	}
	return name, word[at+1:], true
}

func parseTerm(word string) (term, error) {
	t := term{text: word, result: Pass, v4: 32, v6: 128}
	rest := word
	switch rest[0] {
	case '+':
		rest = rest[1:]
	case '-':
		t.result, rest = Fail, rest[1:]
	case '~':
		t.result, rest = SoftFail, rest[1:]
	case '?':
		t.result, rest = Neutral, rest[1:]
	}
	end := strings.IndexAny(rest, ":/")
	if end < 0 {
		end = len(rest)
	}
	t.mechanism = strings.ToLower(rest[:end])
	rest = rest[end:]
	switch t.mechanism {
	case "all":
		if rest != "" {
			return t, errSyntax
		}
		return t, nil
	case "include", "exists":
		if len(rest) < 2 || rest[0] != ':' {
			return t, errSyntax
		}
		t.domain = rest[1:]
		return t, checkMacro(t.domain, true)
	case "ptr":
		if rest == "" {
			return t, nil
		}
		if len(rest) < 2 || rest[0] != ':' {
			return t, errSyntax
		}
		t.domain = rest[1:]
		return t, checkMacro(t.domain, true)
	case "a", "mx":
		return t, t.hosts(rest)
	case "ip4", "ip6":
		if rest == "" || rest[0] != ':' {
			return t, errSyntax
		}
		return t, t.network(rest[1:])
	}
	return t, errors.New("unknown mechanism")
}

// hosts reads [":" domain-spec] [dual-cidr-length] of a and mx (sections 5.3, 5.4).
func (t *term) hosts(s string) error {
	spec := s
	if at := dualCIDR(s); at >= 0 {
		spec = s[:at]
		if err := t.lengths(s[at:]); err != nil {
			return err
		}
	}
	if spec == "" {
		return nil
	}
	if len(spec) < 2 || spec[0] != ':' {
		return errSyntax
	}
	t.domain = spec[1:]
	return checkMacro(t.domain, true)
}

// dualCIDR finds where "/n", "//n" or "/n//m" begins at the end of s; -1 if it is not there.
func dualCIDR(s string) int {
	at := len(s)
	for at > 0 && (s[at-1] == '/' || s[at-1] >= '0' && s[at-1] <= '9') {
		at--
	}
	if i := strings.IndexByte(s[at:], '/'); i >= 0 {
		return at + i
	}
	return -1
}

func (t *term) lengths(s string) (err error) {
	v4, v6, both := strings.Cut(s, "//")
	if v4 != "" {
		if t.v4, err = length(strings.TrimPrefix(v4, "/"), 32); err != nil {
			return err
		}
	}
	if both {
		t.v6, err = length(v6, 128)
	}
	return err
}

// length reads a CIDR length: no sign, no leading zero.
func length(s string, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > most || s != strconv.Itoa(n) {
		return 0, fmt.Errorf("%w: bad prefix length", errSyntax)
	}
	return n, nil
}

// network reads the argument of ip4 and ip6 (section 5.6).
func (t *term) network(s string) error {
	addr, bits, has := strings.Cut(s, "/")
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Zone() != "" || ip.Is4() != (t.mechanism == "ip4") {
		return fmt.Errorf("%w: bad address", errSyntax)
	}
	n := ip.BitLen()
	if has {
		if n, err = length(bits, ip.BitLen()); err != nil {
			return err
		}
	}
	t.prefix = netip.PrefixFrom(ip, n).Masked()
	return nil
}
