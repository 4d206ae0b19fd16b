package message

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Recoding changes the transfer encodings of a message (RFC 2045 section 6) so that hosts take it that take less: parts
// that hold what they refuse become quoted-printable or base64, their headers are corrected, all else stays octet for
// octet. It is for messages that are not signed yet as a whole: a signature over the body would not hold.
//
//	root, err := message.Parse(content, message.Limits{})
//	r := message.Recoding{EightBit: true}
//	if r.Needed(root) {
//		err = r.Copy(w, contentAgain, root)
//	}
type Recoding struct {
	EightBit   bool // octets above 127 may stay (8BITMIME, RFC 6152); NULs, bare CR and LF and long lines may not
	LineOctets int  // longest line, without its CRLF; 0: 998 (RFC 5321 section 4.5.3.1.6)
}

// Errors of Recoding.Copy.
var (
	ErrSigned     = errors.New("message: a multipart/signed would have to be changed, and its signature would not hold")
	ErrNoRecoding = errors.New("message: it cannot be re-encoded")
)

// troubled reports whether f has what may not stay.
func (o Recoding) troubled(f *Facts) bool {
	return f.HasNUL || f.HasBareCR || f.HasBareLF || f.Has8Bit && !o.EightBit || f.LongestLine > int64(o.line())
}

// changes reports whether Copy would change something of a part, or fail.
func (c *recoder) changes(p *Part) bool {
	inside := p.Children
	if p.Message != nil {
		inside = []*Part{p.Message}
	}
	if len(inside) == 0 || !c.troubled(&p.Content) {
		return c.troubled(&p.Content) || c.badHeader(p.Header.Raw())
	}
	between := true // no part is in trouble: it is what stands between them
	for _, child := range inside {
		if c.changes(child) {
			return true
		}
		between = between && !c.troubled(&child.Facts)
	}
	return between || c.badHeader(p.Header.Raw())
}

func (o Recoding) line() int {
	if o.LineOctets > 0 {
		return o.LineOctets
	}
	return maxLineOctets
}

// Needed reports whether the message of that structure has anything that may not stay. Lines of its header that are
// long count, though they stay as they are.
func (o Recoding) Needed(root *Part) bool { return o.troubled(&root.Facts) }

// Copy writes the message that r yields, whose structure is root, re-encoded. It reads r once and holds nothing of it but
// a buffer. A text becomes quoted-printable, or base64 where most of it would have to be escaped; anything else base64.
// Encodings that are there stay, unless they are not well-formed. Of a multipart/signed nothing is changed: if that
// would be needed, ErrSigned. Where a header (other than by long lines), a preamble, a message/partial or an unknown
// encoding holds what may not stay, or Limits have hidden a part, the error wraps ErrNoRecoding. Other errors are those
// of r and w, to which part of the message may have been written.
func (o Recoding) Copy(w io.Writer, r io.Reader, root *Part) error {
	c := &recoder{Recoding: o, in: bufio.NewReaderSize(r, recodeOctets), out: bufio.NewWriterSize(w, recodeOctets), end: root.End}
	if err := c.part(root, true); err != nil {
		return err
	}
	if err := c.copyTo(root.End); err != nil {
		return err
	}
	return c.out.Flush()
}

const recodeOctets = 32 << 10

type recoder struct {
	Recoding
	in  *bufio.Reader
	at  int64 // how much of it was read
	end int64
	out *bufio.Writer
}

func refuseRecoding(why string, p *Part) error {
	return fmt.Errorf("%w: %s of %s/%s", ErrNoRecoding, why, p.Type, p.Subtype)
}

// part writes one part, its header first. Whole tells that it is a message, not a part of one.
func (c *recoder) part(p *Part, whole bool) error {
	switch {
	case !c.troubled(&p.Facts):
		return c.copyTo(p.End)
	case p.Limited && len(p.Children) == 0 && p.Message == nil, p.Header.Truncated():
		return refuseRecoding("something is beyond the limits", p)
	case c.badHeader(p.Header.Raw()):
		return refuseRecoding("the header holds what cannot be encoded", p)
	case !c.troubled(&p.Content): // the trouble is in the header alone, and may stay there
		return c.copyTo(p.End)
	case p.Type == "multipart":
		return c.multipart(p)
	case p.Message != nil:
		if err := c.header(p, c.label(p), false); err != nil {
			return err
		}
		return c.part(p.Message, true)
	}
	return c.leaf(p, whole)
}

// badHeader reports what no encoding can mend in a header. Long lines and NULs are let pass: they were sent like this.
func (c *recoder) badHeader(raw []byte) bool {
	var l lineFacts
	l.write(raw)
	return l.bareCR || l.bareLF || has8Bit(raw) && !c.EightBit
}

// label is the Content-Transfer-Encoding that a composite part gets: "" to leave it.
func (c *recoder) label(p *Part) string {
	switch {
	case p.Encoding == "binary" && c.EightBit:
		return "8bit"
	case p.Encoding == "binary", p.Encoding == "8bit" && !c.EightBit:
		return "7bit"
	}
	return ""
}

func (c *recoder) multipart(p *Part) error {
	if p.Subtype == "signed" {
		for _, child := range p.Children {
			if c.changes(child) {
				return ErrSigned
			}
		}
	}
	label := c.label(p)
	if p.Subtype == "signed" {
		label = ""
	}
	if err := c.header(p, label, false); err != nil {
		return err
	}
	for _, child := range p.Children {
		if err := c.between(child.HeaderStart); err != nil {
			return err
		}
		if err := c.part(child, false); err != nil {
			return err
		}
	}
	return c.between(p.End)
}

