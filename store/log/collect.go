package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/samotop/samotop/store"
)

// Collect is of store.Maintainer. It looks at the segments with the least alive first. Nothing is lost when it is cut
// off, at any point: a body that was moved has its row rewritten, the others are found again.
func (e *Engine) Collect(ctx context.Context, budget int64) (store.Collected, error) {
	e.collectMu.Lock()
	defer e.collectMu.Unlock()
	c := &collection{e: e, budget: budget}
	err := c.run(ctx)
	n, octets, e2 := e.sweep()
	if e2 != nil {
		e.fence(e2)
		err = errors.Join(err, e2)
	}
	c.done.Segments, c.done.FreedOctets = n, octets
	if err != nil {
		return c.done, fmt.Errorf("collect: %w", err)
	}
	return c.done, nil
}

type collection struct {
	e      *Engine
	budget int64
	done   store.Collected
}

func (c *collection) run(ctx context.Context) error {
	e := c.e
	if err := e.takesChanges(); err != nil {
		return err
	}
	if a, err := e.durableApplied(); err != nil {
		return err
	} else if a.end != (place{}) {
		e.flushed.Store(&a)
	}
	percent := int64(e.o.CollectBelowPercent)
	victims := e.segs.victims(e.flushed.Load().end.seg, percent)
	if ended := e.applied.Load().end.seg; len(e.segs.victims(ended, percent)) > len(victims) {
		if err := e.flushIndex(); err != nil && !errors.Is(err, store.ErrFull) {
			return err
		}
		a, err := e.durableApplied()
		if err != nil {
			return err
		}
		e.flushed.Store(&a)
		victims = e.segs.victims(a.end.seg, percent)
	}
	if more, err := c.segments(ctx, victims); more || err != nil {
		return err
	}
	return c.recount(ctx, percent)
}

// segments collects as far as the budget goes, and tells whether that was too short.
func (c *collection) segments(ctx context.Context, victims []uint32) (more bool, err error) {
	for _, n := range victims {
		dropped, err := c.segment(ctx, n)
		if err != nil {
			return false, err
		}
		if !dropped && c.budget <= 0 {
			c.done.MoreToDo = true
			return true, nil
		}
	}
	return false, nil
}

// recountSegments is how many segments a call of Collect counts anew.
const recountSegments = 4

// recount goes round the other segments, a few in each call, because batches that delete a row without asserting it
// free bodies that nobody has counted.
func (c *collection) recount(ctx context.Context, percent int64) error {
	e := c.e
	var turn []uint32
	before := e.flushed.Load().end.seg
	for _, n := range e.segs.list() {
		if n < before && n > e.recounted && len(turn) < recountSegments {
			turn = append(turn, n)
		}
	}
	e.recounted = 0
	if len(turn) > 0 {
		e.recounted = turn[len(turn)-1]
	}
	for _, n := range turn {
		if _, err := c.pass(ctx, n, false); err != nil {
			return err
		}
	}
	_, err := c.segments(ctx, slices.DeleteFunc(e.segs.victims(before, percent), func(n uint32) bool {
		return !slices.Contains(turn, n)
	}))
	return err
}

func (e *Engine) takesChanges() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped()
}

// victims is the segments before the given one that are worth collecting, the emptiest first.
func (ss *segments) victims(before uint32, percent int64) []uint32 {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var out []*segment
	for _, s := range ss.set {
		if s.n < before && len(s.pins) == 0 && s.live*100 < s.size*percent {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *segment) int {
		// Alive parts as fractions, without rounding.
		switch l, r := a.live*max(1, b.size), b.live*max(1, a.size); {
		case l != r && l < r:
			return -1
		case l != r:
			return 1
		}
		return int(int64(a.n) - int64(b.n))
	})
	numbers := make([]uint32, len(out))
	for i, s := range out {
		numbers[i] = s.n
	}
	return numbers
}

// segment moves what is alive in a segment and drops it, if the budget reaches.
func (c *collection) segment(ctx context.Context, n uint32) (dropped bool, err error) {
	live, err := c.pass(ctx, n, true)
	if err != nil {
		return false, err
	}
	if live == 0 {
		// A second look, because rows may have been written while the first went by.
		if live, err = c.pass(ctx, n, false); err != nil {
			return false, err
		}
	}
	if live > 0 {
		return false, nil
	}
	return true, c.e.drop(n)
}

