package authres

import (
	"strings"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
)

// Field returns the field, folded between methods.
func (r Results) Field() mail.Field { return mail.Field{Name: FieldName, Value: r.Value()} }

// Value returns the value of the field, folded between methods and in long ones between properties.
func (r Results) Value() string {
	var b strings.Builder
	b.WriteString(value(r.ID))
	if r.Version != "" {
		b.WriteString(" " + keyword(r.Version))
	}
	if len(r.Methods) == 0 {
		b.WriteString("; none")
	}
	for _, m := range r.Methods[:min(len(r.Methods), MaxMethods)] {
		b.WriteString(";\r\n\t")
		m.write(&b)
	}
	return b.String()
}

func (m Method) write(b *strings.Builder) {
	line := 8
	put := func(s string) {
		if line > 8 && line+1+len(s) > 78 {
			b.WriteString("\r\n\t")
			line = 8
		} else if line > 8 {
			b.WriteByte(' ')
			line++
		}
		b.WriteString(s)
		line += len(s)
	}
	name := keyword(m.Name)
	if m.Version != "" {
		name += "/" + keyword(m.Version)
	}
	put(name + "=" + keyword(m.Result))
	if m.Comment != "" {
		put("(" + comment(m.Comment) + ")")
	}
	if m.Reason != "" {
		put("reason=" + quoted(m.Reason))
	}
	for _, p := range m.Properties[:min(len(m.Properties), MaxProperties)] {
		put(keyword(p.Type) + "." + keyword(p.Name) + "=" + value(p.Value))
	}
}

// keyword keeps what can stand in a Keyword of RFC 5321 section 4.1.2.
func keyword(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && isKeyword(byte(r)) {
			return r
		}
		return '-'
	}, cut(s))
	if s == "" {
		return "unknown"
	}
	return s
}

func isKeyword(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// value writes a pvalue: as it is if it is a token, a domain or an address, otherwise quoted (section 2.2).
func value(s string) string {
	if s = cut(s); s == "" || strings.Count(s, "@") > 1 || strings.HasSuffix(s, "@") {
		return quoted(s)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '@' && (c >= utf8.RuneSelf || !isPlain(c)) {
			return quoted(s)
		}
	}
	return s
}

// isPlain accepts the octets of a token (RFC 2045 section 5.1) but '=', which some readers stumble over.
func isPlain(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}

func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range cut(s) {
		switch {
		case r < ' ' || r == 0x7f || r == utf8.RuneError:
			b.WriteByte('_')
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			fallthrough
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// comment keeps text from ending a comment.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`()\`, r) {
			return '_'
		}
		return r
	}, cut(s))
}

func cut(s string) string {
	if len(s) > MaxValue {
		n := MaxValue
		for n > MaxValue-utf8.UTFMax && !utf8.RuneStart(s[n]) { // not in the middle of a character
			n--
		}
		s = s[:n]
	}
	return s
}
