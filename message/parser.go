package message

import (
	"bytes"
	"io"
)

// Parser finds the structure of a message that is written to it, in one pass. Make one with NewParser; it is for one
// message and one goroutine.
type Parser struct {
	limits   Limits
	root     *Part
	stack    []frame // open parts, the root first
	inHeader bool    // of the part on top; else in its body
	parts    int     // made so far, without the root

	pos   int64 // where the current line starts
	lines int64 // line ends so far
	last  lineEnd
	cur   line

	onBody   func(part *Part, b []byte) // nil: nobody looks on
	lineTold bool                       // of the current line, whose beginning was shown to onBody

	head     []byte // header block being collected
	headMark int    // its length at the start of the current line
	headOver bool   // it met a limit: nothing is added any more
	headKept int    // octets of all header blocks kept so far
}

// frame is an open part. The boundary is empty unless it is a multipart that may still get parts.
type frame struct {
	part     *Part
	boundary string
	digest   bool  // multipart/digest: parts are message/rfc822 by default (RFC 2046 section 5.1.5)
	lines    int64 // line ends before its body
}

// lineEnd tells how the line before ended: that line end belongs to a boundary that follows.
type lineEnd struct {
	at    int64 // its offset
	empty bool  // there was nothing before it in its line
}

// NewParser makes a Parser.
func NewParser(l Limits) *Parser {
	p := &Parser{limits: l.withDefaults(), root: &Part{}, stack: make([]frame, 0, 4), head: make([]byte, 0, 4<<10)}
	p.push(p.root, false)
	return p
}

// OnBody sets a function that is shown the octets of bodies while they pass, delimiters left out, each with the part that it
// is of: the whole of a leaf, the preamble and the epilogue of a multipart. A line end that belongs to the delimiter after it
// is shown with the body before it. It must not keep b, and is to be set before the first Write.
func (p *Parser) OnBody(fn func(part *Part, b []byte)) { p.onBody = fn }

// Parse reads a message to its end. The structure of what was read is returned also with an error, which is r's.
func Parse(r io.Reader, l Limits) (*Part, error) {
	p := NewParser(l)
	_, err := io.Copy(p, r)
	return p.Close(), err
}

// Write takes the next octets of the message. It never fails and does not keep b.
func (p *Parser) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if !p.inHeader && p.cur.n == 0 {
			if b = b[p.body(b):]; len(b) == 0 {
				break
			}
		}
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			p.piece(b)
			break
		}
		if p.cur.n == 0 {
			p.cur.whole(b[:i+1])
			p.endLine(b[:i+1])
		} else {
			p.piece(b[:i+1])
			p.endLine(p.cur.prefix)
		}
		b = b[i+1:]
	}
	return n, nil
}

// Close ends the message and returns its structure. The Parser must not be used after it.
func (p *Parser) Close() *Part {
	open := p.cur.n > 0
	if open {
		p.cur.finish()
		p.endLine(p.cur.prefix)
	}
	for len(p.stack) > 0 {
		p.endHeaderShort()
		n := p.lines
		if open && p.top().part.BodyStart < p.pos {
			n++
		}
		p.pop(p.pos, n)
	}
	p.head, p.cur.prefix = nil, nil
	return p.root
}

// body takes whole lines of a body up to a delimiter, all at once, and returns how many octets it took: what endLine
// does, for most of what there is.
func (p *Parser) body(b []byte) (at int) {
	r := p.run(b, true)
	if bytes.Count(b[:r.at], lf) != r.lines { // it jumped over line ends
		r = p.run(b, false)
	}
	if r.lines == 0 {
		return 0
	}
	b = b[:r.at]
	if p.onBody != nil {
		p.onBody(p.top().part, b)
	}
	p.last = lineEnd{p.pos + int64(r.at-1-r.cr), r.empty}
	p.pos += int64(r.at)
	p.lines += int64(r.lines)
	f := &p.top().part.Content
	f.LongestLine = max(f.LongestLine, int64(r.longest))
	f.HasBareLF = f.HasBareLF || r.crlf < r.lines
	f.HasBareCR = f.HasBareCR || bytes.Count(b, cr) > r.crlf
	f.HasNUL = f.HasNUL || bytes.IndexByte(b, 0) >= 0
	f.Has8Bit = f.Has8Bit || has8Bit(b)
	return r.at
}