// between copies what stands around the parts of a multipart, which cannot be encoded.
func (c *recoder) between(end int64) error {
	var l lineFacts
	for c.at < end {
		b, err := c.peek(end)
		if err != nil {
			return err
		}
		l.write(b)
		if l.bareCR || l.bareLF || l.nul || l.longest > int64(c.line()) || has8Bit(b) && !c.EightBit {
			return fmt.Errorf("%w: what stands between the parts of a multipart holds what cannot be encoded", ErrNoRecoding)
		}
		if err := c.take(b); err != nil {
			return err
		}
	}
	return nil
}

// leaf encodes a body.
func (c *recoder) leaf(p *Part, whole bool) error {
	if p.Type == "message" && (p.Subtype == "partial" || p.Subtype == "external-body") { // RFC 2046 section 5.2.2
		return refuseRecoding("the content", p)
	}
	text := p.Type == "text" || p.Type == "message"
	encoding := p.Encoding
	switch {
	case encoding == "base64", encoding == "quoted-printable":
	case !isIdentity(encoding):
		return refuseRecoding("the transfer encoding", p)
	case text && !c.mostlyEscaped(p):
		encoding = "quoted-printable"
	default:
		encoding = "base64"
	}
	if err := c.header(p, encoding, whole); err != nil {
		return err
	}
	body := io.Reader(&upTo{c: c, end: p.End})
	if !isIdentity(p.Encoding) {
		body = DecodeBody(body, p.Encoding)
	}
	var enc io.WriteCloser
	last := p.End == c.end // no delimiter follows, whose line end would end the last line
	if encoding == "base64" {
		wrap := &lineWrap{w: c.out, last: last}
		enc = &wrapped64{base64.NewEncoder(base64.StdEncoding, wrap), wrap}
	} else {
		enc = &qpWriter{w: c.out, last: last}
	}
	if _, err := io.Copy(enc, body); err != nil {
		return err
	}
	return enc.Close()
}

// mostlyEscaped looks at the beginning of a text.
func (c *recoder) mostlyEscaped(p *Part) bool {
	n := int(min(p.End-p.HeaderStart, recodeOctets))
	b, _ := c.in.Peek(n) // what is wrong with r is told when it is read
	b = b[min(int64(len(b)), p.BodyStart-p.HeaderStart):]
	escaped := 0
	for _, o := range b {
		if o >= 0x80 || o == '=' || o < ' ' && o != '\r' && o != '\n' && o != '\t' {
			escaped++
		}
	}
	return escaped > len(b)/3
}

// header writes the header of p with that transfer encoding, "" to leave it. A whole message also gets what makes it one
// of MIME (RFC 2045 section 4).
func (c *recoder) header(p *Part, encoding string, whole bool) error {
	if encoding == "" {
		return c.copyTo(p.BodyStart)
	}
	raw := p.Header.Raw()
	end := emptyLineAt(raw)
	if end < 0 { // there is no body
		return c.copyTo(p.BodyStart)
	}
	from := 0
	for f := range p.Header.Fields() {
		if len(f.Name) == len("Content-Transfer-Encoding") && equalFold(f.Name, "Content-Transfer-Encoding") {
			c.put(raw[from:f.Start])
			from = f.End
		}
	}
	c.put(raw[from:max(from, end)])
	if whole && !p.Header.Has("MIME-Version") {
		c.put([]byte("MIME-Version: 1.0\r\n"))
	}
	if whole && p.Has8Bit && !p.Header.Has("Content-Type") { // RFC 1428 section 3
		c.put([]byte("Content-Type: text/plain; charset=unknown-8bit\r\n"))
	}
	c.put([]byte("Content-Transfer-Encoding: " + encoding + "\r\n"))
	c.put(raw[end:])
	_, err := c.in.Discard(int(p.BodyStart - c.at))
	c.at = p.BodyStart
	return err
}

// emptyLineAt returns where the empty line that ends a header begins, -1 if it has none.
func emptyLineAt(raw []byte) int {
	switch {
	case strings.HasSuffix(string(raw[max(0, len(raw)-3):]), "\n\r\n"), string(raw) == "\r\n":
		return len(raw) - 2
	case strings.HasSuffix(string(raw[max(0, len(raw)-2):]), "\n\n"), string(raw) == "\n":
		return len(raw) - 1
	}
	return -1
}

// put writes; its error comes again with the next Flush.
func (c *recoder) put(b []byte) { _, _ = c.out.Write(b) }

// peek returns what comes next, up to the offset end.
func (c *recoder) peek(end int64) ([]byte, error) {
	b, err := c.in.Peek(1)
	if err != nil {
		if err == io.EOF { //nolint:errorlint // bufio's contract
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if b, err = c.in.Peek(int(min(int64(c.in.Buffered()), end-c.at))); err != nil {
		return nil, err
	}
	return b, nil
}

// take passes on what peek returned.
func (c *recoder) take(b []byte) error {
	if _, err := c.out.Write(b); err != nil {
		return err
	}
	n, err := c.in.Discard(len(b))
	c.at += int64(n)
	return err
}

func (c *recoder) copyTo(end int64) error {
	for c.at < end {
		b, err := c.peek(end)
		if err != nil {
			return err
		}
		if err := c.take(b); err != nil {
			return err
		}
	}
	return nil
}

// upTo reads the input up to an offset.
type upTo struct {
	c   *recoder
	end int64
}

func (u *upTo) Read(p []byte) (int, error) {
	if u.c.at >= u.end {
		return 0, io.EOF
	}
	n, err := u.c.in.Read(p[:min(int64(len(p)), u.end-u.c.at)])
	u.c.at += int64(n)
	if err == io.EOF { //nolint:errorlint // io.Reader's contract
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
