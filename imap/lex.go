package imap

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// parser reads the arguments of one command: the line without its CRLF, with each literal standing after its {n}
// CRLF. It does not copy; what a handler keeps it must copy.
type parser struct {
	b     []byte
	i     int
	l     *Limits
	utf8  bool // quoted strings may hold UTF-8 (RFC 6855, RFC 9051)
	depth int
	// recentOK passes over \Recent in a list of flags: APPEND gets it from clients that copy what FETCH said.
	recentOK bool
}

// errNeed says that the command ends in the announcement of a literal whose octets are not there (yet).
var errNeed = &Error{Bad: true, Text: "literal is missing"}

func bad(format string, args ...any) *Error {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return &Error{Bad: true, Text: format}
}

func no(code, text string) *Error { return &Error{Code: code, Text: text} }

// nest counts a level of nesting in; the caller counts it out again.
func (p *parser) nest() error {
	if p.depth++; p.depth > p.l.Depth {
		return &Error{Bad: true, Code: "LIMIT", Text: fmt.Sprintf("more than %d levels of parentheses, NOT and OR", p.l.Depth)}
	}
	return nil
}

func (p *parser) tooMany(n int) error {
	if n > p.l.ListItems {
		return &Error{Bad: true, Code: "LIMIT", Text: fmt.Sprintf("more than %d items in a list", p.l.ListItems)}
	}
	return nil
}

func (p *parser) atEnd() bool { return p.i >= len(p.b) }

// peek is the next octet, 0 at the end.
func (p *parser) peek() byte {
	if p.i < len(p.b) {
		return p.b[p.i]
	}
	return 0
}

func (p *parser) accept(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(c byte) error {
	if p.accept(c) {
		return nil
	}
	if c == ' ' {
		return bad("a space is missing at octet %d", p.i+1)
	}
	return bad("%q is missing at octet %d", string(rune(c)), p.i+1)
}

func (p *parser) sp() error { return p.expect(' ') }

// end is the end of the command.
func (p *parser) end() error {
	if p.atEnd() {
		return nil
	}
	return bad("unexpected argument at octet %d", p.i+1)
}

// word reads what looks like a keyword of the grammar, in upper case.
func (p *parser) word() string {
	start := p.i
	for p.i < len(p.b) && isAtomChar(p.b[p.i]) && p.b[p.i] != '[' && p.b[p.i] != '<' {
		p.i++
	}
	return upper(p.b[start:p.i])
}

// acceptWord takes a keyword if it is the next one, in any case.
func (p *parser) acceptWord(w string) bool {
	j := p.i + len(w)
	if j > len(p.b) || !strings.EqualFold(string(p.b[p.i:j]), w) {
		return false
	}
	if j < len(p.b) && isAtomChar(p.b[j]) && p.b[j] != '[' {
		return false
	}
	p.i = j
	return true
}

// upper is ASCII upper case; short words of the protocol cost no allocation beyond the string.
func upper(b []byte) string {
	for _, c := range b {
		if c >= 'a' && c <= 'z' {
			return strings.ToUpper(string(b))
		}
	}
	return string(b)
}

// isAtomChar: ATOM-CHAR of RFC 3501 section 9, "]" not being one.
func isAtomChar(c byte) bool {
	switch c {
	case '(', ')', '{', ' ', '%', '*', '"', '\\', ']', 0x7f:
		return false
	}
	return c > 0x20 && c < 0x80
}

// atom reads an atom.
func (p *parser) atom() ([]byte, error) {
	start := p.i
	for p.i < len(p.b) && isAtomChar(p.b[p.i]) {
		p.i++
	}
	if start == p.i {
		return nil, bad("an atom is missing at octet %d", p.i+1)
	}
	return p.b[start:p.i], nil
}

// astring reads an astring: an atom that may hold "]", or a string.
func (p *parser) astring() ([]byte, error) {
	if c := p.peek(); c == '"' || c == '{' || c == '~' && p.isLiteral8() {
		return p.str()
	}
	start := p.i
	for p.i < len(p.b) && (isAtomChar(p.b[p.i]) || p.b[p.i] == ']') {
		p.i++
	}
	if start == p.i {
		return nil, bad("a string is missing at octet %d", p.i+1)
	}
	return p.b[start:p.i], nil
}

func (p *parser) isLiteral8() bool { return p.i+1 < len(p.b) && p.b[p.i+1] == '{' }

// nstring reads a string, or NIL as nil.
func (p *parser) nstring() ([]byte, error) {
	if p.acceptWord("NIL") {
		return nil, nil
	}
	return p.str()
}

// str reads a quoted string or a literal.
func (p *parser) str() ([]byte, error) {
	switch p.peek() {
	case '"':
		return p.quoted()
	case '{', '~':
		return p.literal()
	}
	return nil, bad("a string is missing at octet %d", p.i+1)
}

func (p *parser) quoted() ([]byte, error) {
	p.i++
	start, escaped := p.i, false
	for ; p.i < len(p.b); p.i++ {
		switch c := p.b[p.i]; {
		case c == '"':
			s := p.b[start:p.i]
			p.i++
			if escaped {
				s = unescape(s)
			}
			if !isASCII(s) && (!p.utf8 || !utf8.Valid(s)) {
				return nil, bad("quoted string holds octets beyond ASCII: use a literal")
			}
			return s, nil
		case c == '\\':
			if p.i++; p.i == len(p.b) || p.b[p.i] != '"' && p.b[p.i] != '\\' {
				return nil, bad("only a quote or a backslash may follow a backslash, at octet %d", p.i+1)
			}
			escaped = true
		case c == 0 || c == '\r' || c == '\n':
			return nil, bad("quoted string holds a control character at octet %d", p.i+1)
		}
	}
	return nil, bad("quoted string has no end")
}

func unescape(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		out = append(out, s[i])
	}
	return out
}