var (
	lf = []byte{'\n'}
	cr = []byte{'\r'}
)

// lineRun is what run saw: lines that end at at, so many of them in CRLF; of the last one whether it is empty, and the
// octets of CR in its end.
type lineRun struct {
	at, lines, crlf, longest, cr int
	empty                        bool
}

// run goes from line to line up to a delimiter. If guess is set it looks for the end of a line first where it was in the
// line before, as it is in base64, and may so jump over others.
func (p *Parser) run(b []byte, guess bool) (r lineRun) {
	for length := 0; ; {
		n := length
		if end := r.at + n; !guess || n < 2 || end >= len(b) || b[end] != '\n' || b[end-1] != '\r' {
			if n = bytes.IndexByte(b[r.at:], '\n'); n < 0 {
				return r
			}
		}
		if n > 2 && b[r.at] == '-' && b[r.at+1] == '-' {
			if i, _ := p.delimiter(b[r.at : r.at+n]); i >= 0 {
				return r
			}
		}
		length = n
		end := r.at + n
		r.cr = 0
		if n > 0 && b[end-1] == '\r' {
			r.crlf++
			r.cr = 1
		}
		r.longest = max(r.longest, n-r.cr)
		r.empty = n-r.cr == 0
		r.lines++
		r.at = end + 1
	}
}

func (p *Parser) top() *frame { return &p.stack[len(p.stack)-1] }

// piece takes a piece of a line that does not stand in one Write.
func (p *Parser) piece(b []byte) {
	had := len(p.cur.prefix)
	p.cur.add(b, p.limits.BoundaryBytes+4)
	if p.inHeader {
		p.keep(b)
	} else if p.onBody != nil {
		p.show(b[len(p.cur.prefix)-had:])
	}
}

// show tells onBody of a line that comes in pieces, as soon as it is too long for a delimiter; rest is what does not stand
// in its prefix.
func (p *Parser) show(rest []byte) {
	if len(rest) == 0 {
		return
	}
	if !p.lineTold {
		if i, _ := p.delimiter(p.cur.prefix); i >= 0 {
			return
		}
		p.lineTold = true
		p.onBody(p.top().part, p.cur.prefix)
	}
	p.onBody(p.top().part, rest)
}

// endLine handles the line that is complete now; text is the line, or its beginning if it came in pieces.
func (p *Parser) endLine(text []byte) {
	n, eol := p.cur.n, p.cur.eol
	if i, closing := p.delimiter(text); i >= 0 {
		p.boundary(i, closing)
	} else {
		if p.inHeader && !p.cur.split {
			p.keep(text)
		}
		if !p.inHeader && !p.lineTold && p.onBody != nil {
			p.onBody(p.top().part, text)
		}
		if p.inHeader {
			p.top().part.Facts.line(&p.cur)
		} else {
			p.top().part.Content.line(&p.cur)
		}
		p.pos += n
		if eol > 0 {
			p.lines++
		}
		if p.inHeader {
			p.headMark = len(p.head)
			if n == eol {
				p.endHeader(p.pos)
			}
		}
	}
	p.last = lineEnd{p.pos - eol, n == eol}
	p.lineTold = false
	p.cur.reset()
}

// keep adds octets to the header block, up to the limits. What does not fit ends at the last whole line.
func (p *Parser) keep(b []byte) {
	if p.headOver {
		return
	}
	if len(p.head)+len(b) > min(p.limits.HeaderBytes, p.limits.AllHeaderBytes-p.headKept) {
		p.head, p.headOver = p.head[:p.headMark], true
		return
	}
	p.head = append(p.head, b...)
}

// push opens a part that starts at p.pos.
func (p *Parser) push(part *Part, digest bool) {
	part.HeaderStart = p.pos
	p.stack = append(p.stack, frame{part: part, digest: digest})
	p.inHeader, p.headOver, p.headMark = true, false, 0
	p.head = p.head[:0]
}

