package message

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
	"golang.org/x/text/transform"
)

// maxCharsetOctets is the longest name of a charset that is looked up.
const maxCharsetOctets = 64

// DecodeCharset turns text of a charset into UTF-8. Octets that the charset does not have become U+FFFD. An unknown
// charset, and the 8-bit octets of us-ascii, are read as UTF-8 where they are valid, else as windows-1252. Errors are
// those of r.
func DecodeCharset(r io.Reader, charset string) io.Reader {
	t, _ := charsetDecoder(charset)
	return transform.NewReader(r, t)
}

// DecodeString is DecodeCharset of text in memory; known is false for an unknown charset (IMAP's BADCHARSET).
func DecodeString(b []byte, charset string) (s string, known bool) {
	if isUTF8Name(charset) && utf8.Valid(b) {
		return string(b), true
	}
	t, known := charsetDecoder(charset)
	out, _, err := transform.Bytes(t, b)
	if err != nil { // no decoder of ours fails: what it cannot read becomes U+FFFD
		return decodeFallback(b), known
	}
	return string(out), known
}

// KnownCharset reports whether text of that charset can be decoded.
func KnownCharset(charset string) bool {
	_, known := charsetDecoder(charset)
	return known
}

func isUTF8Name(s string) bool {
	return len(s) == 5 && equalFold(s, "utf-8") || len(s) == 8 && equalFold(s, "us-ascii") || len(s) == 4 && equalFold(s, "utf8")
}

// charsetDecoder finds the decoder of a charset: names that lead astray first, then the names of the web, which say
// what is really sent, then those of IANA.
func charsetDecoder(charset string) (t transform.Transformer, known bool) {
	name, _, _ := strings.Cut(charset, "*") // RFC 2231 section 5: a language
	name = strings.ToLower(strings.Trim(name, " \t'\""))
	if name == "" || len(name) > maxCharsetOctets {
		return lenientUTF8{}, false
	}
	switch name {
	case "us-ascii", "ascii", "ansi_x3.4-1968", "iso646-us", "646":
		return lenientUTF8{}, true
	case "utf-7", "unicode-1-1-utf-7", "x-utf-7", "utf7":
		return &utf7Decoder{}, true
	case "iso-2022-kr", "csiso2022kr":
		return transform.Chain(&iso2022kr{}, korean.EUCKR.NewDecoder()), true
	}
	if e := special(name); e != nil {
		return e.NewDecoder(), true
	}
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return e.NewDecoder(), true
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e.NewDecoder(), true
	}
	if e, err := ianaindex.IANA.Encoding(name); err == nil && e != nil {
		return e.NewDecoder(), true
	}
	return lenientUTF8{}, false
}

// special knows names that neither index has, or for which it has nothing useful.
func special(name string) encoding.Encoding {
	switch name {
	case "utf8", "utf-8", "unicode-1-1-utf-8", "cp65001", "utf8mb4", "utf-8mb4":
		return unicode.UTF8
	case "ks_c_5601-1987", "ks_c_5601", "ksc5601", "ksc_5601", "ks_c_5601-1989", "cp949", "ms949", "uhc", "x-windows-949":
		return korean.EUCKR
	case "cp932", "ms932", "shift-jis", "sjis", "x-sjis-cp932":
		return japanese.ShiftJIS
	case "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-jp-3", "iso-2022-jp-ms", "cp50220", "cp50221":
		return japanese.ISO2022JP
	case "cp936", "ms936", "gb_2312-80", "gb2312_charset", "x-gbk", "gb-2312":
		return simplifiedchinese.GB18030
	case "hz-gb-2312", "hz":
		return simplifiedchinese.HZGB2312
	case "cp950", "ms950", "big-5":
		return traditionalchinese.Big5
	case "cp437", "ibm437", "437", "dos-437":
		return charmap.CodePage437
	case "cp850", "ibm850", "850", "dos-850":
		return charmap.CodePage850
	case "cp852", "ibm852":
		return charmap.CodePage852
	case "cp855", "ibm855":
		return charmap.CodePage855
	case "cp858", "ibm00858":
		return charmap.CodePage858
	case "cp862", "ibm862":
		return charmap.CodePage862
	case "cp1250", "x-cp1250":
		return charmap.Windows1250
	case "ansi", "cp-1252", "windows1252", "win-1252", "x-ansi", "iso8859_1", "iso-latin-1", "latin-1", "8859_1":
		return charmap.Windows1252
	case "windows1251", "win-1251", "cp-1251":
		return charmap.Windows1251
	case "mac", "x-macroman", "macroman":
		return charmap.Macintosh
	case "utf-16", "unicode", "iso-10646-ucs-2", "ucs-2":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	case "utf-32", "ucs-4", "iso-10646-ucs-4":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM)
	case "utf-32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)
	case "utf-32be":
		return utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)
	}
	return nil
}

// decodeFallback reads octets of which no charset is known: UTF-8 if they are all valid, else windows-1252.
func decodeFallback(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b) + len(b)/2)
	for _, c := range b {
		s.WriteRune(windows1252(c))
	}
	return s.String()
}

// windows1252 gives the character of an octet; the five that have none are the C1 controls of the same number.
func windows1252(c byte) rune {
	if c < 0x80 || c >= 0xa0 {
		return rune(c)
	}
	if r := charmap.Windows1252.DecodeByte(c); r != utf8.RuneError {
		return r
	}
	return rune(c)
}

// lenientUTF8 keeps what is valid UTF-8 and reads any other octet as windows-1252.
type lenientUTF8 struct{ transform.NopResetter }

func (lenientUTF8) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if c := src[nSrc]; c < utf8.RuneSelf {
			if nDst == len(dst) {
				return nDst, nSrc, transform.ErrShortDst
			}
			dst[nDst] = c
			nDst++
			nSrc++
			continue
		}
		if !atEOF && !utf8.FullRune(src[nSrc:]) {
			return nDst, nSrc, transform.ErrShortSrc
		}
		r, n := utf8.DecodeRune(src[nSrc:])
		if r == utf8.RuneError && n <= 1 {
			r, n = windows1252(src[nSrc]), 1
		}
		if nDst+utf8.RuneLen(r) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}

// iso2022kr turns ISO-2022-KR (RFC 1557) into EUC-KR: between SO and SI octets have their high bit set, and the
// designator ESC $ ) C is left out. A line begins in ASCII.
type iso2022kr struct{ shifted bool }

func (d *iso2022kr) Reset() { d.shifted = false }

func (d *iso2022kr) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		c := src[nSrc]
		switch {
		case c == 0x0e:
			d.shifted = true
			nSrc++
			continue
		case c == 0x0f:
			d.shifted = false
			nSrc++
			continue
		case c == 0x1b:
			if len(src)-nSrc < 4 && !atEOF {
				return nDst, nSrc, transform.ErrShortSrc
			}
			if len(src)-nSrc >= 4 && string(src[nSrc+1:nSrc+4]) == "$)C" {
				nSrc += 4
				continue
			}
		case c == '\n':
			d.shifted = false
		case d.shifted && c > 0x20 && c < 0x7f:
			c |= 0x80
		}
		if nDst == len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		dst[nDst] = c
		nDst++
		nSrc++
	}
	return nDst, nSrc, nil
}
