package imap

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// find follows part numbers (RFC 9051 section 6.4.5.1). A message that is no multipart has itself as part 1.
func (root *Part) find(path []int) *Part {
	cur, message := root, true // message: cur stands for a whole message, not for a part
	for _, n := range path {
		in := cur
		if !message && cur.Message != nil {
			in, message = cur.Message, true
		}
		switch {
		case in.Type == "multipart":
			if n > len(in.Children) {
				return nil
			}
			cur = &in.Children[n-1]
		case message && n == 1:
			cur = in
		default:
			return nil
		}
		message = false
	}
	return cur
}

// span is a range of octets of a message.
type span struct{ from, to int64 }

// spanOf finds what a section names in a message whose parts are known; false: there is no such thing.
func (it *fetchItem) spanOf(root *Part) (span, bool) {
	if root == nil {
		return span{}, false
	}
	part := root.find(it.path)
	if part == nil {
		return span{}, false
	}
	switch {
	case it.text == textMIME:
		return span{part.HeaderStart, part.BodyStart}, true
	case it.text == textAll && len(it.path) == 0:
		return span{part.HeaderStart, part.End}, true
	case it.text == textAll:
		return span{part.BodyStart, part.End}, true
	case len(it.path) > 0: // HEADER and TEXT are those of the message inside
		if part = part.Message; part == nil {
			return span{}, false
		}
	}
	if it.text == textBody {
		return span{part.BodyStart, part.End}, true
	}
	return span{part.HeaderStart, part.BodyStart}, true
}

// fetchSection writes the value of BODY[...].
func (c *conn) fetchSection(ctx context.Context, m *Message, it *fetchItem) error {
	if len(it.path) == 0 && it.text >= textHeader && it.text <= textNot {
		return c.fetchRootHeader(ctx, m, it)
	}
	if len(it.path) == 0 && it.text == textAll {
		return c.writeSpan(ctx, m, it, span{0, m.Content.Size()})
	}
	sp, ok := it.spanOf(m.Parts)
	if !ok {
		c.out = append(c.out, "NIL"...)
		return nil
	}
	if it.text == textFields || it.text == textNot {
		return c.writeFields(ctx, m, it, sp)
	}
	return c.writeSpan(ctx, m, it, sp)
}

// fetchRootHeader writes the header of the message itself or some of its fields.
func (c *conn) fetchRootHeader(ctx context.Context, m *Message, it *fetchItem) error {
	if m.Header != nil && (!m.HeaderPartial || it.text == textFields && m.keepsFields(it.fields)) {
		h := m.Header
		if it.text != textHeader {
			h = appendFields(nil, h, it.fields, it.text == textNot)
		}
		c.writeOctets(h, it)
		return nil
	}
	end, err := headerEnd(ctx, m.Content)
	if err != nil {
		return err
	}
	if it.text == textHeader {
		return c.writeSpan(ctx, m, it, span{0, end})
	}
	return c.writeFields(ctx, m, it, span{0, end})
}

// keepsFields reports whether a partial Header has all fields of these names.
func (m *Message) keepsFields(names []string) bool {
	for _, n := range names {
		if m.HeaderOmits != nil && !m.HeaderOmits(n) {
			continue
		}
		if !contains(m.HeaderFields, n) {
			return false
		}
	}
	return true
}

// headerEnd finds the empty line that ends the header of a message.
func headerEnd(ctx context.Context, content Content) (int64, error) {
	buf := make([]byte, 0, inOctets)
	size := content.Size()
	start := true // at the beginning of a line
	for off := int64(0); off < size; {
		var err error
		if buf, err = content.Append(ctx, buf[:0], off, int64(cap(buf))); err != nil {
			return 0, err
		}
		if len(buf) == 0 {
			break
		}
		for i := 0; i < len(buf); i++ {
			switch {
			case buf[i] == '\n' && start:
				return off + int64(i) + 1, nil
			case buf[i] == '\n':
				start = true
			case buf[i] != '\r':
				start = false
			}
		}
		off += int64(len(buf))
		if cap(buf) < copyOctets {
			buf = make([]byte, 0, copyOctets)
		}
	}
	return size, nil
}

