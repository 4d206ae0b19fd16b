package message

import (
	"io"
	"strings"
)

// DecodeBody decodes a content transfer encoding (RFC 2045 section 6), leniently: base64, quoted-printable,
// uuencode; anything else is the identity. Errors are those of r.
func DecodeBody(r io.Reader, encoding string) io.Reader {
	if d := decoderOf(encoding); d != nil {
		return newBodyReader(r, d)
	}
	return r
}

// AppendDecoded is DecodeBody of what is in memory: it appends to dst what src decodes to.
func AppendDecoded(dst, src []byte, encoding string) []byte {
	d := decoderOf(encoding)
	if d == nil {
		return append(dst, src...)
	}
	return d.flush(d.decode(dst, src))
}

// AppendHTMLText is HTMLText of what is in memory.
func AppendHTMLText(dst, src []byte) []byte {
	d := htmlText{newline: true}
	return d.flush(d.decode(dst, src))
}

// decoderOf returns nil for the identity.
func decoderOf(encoding string) bodyDecoder {
	switch strings.ToLower(encoding) {
	case "base64":
		return &base64Decoder{}
	case "quoted-printable":
		return &qpDecoder{}
	case "x-uuencode", "uuencode", "x-uue", "uue":
		return &uuDecoder{}
	}
	return nil
}

// bodyDecoder appends to dst what src decodes to, so far as it is known; flush adds what the end settles.
type bodyDecoder interface {
	decode(dst, src []byte) []byte
	flush(dst []byte) []byte
}

const bodyChunkBytes = 4096

type bodyReader struct {
	r       io.Reader
	d       bodyDecoder
	in, out []byte
	next    int // of out
	err     error
}

func newBodyReader(r io.Reader, d bodyDecoder) *bodyReader {
	return &bodyReader{r: r, d: d, in: make([]byte, bodyChunkBytes), out: make([]byte, 0, bodyChunkBytes+64)}
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.next == len(b.out) {
		if b.err != nil {
			return 0, b.err
		}
		var n int
		n, b.err = b.r.Read(b.in)
		b.out, b.next = b.d.decode(b.out[:0], b.in[:n]), 0
		if b.err != nil {
			b.out = b.d.flush(b.out)
		}
	}
	n := copy(p, b.out[b.next:])
	b.next += n
	return n, nil
}

// qpDecoder decodes quoted-printable (RFC 2045 section 6.7), leniently: an equals sign that means nothing stands for
// itself, hexadecimal digits may be lower case. White space at the end of a line is not content.
type qpDecoder struct {
	held []byte // "=" and what followed it, or white space, not yet decided
}

// qpHeldOctets is the most white space before a line end that is recognised as padding.
const qpHeldOctets = 1024

func (d *qpDecoder) decode(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		c := src[i]
		if len(d.held) == 0 {
			if c != '=' && c != ' ' && c != '\t' {
				dst = append(dst, c)
				continue
			}
			d.held = append(d.held, c)
			continue
		}
		if d.held[0] == '=' {
			dst = d.escape(dst, c)
		} else {
			dst = d.space(dst, c)
		}
	}
	return dst
}

// space takes an octet after white space.
func (d *qpDecoder) space(dst []byte, c byte) []byte {
	switch {
	case (c == ' ' || c == '\t') && len(d.held) < qpHeldOctets:
		d.held = append(d.held, c)
		return dst
	case c == '\r' || c == '\n':
		d.held = d.held[:0]
		return append(dst, c)
	}
	dst = append(dst, d.held...)
	d.held = d.held[:0]
	if c == '=' || c == ' ' || c == '\t' {
		d.held = append(d.held, c)
		return dst
	}
	return append(dst, c)
}

// escape takes an octet after an equals sign.
func (d *qpDecoder) escape(dst []byte, c byte) []byte {
	last := d.held[len(d.held)-1]
	switch {
	case c == '\n' && (last == '=' || last == '\r' || isSpace(last)): // a soft line break
		d.held = d.held[:0]
		return dst
	case last == '\r': // and so is a lone CR, as some write it
		d.held = d.held[:0]
		return d.decode(dst, []byte{c})
	case last != '=' && last != ' ' && last != '\t': // the first digit is there
		if hi, lo := unhex(last), unhex(c); lo >= 0 {
			d.held = d.held[:0]
			return append(dst, byte(hi<<4|lo))
		}
	case last == '=' && unhex(c) >= 0,
		c == '\r',
		(c == ' ' || c == '\t') && len(d.held) < qpHeldOctets:
		d.held = append(d.held, c)
		return dst
	}
	dst = append(dst, d.held...) // it means nothing
	d.held = d.held[:0]
	return d.decode(dst, []byte{c})
}

func (d *qpDecoder) flush(dst []byte) []byte {
	if len(d.held) == 2 && d.held[0] == '=' && unhex(d.held[1]) >= 0 {
		dst = append(dst, d.held...)
	}
	d.held = d.held[:0]
	return dst
}

// uuDecoder decodes uuencode: "begin MODE NAME", lines, "end".
type uuDecoder struct {
	line  []byte
	begun bool
	ended bool
}

// uuLineOctets is the longest line of uuencode that counts; the format has 62.
const uuLineOctets = 256

func (d *uuDecoder) decode(dst, src []byte) []byte {
	for _, c := range src {
		if c == '\n' {
			dst = d.flush(dst)
		} else if len(d.line) < uuLineOctets {
			d.line = append(d.line, c)
		}
	}
	return dst
}

func (d *uuDecoder) flush(dst []byte) []byte {
	line := d.line
	d.line = d.line[:0]
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	switch {
	case !d.begun:
		d.begun = strings.HasPrefix(string(line), "begin ")
	case d.ended || len(line) == 0:
	case string(line) == "end":
		d.ended = true
	default:
		dst = appendUU(dst, line)
	}
	return dst
}

func appendUU(dst, line []byte) []byte {
	n := int(line[0]-' ') & 63
	for line = line[1:]; n > 0; line = line[min(4, len(line)):] {
		var v uint32
		for i := range 4 {
			v <<= 6
			if i < len(line) {
				v |= uint32(line[i]-' ') & 63
			}
		}
		three := [3]byte{byte(v >> 16), byte(v >> 8), byte(v)}
		dst = append(dst, three[:min(n, 3)]...)
		n -= 3
	}
	return dst
}
