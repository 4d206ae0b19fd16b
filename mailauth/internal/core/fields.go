package core

import "bytes"

// field is one header field: raw with its CRLF, its name in lower case without white space.
type Field struct {
	Raw  []byte
	Name string
}

func (f Field) Value() []byte {
	return f.Raw[bytes.IndexByte(f.Raw, ':')+1:]
}

// SplitHeader parts a header into fields. What is no Field, such as a line without a colon, is passed over.
func SplitHeader(h []byte) []Field {
	var fields []Field
	if len(h) > 0 {
		fields = make([]Field, 0, min(bytes.Count(h, CRLF)+1, 64))
	}
	for len(h) > 0 {
		end := 0
		for {
			n := bytes.IndexByte(h[end:], '\n')
			if n < 0 {
				end = len(h)
				break
			}
			end += n + 1
			if end == len(h) || h[end] != ' ' && h[end] != '\t' {
				break
			}
		}
		raw := h[:end:end]
		h = h[end:]
		if colon := bytes.IndexByte(raw, ':'); colon > 0 {
			fields = append(fields, Field{raw, lowerName(bytes.TrimRight(raw[:colon], " \t"))})
		}
	}
	return fields
}

// lowerName returns the name of a field in lower case. Of those that every message has no copy is made.
func lowerName(b []byte) string {
	var buf [32]byte
	if len(b) > len(buf) {
		return string(bytes.ToLower(b))
	}
	n := buf[:len(b)]
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		n[i] = c
	}
	if s, ok := usualNames[string(n)]; ok {
		return s
	}
	return string(n)
}

// usualNames are the names of the fields that most messages have.
var usualNames = names("arc-authentication-results", "arc-message-signature", "arc-seal", "authentication-results", "bcc", "cc",
	"content-disposition", "content-id", "content-transfer-encoding", "content-type", "date", "delivered-to", "dkim-signature",
	"feedback-id", "from", "in-reply-to", "list-id", "list-post", "list-unsubscribe", "list-unsubscribe-post", "message-id",
	"mime-version", "received", "received-spf", "references", "reply-to", "return-path", "sender", "subject", "to", "user-agent", "x-mailer")

func names(list ...string) map[string]string {
	m := make(map[string]string, len(list))
	for _, s := range list {
		m[s] = s
	}
	return m
}

// few is how many comparisons are cheaper than a map.
const few = 4096

// Pick chooses the fields that h= names: of several with one name, the last that was not chosen yet (RFC 6376
// section 5.4.2). A name without a field stands for nothing.
func Pick(fields []Field, names []string) []Field {
	if len(fields)*len(names) > few {
		return pickMany(fields, names)
	}
	chosen := make([]Field, 0, len(names))
	var buf [64]bool
	used := append(buf[:0], make([]bool, len(fields))...)
	for _, n := range names {
		for i := len(fields) - 1; i >= 0; i-- {
			if !used[i] && fields[i].Name == n {
				used[i] = true
				chosen = append(chosen, fields[i])
				break
			}
		}
	}
	return chosen
}

// pickMany is Pick at a cost that does not multiply.
func pickMany(fields []Field, names []string) []Field {
	used := make(map[string]int, len(names))
	byName := make(map[string][]int, len(fields))
	for i, f := range fields {
		byName[f.Name] = append(byName[f.Name], i)
	}
	var chosen []Field
	for _, n := range names {
		at := byName[n]
		if k := len(at) - 1 - used[n]; k >= 0 {
			chosen = append(chosen, fields[at[k]])
			used[n]++
		}
	}
	return chosen
}
