package sasl

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

var errPrep = errors.New("sasl: string holds what SASLprep forbids (RFC 4013 section 2.3)")

// Prepare is SASLprep (RFC 4013), but that it lets code points through which Unicode 3.2 did not know, as RFC 3454
// section 7 does for queries: people have them in their passwords.
func Prepare(s string) (string, error) {
	if isPlain(s) {
		return s, nil
	}
	if !utf8.ValidString(s) {
		return "", errPrep
	}
	out := norm.NFKC.String(strings.Map(prepMap, s)) // RFC 4013 sections 2.1 and 2.2
	for _, r := range out {
		if r < 0x20 || r == 0x7f || r > 0x7f && unicode.Is(prohibited, r) {
			return "", errPrep
		}
	}
	return out, checkBidi(out)
}

// PreparePassword gives the form in which a password is hashed and compared: SASLprep where that is possible, else
// the password as it is.
func PreparePassword(s string) string {
	if p, err := Prepare(s); err == nil {
		return p
	}
	return s
}

func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// prepMap maps RFC 3454 table B.1 to nothing and table C.1.2 to a space.
func prepMap(r rune) rune {
	switch {
	case r < 0x80:
		return r
	case unicode.Is(toNothing, r):
		return -1
	case unicode.Is(unicode.Zs, r) && r != 0x180e:
		return ' '
	}
	return r
}

// checkBidi is RFC 3454 section 6.
func checkBidi(s string) error {
	randAL, l := false, false
	for _, r := range s {
		switch c := bidiClass(r); c {
		case bidi.R, bidi.AL:
			randAL = true
		case bidi.L:
			l = true
		}
	}
	if !randAL {
		return nil
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	if l || !isRandAL(first) || !isRandAL(last) {
		return errPrep
	}
	return nil
}

func isRandAL(r rune) bool {
	c := bidiClass(r)
	return c == bidi.R || c == bidi.AL
}

func bidiClass(r rune) bidi.Class {
	p, _ := bidi.LookupRune(r)
	return p.Class()
}

// toNothing is RFC 3454 table B.1.
var toNothing = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x00ad, Hi: 0x00ad, Stride: 1}, {Lo: 0x034f, Hi: 0x034f, Stride: 1}, {Lo: 0x1806, Hi: 0x1806, Stride: 1},
	{Lo: 0x180b, Hi: 0x180d, Stride: 1}, {Lo: 0x200b, Hi: 0x200d, Stride: 1}, {Lo: 0x2060, Hi: 0x2060, Stride: 1},
	{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1}, {Lo: 0xfeff, Hi: 0xfeff, Stride: 1},
}}

// prohibited is RFC 3454 tables C.2.2, C.3 to C.9; surrogates cannot be in a valid string.
var prohibited = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0080, Hi: 0x009f, Stride: 1}, {Lo: 0x0340, Hi: 0x0341, Stride: 1}, {Lo: 0x06dd, Hi: 0x06dd, Stride: 1},
		{Lo: 0x070f, Hi: 0x070f, Stride: 1}, {Lo: 0x180e, Hi: 0x180e, Stride: 1}, {Lo: 0x200c, Hi: 0x200f, Stride: 1},
		{Lo: 0x2028, Hi: 0x202e, Stride: 1}, {Lo: 0x2060, Hi: 0x2063, Stride: 1}, {Lo: 0x206a, Hi: 0x206f, Stride: 1},
		{Lo: 0x2ff0, Hi: 0x2ffb, Stride: 1}, {Lo: 0xd800, Hi: 0xf8ff, Stride: 1}, {Lo: 0xfdd0, Hi: 0xfdef, Stride: 1},
		{Lo: 0xfeff, Hi: 0xfeff, Stride: 1}, {Lo: 0xfff9, Hi: 0xffff, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1d173, Hi: 0x1d17a, Stride: 1}, {Lo: 0x1fffe, Hi: 0x1ffff, Stride: 1}, {Lo: 0x2fffe, Hi: 0x2ffff, Stride: 1},
		{Lo: 0x3fffe, Hi: 0x3ffff, Stride: 1}, {Lo: 0x4fffe, Hi: 0x4ffff, Stride: 1}, {Lo: 0x5fffe, Hi: 0x5ffff, Stride: 1},
		{Lo: 0x6fffe, Hi: 0x6ffff, Stride: 1}, {Lo: 0x7fffe, Hi: 0x7ffff, Stride: 1}, {Lo: 0x8fffe, Hi: 0x8ffff, Stride: 1},
		{Lo: 0x9fffe, Hi: 0x9ffff, Stride: 1}, {Lo: 0xafffe, Hi: 0xaffff, Stride: 1}, {Lo: 0xbfffe, Hi: 0xbffff, Stride: 1},
		{Lo: 0xcfffe, Hi: 0xcffff, Stride: 1}, {Lo: 0xdfffe, Hi: 0xdffff, Stride: 1}, {Lo: 0xe0001, Hi: 0xe0001, Stride: 1},
		{Lo: 0xe0020, Hi: 0xe007f, Stride: 1}, {Lo: 0xefffe, Hi: 0x10ffff, Stride: 1},
	},
}
