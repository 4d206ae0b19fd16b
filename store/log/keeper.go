package log

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// keep is the goroutine that, after each flush of the index, learns what of the log a restart no longer needs, and
// removes the segments in which no body is alive.
func (e *Engine) keep() {
	defer e.done.Done()
	for {
		select {
		case <-e.stopKeep:
			return
		case <-e.fenced:
			return
		case <-e.pokes:
		}
		e.keepBallast()
		if err := e.tidy(); err != nil && e.isFenced() == nil {
			e.indexError(err)
		}
	}
}

func (e *Engine) tidy() error {
	a, err := e.durableApplied()
	if err != nil {
		return err
	}
	e.flushed.Store(&a)
	if !e.collectMu.TryLock() {
		return nil // Collect or Checkpoint is at work; the next flush comes by again
	}
	defer e.collectMu.Unlock()
	for _, n := range e.segs.list() {
		if n >= a.end.seg {
			break
		}
		// In this order: a pin goes when the index has the row. The other way round a batch could come in between.
		if e.segs.pinned(n) {
			continue
		}
		empty, err := e.noBodies(n)
		if err != nil {
			return err
		}
		if empty {
			if err := e.drop(n); err != nil {
				return err
			}
		}
	}
	_, _, err = e.sweep()
	return err
}

// noBodies tells whether no row has a body in the segment, as far as is known.
func (e *Engine) noBodies(n uint32) (bool, error) {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: segmentKey(keyBody, n), UpperBound: segmentKey(keyBody, n+1)})
	if err != nil {
		return false, corrupt(err)
	}
	defer it.Close()
	return !it.First(), corrupt(it.Error())
}

// drop takes a segment out of the database. No body in it may be alive, and the index must have passed it.
func (e *Engine) drop(n uint32) error {
	e.segs.condemn(n)
	b := e.db.NewBatch()
	defer b.Close()
	if err := b.Delete(segmentKey(keySegment, n), nil); err != nil {
		return err
	}
	if err := b.DeleteRange(segmentKey(keyBody, n), segmentKey(keyBody, n+1), nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("drop %s: %w", segmentName(n), err)
	}
	return nil
}

// sweep removes files; a failure to is a failed write.
func (e *Engine) sweep() (int, int64, error) {
	n, octets, err := e.segs.sweep()
	if err != nil {
		return n, octets, fmt.Errorf("remove segment: %w", err)
	}
	return n, octets, nil
}
