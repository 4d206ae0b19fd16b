package message

import (
	"bytes"
	"encoding/binary"
)

// line is what is known about the line that is being read.
type line struct {
	n      int64 // octets, with the line end
	eol    int64 // octets of the line end: 2, 1, or 0 at the end of the message
	split  bool  // it comes in pieces
	endCR  bool  // the piece before ended in CR
	prefix []byte
	octets
}

// octets are the facts about octets that a line may add.
type octets struct{ has8Bit, nul, cr bool }

// whole takes a line that stands in one piece, with its LF.
func (l *line) whole(b []byte) {
	l.n, l.eol = int64(len(b)), 1
	b = b[:len(b)-1]
	if len(b) > 0 && b[len(b)-1] == '\r' {
		l.eol = 2
		b = b[:len(b)-1]
	}
	l.scan(b)
}

// add takes the next piece of a line and keeps its beginning, up to keep octets.
func (l *line) add(b []byte, keep int) {
	l.split = true
	if room := keep - len(l.prefix); room > 0 {
		l.prefix = append(l.prefix, b[:min(room, len(b))]...)
	}
	l.n += int64(len(b))
	pending := l.endCR
	l.endCR = false
	if pending && b[0] != '\n' {
		l.cr = true
	}
	switch n := len(b); {
	case b[n-1] == '\n' && n > 1 && b[n-2] == '\r':
		l.eol, b = 2, b[:n-2]
	case b[n-1] == '\n':
		l.eol, b = 1, b[:n-1]
		if n == 1 && pending {
			l.eol = 2
		}
	case b[n-1] == '\r':
		l.endCR, b = true, b[:n-1]
	}
	l.scan(b)
}

// finish ends a line at the end of the message.
func (l *line) finish() {
	l.cr = l.cr || l.endCR
}

func (l *line) reset() {
	*l = line{prefix: l.prefix[:0]}
}

// scan looks at the content of a line.
func (o *octets) scan(b []byte) {
	o.has8Bit = o.has8Bit || has8Bit(b)
	o.nul = o.nul || bytes.IndexByte(b, 0) >= 0
	o.cr = o.cr || bytes.IndexByte(b, '\r') >= 0
}

// has8Bit reports whether an octet is above 127; it looks at many at a time.
func has8Bit(b []byte) bool {
	const high = 0x8080808080808080
	for len(b) >= 64 {
		c := b[:64]
		x := binary.LittleEndian.Uint64(c) | binary.LittleEndian.Uint64(c[8:]) |
			binary.LittleEndian.Uint64(c[16:]) | binary.LittleEndian.Uint64(c[24:]) |
			binary.LittleEndian.Uint64(c[32:]) | binary.LittleEndian.Uint64(c[40:]) |
			binary.LittleEndian.Uint64(c[48:]) | binary.LittleEndian.Uint64(c[56:])
		if x&high != 0 {
			return true
		}
		b = b[64:]
	}
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// line adds what a complete line shows.
func (f *Facts) line(l *line) {
	f.Has8Bit = f.Has8Bit || l.has8Bit
	f.HasNUL = f.HasNUL || l.nul
	f.HasBareCR = f.HasBareCR || l.cr
	f.HasBareLF = f.HasBareLF || l.eol == 1
	f.LongestLine = max(f.LongestLine, l.n-l.eol)
}

// merge adds the facts of a part inside.
func (f *Facts) merge(g Facts) {
	f.Has8Bit = f.Has8Bit || g.Has8Bit
	f.HasNUL = f.HasNUL || g.HasNUL
	f.HasBareCR = f.HasBareCR || g.HasBareCR
	f.HasBareLF = f.HasBareLF || g.HasBareLF
	f.Limited = f.Limited || g.Limited
	f.LongestLine = max(f.LongestLine, g.LongestLine)
}
