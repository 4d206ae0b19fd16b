package core

import (
	"bytes"
	"strings"
)

// Digest hashes the signed fields and the signature's own one, which has no line end.
func Digest(fields []Field, names []string, own Field, c Canonicalization) []byte {
	return DigestOf(Signed(fields, names, c), own, c)
}

// Signed returns the canonical form of the fields that h= names.
func Signed(fields []Field, names []string, c Canonicalization) []byte {
	chosen := Pick(fields, names)
	size := 1 << 10 // and room for the signature's own
	for _, f := range chosen {
		size += len(f.Raw)
	}
	buf := make([]byte, 0, size)
	for _, f := range chosen {
		buf = AppendField(buf, c, f)
	}
	return buf
}

// DigestOf is Digest of what Signed has returned. The octets behind it may be written over.
func DigestOf(signed []byte, own Field, c Canonicalization) []byte {
	return SHA256(bytes.TrimSuffix(AppendField(signed, c, Unsigned(own)), CRLF))
}

// Unsigned returns the signature's own field with an empty b=, as it was when it was signed (RFC 6376 section 3.7).
func Unsigned(f Field) Field {
	raw := f.Raw
	at := bytes.IndexByte(raw, ':') + 1
	for at < len(raw) {
		end := bytes.IndexByte(raw[at:], ';')
		if end < 0 {
			end = len(raw) - at
		}
		part := raw[at : at+end]
		if eq := bytes.IndexByte(part, '='); eq >= 0 && string(bytes.Trim(part[:eq], WSP)) == "b" {
			tail := raw[at+end:]
			if len(tail) == 0 { // b= is the last tag: the line end stays
				tail = CRLF
			}
			cut := append(append([]byte(nil), raw[:at+eq+1]...), tail...)
			return Field{cut, f.Name}
		}
		at += end + 1
	}
	return f
}

// FoldList writes a colon list in lines of at most 76 octets.
func FoldList(b *strings.Builder, names []string) {
	line := len("\th=")
	for i, n := range names {
		if i > 0 {
			b.WriteByte(':')
			line++
		}
		if line+len(n) > 74 {
			b.WriteString("\r\n\t")
			line = 1
		}
		b.WriteString(n)
		line += len(n)
	}
}

// IsHost accepts the names that d= and s= may have (RFC 6376 section 3.5: those of RFC 5321), with underscores, which some use,
// and U-labels (RFC 8616). DNS would take others too: a name such as "good.test(.evil.test" deceives those who read it.
func IsHost(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' && c < 0x80 {
			return false
		}
	}
	return true
}
