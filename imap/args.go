package imap

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// mailbox reads a mailbox name and gives it in UTF-8, NFC, with INBOX in upper case.
func (p *parser) mailbox() (string, error) {
	raw, err := p.astring()
	if err != nil {
		return "", err
	}
	return p.mailboxName(raw)
}

func (p *parser) mailboxName(raw []byte) (string, error) {
	if len(raw) > p.l.NameOctets {
		return "", no("CANNOT", fmt.Sprintf("mailbox name is longer than %d octets", p.l.NameOctets))
	}
	name, err := p.decodeName(string(raw))
	if err != nil {
		return "", err
	}
	for i := 0; i < len(name); i++ {
		if name[i] < 0x20 || name[i] == 0x7f {
			return "", no("CANNOT", "mailbox name holds a control character")
		}
	}
	p.asked = name
	return CanonicalName(name), nil
}

// decodeName reads a name as the mode of the session has it.
func (p *parser) decodeName(s string) (string, error) {
	if p.utf8 {
		if !utf8.ValidString(s) {
			return "", no("CANNOT", "mailbox name is not UTF-8 (RFC 9051 section 5.1)")
		}
		return s, nil
	}
	name, err := DecodeUTF7(s)
	if err != nil {
		return "", no("CANNOT", "mailbox name is not modified UTF-7 (RFC 3501 section 5.1.3)")
	}
	return name, nil
}

// CanonicalName gives a mailbox name the form in which the backend sees it: Unicode NFC, INBOX and the INBOX at the
// beginning of its children in upper case (RFC 9051 section 5.1).
func CanonicalName(name string) string {
	name = norm.NFC.String(name)
	if len(name) >= 5 && strings.EqualFold(name[:5], "INBOX") && (len(name) == 5 || name[5] == '/') {
		return "INBOX" + name[5:]
	}
	return name
}

