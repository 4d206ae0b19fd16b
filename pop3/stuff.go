package pop3

import "bytes"

// stuffer turns content into the lines of a multi-line response (RFC 1939 section 3): each ends in CRLF, and one that
// begins with the termination octet gets another. With top set it stops after so many lines of the body.
type stuffer struct {
	top   bool
	left  int  // lines of the body still to come, with top
	body  bool // the empty line after the header was seen
	open  bool // within a line
	cr    bool // the last octet was a CR
	text  bool // the line has an octet other than a last CR
	ended bool // nothing more is wanted
}

// append appends the next octets of content to dst.
func (s *stuffer) append(dst, p []byte) []byte {
	for len(p) > 0 && !s.ended {
		if !s.open {
			if s.top && s.body && s.left == 0 {
				s.ended = true
				break
			}
			s.open, s.cr, s.text = true, false, false
			if p[0] == '.' {
				dst = append(dst, '.')
			}
		}
		eol := bytes.IndexByte(p, '\n')
		line := p
		if eol >= 0 {
			line = p[:eol]
		}
		if len(line) > 0 {
			s.text = s.text || s.cr || len(line) > 1 || line[0] != '\r'
			s.cr = line[len(line)-1] == '\r'
			dst = append(dst, line...)
		}
		if eol < 0 {
			break
		}
		if !s.cr { // a reader who takes a bare LF for the end of a line must not see another end of the message than others
			dst = append(dst, '\r')
		}
		dst = append(dst, '\n')
		p = p[eol+1:]
		s.endLine()
	}
	return dst
}

func (s *stuffer) endLine() {
	switch {
	case s.body:
		if s.top {
			s.left--
		}
	case !s.text:
		s.body = true
	}
	s.open, s.cr, s.text = false, false, false
}

// end appends the end of the response.
func (s *stuffer) end(dst []byte) []byte {
	if s.open && !s.ended {
		if !s.cr {
			dst = append(dst, '\r')
		}
		dst = append(dst, '\n')
	}
	return append(dst, ".\r\n"...)
}
