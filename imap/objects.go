package imap

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/samotop/samotop/message"
)

// appendObjectID appends the value of EMAILID or THREADID (RFC 8474 section 5.1).
func appendObjectID(b []byte, kind itemKind, m *Message) []byte {
	id := m.EmailID
	if kind == itemThreadID {
		if id = m.ThreadID; id == "" {
			return append(b, "NIL"...)
		}
	}
	b = append(b, '(')
	b = append(b, id...)
	return append(b, ')')
}

// previewModifier reads "(LAZY)" behind PREVIEW (RFC 8970 section 3.1). Previews are made at delivery, so that lazy
// or not is the same.
func (p *parser) previewModifier() error {
	if !strings.HasPrefix(string(p.b[p.i:]), " (") {
		return nil
	}
	at := p.i
	p.i += 2
	if p.word() != "LAZY" || !p.accept(')') {
		p.i = at // it may be modifiers of FETCH itself
	}
	return nil
}

// appendPreview appends a preview: UTF-8, in quotes where the session allows that, else as a literal.
func (c *conn) appendPreview(b []byte, s string) []byte {
	if c.mode&(modeUTF8|modeRev2) != 0 && !strings.ContainsAny(s, "\x00\r\n") && len(s) <= maxQuotedOctets {
		return appendUTF8(b, s)
	}
	return appendString(b, s)
}

// binaryItem reads what follows "BINARY[", "BINARY.PEEK[" or "BINARY.SIZE[" (RFC 3516 section 4.2).
func (p *parser) binaryItem(plan *fetchPlan, w string) error {
	it := fetchItem{kind: itemBinary, from: -1, peek: w == "BINARY.PEEK"}
	label := "BINARY["
	switch w {
	case "BINARY", "BINARY.PEEK":
	case "BINARY.SIZE":
		it.kind, it.peek, label = itemBinarySize, true, "BINARY.SIZE["
	default:
		return bad("there is no FETCH item %s", clip(w))
	}
	for p.peek() != ']' {
		if len(it.path) > 0 {
			if err := p.expect('.'); err != nil {
				return err
			}
			label += "."
		}
		n, err := p.number()
		if err != nil {
			return err
		}
		if it.path = append(it.path, int(n)); n == 0 || len(it.path) > maxSectionDepth {
			return bad("there is no part %d", n)
		}
		label += strconv.Itoa(int(n))
	}
	p.i++
	it.label = label + "] "
	if it.kind == itemBinary && p.peek() == '<' {
		if err := p.partial(&it, label); err != nil {
			return err
		}
	}
	plan.add(it)
	return nil
}

// decoded gives a part without its transfer encoding. A multipart or a message inside has none of its own.
func decoded(ctx context.Context, m *Message, it *fetchItem) (io.Reader, bool) {
	if len(it.path) == 0 {
		return newContentReader(ctx, m.Content, 0, m.Content.Size()), true
	}
	if m.Parts == nil {
		return nil, false
	}
	part := m.Parts.find(it.path)
	if part == nil {
		return nil, false
	}
	r := newContentReader(ctx, m.Content, part.BodyStart, part.End)
	if part.Type == "multipart" || part.Message != nil {
		return r, true
	}
	return message.DecodeBody(r, part.Encoding), true
}

// fetchBinary writes BINARY[...] or BINARY.SIZE[...]. The length comes first, so that the part is decoded twice and
// never held.
func (c *conn) fetchBinary(ctx context.Context, m *Message, it *fetchItem) error {
	r, ok := decoded(ctx, m, it)
	if !ok {
		if it.kind == itemBinarySize {
			c.out = append(c.out, '0')
		} else {
			c.out = append(c.out, "NIL"...)
		}
		return nil
	}
	var count binaryCount
	if _, err := io.Copy(&count, r); err != nil {
		return err
	}
	if it.kind == itemBinarySize {
		c.num(uint64(count.n))
		return nil
	}
	sp := span{0, count.n}
	if it.from >= 0 {
		sp.from = min(it.from, count.n)
		sp.to = min(count.n, sp.from+min(it.octets, count.n))
	}
	if count.nul { // a literal cannot hold NUL, a literal8 can
		c.out = append(c.out, '~')
	}
	c.out = append(c.out, '{')
	c.num(uint64(sp.to - sp.from))
	c.out = append(c.out, "}\r\n"...)
	r, _ = decoded(ctx, m, it)
	if _, err := io.CopyN(io.Discard, r, sp.from); err != nil {
		return wireError(err)
	}
	if n, err := io.CopyN(outWriter{c}, r, sp.to-sp.from); err != nil || n != sp.to-sp.from {
		return wireError(io.ErrUnexpectedEOF) // the length is told already
	}
	return nil
}

// binaryCount counts octets, and looks for NUL.
type binaryCount struct {
	n     int64
	nul   bool
	eight bool // an octet over 127
}

func (b *binaryCount) Write(p []byte) (int, error) {
	b.n += int64(len(p))
	b.nul = b.nul || bytes.IndexByte(p, 0) >= 0
	b.eight = b.eight || !isASCII(p)
	return len(p), nil
}

// encoding is the transfer encoding that needs no change for these octets.
func (b *binaryCount) encoding() string {
	switch {
	case b.nul:
		return "binary"
	case b.eight:
		return "8bit"
	}
	return "7bit"
}

// outWriter writes to the peer.
type outWriter struct{ c *conn }

func (w outWriter) Write(p []byte) (int, error) {
	w.c.out = append(w.c.out, p...)
	return len(p), w.c.spill()
}

// checkEncodings refuses BINARY of parts whose transfer encoding is not known (RFC 3516 section 4.3), before anything
// of the message is told.
func (f *fetchPlan) checkEncodings(m *Message) error {
	for i := range f.items {
		it := &f.items[i]
		if it.kind != itemBinary && it.kind != itemBinarySize || len(it.path) == 0 || m.Parts == nil {
			continue
		}
		part := m.Parts.find(it.path)
		if part == nil || part.Type == "multipart" || part.Message != nil {
			continue
		}
		switch part.Encoding {
		case "", "7bit", "8bit", "binary", "base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue":
		default:
			return no("UNKNOWN-CTE", "transfer encoding of the part is not known")
		}
	}
	return nil
}