// writeFields writes some fields of the header that is at sp.
func (c *conn) writeFields(ctx context.Context, m *Message, it *fetchItem, sp span) error {
	h, err := m.Content.Append(ctx, nil, sp.from, min(sp.to-sp.from, int64(c.limits.HeaderOctets)))
	if err != nil {
		return err
	}
	c.writeOctets(appendFields(nil, h, it.fields, it.text == textNot), it)
	return nil
}

// appendFields appends the fields of a header whose names are in the list, or are not, and the empty line that is
// part of every answer (RFC 9051 section 6.4.5.1).
func appendFields(dst, header []byte, names []string, not bool) []byte {
	keep := false
	for len(header) > 0 {
		line := header
		if eol := bytes.IndexByte(header, '\n'); eol >= 0 {
			line = header[:eol+1]
		}
		header = header[len(line):]
		switch {
		case line[0] == '\n' || len(line) > 1 && line[0] == '\r' && line[1] == '\n':
			return append(dst, '\r', '\n')
		case line[0] != ' ' && line[0] != '\t':
			keep = nameIn(line, names) != not
		}
		if keep {
			dst = append(dst, line...)
		}
	}
	return append(dst, '\r', '\n')
}

// nameIn reports whether the name of the field that begins a line is in the list.
func nameIn(line []byte, names []string) bool {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return false
	}
	name := bytes.TrimRight(line[:colon], " \t")
	for _, n := range names {
		if len(n) == len(name) && strings.EqualFold(string(name), n) {
			return true
		}
	}
	return false
}

// writeOctets writes what is in memory, or the part of it that is asked for.
func (c *conn) writeOctets(b []byte, it *fetchItem) {
	if it.from >= 0 {
		b = b[min(it.from, int64(len(b))):]
		b = b[:min(it.octets, int64(len(b)))]
	}
	c.out = append(c.out, '{')
	c.out = strconv.AppendInt(c.out, int64(len(b)), 10)
	c.out = append(c.out, "}\r\n"...)
	before := len(c.out)
	c.out = append(c.out, b...)
	noNUL(c.out[before:])
}

// noNUL replaces NUL, which a literal cannot hold (RFC 9051 section 9, CHAR8), by an octet that keeps the length.
// BINARY gives the octets as they are, in a literal8.
func noNUL(b []byte) {
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return
		}
		b[i] = 0x80
		b = b[i+1:]
	}
}

// writeSpan writes a range of the message, in pieces.
func (c *conn) writeSpan(ctx context.Context, m *Message, it *fetchItem, sp span) error {
	sp.to = min(sp.to, m.Content.Size())
	sp.from = min(sp.from, sp.to)
	if it.from >= 0 {
		sp.from = min(sp.from+min(it.from, sp.to), sp.to)
		sp.to = min(sp.to, sp.from+min(it.octets, sp.to))
	}
	c.out = append(c.out, '{')
	c.out = strconv.AppendInt(c.out, sp.to-sp.from, 10)
	c.out = append(c.out, "}\r\n"...)
	for off := sp.from; off < sp.to; {
		before := len(c.out)
		var err error
		c.out, err = m.Content.Append(ctx, c.out, off, min(copyOctets, sp.to-off))
		n := int64(len(c.out) - before)
		if err == nil && n == 0 {
			err = fmt.Errorf("message of UID %d ends at octet %d of %d", m.UID, off, sp.to)
		}
		if err != nil { // the length is told already: nothing but the end of the connection is understood now
			return wireError(err)
		}
		off += n
		noNUL(c.out[before:])
		if err := c.spill(); err != nil {
			return err
		}
	}
	return nil
}
