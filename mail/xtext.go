package mail

import "errors"

// ErrXtext: a string is not xtext (RFC 3461 section 4).
var ErrXtext = errors.New("not xtext (RFC 3461 section 4)")

const hexDigits = "0123456789ABCDEF"

// EncodeXtext encodes s so that it may stand as the value of an ESMTP parameter (RFC 3461 section 4).
func EncodeXtext(s string) string {
	n := 0
	for i := 0; i < len(s); i++ {
		if !isXchar(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := 0; i < len(s); i++ {
		if c := s[i]; isXchar(c) {
			b = append(b, c)
		} else {
			b = append(b, '+', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// DecodeXtext reverses EncodeXtext.
func DecodeXtext(s string) (string, error) {
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isXchar(c):
			if b != nil {
				b = append(b, c)
			}
		case c == '+' && i+2 < len(s) && hex(s[i+1]) >= 0 && hex(s[i+2]) >= 0:
			if b == nil {
				b = append(make([]byte, 0, len(s)), s[:i]...)
			}
			b = append(b, byte(hex(s[i+1])<<4|hex(s[i+2])))
			i += 2
		default:
			return "", ErrXtext
		}
	}
	if b == nil {
		return s, nil
	}
	return string(b), nil
}

func isXchar(c byte) bool { return c >= '!' && c <= '~' && c != '+' && c != '=' }

// hex returns the value of an upper-case hexadecimal digit, as RFC 3461 has them; -1 for anything else.
func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
