package mail

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Limits of RFC 5321 section 4.5.3.1, in octets. RFC 6531 section 3.3 counts the octets of the UTF-8 form.
const (
	MaxLocalOctets  = 64
	MaxDomainOctets = 255
	MaxPathOctets   = 512 // 256 in RFC 5321 section 4.5.3.1.3; source routes are read and dropped, so they get some room
)

// MaxRewrittenOctets is for local parts that hold another address, as those of the Sender Rewriting Scheme do (SRS0=..., see
// package mailauth/srs): RFC 5321 section 4.5.3.1 wants limits to be avoided, and a report has to find its way back.
const MaxRewrittenOctets = 400

func isRewritten(local string) bool {
	return len(local) > 4 && strings.EqualFold(local[:3], "SRS") && (local[3] == '0' || local[3] == '1')
}

// Address is a Mailbox of RFC 5321 section 4.1.2: Local-part "@" ( Domain / address-literal ), each as it was
// meant, without quoting. The zero Address is the null reverse-path "<>". An Address whose Domain is empty is the
// bare <Postmaster> of RFC 5321 section 4.5.1.
type Address struct {
	Local  string // unquoted; may hold any octet that a Quoted-string can
	Domain string // as written; an address literal keeps its brackets
}

// IsNull reports whether a is the null reverse-path.
func (a Address) IsNull() bool { return a == Address{} }

// IsLiteral reports whether the domain is an address literal such as [192.0.2.1].
func (a Address) IsLiteral() bool { return strings.HasPrefix(a.Domain, "[") }

// UTF8 reports whether a can travel only with SMTPUTF8 (RFC 6531).
func (a Address) UTF8() bool { return !isASCII(a.Local) || !isASCII(a.Domain) }

// String returns the address as it goes into a path, quoted where RFC 5321 asks for it, without the brackets.
// The null path gives "".
func (a Address) String() string {
	if a.IsNull() {
		return ""
	}
	var b strings.Builder
	b.Grow(len(a.Local) + len(a.Domain) + 3)
	if isDotString(a.Local) {
		b.WriteString(a.Local)
	} else {
		b.WriteByte('"')
		for i := 0; i < len(a.Local); i++ {
			if c := a.Local[i]; c == '"' || c == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(a.Local[i])
		}
		b.WriteByte('"')
	}
	if a.Domain != "" {
		b.WriteByte('@')
		b.WriteString(a.Domain)
	}
	return b.String()
}

// Path returns the address in angle brackets: "<>" for the null path.
func (a Address) Path() string { return "<" + a.String() + ">" }

// EqualFold reports whether a and b name the same mailbox when local parts are compared without case. RFC 5321
// section 2.4 lets only the host that owns the domain decide that; use it for addresses of our own.
func (a Address) EqualFold(b Address) bool {
	return strings.EqualFold(a.Local, b.Local) && strings.EqualFold(a.Domain, b.Domain)
}

// Errors of ParseAddress and ParsePath.
var (
	ErrAddressSyntax  = errors.New("address is not of the form local@domain (RFC 5321 section 4.1.2)")
	ErrLocalTooLong   = errors.New("local part is longer than 64 octets (RFC 5321 section 4.5.3.1.1)")
	ErrDomainTooLong  = errors.New("domain is longer than 255 octets (RFC 5321 section 4.5.3.1.2)")
	ErrPathTooLong    = errors.New("path is too long (RFC 5321 section 4.5.3.1.3)")
	ErrLiteral        = errors.New("address literal is not a valid IPv4 or IPv6 address (RFC 5321 section 4.1.3)")
	ErrPathUnfinished = errors.New("path has no closing bracket")
)

// ParseAddress reads local@domain, with nothing before or after it. UTF-8 is accepted in both parts; whether the
// session allows it is for the caller to check with UTF8.
func ParseAddress(s string) (Address, error) {
	a, rest, err := parseMailbox(s)
	if err != nil {
		return Address{}, err
	}
	if rest != "" {
		return Address{}, ErrAddressSyntax
	}
	return a, nil
}

// ParsePath reads a Reverse-path or Forward-path (RFC 5321 section 4.1.2) at the beginning of s and returns what
// follows it. "<>" gives the null Address, "<postmaster>" an Address without a domain. A source route is read and
// dropped (RFC 5321 appendix C).
func ParsePath(s string) (a Address, rest string, err error) {
	if s == "" || s[0] != '<' {
		return Address{}, s, ErrAddressSyntax
	}
	s = s[1:]
	if s != "" && s[0] == '>' {
		return Address{}, s[1:], nil
	}
	before := len(s)
	if s, err = dropSourceRoute(s); err != nil {
		return Address{}, s, err
	}
	if len(s) >= 11 && strings.EqualFold(s[:11], "postmaster>") { // RFC 5321 section 4.1.1.3
		return Address{Local: s[:10]}, s[11:], nil
	}
	if a, rest, err = parseMailbox(s); err != nil {
		return Address{}, s, err
	}
	if rest == "" || rest[0] != '>' {
		return Address{}, s, ErrPathUnfinished
	}
	if before-len(rest) > MaxPathOctets {
		return Address{}, s, ErrPathTooLong
	}
	return a, rest[1:], nil
}

// dropSourceRoute reads A-d-l ":" of RFC 5321 section 4.1.2, if there is one.
func dropSourceRoute(s string) (string, error) {
	if s == "" || s[0] != '@' {
		return s, nil
	}
	for {
		if s == "" || s[0] != '@' {
			return s, ErrAddressSyntax
		}
		_, rest, err := parseDomain(s[1:])
		if err != nil {
			return s, err
		}
		if rest == "" {
			return s, ErrAddressSyntax
		}
		s = rest[1:]
		switch rest[0] {
		case ':':
			return s, nil
		case ',':
		default:
			return s, ErrAddressSyntax
		}
	}
}

