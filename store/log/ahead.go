package log

import (
	"errors"
	"fmt"
	"syscall"
)

// A group that is written where the file has zeros already costs a sync that need not write what the file system knows of the
// file: a third less, for small groups. Zeros are written ahead only while groups are small, when a sync costs more than the
// octets; with larger ones it would only double what is written. The zeros are not synced, and need not be: a group that
// stands in them is synced with the file's length like any other.
//
// Nobody takes them for a group, because a header of zeros does not check. Opening cuts them off, as a torn tail; so does
// whatever ends the segment, before there is another.
const smallGroup = 48 << 10 // octets of a group, on average, up to which there are zeros

// fillAhead writes zeros if nobody waits. Its error means that the engine must stop.
func (e *Engine) fillAhead() error {
	w := &e.w
	end := int64(w.at.off)
	ahead := int64(e.o.AheadOctets)
	if !w.direct || ahead == 0 || w.mean > smallGroup || w.zeros-end >= ahead/4 || w.synced != w.at || end+ahead > e.o.SegmentOctets {
		return nil
	}
	if e.full.Load() || e.isEnding() || e.waiting() {
		return nil
	}
	if e.zeros == nil {
		e.zeros = alignedBuffer(int(ahead))[:ahead]
	}
	from := max(w.zeros, end)
	_, err := w.file.WriteAt(e.zeros, from)
	if errors.Is(err, syscall.ENOSPC) {
		e.full.Store(true)
		return e.takeBack()
	}
	if err != nil {
		return fmt.Errorf("write zeros behind %s: %w", w.at, err)
	}
	w.zeros = from + ahead
	return nil
}

// waiting tells whether there is something to write.
func (e *Engine) waiting() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue) > 0
}

// cutZeros ends the file where the log ends, at Close.
func (e *Engine) cutZeros() error {
	if e.isFenced() != nil || e.w.zeros <= int64(e.w.at.off) {
		return nil
	}
	return e.takeBack()
}
