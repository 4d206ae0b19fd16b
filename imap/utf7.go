package imap

import (
	"encoding/base64"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrUTF7 says that a mailbox name is not modified UTF-7 (RFC 3501 section 5.1.3).
var ErrUTF7 = errors.New("imap: mailbox name is not modified UTF-7 (RFC 3501 section 5.1.3)")

const utf7Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,"

// utf7Encoding is BASE64 as modified by RFC 3501 section 5.1.3; stray bits at the end are refused.
var utf7Encoding = base64.NewEncoding(utf7Alphabet).WithPadding(base64.NoPadding).Strict()

// AppendUTF7 appends the modified UTF-7 form (RFC 3501 section 5.1.3) of a UTF-8 mailbox name to dst.
func AppendUTF7(dst []byte, name string) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if c >= 0x20 && c <= 0x7e {
			dst = append(dst, c)
			if c == '&' {
				dst = append(dst, '-')
			}
			i++
			continue
		}
		var raw []byte
		for i < len(name) && (name[i] < 0x20 || name[i] > 0x7e) {
			r, n := utf8.DecodeRuneInString(name[i:])
			i += n
			if hi, lo := utf16.EncodeRune(r); r > 0xffff {
				raw = append(raw, byte(hi>>8), byte(hi), byte(lo>>8), byte(lo))
			} else {
				raw = append(raw, byte(r>>8), byte(r))
			}
		}
		dst = append(dst, '&')
		dst = utf7Encoding.AppendEncode(dst, raw)
		dst = append(dst, '-')
	}
	return dst
}

// DecodeUTF7 turns modified UTF-7 into UTF-8. It refuses what RFC 3501 section 5.1.3 forbids: octets beyond printable
// ASCII, printable ASCII in BASE64, shifts that were not needed, lone surrogates.
func DecodeUTF7(s string) (string, error) {
	dst := make([]byte, 0, len(s))
	shifted := false // the last thing read was a shift: another one right after it is superfluous
	for i := 0; i < len(s); {
		c := s[i]
		if c < 0x20 || c > 0x7e {
			return "", ErrUTF7
		}
		if c != '&' {
			dst, shifted, i = append(dst, c), false, i+1
			continue
		}
		end := i + 1
		for end < len(s) && s[end] != '-' {
			end++
		}
		if end == len(s) {
			return "", ErrUTF7
		}
		if end == i+1 {
			dst, shifted, i = append(dst, '&'), false, end+1
			continue
		}
		var ok bool
		if dst, ok = appendShifted(dst, s[i+1:end]); !ok || shifted {
			return "", ErrUTF7
		}
		shifted, i = true, end+1
	}
	return string(dst), nil
}

// appendShifted decodes the BASE64 of UTF-16 between "&" and "-".
func appendShifted(dst []byte, b64 string) ([]byte, bool) {
	for i := 0; i < len(b64); i++ {
		if b64[i] == '\r' || b64[i] == '\n' { // the decoder would pass over them
			return dst, false
		}
	}
	raw, err := utf7Encoding.DecodeString(b64)
	if err != nil || len(raw)%2 != 0 {
		return dst, false
	}
	for i := 0; i < len(raw); i += 2 {
		r := rune(raw[i])<<8 | rune(raw[i+1])
		if r >= 0x20 && r <= 0x7e || r == 0 {
			return dst, false
		}
		if utf16.IsSurrogate(r) {
			if i+3 >= len(raw) {
				return dst, false
			}
			r = utf16.DecodeRune(r, rune(raw[i+2])<<8|rune(raw[i+3]))
			if r == utf8.RuneError {
				return dst, false
			}
			i += 2
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, true
}
