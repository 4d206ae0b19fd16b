package authres

import (
	"bytes"
	"io"
	"strings"

	"golang.org/x/net/idna"
)

// Forged reports whether the value of an Authentication-Results field that came from outside claims to be ours, and so
// must be taken out (RFC 8601 section 5). Readers forgive much, so more than the grammar counts: any word before the
// first result that is our name, in any case, quoted, with a final dot, in a comment or after other words.
func Forged(value, id string) bool {
	id = fold(id)
	if id == "" {
		return false
	}
	if len(value) > MaxOctets {
		return true // nobody writes that, and what is in it cannot be told
	}
	p := &reader{s: value}
	p.skip()
	if fold(p.word(true)) == id {
		return true
	}
	head := value
	if eq := strings.IndexByte(head, '='); eq >= 0 {
		// A leading instance number, as of ARC, is no result.
		if name := strings.TrimSpace(head[:eq]); len(name) <= 1 {
			if next := strings.IndexByte(head[eq+1:], '='); next >= 0 {
				eq += 1 + next
			} else {
				eq = len(head)
			}
		}
		head = head[:eq]
	}
	for _, w := range strings.FieldsFunc(unquote(head), func(r rune) bool { return r <= ' ' || strings.ContainsRune(`;()",=/<>@[]`, r) || r == 0x7f }) {
		if fold(w) == id {
			return true
		}
	}
	return fold(glue(head)) == id
}

// unquote drops what only escapes.
func unquote(s string) string { return strings.ReplaceAll(s, `\`, "") }

// glue takes away white space, comments and quotes, in case that a reader does.
func glue(s string) string {
	p := &reader{s: s}
	var b strings.Builder
	for p.i < len(s) {
		switch c := s[p.i]; {
		case c == ';':
			return b.String()
		case isSpace(c) || c == '(':
			p.skip()
			continue
		case c > ' ' && c != '"' && c != '\\' && c != 0x7f:
			b.WriteByte(c)
		}
		p.i++
	}
	return b.String()
}

// fold makes names comparable: lower case, A-labels, no final dot.
func fold(s string) string {
	s = strings.ToLower(strings.TrimRight(s, "."))
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			if a, err := idna.Lookup.ToASCII(s); err == nil {
				return a
			}
			break
		}
	}
	return s
}

// Filter takes forged Authentication-Results fields out of the header of a message that streams through it.
type Filter struct {
	w       io.Writer
	ids     []string
	held    []byte
	state   state
	removed int
}

type state uint8

const (
	atName  state = iota // held is the beginning of a field
	passing              // in another field: octets pass up to the end of the line
	ours                 // held is an Authentication-Results field, so far
	atLine               // after the end of a line of another field
	inBody
)

// NewFilter makes a Filter that writes to w. ids are the names that are ours.
func NewFilter(w io.Writer, ids ...string) *Filter { return &Filter{w: w, ids: ids} }

// Removed returns how many fields were taken out so far.
func (f *Filter) Removed() int { return f.removed }

// Write takes the next octets of the message. Errors are those of the writer. What stays is written in as few pieces as
// possible: everything between two fields that are taken out.
func (f *Filter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && f.state != inBody {
		took, err := f.step(p)
		if err != nil {
			return 0, err
		}
		p = p[took:]
	}
	if len(p) == 0 {
		return n, nil
	}
	if _, err := f.w.Write(p); err != nil {
		return 0, err
	}
	return n, nil
}

// Close ends the message. It does not close the writer.
func (f *Filter) Close() error {
	if f.state == ours {
		return f.endField()
	}
	return f.release()
}

// step takes some of p.
func (f *Filter) step(p []byte) (int, error) {
	if f.state == ours {
		return f.hold(p)
	}
	if len(f.held) > 0 {
		return f.name(p)
	}
	n := f.pass(p)
	if n == 0 {
		return f.name(p)
	}
	_, err := f.w.Write(p[:n])
	return n, err
}

// pass returns how much of p belongs to other fields, or to the body. Where that ends within p, the beginning of a field
// follows about which more has to be known.
func (f *Filter) pass(p []byte) int {
	at := 0
	for at < len(p) {
		switch f.state {
		case atLine:
			f.state = atName
			if p[at] == ' ' || p[at] == '\t' {
				f.state = passing
			}
		case atName:
			end := other(p[at:])
			if end == 0 {
				return at
			}
			f.state = passing
			at += end
		default:
			i := bytes.IndexByte(p[at:], '\n')
			if i < 0 {
				return len(p)
			}
			f.state = atLine
			at += i + 1
		}
	}
	return at
}

// other returns the length of the name of a field, with the colon, that is certainly not Authentication-Results; 0 if it
// may be, or cannot be told.
func other(p []byte) int {
	i := bytes.IndexByte(p[:min(len(p), 4*len(FieldName)-1)], ':')
	if i <= 0 || p[0]|0x20 == FieldName[0]|0x20 || bytes.IndexByte(p[:i], '\n') >= 0 {
		return 0
	}
	return i + 1
}

// name reads the beginning of a line, until it is clear what it is.
func (f *Filter) name(p []byte) (int, error) {
	for i, c := range p {
		f.held = append(f.held, c)
		switch {
		case c == '\n':
			f.state = atLine
			if len(bytes.Trim(f.held, "\r\n")) == 0 {
				f.state = inBody
			}
			return i + 1, f.release()
		case c == ':':
			if name := bytes.TrimRight(f.held[:len(f.held)-1], " \t"); equalFold(string(name), FieldName) {
				f.state = ours
				return i + 1, nil
			}
			f.state = passing
			return i + 1, f.release()
		case len(f.held) >= 4*len(FieldName): // white space before the colon included
			f.state = passing
			return i + 1, f.release()
		}
	}
	return len(p), nil
}

// hold keeps an Authentication-Results field until the line that does not continue it.
func (f *Filter) hold(p []byte) (int, error) {
	if k := len(f.held); k > 0 && f.held[k-1] == '\n' && p[0] != ' ' && p[0] != '\t' {
		return 0, f.endField()
	}
	n := len(p)
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		n = i + 1
	}
	if room := MaxOctets + 2 - len(f.held); n > room { // Forged says so of one that is longer
		f.held = append(f.held, p[:max(room, 0)]...)
		f.held[len(f.held)-1] = p[n-1] // only whether the line has ended still matters
		return n, nil
	}
	f.held = append(f.held, p[:n]...)
	return n, nil
}

func (f *Filter) endField() error {
	f.state = atName
	value := string(f.held[bytes.IndexByte(f.held, ':')+1:])
	for _, id := range f.ids {
		if Forged(value, id) || len(f.held) > MaxOctets {
			f.held = f.held[:0]
			f.removed++
			return nil
		}
	}
	return f.release()
}

func (f *Filter) release() error {
	if len(f.held) == 0 {
		return nil
	}
	_, err := f.w.Write(f.held)
	f.held = f.held[:0]
	return err
}