var months = [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// date reads a date such as 1-Feb-1994, with or without quotes.
func (p *parser) date() (time.Time, error) {
	q := p.accept('"')
	start := p.i
	for p.i < len(p.b) && p.b[p.i] != ' ' && p.b[p.i] != '"' && p.b[p.i] != ')' {
		p.i++
	}
	t, ok := parseDate(string(p.b[start:p.i]))
	if !ok {
		return t, bad("date is not of the form 1-Feb-1994 at octet %d", start+1)
	}
	if q {
		return t, p.expect('"')
	}
	return t, nil
}

func parseDate(s string) (time.Time, bool) {
	if len(s) == 10 {
		s = "0" + s
	}
	if len(s) != 11 || s[2] != '-' || s[6] != '-' {
		return time.Time{}, false
	}
	if s[0] == ' ' {
		s = "0" + s[1:]
	}
	d, okD := digits(s[:2])
	y, okY := digits(s[7:])
	if !okD || !okY {
		return time.Time{}, false
	}
	for m, name := range months {
		if strings.EqualFold(s[3:6], name) {
			t := time.Date(y, time.Month(m+1), d, 0, 0, 0, 0, time.UTC)
			return t, t.Day() == d
		}
	}
	return time.Time{}, false
}

// dateTime reads a quoted date-time such as "17-Jul-1996 02:44:25 -0700".
func (p *parser) dateTime() (time.Time, error) {
	start := p.i
	q, err := p.quotedHere()
	if err != nil {
		return time.Time{}, err
	}
	s := string(q)
	wrong := bad(`date is not of the form "17-Jul-1996 02:44:25 -0700" at octet %d`, start+1)
	if len(s) != 26 || s[11] != ' ' || s[14] != ':' || s[17] != ':' || s[20] != ' ' || s[21] != '+' && s[21] != '-' {
		return time.Time{}, wrong
	}
	day, ok := parseDate(s[:11])
	var n [5]int
	for i, at := range [...]int{12, 15, 18, 22, 24} {
		var is bool
		n[i], is = digits(s[at : at+2])
		ok = ok && is
	}
	if !ok || n[0] > 23 || n[1] > 59 || n[2] > 60 || n[4] > 59 {
		return time.Time{}, wrong
	}
	zone := n[3]*3600 + n[4]*60
	if s[21] == '-' {
		zone = -zone
	}
	return time.Date(day.Year(), day.Month(), day.Day(), n[0], n[1], n[2], 0, time.FixedZone("", zone)), nil
}

func (p *parser) quotedHere() ([]byte, error) {
	if p.peek() != '"' {
		return nil, bad("a quoted string is missing at octet %d", p.i+1)
	}
	return p.quoted()
}

func digits(s string) (int, bool) {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// setRange is one range of a sequence set as written; 0 stands for "*".
type setRange struct{ lo, hi uint32 }

// set reads a sequence set. Saved tells that it was "$" (RFC 5182).
func (p *parser) set() (set []setRange, saved bool, err error) {
	if p.accept('$') {
		return nil, true, nil
	}
	for {
		r := setRange{}
		if r.lo, err = p.seqNumber(); err != nil {
			return nil, false, err
		}
		r.hi = r.lo
		if p.accept(':') {
			if r.hi, err = p.seqNumber(); err != nil {
				return nil, false, err
			}
		}
		set = append(set, r)
		if err = p.tooMany(len(set)); err != nil {
			return nil, false, err
		}
		if !p.accept(',') {
			return set, false, nil
		}
	}
}

func (p *parser) seqNumber() (uint32, error) {
	if p.accept('*') {
		return 0, nil
	}
	n, err := p.number()
	if err == nil && n == 0 {
		return 0, bad("zero in a sequence set at octet %d", p.i)
	}
	return n, err
}

// uidSet turns a set of UIDs into a UIDSet; top is what "*" stands for.
func uidSet(set []setRange, top UID) UIDSet {
	var out UIDSet
	for _, r := range set {
		lo, hi := UID(r.lo), UID(r.hi)
		if lo == 0 {
			lo = top
		}
		if hi == 0 {
			hi = top
		}
		if lo > hi {
			lo, hi = hi, lo
		}
		if lo == 0 { // "*" of an empty mailbox
			continue
		}
		out.AddRange(lo, hi)
	}
	return out
}

// flags reads a parenthesised list of flags, or with bare a list without parentheses (RFC 3501 STORE).
func (p *parser) flags(bare bool) (Flags, error) {
	var f Flags
	paren := p.accept('(')
	if !paren && !bare {
		return f, bad("a list of flags is missing at octet %d", p.i+1)
	}
	for n := 1; ; n++ {
		if paren && p.accept(')') {
			return f, nil
		}
		if n > 1 {
			if err := p.sp(); err != nil {
				return f, err
			}
		}
		if n > p.l.Keywords {
			return f, no("LIMIT", fmt.Sprintf("more than %d flags", p.l.Keywords))
		}
		if err := p.flag(&f); err != nil {
			return f, err
		}
		if !paren && p.atEnd() {
			return f, nil
		}
	}
}

func (p *parser) flag(f *Flags) error {
	if !p.accept('\\') {
		a, err := p.atom()
		if err != nil {
			return err
		}
		if len(a) > p.l.KeywordOctets {
			return no("LIMIT", fmt.Sprintf("keyword is longer than %d octets", p.l.KeywordOctets))
		}
		f.Keywords = addKeyword(f.Keywords, string(a))
		return nil
	}
	switch name := p.word(); name {
	case "SEEN":
		f.System |= FlagSeen
	case "ANSWERED":
		f.System |= FlagAnswered
	case "FLAGGED":
		f.System |= FlagFlagged
	case "DELETED":
		f.System |= FlagDeleted
	case "DRAFT":
		f.System |= FlagDraft
	case "RECENT":
		if p.recentOK {
			return nil
		}
		return bad(`\Recent cannot be changed (RFC 3501 section 2.3.2)`)
	default:
		return bad(`there is no system flag \%s`, clip(name))
	}
	return nil
}

// addKeyword puts a keyword into a sorted list, once in any case.
func addKeyword(list []string, k string) []string {
	at := len(list)
	for i, have := range list {
		if strings.EqualFold(have, k) {
			return list
		}
		if at == len(list) && have > k {
			at = i
		}
	}
	list = append(list, "")
	copy(list[at+1:], list[at:])
	list[at] = k
	return list
}

// clip shortens what a client said for an answer.
func clip(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
