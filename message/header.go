package message

import (
	"bytes"
	"iter"
)

// Header is a header block with an index of its fields (RFC 5322 section 2.2). It refers to the octets it was made
// from and copies nothing; those must not change. Lines that are not fields are kept, as fields without a name.
// The zero Header is empty.
type Header struct {
	raw       []byte
	index     []fieldIndex
	truncated bool
}

type fieldIndex struct{ start, nameEnd, value, end uint32 }

// Field is one field of a Header.
type Field struct {
	Name       []byte // as written; empty for a line that is not a field
	Value      []byte // as written, still folded, without the white space around it and without the line end
	Raw        []byte // the whole field with its line end
	Start, End int    // of Raw within Header.Raw
}

// ParseHeader indexes a header block: everything up to the first empty line, which is kept in Raw, or the end of
// raw.
func ParseHeader(raw []byte) Header { return indexHeader(raw, Limits{}.withDefaults().HeaderFields) }

// Raw returns the header block as it is in the message, with the empty line at its end if it has one.
func (h *Header) Raw() []byte { return h.raw }

// Truncated reports whether octets or fields beyond Limits are missing from Raw or from the index.
func (h *Header) Truncated() bool { return h.truncated }

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.index) }

// Field returns the i-th field.
func (h *Header) Field(i int) Field {
	x := h.index[i]
	return Field{
		Name:  h.raw[x.start:x.nameEnd],
		Value: trimSpace(h.raw[x.value:x.end]),
		Raw:   h.raw[x.start:x.end],
		Start: int(x.start), End: int(x.end),
	}
}

// Fields yields the fields in order.
func (h *Header) Fields() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for i := range h.index {
			if !yield(h.Field(i)) {
				return
			}
		}
	}
}

// Has reports whether there is a field of that name.
func (h *Header) Has(name string) bool { return h.find(name, 0) >= 0 }

// Get returns the value of the first field of that name, unfolded and without the white space around it: nil if
// there is none, empty but not nil if it is empty. It is a part of Raw where the field was not folded.
func (h *Header) Get(name string) []byte {
	i := h.find(name, 0)
	if i < 0 {
		return nil
	}
	return h.value(i)
}

// Values returns the values of all fields of that name, as Get does.
func (h *Header) Values(name string) [][]byte {
	var vs [][]byte
	for i := h.find(name, 0); i >= 0; i = h.find(name, i+1) {
		vs = append(vs, h.value(i))
	}
	return vs
}

// Text returns the first field of that name decoded to UTF-8 by DecodeText, "" if there is none.
func (h *Header) Text(name string) string { return DecodeText(h.Get(name)) }

// find returns the first field of that name at i or after, -1 if there is none. Names are compared without case.
func (h *Header) find(name string, i int) int {
	for ; i < len(h.index); i++ {
		x := &h.index[i]
		if int(x.nameEnd-x.start) == len(name) && name != "" && equalFold(h.raw[x.start:x.nameEnd], name) {
			return i
		}
	}
	return -1
}

func (h *Header) value(i int) []byte {
	x := h.index[i]
	v := Unfold(trimSpace(h.raw[x.value:x.end]))
	if v == nil {
		v = []byte{}
	}
	return v
}

// Unfold removes line ends from a field value (RFC 5322 section 2.2.3). A value without any is returned as it is.
func Unfold(v []byte) []byte {
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return v
	}
	out := make([]byte, 0, len(v))
	for _, c := range v {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return out
}

// indexHeader makes the index in one pass, for at most fields fields.
func indexHeader(raw []byte, fields int) Header {
	h := Header{raw: raw}
	var x fieldIndex
	for pos := 0; pos < len(raw); {
		end := len(raw)
		if i := bytes.IndexByte(raw[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		line := raw[pos:end]
		switch {
		case isEmptyLine(line):
			h.raw = raw[:end]
			return h
		case (line[0] == ' ' || line[0] == '\t') && len(h.index) > 0: // RFC 5322 section 2.2.3
			h.index[len(h.index)-1].end = uint32(end)
		case len(h.index) >= fields:
			h.truncated = true
		default:
			x = fieldIndex{uint32(pos), uint32(pos), uint32(pos), uint32(end)}
			if n := fieldNameLen(line); n > 0 {
				x.nameEnd = uint32(pos + n)
				x.value = uint32(pos + bytes.IndexByte(line, ':') + 1)
			}
			if h.index == nil {
				h.index = make([]fieldIndex, 0, min(fields, 2+bytes.Count(raw[:min(len(raw), 16<<10)], []byte{'\n'})))
			}
			h.index = append(h.index, x)
		}
		pos = end
	}
	return h
}

// fieldNameLen returns the length of the field name at the beginning of a line, 0 if the line is not a field. White
// space before the colon is obsolete syntax (RFC 5322 section 4.5.8).
func fieldNameLen(line []byte) int {
	n := 0
	for n < len(line) && line[n] > ' ' && line[n] != ':' && line[n] != 127 {
		n++
	}
	for i := n; i < len(line); i++ {
		switch line[i] {
		case ' ', '\t':
		case ':':
			return n
		default:
			return 0
		}
	}
	return 0
}

func isEmptyLine(line []byte) bool {
	return len(line) == 1 && line[0] == '\n' || len(line) == 2 && line[0] == '\r' && line[1] == '\n'
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// equalFold compares without ASCII case; both have the same length.
func equalFold[A, B string | []byte](a A, b B) bool {
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
