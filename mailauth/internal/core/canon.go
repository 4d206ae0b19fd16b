package core

import (
	"bytes"
	"encoding/binary"
	"hash"
	"math/bits"
)

// Canonicalization is an algorithm of RFC 6376 section 3.4.
type Canonicalization uint8

const (
	Simple Canonicalization = iota
	Relaxed
)

func (c Canonicalization) String() string {
	if c == Relaxed {
		return "relaxed"
	}
	return "simple"
}

// BodyHash hashes a canonical body as it streams by. Several signatures share one if they agree in everything.
type BodyHash struct {
	Canon Canonicalization
	hash  hash.Hash
	Limit int64 // l=; negative: none
	Total int64 // canonical octets, beyond the limit too

	out   []byte // canonical octets on their way to the hash
	crlfs int64  // line ends held back: at the end of the body they do not count
	cr    bool   // a CR held back: perhaps the beginning of a line end
	space bool   // relaxed: white space held back: at the end of a line it does not count
	any   bool   // something was given out
	Sum   []byte // after Close
}

const bodyBuffer = 4 << 10

func NewBodyHash(c Canonicalization, h hash.Hash, limit int64) *BodyHash {
	return &BodyHash{Canon: c, hash: h, Limit: limit}
}

// Write takes the next octets of the body.
func (b *BodyHash) Write(p []byte) {
	if b.Canon == Simple {
		b.writeSimple(p)
		return
	}
	for len(p) > 0 {
		switch c := p[0]; {
		case c == '\r' || c == '\n':
			b.lineEnd(c)
			p = p[1:]
			continue
		case c == ' ' && b.space || c == '\t':
		default:
			if n := clean(p); n > 0 {
				b.writeSimple(p[:n])
				p = p[n:]
				continue
			}
		}
		if b.cr {
			b.release()
		}
		b.space = true
		p = p[1:]
	}
}

// clean returns how many octets at the beginning of p stay as they are, but perhaps line ends at their end: they hold
// no tab, and no space that is followed by white space or of which it is not known what follows. It looks at eight
// octets at a time; that others below a space end it too costs only time.
func clean(p []byte) int {
	if len(p) < 16 {
		return cleanShort(p, 0)
	}
	n := 0
	w := binary.LittleEndian.Uint64(p)
	low := atMostSpace(w)
	for ; n+16 <= len(p); n += 8 {
		next := binary.LittleEndian.Uint64(p[n+8:])
		lowNext := atMostSpace(next)
		space := low & (w << 2) // of what is at most a space, only a space has bit 5
		bad := space & (low>>8 | lowNext<<56)
		if low != space {
			bad |= low &^ (w << 2) & (w << 7) &^ (w << 6) &^ (w << 5) & (w << 4) &^ (w << 3) // a tab is 01001
		}
		if bad != 0 {
			return n + bits.TrailingZeros64(bad)/8
		}
		w, low = next, lowNext
	}
	return cleanShort(p, n)
}

// atMostSpace sets the high bit of each octet that is at most a space, and clears all others.
func atMostSpace(w uint64) uint64 {
	const (
		high = 0x8080808080808080
		ones = 0x0101010101010101
	)
	return ^((w&^high + ones*(0x7f-' ')) | w) & high
}

// cleanShort is clean, one octet at a time, from n on.
func cleanShort(p []byte, n int) int {
	for ; n < len(p); n++ {
		if p[n] == '\t' || p[n] == ' ' && (n+1 == len(p) || p[n+1] <= ' ') {
			break
		}
	}
	return n
}

// writeSimple takes all but the line ends at the end of p as they are (RFC 6376 section 3.4.3).
func (b *BodyHash) writeSimple(p []byte) {
	k := len(p)
	for k > 0 && (p[k-1] == '\r' || p[k-1] == '\n') {
		k--
	}
	if k > 0 {
		// What was held back may go on in p, as in CR|LF: put it in front, whatever it was.
		b.release()
		b.emit(p[:k])
	}
	for _, c := range p[k:] {
		b.lineEnd(c)
	}
}