// pass goes through the rows that may have a body in the segment; it moves the live ones while there is budget, and
// returns the octets that stay alive there.
func (c *collection) pass(ctx context.Context, n uint32, move bool) (live int64, err error) {
	snap := c.e.db.NewSnapshot()
	defer snap.Close()
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: segmentKey(keyBody, n), UpperBound: segmentKey(keyBody, n+1)})
	if err != nil {
		return 0, corrupt(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return live, err
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return live, corrupt(err)
		}
		if len(v) != 16 {
			return live, fmt.Errorf("index: row of a body: %w", store.ErrCorrupt)
		}
		key := bytes.Clone(it.Key()[5:])
		stays, err := c.body(ctx, n, key, le.Uint64(v), int64(le.Uint64(v[8:])), move)
		if err != nil {
			return live, err
		}
		live += stays
	}
	c.e.segs.setLive(n, live)
	return live, corrupt(it.Error())
}

func (ss *segments) setLive(n uint32, octets int64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if s := ss.set[n]; s != nil {
		s.live = octets
	}
}

// body looks at one row; it returns how many octets it keeps alive in the segment.
func (c *collection) body(ctx context.Context, n uint32, key []byte, id uint64, octets int64, move bool) (int64, error) {
	for range 8 {
		value, err := c.e.get(c.e.db, rowKey(nil, key))
		if errors.Is(err, store.ErrNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		own, r, ok := rowRef(value)
		if !ok || r.body != id || !slices.ContainsFunc(r.extents, func(x extent) bool { return x.at.seg == n }) {
			return 0, nil
		}
		if !move {
			return octets, nil
		}
		if c.budget < octets && c.done.MovedOctets > 0 || c.budget <= 0 {
			c.done.MoreToDo = true
			return octets, nil
		}
		err = c.move(ctx, n, key, value, own, &r)
		if err == nil {
			c.budget -= octets
			c.done.MovedOctets += octets
			return 0, nil
		}
		if errors.Is(err, store.ErrCorrupt) {
			// It stays where it is, and does not keep others from being moved. Verify names it.
			c.e.log.Error("collect: a body cannot be read", "dir", c.e.o.Dir, "row", string(key), "err", err)
			return octets, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return 0, err
		}
	}
	return octets, nil // written all the time: another round
}

// move copies the extents of a body that are in the segment, and rewrites the row if it is still the same.
func (c *collection) move(ctx context.Context, n uint32, key, value, own []byte, r *ref) error {
	moved := &staged{e: c.e, ref: ref{body: r.body, size: r.size}}
	if len(r.extents) == 1 && int64(r.extents[0].n) <= int64(c.e.o.InlineOctets) {
		b, err := c.e.rawBlocks(r.body, 0, r.extents[0])
		if err != nil {
			return err
		}
		moved.inline = b
		moved.ref.extents = []extent{{n: r.extents[0].n}}
	} else if err := c.moveExtents(ctx, n, r, moved); err != nil {
		moved.Discard()
		return err
	}
	err := store.Commit(ctx, c.e, &store.Batch{
		Asserts: []store.Assert{{Key: key, Value: value}},
		Ops:     []store.Op{store.PutBlob(key, own, 0)},
		Blobs:   []store.Staged{moved},
		Deletes: true,
	})
	if err != nil {
		moved.Discard()
	}
	return err
}

func (c *collection) moveExtents(ctx context.Context, n uint32, r *ref, moved *staged) error {
	var start int64
	for _, x := range r.extents {
		if x.at.seg != n {
			moved.ref.extents = append(moved.ref.extents, x)
			start += int64(x.n)
			continue
		}
		b, err := c.e.rawBlocks(r.body, start, x)
		if err != nil {
			return err
		}
		ch := &chunk{body: r.body, first: uint32(start / blockOctets), n: int64(x.n), framed: b, done: make(chan error, 1)}
		if err := c.e.writeChunk(ctx, ch); err != nil {
			return err
		}
		moved.ref.extents = append(moved.ref.extents, extent{at: ch.at, n: x.n})
		start += int64(x.n)
	}
	return nil
}

// rawBlocks reads an extent as it is in the log, and verifies it.
func (e *Engine) rawBlocks(body uint64, start int64, x extent) ([]byte, error) {
	b := make([]byte, framed(int64(x.n)))
	got, err := e.segs.readAt(x.at.seg, b, int64(x.at.off))
	if err != nil {
		return nil, err
	}
	if got < len(b) {
		return nil, damage(e.segs.path(x.at.seg), x.at, errors.New("the file ends within a body"))
	}
	if err := checkFrames(b, body, uint32(start/blockOctets), int64(x.n)); err != nil {
		return nil, damage(e.segs.path(x.at.seg), x.at, err)
	}
	return b, nil
}
