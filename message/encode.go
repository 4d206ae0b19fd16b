package message

import (
	"bytes"
	"io"
)

// encodedOctets is the longest line of quoted-printable and base64 (RFC 2045 sections 6.7 and 6.8).
const encodedOctets = 76

// qpWriter writes quoted-printable (RFC 2045 section 6.7). CRLF is a line end; any other CR or LF is an octet like
// others. No line begins with "-": soft line breaks could otherwise make a delimiter of what was none.
type qpWriter struct {
	w    io.Writer
	last bool // nothing follows that would end the last line
	col  int
	held byte // a CR, space or tab, on which the next octet decides
	buf  []byte
	err  error
}

func (q *qpWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		switch q.held {
		case '\r':
			q.held = 0
			if c == '\n' {
				q.buf, q.col = append(q.buf, '\r', '\n'), 0
				continue
			}
			q.octet('\r', true)
		case ' ', '\t':
			q.octet(q.held, c == '\r')
			q.held = 0
		}
		switch {
		case c == '\r', c == ' ', c == '\t':
			q.held = c
		case c < ' ', c > '~', c == '=', c == '-' && q.col == 0:
			q.octet(c, true)
		default:
			q.octet(c, false)
		}
		if len(q.buf) >= bodyChunkBytes {
			q.flush()
		}
	}
	return len(p), q.err
}

// octet writes one octet, escaped or as it is, on the next line if it does not fit.
func (q *qpWriter) octet(c byte, escape bool) {
	n := 1
	if escape {
		n = 3
	}
	if q.col+n > encodedOctets-1 {
		q.buf, q.col = append(q.buf, "=\r\n"...), 0
		if c == '-' {
			escape, n = true, 3
		}
	}
	if escape {
		q.buf = append(q.buf, '=', upperHex[c>>4], upperHex[c&15])
	} else {
		q.buf = append(q.buf, c)
	}
	q.col += n
}

func (q *qpWriter) flush() {
	if q.err == nil {
		_, q.err = q.w.Write(q.buf)
	}
	q.buf = q.buf[:0]
}

// Close ends the text; it does not close the writer.
func (q *qpWriter) Close() error {
	if q.held != 0 {
		q.octet(q.held, true)
	}
	if q.last && q.col > 0 {
		q.buf = append(q.buf, "=\r\n"...)
	}
	q.flush()
	return q.err
}

// lineWrap puts line ends into base64.
type lineWrap struct {
	w    io.Writer
	last bool
	col  int
}

func (l *lineWrap) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if l.col == encodedOctets {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return 0, err
			}
			l.col = 0
		}
		k := min(len(p), encodedOctets-l.col)
		if _, err := l.w.Write(p[:k]); err != nil {
			return 0, err
		}
		l.col += k
		p = p[k:]
	}
	return n, nil
}

// wrapped64 is a base64 encoder with the wrap that ends its last line.
type wrapped64 struct {
	io.WriteCloser
	wrap *lineWrap
}

func (w *wrapped64) Close() error {
	err := w.WriteCloser.Close()
	if err == nil && w.wrap.last && w.wrap.col > 0 {
		_, err = io.WriteString(w.wrap.w, "\r\n")
	}
	return err
}

// lineFacts looks at line ends in octets that come in pieces.
type lineFacts struct {
	bareCR, bareLF, nul bool
	longest, n          int64
	cr                  bool
}

func (l *lineFacts) write(b []byte) {
	l.nul = l.nul || bytes.IndexByte(b, 0) >= 0
	for _, c := range b {
		if l.cr && c != '\n' {
			l.bareCR = true
			l.n++
		}
		switch c {
		case '\r':
		case '\n':
			l.bareLF = l.bareLF || !l.cr
			l.n = 0
		default:
			l.n++
		}
		l.cr = c == '\r'
		l.longest = max(l.longest, l.n)
	}
}
