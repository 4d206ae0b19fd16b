package mailbox

import (
	"encoding/binary"
	"math/bits"

	"github.com/samotop/samotop/imap"
)

// chunkUIDs is how many UIDs one chunk row covers.
const chunkUIDs = 1 << chunkShift

const (
	chunkShift = 12
	chunkWords = chunkUIDs / 64
)

func chunkOf(u uid) uint32 { return u >> chunkShift }

// bitset is a set of the UIDs of one chunk.
type bitset [chunkWords]uint64

func (s *bitset) has(u uid) bool { return s[u%chunkUIDs/64]&(1<<(u%64)) != 0 }

func (s *bitset) set(u uid, on bool) {
	if on {
		s[u%chunkUIDs/64] |= 1 << (u % 64)
	} else {
		s[u%chunkUIDs/64] &^= 1 << (u % 64)
	}
}

func (s *bitset) count() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// next returns the first position from at on whose bit is as wanted, or chunkUIDs.
func (s *bitset) next(at int, want bool) int {
	for at < chunkUIDs {
		w := s[at/64]
		if !want {
			w = ^w
		}
		if w >>= at % 64; w != 0 {
			return at + bits.TrailingZeros64(w)
		}
		at = (at/64 + 1) * 64
	}
	return chunkUIDs
}

// chunk holds the UIDs of one chunk row: those present, and which of them are not \Seen, and which \Deleted.
type chunk struct{ All, Unseen, Deleted bitset }

func (c *chunk) put(u uid, f imap.SystemFlags) {
	c.All.set(u, true)
	c.Unseen.set(u, f&imap.FlagSeen == 0)
	c.Deleted.set(u, f&imap.FlagDeleted != 0)
}

func (c *chunk) drop(u uid) {
	c.All.set(u, false)
	c.Unseen.set(u, false)
	c.Deleted.set(u, false)
}

func (c *chunk) empty() bool { return c.All == bitset{} }

// Forms of a set in a chunk row.
const (
	setEmpty = iota
	setRuns
	setBits
)

// chunkRoom is enough for any chunk row.
const chunkRoom = 1 + 3*(1+chunkUIDs/8)

func (c *chunk) appendTo(b []byte) []byte {
	b = append(b, rowVersion)
	b = c.All.appendTo(b)
	b = c.Unseen.appendTo(b)
	return c.Deleted.appendTo(b)
}

func (s *bitset) appendTo(b []byte) []byte {
	start := s.next(0, true)
	if start == chunkUIDs {
		return append(b, setEmpty)
	}
	at, last, n := len(b), 0, uint16(0)
	b = append(b, setRuns, 0, 0)
	for start < chunkUIDs {
		stop := s.next(start, false)
		b = binary.AppendUvarint(b, uint64(start-last))
		b = binary.AppendUvarint(b, uint64(stop-start))
		if len(b)-at > chunkUIDs/8 {
			return s.appendBits(b[:at])
		}
		last, n = stop, n+1
		start = s.next(stop, true)
	}
	binary.BigEndian.PutUint16(b[at+1:], n)
	return b
}

func (s *bitset) appendBits(b []byte) []byte {
	b = append(b, setBits)
	for _, w := range s {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func (d *decoder) bitset(s *bitset) {
	switch d.Byte() {
	case setEmpty:
	case setBits:
		if b := d.Take(chunkUIDs / 8); b != nil {
			for i := range s {
				s[i] = binary.LittleEndian.Uint64(b[8*i:])
			}
		}
	case setRuns:
		n := d.Take(2)
		if n == nil {
			return
		}
		at := uint64(0)
		for i := int(binary.BigEndian.Uint16(n)); i > 0 && !d.Bad; i-- {
			lo := at + d.Uint()
			hi := lo + d.Uint()
			if lo >= chunkUIDs || hi > chunkUIDs || hi <= lo {
				d.Fail()
				return
			}
			s.setRun(int(lo), int(hi))
			at = hi
		}
	default:
		d.Fail()
	}
}

// setRun sets the positions [lo, hi).
func (s *bitset) setRun(lo, hi int) {
	for lo < hi {
		n := min(64-lo%64, hi-lo)
		s[lo/64] |= (^uint64(0) >> (64 - n)) << (lo % 64)
		lo += n
	}
}

func decodeChunk(b []byte, c *chunk) error {
	*c = chunk{}
	d := decoderOf(b)
	d.version()
	d.bitset(&c.All)
	d.bitset(&c.Unseen)
	d.bitset(&c.Deleted)
	return d.err("a chunk of UIDs")
}

// appendSet adds the UIDs of the set of chunk number n that are at least from.
func (s *bitset) addTo(set *imap.UIDSet, n uint32, from uid) {
	base := n << chunkShift
	at := 0
	if from > base {
		at = int(min(from-base, chunkUIDs))
	}
	for at = s.next(at, true); at < chunkUIDs; at = s.next(at, true) {
		stop := s.next(at, false)
		set.AddRange(imap.UID(base+uint32(at)), imap.UID(base+uint32(stop-1)))
		at = stop
	}
}
