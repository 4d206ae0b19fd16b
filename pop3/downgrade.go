package pop3

import (
	"bytes"
	"mime"
	"net/mail"
	"strings"
	"unicode/utf8"
)

// international reports whether a header is one of RFC 6532: UTF-8 beyond ASCII. What is neither is somebody's mistake,
// which is passed on as it is.
func international(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return utf8.Valid(b)
		}
	}
	return false
}

// invalidAddress stands for an address that cannot be written in ASCII (RFC 6858 section 2.1).
const invalidAddress = "invalid@internationalized-address.invalid"

// downgrade makes the ASCII surrogate of an international header by the simplified algorithm of RFC 6858 section 2.
// Fields in ASCII stay as they are, octet for octet.
func downgrade(header []byte) []byte {
	out := make([]byte, 0, len(header)+len(header)/2)
	for len(header) > 0 {
		field := nextField(header)
		header = header[len(field):]
		if !international(field) {
			out = append(out, field...)
			continue
		}
		name, value, ok := strings.Cut(string(field), ":")
		if !ok || international([]byte(name)) {
			continue
		}
		if value, ok = downgradeValue(strings.ToLower(strings.Trim(name, " \t")), unfold(value)); ok {
			out = append(out, name+": "+value+"\r\n"...)
		}
	}
	return out
}

// nextField returns the first field with its continuation lines.
func nextField(b []byte) []byte {
	for n := 0; ; {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return b
		}
		n += i + 1
		if n == len(b) || b[n] != ' ' && b[n] != '\t' {
			return b[:n]
		}
	}
}

func unfold(s string) string {
	return strings.Trim(strings.NewReplacer("\r", "", "\n", "").Replace(s), " \t")
}

// downgradeValue returns the value in ASCII; false: the field is left out (RFC 6858 section 2.4).
func downgradeValue(name, value string) (string, bool) {
	switch name {
	case "subject", "comments", "keywords", "content-description": // RFC 6858 section 2.3
		return encodeWords(value), true
	case "from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-sender", "resent-reply-to", "resent-to", "resent-cc", "resent-bcc":
		return downgradeAddresses(value)
	case "content-type", "content-disposition": // RFC 6858 section 2.2
		t, params, err := mime.ParseMediaType(value)
		if err != nil {
			return "", false
		}
		value = mime.FormatMediaType(t, params) // parameters by RFC 2231
		return strings.ReplaceAll(value, "; ", ";\r\n "), value != ""
	}
	return "", false
}

// encodeWords encodes by RFC 2047, folded between the words.
func encodeWords(s string) string {
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
}

// downgradeAddresses is RFC 6858 section 2.1: display names are encoded; an address that needs UTF-8 becomes part of the
// display name of one that nobody has.
func downgradeAddresses(value string) (string, bool) {
	list, err := (&mail.AddressParser{WordDecoder: new(mime.WordDecoder)}).ParseList(value)
	if err != nil {
		return "", false
	}
	out := make([]string, len(list))
	for i, a := range list {
		name, addr := a.Name, a.Address
		if international([]byte(addr)) {
			name, addr = strings.Trim(name+" "+addr, " "), invalidAddress
		}
		plain := (&mail.Address{Address: addr}).String() // quoted where it must be
		if name != "" {
			if international([]byte(name)) {
				plain = encodeWords(name) + "\r\n " + plain
			} else {
				plain = (&mail.Address{Name: name, Address: addr}).String()
			}
		}
		out[i] = plain
	}
	return strings.Join(out, ",\r\n "), true
}
