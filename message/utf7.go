package message

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// utf7Decoder decodes UTF-7 (RFC 2152). What is not of the form stands for itself or becomes U+FFFD.
type utf7Decoder struct {
	shifted bool // between "+" and the end of the base64
	fresh   bool // nothing came after the "+" yet
	bits    uint32
	n       uint
	high    rune // first half of a surrogate pair, 0 for none
}

func (d *utf7Decoder) Reset() { *d = utf7Decoder{} }

func (d *utf7Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if len(dst)-nDst < 2*utf8.UTFMax { // an octet may end a broken pair and add a character
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += d.octet(dst[nDst:], src[nSrc])
		nSrc++
	}
	if atEOF && d.high != 0 {
		if len(dst)-nDst < utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += d.endPair(dst[nDst:])
	}
	return nDst, nSrc, nil
}

// octet takes one octet and returns how many it wrote.
func (d *utf7Decoder) octet(dst []byte, c byte) int {
	if !d.shifted {
		switch {
		case c == '+':
			d.shifted, d.fresh, d.bits, d.n = true, true, 0, 0
			return 0
		case c >= utf8.RuneSelf:
			return utf8.EncodeRune(dst, windows1252(c))
		}
		dst[0] = c
		return 1
	}
	if v := base64Value[c]; v < 64 {
		d.fresh = false
		d.bits, d.n = d.bits<<6|uint32(v), d.n+6
		if d.n < 16 {
			return 0
		}
		d.n -= 16
		return d.unit(dst, rune(d.bits>>d.n&0xffff))
	}
	fresh := d.fresh
	d.shifted, d.fresh = false, false
	w := d.endPair(dst)
	switch {
	case c == '-' && fresh:
		dst[w] = '+'
		return w + 1
	case c == '-':
		return w
	}
	return w + d.octet(dst[w:], c)
}

// unit takes one UTF-16 unit.
func (d *utf7Decoder) unit(dst []byte, u rune) int {
	w := 0
	if d.high != 0 {
		high := d.high
		if r := utf16.DecodeRune(high, u); r != utf8.RuneError {
			d.high = 0
			return utf8.EncodeRune(dst, r)
		}
		w = d.endPair(dst)
	}
	if u >= 0xd800 && u < 0xdc00 {
		d.high = u
		return w
	}
	return w + utf8.EncodeRune(dst[w:], u) // a lone second half becomes U+FFFD
}

func (d *utf7Decoder) endPair(dst []byte) int {
	if d.high == 0 {
		return 0
	}
	d.high = 0
	return utf8.EncodeRune(dst, utf8.RuneError)
}
