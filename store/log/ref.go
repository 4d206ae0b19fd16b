package log

import (
	"fmt"
	"hash/crc32"

	"github.com/samotop/samotop/store"
)

// A Ref is: two octets of magic, identity of the body (8), octets of the body (8), per extent segment, offset and
// octets without checksums (4 each), crc32c of all that. Each extent but the last holds whole blocks.
const (
	refMagic    = 0x01b5
	refHead     = 18
	extOctets   = 12
	refOverhead = refHead + crcOctets
	oneExtent   = refOverhead + extOctets
	maxExtents  = (store.MaxRefOctets - refOverhead) / extOctets
)

type extent struct {
	at place
	n  uint32
}

type ref struct {
	body    uint64
	size    int64
	extents []extent
}

func (r *ref) append(b []byte) []byte {
	at := len(b)
	b = le.AppendUint16(b, refMagic)
	b = le.AppendUint64(b, r.body)
	b = le.AppendUint64(b, uint64(r.size))
	for _, x := range r.extents {
		b = le.AppendUint32(b, x.at.seg)
		b = le.AppendUint32(b, x.at.off)
		b = le.AppendUint32(b, x.n)
	}
	return le.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

func (r *ref) octets() int { return refOverhead + len(r.extents)*extOctets }

// patch sets the place of a Ref with one extent.
func patch(b []byte, at place) {
	le.PutUint32(b[refHead:], at.seg)
	le.PutUint32(b[refHead+4:], at.off)
	le.PutUint32(b[refHead+extOctets:], crc32.Checksum(b[:refHead+extOctets], castagnoli))
}

func parseRef(b []byte) (r ref, ok bool) {
	if len(b) < refOverhead || (len(b)-refOverhead)%extOctets != 0 || le.Uint16(b) != refMagic {
		return r, false
	}
	end := len(b) - crcOctets
	if le.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return r, false
	}
	r = ref{body: le.Uint64(b[2:]), size: int64(le.Uint64(b[10:])), extents: make([]extent, 0, (end-refHead)/extOctets)}
	var sum int64
	for i := refHead; i < end; i += extOctets {
		x := extent{at: place{le.Uint32(b[i:]), le.Uint32(b[i+4:])}, n: le.Uint32(b[i+8:])}
		last := i+extOctets == end
		if x.n == 0 || !last && x.n%blockOctets != 0 {
			return r, false
		}
		sum += int64(x.n)
		r.extents = append(r.extents, x)
	}
	return r, sum == r.size
}

// rowRef is what the value of a row refers to, if it was put with a Ref.
func rowRef(value []byte) (own []byte, r ref, ok bool) {
	own, raw, err := store.SplitRef(value)
	if err != nil {
		return nil, r, false
	}
	r, ok = parseRef(raw)
	return own, r, ok
}

// share is how many octets of a body, with checksums, are in a segment.
type share struct {
	seg    uint32
	octets int64
}

func (r *ref) shares() []share {
	var out []share
next:
	for _, x := range r.extents {
		n := framed(int64(x.n))
		for i := len(out) - 1; i >= 0; i-- {
			if out[i].seg == x.at.seg {
				out[i].octets += n
				continue next
			}
		}
		out = append(out, share{x.at.seg, n})
	}
	return out
}

func errRef(r store.Ref) error {
	return fmt.Errorf("reference of %d octets: %w", len(r), store.ErrCorrupt)
}
