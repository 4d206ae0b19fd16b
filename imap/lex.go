package imap

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
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
	asked    string // the mailbox name read last, as the client spelt it, in UTF-8
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
