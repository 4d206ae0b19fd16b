package message

import "strings"

// scanner reads the tokens of structured fields (RFC 5322 section 3.2). Its input is unfolded.
type scanner struct {
	b []byte
	i int
}

// skip passes white space and comments.
func (s *scanner) skip() {
	for s.i < len(s.b) {
		switch {
		case isSpace(s.b[s.i]):
			s.i++
		case s.b[s.i] == '(':
			s.comment()
		default:
			return
		}
	}
}

// comment passes a comment, nested ones included, and returns what is in it, still quoted. One that is not closed
// ends at the end.
func (s *scanner) comment() []byte {
	start, depth := s.i+1, 0
	for ; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '\\':
			s.i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				s.i++
				return s.b[start : s.i-1]
			}
		}
	}
	s.i = len(s.b)
	return s.b[min(start, s.i):]
}

// quoted reads a quoted-string and returns what it means. One that is not closed ends at the end.
func (s *scanner) quoted() []byte {
	s.i++
	start := s.i
	for ; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '"':
			s.i++
			return s.b[start : s.i-1]
		case '\\':
			return s.quotedPairs(start)
		}
	}
	return s.b[start:]
}

// quotedPairs is the rest of quoted, from the first backslash on.
func (s *scanner) quotedPairs(start int) []byte {
	out := append(make([]byte, 0, s.i-start+32), s.b[start:s.i]...)
	for ; s.i < len(s.b); s.i++ {
		c := s.b[s.i]
		switch {
		case c == '"':
			s.i++
			return out
		case c == '\\' && s.i+1 < len(s.b):
			s.i++
			out = append(out, s.b[s.i])
		default:
			out = append(out, c)
		}
	}
	return out
}

// token passes a token of RFC 2045 section 5.1; octets above 127 are taken as part of it.
func (s *scanner) token() {
	for s.i < len(s.b) && isToken(s.b[s.i]) {
		s.i++
	}
}

func isToken(c byte) bool {
	return c > ' ' && c != 127 && strings.IndexByte("()<>@,;:\\\"/[]?=", c) < 0
}

// lowerString returns b in ASCII lower case.
func lowerString(b []byte) string {
	var buf [64]byte
	if len(b) > len(buf) {
		return strings.ToLower(string(b))
	}
	for i, c := range b {
		buf[i] = lower(c)
	}
	return internString(buf[:len(b)])
}

// internString returns b as a string, without an allocation for the words that nearly every message has.
func internString(b []byte) string {
	switch string(b) {
	case "":
		return ""
	case "text/plain":
		return "text/plain"
	case "text/html":
		return "text/html"
	case "multipart/mixed":
		return "multipart/mixed"
	case "multipart/alternative":
		return "multipart/alternative"
	case "multipart/related":
		return "multipart/related"
	case "multipart/signed":
		return "multipart/signed"
	case "message/rfc822":
		return "message/rfc822"
	case "application/octet-stream":
		return "application/octet-stream"
	case "application/pdf":
		return "application/pdf"
	case "image/png":
		return "image/png"
	case "image/jpeg":
		return "image/jpeg"
	case "charset":
		return "charset"
	case "boundary":
		return "boundary"
	case "name":
		return "name"
	case "format":
		return "format"
	case "filename":
		return "filename"
	case "utf-8":
		return "utf-8"
	case "UTF-8":
		return "UTF-8"
	case "us-ascii":
		return "us-ascii"
	case "iso-8859-1":
		return "iso-8859-1"
	case "7bit":
		return "7bit"
	case "8bit":
		return "8bit"
	case "base64":
		return "base64"
	case "quoted-printable":
		return "quoted-printable"
	case "inline":
		return "inline"
	case "attachment":
		return "attachment"
	case "flowed":
		return "flowed"
	}
	return string(b)
}