func parseMailbox(s string) (a Address, rest string, err error) {
	if a.Local, rest, err = parseLocal(s); err != nil {
		return Address{}, s, err
	}
	if len(a.Local) > MaxLocalOctets && !(isRewritten(a.Local) && len(a.Local) <= MaxRewrittenOctets) {
		return Address{}, s, ErrLocalTooLong
	}
	if rest == "" || rest[0] != '@' {
		return Address{}, s, ErrAddressSyntax
	}
	if a.Domain, rest, err = parseDomain(rest[1:]); err != nil {
		return Address{}, s, err
	}
	return a, rest, nil
}

func parseLocal(s string) (local, rest string, err error) {
	if s != "" && s[0] == '"' {
		return parseQuoted(s)
	}
	i, dot := 0, true // dot: an atom must begin here
	for i < len(s) {
		c := s[i]
		if c == '.' {
			if dot {
				return "", s, ErrAddressSyntax
			}
			dot, i = true, i+1
			continue
		}
		n := atextLen(s[i:])
		if n == 0 {
			break
		}
		dot, i = false, i+n
	}
	if dot {
		return "", s, ErrAddressSyntax
	}
	return s[:i], s[i:], nil
}

// parseQuoted reads a Quoted-string of RFC 5321 section 4.1.2.
func parseQuoted(s string) (local, rest string, err error) {
	var b []byte
	for i := 1; i < len(s); {
		c := s[i]
		switch {
		case c == '"':
			if len(b) == 0 {
				return "", s, ErrAddressSyntax // a mailbox without a name: legal by the letter, never meant
			}
			return string(b), s[i+1:], nil
		case c == '\\':
			if i+1 >= len(s) || s[i+1] < ' ' || s[i+1] > '~' { // quoted-pairSMTP
				return "", s, ErrAddressSyntax
			}
			b = append(b, s[i+1])
			i += 2
		case c >= ' ' && c <= '~': // qtextSMTP
			b = append(b, c)
			i++
		default: // RFC 6531 section 3.3: UTF8-non-ascii
			r, n := utf8.DecodeRuneInString(s[i:])
			if c < utf8.RuneSelf || r == utf8.RuneError && n == 1 {
				return "", s, ErrAddressSyntax
			}
			b = append(b, s[i:i+n]...)
			i += n
		}
	}
	return "", s, ErrAddressSyntax
}

func parseDomain(s string) (domain, rest string, err error) {
	if s != "" && s[0] == '[' {
		return parseLiteral(s)
	}
	i, start := 0, 0
	for i <= len(s) {
		if i == len(s) || s[i] == '.' || !isDomainOctet(s, i) {
			if !isLabel(s[start:i]) {
				return "", s, ErrAddressSyntax
			}
			if i == len(s) || s[i] != '.' {
				break
			}
			start = i + 1
			i++
			continue
		}
		i++
	}
	if i > MaxDomainOctets {
		return "", s, ErrDomainTooLong
	}
	if !utf8.ValidString(s[:i]) {
		return "", s, ErrAddressSyntax
	}
	return s[:i], s[i:], nil
}

func isDomainOctet(s string, i int) bool {
	c := s[i]
	return c >= utf8.RuneSelf || isLetDig(c) || c == '-' || c == '_'
}

// isLabel accepts the sub-domain of RFC 5321 section 4.1.2, U-labels (RFC 6531), and the underscore that real
// hosts use.
func isLabel(s string) bool {
	return s != "" && len(s) <= 4*63 && s[0] != '-' && s[len(s)-1] != '-' && (len(s) <= 63 || !isASCII(s))
}

// parseLiteral reads an address-literal of RFC 5321 section 4.1.3. General-address-literal has no registered tag
// but IPv6, so any other is refused.
func parseLiteral(s string) (domain, rest string, err error) {
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return "", s, ErrAddressSyntax
	}
	body := s[1:end]
	v6 := len(body) > 5 && strings.EqualFold(body[:5], "IPv6:")
	if v6 {
		body = body[5:]
	}
	ip, perr := netip.ParseAddr(body)
	if perr != nil || ip.Zone() != "" || ip.Is4() == v6 {
		return "", s, ErrLiteral
	}
	return s[:end+1], s[end+1:], nil
}

// Literal returns the address of an address literal such as [IPv6:2001:db8::1].
func (a Address) Literal() (netip.Addr, bool) {
	if !a.IsLiteral() || !strings.HasSuffix(a.Domain, "]") {
		return netip.Addr{}, false
	}
	body := a.Domain[1 : len(a.Domain)-1]
	if len(body) > 5 && strings.EqualFold(body[:5], "IPv6:") {
		body = body[5:]
	}
	ip, err := netip.ParseAddr(body)
	return ip, err == nil
}

// IsDomain reports whether s is a Domain or an address literal of RFC 5321 section 4.1.2, as EHLO takes it.
func IsDomain(s string) bool {
	_, rest, err := parseDomain(s)
	return err == nil && rest == ""
}

func isDotString(s string) bool {
	_, rest, err := parseLocal(s)
	return err == nil && rest == "" && s[0] != '"'
}

// atextLen returns the length of the atext at the beginning of s: 0 if there is none.
func atextLen(s string) int {
	c := s[0]
	if c < utf8.RuneSelf {
		if isLetDig(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0 {
			return 1
		}
		return 0
	}
	if r, n := utf8.DecodeRuneInString(s); r != utf8.RuneError || n > 1 {
		return n
	}
	return 0
}

func isLetDig(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
