package log

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/samotop/samotop/store"
)

// Rescue makes a damaged database one that opens, and tells what it lost: the stretches of the log that do not check. What
// it can read of the damaged segments it moves to new ones; a segment in which a row has a body that cannot be read stays,
// and Verify names that row: delete it and call Rescue again. Nobody may have the database open; copy it before.
func Rescue(ctx context.Context, o Options) (lost []store.Fault, err error) {
	o.Rescue = true
	e, err := Open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("rescue: %w", err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := e.evacuate(ctx); err != nil {
		return e.skipped, fmt.Errorf("rescue %s: %w", o.Dir, err)
	}
	return e.skipped, nil
}

// evacuate moves what is alive out of the segments that do not check.
func (e *Engine) evacuate(ctx context.Context) error {
	e.collectMu.Lock()
	defer e.collectMu.Unlock()
	bad, err := e.damaged(ctx)
	if err != nil || len(bad) == 0 {
		return err
	}
	if _, err := e.endSegment(ctx); err != nil {
		return err
	}
	c := &collection{e: e, budget: math.MaxInt64}
	for _, n := range bad {
		if _, err := c.pass(ctx, n, true); err != nil {
			return err
		}
	}
	// Whatever it deletes: the index passes the segment that ended, and says so on disk, before that one goes.
	nothing := &store.Batch{Ops: []store.Op{store.Delete([]byte{0})}, Deletes: true}
	if err := store.Commit(ctx, e, nothing); err != nil {
		return err
	}
	if err := e.flushIndex(); err != nil {
		return err
	}
	for _, n := range bad {
		if _, err := c.segment(ctx, n); err != nil {
			return err
		}
	}
	_, _, err = e.sweep()
	return err
}

// damaged is the segments with something that does not check.
func (e *Engine) damaged(ctx context.Context) (bad []uint32, err error) {
	for _, n := range e.segs.list() {
		v := &verifier{e: e, ctx: ctx, progress: func(int64, int64) {}, upTo: e.applied.Load().end}
		if err := v.segment(n); err != nil {
			return nil, err
		}
		if len(v.faults) > 0 {
			bad = append(bad, n)
		}
	}
	return bad, nil
}
