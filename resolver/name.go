package resolver

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"
)

// canonical returns the name as it is asked for and remembered: lower case, A-labels, a final dot. Names of mail
// come from outside, so a presentation escape is not taken.
func canonical(name string) (string, error) {
	if !isASCII(name) {
		a, err := idna.Lookup.ToASCII(strings.TrimSuffix(name, "."))
		if err != nil {
			return "", fmt.Errorf("%q: %w", name, ErrBadName)
		}
		name = a
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 || strings.HasPrefix(name, ".") || strings.Contains(name, "..") {
		return "", fmt.Errorf("%q: %w", name, ErrBadName)
	}
	label := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			label = 0
			continue
		case c <= ' ', c >= 0x7f, c == '\\', c == '"', c == '(', c == ')', c == ';', c == '@', c == '$':
			return "", fmt.Errorf("%q: %w", name, ErrBadName)
		}
		if label++; label > 63 {
			return "", fmt.Errorf("%q: %w", name, ErrBadName)
		}
	}
	return strings.ToLower(name) + ".", nil
}

// plain returns a name of an answer as others know it: lower case, no final dot.
func plain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func hexBytes(s string) ([]byte, error) { return hex.DecodeString(s) }

// unescape undoes the presentation form that package dns keeps TXT strings in: \DDD and \X.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		if i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]) {
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+(s[i+3]-'0'))
			i += 3
			continue
		}
		i++
		b = append(b, s[i])
	}
	return string(b)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func typeName(t uint16) string { return dns.TypeToString[t] }