// lineEnd takes a CR or LF.
func (b *BodyHash) lineEnd(c byte) {
	switch {
	case c == '\n' && b.cr:
		b.cr, b.space = false, false
		b.crlfs++
	case c == '\n': // bare: content like any other
		b.release()
		b.emitOctet('\n')
	default:
		if b.cr {
			b.release()
		}
		b.cr = true
	}
}

// release gives out what was held back, because content follows it.
func (b *BodyHash) release() {
	if b.crlfs == 0 && !b.space && !b.cr {
		return
	}
	for ; b.crlfs > 0; b.crlfs-- {
		b.emit(CRLF)
	}
	if b.space {
		b.space = false
		b.emitOctet(' ')
	}
	if b.cr {
		b.cr = false
		b.emitOctet('\r')
	}
}

var CRLF = []byte("\r\n")

func (b *BodyHash) emit(p []byte) {
	b.any = true
	if b.Canon == Simple { // nearly all of it in large pieces
		b.add(p)
		return
	}
	if len(b.out)+len(p) > bodyBuffer {
		b.flush()
		if len(p) >= bodyBuffer {
			b.add(p)
			return
		}
	}
	if b.out == nil {
		b.out = make([]byte, 0, bodyBuffer)
	}
	b.out = append(b.out, p...)
}

func (b *BodyHash) emitOctet(c byte) {
	if b.Canon == Simple || len(b.out) == cap(b.out) { // full, or not made yet
		b.emit([]byte{c})
		return
	}
	b.any = true
	b.out = append(b.out, c)
}

func (b *BodyHash) flush() {
	b.add(b.out)
	b.out = b.out[:0]
}

func (b *BodyHash) add(p []byte) {
	n := int64(len(p))
	if b.Limit >= 0 {
		n = max(0, min(n, b.Limit-b.Total))
	}
	b.hash.Write(p[:n])
	b.Total += int64(len(p))
}

// close ends the body: it ends in exactly one line end, but for an empty relaxed one, which stays empty.
func (b *BodyHash) Close() {
	if b.Sum != nil {
		return
	}
	if b.cr { // a lone CR at the end is content
		b.release()
	}
	if b.Canon == Simple || b.any {
		b.emit(CRLF)
	}
	b.flush()
	b.Sum = b.hash.Sum(nil)
}

// AppendField appends the canonical form of a header Field, with its CRLF (RFC 6376 sections 3.4.1, 3.4.2).
func AppendField(dst []byte, c Canonicalization, f Field) []byte {
	if c == Simple {
		return append(dst, f.Raw...)
	}
	dst = append(dst, f.Name...)
	dst = append(dst, ':')
	from := len(dst)
	for _, b := range f.Value() {
		switch b {
		case '\r', '\n':
		case ' ', '\t':
			if n := len(dst); n > from && dst[n-1] != ' ' {
				dst = append(dst, ' ')
			}
		default:
			dst = append(dst, b)
		}
	}
	if n := len(dst); n > from && dst[n-1] == ' ' {
		dst = dst[:n-1]
	}
	return append(dst, CRLF...)
}

// head collects the header of a message that streams by, and finds where it ends.
type Head struct {
	Buf      []byte
	Done     bool
	TooLarge bool
}

// write takes p and returns what belongs to the body.
func (h *Head) Write(p []byte) []byte {
	for !h.Done && len(p) > headPiece { // so that no more of the body is copied than that
		if body := h.take(p[:headPiece]); h.Done {
			return p[headPiece-len(body):]
		}
		p = p[headPiece:]
	}
	if h.Done {
		return p
	}
	return h.take(p)
}

const headPiece = 2 << 10

func (h *Head) take(p []byte) []byte {
	before := len(h.Buf)
	room := MaxHeaderOctets - before
	h.Buf = append(h.Buf, p[:min(len(p), room)]...)
	from := max(0, before-3)
	end := -1
	if before <= 2 && bytes.HasPrefix(h.Buf, CRLF) { // no header at all
		end = 2
	} else if i := bytes.Index(h.Buf[from:], []byte("\r\n\r\n")); i >= 0 {
		end = from + i + 4
	}
	if end < 0 {
		if len(p) > room {
			h.Done, h.TooLarge, h.Buf = true, true, nil
		}
		return nil
	}
	h.Done = true
	body := p[end-before:]
	h.Buf = h.Buf[:end-2]
	return body
}
