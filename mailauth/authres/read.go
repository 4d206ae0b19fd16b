package authres

import "strings"

// Parse reads the value of a field, folded or not.
func Parse(v string) Results {
	r := Results{}
	if len(v) > MaxOctets {
		v, r.Broken = v[:MaxOctets], true
	}
	p := &reader{s: v}
	p.skip()
	r.ID = p.word(true)
	p.skip()
	if c := p.peek(); c != ';' && c != 0 {
		r.Version = p.word(false)
	}
	r.Broken = r.Broken || r.ID == ""
	for {
		p.skip()
		switch c := p.peek(); {
		case c == 0 && p.i >= len(p.s):
			return r
		case c != ';':
			r.Broken = true
			p.toSemicolon()
			continue
		}
		p.i++
		p.skip()
		if p.i >= len(p.s) { // a semicolon at the end
			return r
		}
		if len(r.Methods) == MaxMethods {
			r.Broken = true
			return r
		}
		m, none, ok := p.method()
		switch {
		case ok:
			r.Methods = append(r.Methods, m)
		case !none:
			r.Broken = true
		}
	}
}

// reader walks through a value. Line ends count as white space.
type reader struct {
	s       string
	i       int
	comment string // the last comment skipped
}

func (p *reader) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// skip passes CFWS.
func (p *reader) skip() {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case isSpace(c):
			p.i++
		case c == '(':
			p.skipComment()
		default:
			return
		}
	}
}

func (p *reader) skipComment() {
	var b strings.Builder
	for depth := 0; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; c {
		case '\\':
			if p.i++; p.i < len(p.s) {
				b.WriteByte(p.s[p.i])
			}
			continue
		case '(':
			if depth++; depth == 1 {
				continue
			}
		case ')':
			if depth--; depth == 0 {
				p.i++
				p.comment = b.String()
				return
			}
		case '\r', '\n':
			continue
		}
		b.WriteByte(p.s[p.i])
	}
	p.i = len(p.s)
	p.comment = b.String()
}

// word reads a quoted-string, or what stands up to white space, a comment or a semicolon; without dots also to one of "=./".
func (p *reader) word(dots bool) string {
	start := p.i
	if p.peek() == '"' {
		q := p.quoted()
		if !dots || p.peek() != '@' {
			return q
		}
	}
	for ; p.i < len(p.s); p.i++ {
		c := p.s[p.i]
		if isSpace(c) || c == ';' || c == '(' || !dots && (c == '=' || c == '.' || c == '/') {
			break
		}
		if dots && c == '"' { // "local part"@domain: taken as a whole, quotes included
			p.quoted()
			p.i--
		}
	}
	return p.s[start:min(p.i, len(p.s))]
}

func (p *reader) quoted() string {
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; c {
		case '"':
			p.i++
			return b.String()
		case '\\':
			if p.i++; p.i < len(p.s) {
				b.WriteByte(p.s[p.i])
			}
		case '\r', '\n':
		default:
			b.WriteByte(c)
		}
	}
	p.i = len(p.s)
	return b.String()
}

// toSemicolon goes to the next semicolon that is neither quoted nor in a comment.
func (p *reader) toSemicolon() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ';':
			return
		case '(':
			p.skipComment()
		case '"':
			p.quoted()
		default:
			p.i++
		}
	}
}

// sign takes c, with CFWS around it.
func (p *reader) sign(c byte) bool {
	p.skip()
	if p.peek() != c {
		return false
	}
	p.i++
	p.skip()
	return true
}

// method reads a resinfo (RFC 8601 section 2.2). none: it is the word "none" of an empty list.
func (p *reader) method() (m Method, none, ok bool) {
	m.Name = strings.ToLower(p.word(false))
	if p.sign('/') {
		m.Version = p.word(false)
	}
	if !p.sign('=') {
		none = m.Name == "none" && (p.peek() == ';' || p.i >= len(p.s))
		p.toSemicolon()
		return m, none, false
	}
	m.Result = strings.ToLower(p.word(true))
	p.comment = ""
	p.skip()
	m.Comment, p.comment = p.comment, ""
	for p.i < len(p.s) && p.peek() != ';' {
		if !p.property(&m) {
			p.toSemicolon()
			break
		}
		p.skip()
	}
	return m, false, m.Name != "" && m.Result != ""
}

// property reads a propspec or a reasonspec.
func (p *reader) property(m *Method) bool {
	before := p.i
	x := Property{Type: strings.ToLower(p.word(false))}
	if p.sign('.') {
		x.Name = p.word(false)
	}
	if !p.sign('=') {
		return false
	}
	x.Value = p.word(true)
	switch {
	case x.Name == "" && x.Type == "reason":
		m.Reason = x.Value
	case x.Name != "" && len(m.Properties) < MaxProperties:
		m.Properties = append(m.Properties, x)
	}
	return p.i > before
}

func equalFold(a, b string) bool { return strings.EqualFold(a, b) }
