package smtp

import (
	"bytes"
	"errors"
	"io"
)

// errSmuggle: content holds a line end that is not CRLF. Whoever made it may hope that one of us sees an end of
// data where the other does not.
var errSmuggle = errors.New("content holds a bare CR or LF")

// dotState is where in a line the decoder stands.
type dotState uint8

const (
	dotBegin  dotState = iota // at the beginning of a line
	dotText                   // within a line
	dotCR                     // after a CR: only LF may follow
	dotDot                    // after the dot that begins a line; it is never part of the content
	dotEnd                    // after CRLF.CR
	dotNul                    // a line of nothing but NULs so far
	dotNulDot                 // a line of NULs and one dot so far
	dotDone
)

// dotDecoder finds the end of DATA and takes away the dots of transparency (RFC 5321 section 4.5.2). It wants the
// octets as they come, in pieces of any size, and keeps none.
type dotDecoder struct {
	state dotState
}

// next looks at p and returns how much of it is used, and the first run of content in it, which may be empty. It is
// to be called again with the rest. Done tells that CRLF.CRLF was seen; what follows it is not looked at.
func (d *dotDecoder) next(p []byte) (used int, out []byte, done bool, err error) {
	start := 0 // of the run
	for i := 0; i < len(p); {
		switch d.state {
		case dotBegin:
			switch p[i] {
			case '.':
				d.state = dotDot
				return i + 1, p[start:i], false, nil
			case 0:
				d.state = dotNul
				i++
			default:
				d.state = dotText
			}
		case dotText:
			n, err := d.text(p[i:min(len(p), i+blockOctets)])
			if err != nil {
				return i, nil, false, err
			}
			i += n
		case dotCR:
			if p[i] != '\n' {
				return i, nil, false, errSmuggle
			}
			d.state = dotBegin
			i++
		case dotDot:
			switch p[i] {
			case '\r':
				d.state = dotEnd
				return i + 1, nil, false, nil
			case 0:
				d.state = dotNulDot
			default:
				d.state = dotText
			}
		case dotEnd:
			if p[i] != '\n' {
				return i, nil, false, errSmuggle
			}
			d.state = dotDone
			return i + 1, nil, true, nil
		default:
			if err := d.nul(p[i]); err != nil {
				return i, nil, false, err
			}
			if d.state != dotText {
				i++
			}
		}
	}
	return len(p), p[start:], false, nil
}

// blockOctets is looked at at once, several times: so much stays in the nearest cache.
const blockOctets = 16 << 10

// text goes through the rest of a line, and through those that follow it as long as none begins with something that
// needs a closer look, and returns how much of p that was.
func (d *dotDecoder) text(p []byte) (int, error) {
	n, ok := skipLines(p, true)
	if !ok {
		return 0, errSmuggle
	}
	if n > 0 && (n == len(p) || p[n] == '.' || p[n] == 0) {
		d.state = dotBegin
		return n, nil
	}
	open, ok := tail(p[n:])
	if !ok {
		return 0, errSmuggle
	}
	if open {
		d.state = dotCR
	}
	return len(p), nil
}

var (
	cr = []byte{'\r'}
	lf = []byte{'\n'}
)

// skipLines returns the length of the lines at the beginning of p that end in p, and whether each CR and LF in them
// is part of a CRLF. If dots is set, it stops before a line, other than the first, that begins with a dot or a NUL.
func skipLines(p []byte, dots bool) (n int, ok bool) {
	// As many LFs, and CRs, as ends that were seen: then none was jumped over.
	if n, ends := hop(p, dots, true); bytes.Count(p[:n], lf) == ends && bytes.Count(p[:n], cr) == ends {
		return n, true
	}
	n, ends := hop(p, dots, false)
	return n, bytes.Count(p[:n], cr) == ends
}

// hop goes from line end to line end for skipLines, and counts them: -1 if one is a bare LF. If guess is set, it looks
// for the end of a line first where it was in the line before, as it is in base64, and may so jump over others.
func hop(p []byte, dots, guess bool) (n, ends int) {
	for length := 0; ; ends++ {
		end := n + length
		if !guess || length == 0 || end >= len(p) || p[end] != '\n' || p[end-1] != '\r' {
			length = bytes.IndexByte(p[n:], '\n')
			if length < 0 {
				return n, ends
			}
			if end = n + length; end == 0 || p[end-1] != '\r' {
				return n, -1
			}
		}
		n = end + 1
		if n == len(p) || dots && (p[n] == '.' || p[n] == 0) {
			return n, ends + 1
		}
	}
}

