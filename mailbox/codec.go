package mailbox

import (
	"encoding/binary"
	"fmt"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/row"
)

// decoder reads a row. The first fault stays: check err at the end.
type decoder struct{ row.Reader }

func decoderOf(b []byte) decoder { return decoder{row.Reader{B: b}} }

// version reads the row's version, which must be 1.
func (d *decoder) version() {
	if d.Byte() != rowVersion {
		d.Fail()
	}
}

func (d *decoder) err(what string) error {
	if d.Bad {
		return fmt.Errorf("mailbox: row of %s cannot be read: %w", what, store.ErrCorrupt)
	}
	return nil
}

func appendBytes(dst, b []byte) []byte { return row.AppendBytes(dst, b) }

func appendString(dst []byte, s string) []byte { return row.AppendText(dst, s) }

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
	for n := d.Count(2); n > 0; n-- {
		lo := last + d.Uint()
		hi := lo + d.Uint()
		if d.Bad || lo > maxUID || hi > maxUID || hi < lo {
			d.Fail()
			return
		}
		s.AddRange(imap.UID(lo), imap.UID(hi))
		last = hi
	}
}