// endHeader ends the header of the part on top at offset at, and decides what its body is.
func (p *Parser) endHeader(at int64) {
	f := p.top()
	part := f.part
	part.BodyStart = at
	f.lines = p.lines
	raw := append(make([]byte, 0, len(p.head)), p.head...)
	p.headKept += len(raw)
	p.inHeader = false

	part.Header = indexHeader(raw, p.limits.HeaderFields)
	part.Header.truncated = part.Header.truncated || p.headOver
	part.Limited = part.Header.truncated
	part.describe(f.digest)
	f.digest = false

	multipart := part.Type == "multipart"
	boundary := ""
	if multipart {
		boundary = part.Param("boundary")
	}
	embedded := part.Type == "message" && (part.Subtype == "rfc822" || part.Subtype == "global") && isIdentity(part.Encoding)
	switch {
	case !embedded && boundary == "":
	case len(p.stack) > p.limits.Depth, p.parts >= p.limits.Parts, len(boundary) > p.limits.BoundaryBytes:
		part.Limited = true
	case embedded:
		p.parts++
		part.Message = &Part{}
		p.push(part.Message, false)
	default:
		f.boundary, f.digest = boundary, part.Subtype == "digest"
	}
}

// boundary handles a delimiter of the i-th open part that stands in the current line.
func (p *Parser) boundary(i int, closing bool) {
	end := p.last.at // the line end before the boundary is not the body's, unless a header needs it
	for len(p.stack) > i+1 {
		p.head = p.head[:min(p.headMark, len(p.head))] // without the delimiter
		p.endHeaderShort()
		end = max(end, p.top().part.BodyStart)
		n := p.lines
		if end == p.last.at && p.last.empty {
			n--
		}
		p.pop(end, n)
	}
	f := p.top()
	f.part.Content.line(&p.cur)
	p.pos += p.cur.n
	if p.cur.eol > 0 {
		p.lines++
	}
	switch {
	case closing:
		f.boundary = ""
	case p.parts >= p.limits.Parts:
		f.part.Limited = true
	default:
		p.parts++
		child := &Part{}
		if f.part.Children == nil {
			f.part.Children = make([]*Part, 0, 2)
		}
		f.part.Children = append(f.part.Children, child)
		p.push(child, f.digest)
	}
}

// endHeaderShort ends a header that has no empty line, at a boundary or at the end of the message: there is no body,
// and the header keeps its last line end.
func (p *Parser) endHeaderShort() {
	for p.inHeader { // again, if it opened a message inside
		p.endHeader(p.pos)
	}
}

// pop closes the part on top, with so many line ends before its end.
func (p *Parser) pop(end, lines int64) {
	f := *p.top()
	f.part.End = end
	f.part.Lines = max(0, lines-f.lines)
	f.part.Facts.merge(f.part.Content)
	p.stack = p.stack[:len(p.stack)-1]
	if len(p.stack) > 0 {
		p.top().part.Content.merge(f.part.Facts)
	}
}

// delimiter returns which open multipart the line is a delimiter of, -1 for none, and whether it closes it. The
// longest boundary wins, because one may be the beginning of another; of equal ones the innermost. What follows
// the boundary does not matter (RFC 2046 section 5.1.1).
func (p *Parser) delimiter(text []byte) (i int, closing bool) {
	if len(text) < 3 || text[0] != '-' || text[1] != '-' {
		return -1, false
	}
	text = text[2:]
	found, length := -1, 0
	for i := len(p.stack) - 1; i >= 0; i-- {
		b := p.stack[i].boundary
		if len(b) > length && len(text) >= len(b) && string(text[:len(b)]) == b {
			found, length = i, len(b)
		}
	}
	rest := text[length:]
	return found, len(rest) >= 2 && rest[0] == '-' && rest[1] == '-'
}

// isIdentity reports whether a transfer encoding changes nothing; an unknown one may, so its parts are not opened.
func isIdentity(encoding string) bool {
	switch encoding {
	case "7bit", "8bit", "binary":
		return true
	}
	return false
}
