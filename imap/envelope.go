package imap

import (
	"bytes"
	"strconv"

	"github.com/samotop/samotop/message"
)

// AppendEnvelope appends the ENVELOPE of a header as it goes on the wire (RFC 3501 section 7.4.2) to dst. Octets
// beyond ASCII stand in literals, so that the form is good in every mode of the protocol.
func AppendEnvelope(dst []byte, h message.Header) []byte {
	dst = append(dst, '(')
	dst = appendHeaderString(dst, &h, "Date")
	dst = append(dst, ' ')
	dst = appendHeaderString(dst, &h, "Subject")
	dst = append(dst, ' ')
	at := len(dst)
	dst = appendAddresses(dst, h.Get("From"))
	from := dst[at:len(dst):len(dst)]
	for _, name := range [...]string{"Sender", "Reply-To"} {
		dst = append(dst, ' ')
		at = len(dst)
		dst = appendAddresses(dst, h.Get(name))
		if string(dst[at:]) == "NIL" { // RFC 3501 section 7.4.2: absent or empty, they are From
			dst = append(dst[:at], from...)
		}
	}
	for _, name := range [...]string{"To", "Cc", "Bcc"} {
		dst = append(dst, ' ')
		dst = appendAddresses(dst, h.Get(name))
	}
	dst = append(dst, ' ')
	dst = appendHeaderString(dst, &h, "In-Reply-To")
	dst = append(dst, ' ')
	dst = appendHeaderString(dst, &h, "Message-ID")
	return append(dst, ')')
}

func appendHeaderString(dst []byte, h *message.Header, name string) []byte {
	v := h.Get(name)
	if v == nil {
		return append(dst, "NIL"...)
	}
	return appendString(dst, bytes.TrimSpace(v))
}

// appendAddresses appends the list of address structures of an address field, NIL if there is none.
func appendAddresses(dst, field []byte) []byte {
	list := message.ParseAddressList(field)
	if len(list) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for i := range list {
		a := &list[i]
		if !a.Group {
			dst = appendAddress(dst, a)
			continue
		}
		// RFC 3501 section 7.4.2: a group begins with its name in the place of the mailbox and ends with all NIL
		dst = append(dst, "(NIL NIL "...)
		dst = appendString(dst, a.RawName)
		dst = append(dst, " NIL)"...)
		for j := range a.Members {
			dst = appendAddress(dst, &a.Members[j])
		}
		dst = append(dst, "(NIL NIL NIL NIL)"...)
	}
	return append(dst, ')')
}

func appendAddress(dst []byte, a *message.AddressOrGroup) []byte {
	dst = append(dst, '(')
	dst = appendNString(dst, a.RawName)
	dst = append(dst, ' ')
	dst = appendNString(dst, a.Route)
	dst = append(dst, ' ')
	dst = appendString(dst, a.Address.Local) // NIL would mean the end of a group
	dst = append(dst, ' ')
	dst = appendString(dst, a.Address.Domain) // NIL would mean the beginning of a group
	return append(dst, ')')
}

// appendNString appends a string, or NIL for an empty one.
func appendNString(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "NIL"...)
	}
	return appendString(dst, s)
}

// maxQuotedOctets is the longest string that is written in quotes; longer ones are literals.
const maxQuotedOctets = 1000

// appendString appends s as a quoted string where that can hold it, else as a literal. NUL has no form in either
// (RFC 3501 section 9, CHAR8) and is left out.
func appendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	plain, nul := len(s) <= maxQuotedOctets, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 0:
			nul++
		case c >= 0x7f, c == '\r', c == '\n':
			plain = false
		}
	}
	if plain {
		dst = append(dst, '"')
		for i := 0; i < len(s); i++ {
			switch s[i] {
			case 0:
				continue
			case '"', '\\':
				dst = append(dst, '\\')
			}
			dst = append(dst, s[i])
		}
		return append(dst, '"')
	}
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)-nul), 10)
	dst = append(dst, '}', '\r', '\n')
	for i := 0; i < len(s); i++ {
		if s[i] != 0 {
			dst = append(dst, s[i])
		}
	}
	return dst
}