func isASCII[S ~[]byte | ~string](s S) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// literalHead is the announcement of a literal.
type literalHead struct {
	size   int64
	nonSyn bool // {n+} (RFC 7888), or {n-}
	binary bool // ~{n} (RFC 3516)
}

// parseLiteralHead reads {n}, {n+}, {n-} or one with ~ at the end of a line. Start is where it begins.
func parseLiteralHead(line []byte) (h literalHead, start int, ok bool) {
	if len(line) < 3 || line[len(line)-1] != '}' {
		return h, 0, false
	}
	i := len(line) - 2
	if line[i] == '+' || line[i] == '-' {
		h.nonSyn = true
		i--
	}
	end := i + 1
	for i >= 0 && line[i] >= '0' && line[i] <= '9' {
		i--
	}
	if i < 0 || line[i] != '{' || end == i+1 || end-i > 20 {
		return h, 0, false
	}
	for _, c := range line[i+1 : end] {
		if h.size > (math.MaxInt64-9)/10 {
			return h, 0, false
		}
		h.size = h.size*10 + int64(c-'0')
	}
	start = i
	if i > 0 && line[i-1] == '~' && (i == 1 || line[i-2] == ' ' || line[i-2] == '(') {
		h.binary = true
		start--
	}
	return h, start, true
}

// literal reads a literal whose octets follow in the buffer.
func (p *parser) literal() ([]byte, error) {
	eol := bytes.IndexByte(p.b[p.i:], '}')
	if eol < 0 {
		return nil, bad("literal is not of the form {n} at octet %d", p.i+1)
	}
	eol += p.i + 1
	h, start, ok := parseLiteralHead(p.b[p.i:eol])
	if !ok || start != 0 {
		return nil, bad("literal is not of the form {n} at octet %d", p.i+1)
	}
	if eol == len(p.b) {
		return nil, errNeed
	}
	if !bytes.HasPrefix(p.b[eol:], []byte("\r\n")) || int64(len(p.b)-eol-2) < h.size {
		return nil, bad("literal is not of the form {n} at octet %d", p.i+1)
	}
	s := p.b[eol+2 : eol+2+int(h.size)]
	p.i = eol + 2 + int(h.size)
	if !h.binary && bytes.IndexByte(s, 0) >= 0 {
		return nil, bad("literal holds NUL: use literal8 where it is allowed")
	}
	return s, nil
}

// number64 reads a number of up to 63 bits.
func (p *parser) number64() (int64, error) {
	start, n := p.i, int64(0)
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		d := int64(p.b[p.i] - '0')
		if n > (math.MaxInt64-d)/10 {
			return 0, bad("number is too large at octet %d", start+1)
		}
		n = n*10 + d
		p.i++
	}
	if p.i == start {
		return 0, bad("a number is missing at octet %d", p.i+1)
	}
	return n, nil
}

// number reads a number of 32 bits.
func (p *parser) number() (uint32, error) {
	start := p.i
	n, err := p.number64()
	if err == nil && n > math.MaxUint32 {
		return 0, bad("number is too large at octet %d", start+1)
	}
	return uint32(n), err
}

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
		return "", no("CANNOT", "mailbox name is not modified UTF-7 (RFC 3501 section 5.1.3)")
	}
	for i := 0; i < len(name); i++ {
		if name[i] < 0x20 || name[i] == 0x7f {
			return "", no("CANNOT", "mailbox name holds a control character")
		}
	}
	return CanonicalName(name), nil
}

// decodeName reads a name as the mode of the session has it.
func (p *parser) decodeName(s string) (string, error) {
	if p.utf8 {
		if !utf8.ValidString(s) {
			return "", ErrUTF7
		}
		return s, nil
	}
	return DecodeUTF7(s)
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
