package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/samotop/samotop/mail"
)

// maxReplyText is the text of one reply line that we write, so that the line stays within the 512 octets of
// RFC 5321 section 4.5.3.1.5.
const maxReplyText = 480

// appendReply writes a reply in the form of RFC 5321 section 4.2. Control characters of the text become spaces,
// and octets beyond ASCII '?' unless utf8 (RFC 6531 section 3.7.4.2), so that no text can be read as another reply.
func appendReply(dst []byte, r *mail.Reply, enhanced, utf8 bool) []byte {
	text := r.Text
	if text == "" && (!enhanced || r.Enhanced[0] == 0) {
		text = "OK"
		if r.Code >= 400 {
			text = "Refused"
		}
	}
	for {
		line, rest, more := strings.Cut(text, "\n")
		if len(line) > maxReplyText {
			at := maxReplyText
			if sp := strings.LastIndexByte(line[:at], ' '); sp > maxReplyText/2 {
				at = sp
			}
			line, rest, more = text[:at], strings.TrimPrefix(text[at:], " "), true
		}
		dst = appendCode(dst, r, enhanced, !more)
		dst = appendText(dst, line, utf8)
		dst = append(dst, '\r', '\n')
		if !more {
			return dst
		}
		text = rest
	}
}

func appendCode(dst []byte, r *mail.Reply, enhanced, last bool) []byte {
	code := r.Code
	if code < 200 || code > 599 {
		code = 451 // not a reply at all: a fault of ours
	}
	dst = append(dst, byte('0'+code/100), byte('0'+code/10%10), byte('0'+code%10))
	if last {
		dst = append(dst, ' ')
	} else {
		dst = append(dst, '-')
	}
	// RFC 2034 section 4: only 2yz, 4yz and 5yz carry one, and its class agrees.
	if enhanced && r.Enhanced[0] != 0 && int(r.Enhanced[0]) == code/100 {
		dst = appendUint(dst, r.Enhanced[0])
		dst = append(dst, '.')
		dst = appendUint(dst, r.Enhanced[1])
		dst = append(dst, '.')
		dst = appendUint(dst, r.Enhanced[2])
		dst = append(dst, ' ')
	}
	return dst
}

func appendUint(dst []byte, n uint16) []byte {
	if n > 999 {
		n = 999
	}
	if n >= 100 {
		dst = append(dst, byte('0'+n/100))
	}
	if n >= 10 {
		dst = append(dst, byte('0'+n/10%10))
	}
	return append(dst, byte('0'+n%10))
}

func appendText(dst []byte, s string, utf8 bool) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			dst = append(dst, ' ')
		case c >= 0x80 && !utf8:
			dst = append(dst, '?')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

var errReplySyntax = errors.New("smtp: not a reply of RFC 5321 section 4.2")

// readReply reads one reply of at most maxLines lines of maxOctets each.
func (w *wire) readReply(maxLines, maxOctets int) (*mail.Reply, error) {
	r := &mail.Reply{}
	var more []string
	for n := 0; ; n++ {
		if n == maxLines {
			return nil, fmt.Errorf("smtp: reply has more than %d lines", maxLines)
		}
		line, err := w.replyLine(maxOctets)
		if err != nil {
			return nil, err
		}
		code, text, last, err := parseReplyLine(line)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			r.Code = code
			r.Enhanced, text = cutEnhanced(code, text)
			r.Text = string(text)
		} else {
			if code != r.Code {
				return nil, fmt.Errorf("smtp: reply begins with %d and goes on with %d", r.Code, code)
			}
			if e, rest := cutEnhanced(code, text); e == r.Enhanced {
				text = rest
			}
			more = append(more, string(text))
		}
		if last {
			if more != nil {
				r.Text = r.Text + "\n" + strings.Join(more, "\n")
			}
			return r, nil
		}
	}
}

// replyLine reads a line, forgiving a server that ends it in a bare LF: nothing we do depends on it.
func (w *wire) replyLine(max int) ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(w.buf[w.r+seen:w.w], '\n'); i >= 0 {
			line := w.buf[w.r : w.r+seen+i]
			w.r += len(line) + 1
			if len(line) > max {
				return nil, fmt.Errorf("smtp: reply line is longer than %d octets", max)
			}
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		seen = w.buffered()
		if seen > max {
			return nil, fmt.Errorf("smtp: reply line is longer than %d octets", max)
		}
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

// parseReplyLine reads "250-text", "250 text" or "250".
func parseReplyLine(line []byte) (code int, text []byte, last bool, err error) {
	if len(line) < 3 {
		return 0, nil, false, errReplySyntax
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, nil, false, errReplySyntax
		}
		code = code*10 + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, nil, false, errReplySyntax
	}
	if len(line) == 3 {
		return code, nil, true, nil
	}
	switch line[3] {
	case ' ':
		return code, line[4:], true, nil
	case '-':
		return code, line[4:], false, nil
	}
	return 0, nil, false, errReplySyntax
}

// cutEnhanced takes the status code of RFC 2034 from the beginning of text, if its class agrees with the reply's.
func cutEnhanced(code int, text []byte) (mail.Enhanced, []byte) {
	var e mail.Enhanced
	i := 0
	for part := range e {
		start := i
		n := 0
		for i < len(text) && i-start < 3 && text[i] >= '0' && text[i] <= '9' {
			n = n*10 + int(text[i]-'0')
			i++
		}
		if i == start {
			return mail.Enhanced{}, text
		}
		e[part] = uint16(n)
		if part < 2 {
			if i == len(text) || text[i] != '.' {
				return mail.Enhanced{}, text
			}
			i++
		}
	}
	if int(e[0]) != code/100 || i < len(text) && text[i] != ' ' {
		return mail.Enhanced{}, text
	}
	if i < len(text) {
		i++
	}
	return e, text[i:]
}