// tail looks at a line without its LF: open tells that it ends in CR, ok that no other CR is in it.
func tail(p []byte) (open, ok bool) {
	i := bytes.IndexByte(p, '\r')
	if i < 0 {
		return false, true
	}
	return true, i == len(p)-1
}

// nul watches a line that consists of NULs and one dot: a reader that drops NULs would take it for the end of
// data, so it is refused like a bare line end.
func (d *dotDecoder) nul(c byte) error {
	switch {
	case c == 0:
	case c == '.' && d.state == dotNul:
		d.state = dotNulDot
	case c == '\r' && d.state == dotNulDot:
		return errSmuggle
	default:
		d.state = dotText
	}
	return nil
}

// lineChecker refuses a CR or LF that is not part of CRLF, in content that comes by BDAT (RFC 3030) without
// BODY=BINARYMIME.
type lineChecker struct {
	cr bool // the last octet was CR
}

func (l *lineChecker) check(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), blockOctets)
		if err := l.block(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (l *lineChecker) block(p []byte) error {
	if l.cr {
		if p[0] != '\n' {
			return errSmuggle
		}
		l.cr, p = false, p[1:]
	}
	n, ok := skipLines(p, false)
	if ok {
		l.cr, ok = tail(p[n:])
	}
	if !ok {
		return errSmuggle
	}
	return nil
}

// end reports a CR that nothing followed.
func (l *lineChecker) end() error {
	if l.cr {
		return errSmuggle
	}
	return nil
}

// nulChecker refuses a line of NULs and one dot that begins with a NUL, as the decoder does: who drops NULs would take it
// for the end of data. Such a line can come by BDAT, or behind a dot of transparency. (One that begins with its dot
// travels with another in front, and is harmless.)
type nulChecker struct {
	line dotDecoder
	mid  bool // the next octet is not the first of its line
}

func (n *nulChecker) check(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	mid := n.mid
	n.mid = p[len(p)-1] != '\n'
	if s := n.line.state; s != dotNul && s != dotNulDot {
		if bytes.IndexByte(p, 0) < 0 {
			return nil
		}
		n.line.state = dotBegin
		if mid {
			n.line.state = dotText
		}
	}
	for _, c := range p {
		switch {
		case c == '\n':
			n.line.state = dotBegin
		case n.line.state == dotText:
		case n.line.state == dotBegin && c == 0:
			n.line.state = dotNul
		case n.line.state == dotBegin:
			n.line.state = dotText
		default:
			if err := n.line.nul(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// end refuses such a line that has no end yet.
func (n *nulChecker) end() error {
	if n.line.state == dotNulDot {
		return errSmuggle
	}
	return nil
}

// dotEncoder writes content as DATA wants it: a dot before each line that begins with one, CRLF at the end, and
// the final dot (RFC 5321 section 4.5.2). It refuses bare CR and LF rather than mend them.
type dotEncoder struct {
	w     io.Writer
	lines lineChecker
	begin bool // at the beginning of a line
	some  bool
	nul   nulChecker
}

var dot = []byte{'.'}

func (d *dotEncoder) Write(p []byte) (int, error) {
	if err := d.lines.check(p); err != nil {
		return 0, err
	}
	total := len(p)
	if !d.some {
		d.begin = true
	}
	if err := d.nul.check(p); err != nil {
		return 0, err
	}
	for len(p) > 0 {
		d.some = true
		if d.begin && p[0] == '.' {
			if _, err := d.w.Write(dot); err != nil {
				return 0, err
			}
		}
		n := len(p)
		if i := bytes.Index(p, []byte("\n.")); i >= 0 {
			n = i + 1
		}
		if _, err := d.w.Write(p[:n]); err != nil {
			return 0, err
		}
		d.begin = p[n-1] == '\n'
		p = p[n:]
	}
	return total, nil
}

// Close writes the end of data.
func (d *dotEncoder) Close() error {
	if err := d.lines.end(); err != nil {
		return err
	}
	if err := d.nul.end(); err != nil { // Close would end the line
		return err
	}
	end := ".\r\n"
	if d.some && !d.begin {
		end = "\r\n.\r\n"
	}
	_, err := io.WriteString(d.w, end)
	return err
}
