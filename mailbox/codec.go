package mailbox

import (
	"encoding/binary"
	"fmt"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// decoder reads a row. The first fault stays: check err (or done) at the end.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) octet() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// take returns the next n octets, a part of the row.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// bytes reads a length and as many octets.
func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }

// count reads how many items follow, each at least size octets long.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

// version reads the row's version, which must be 1.
func (d *decoder) version() {
	if d.octet() != rowVersion {
		d.fail()
	}
}

func (d *decoder) err(what string) error {
	if d.bad {
		return fmt.Errorf("mailbox: row of %s cannot be read: %w", what, store.ErrCorrupt)
	}
	return nil
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendSet writes the number of ranges, then for each the distance from the last one's end and the length less one.
func appendSet(dst []byte, s imap.UIDSet) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	last := imap.UID(0)
	for _, r := range s {
		dst = binary.AppendUvarint(dst, uint64(r.Start-last))
		dst = binary.AppendUvarint(dst, uint64(r.Stop-r.Start))
		last = r.Stop
	}
	return dst
}

// set adds the ranges that appendSet wrote to s.
func (d *decoder) set(s *imap.UIDSet) {
	last := uint64(0)
	for n := d.count(2); n > 0; n-- {
		lo := last + d.uvarint()
		hi := lo + d.uvarint()
		if d.bad || lo > maxUID || hi > maxUID || hi < lo {
			d.fail()
			return
		}
		s.AddRange(imap.UID(lo), imap.UID(hi))
		last = hi
	}
}
