package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// Status is of store.Maintainer. LiveOctets is an upper bound: what batches free without asserting the row is seen
// only when Collect counts.
func (e *Engine) Status(ctx context.Context) (store.Status, error) {
	if err := ctx.Err(); err != nil {
		return store.Status{}, err
	}
	e.mu.Lock()
	st := store.Status{Format: formatVersion, Fenced: e.cause()}
	closed := e.closing
	if !closed {
		e.done.Add(1)
	}
	e.mu.Unlock()
	if closed {
		return st, fmt.Errorf("status: %w", store.ErrClosed)
	}
	defer e.done.Done()
	a := e.applied.Load()
	st.Pos = a.pos
	e.segs.mu.Lock()
	for _, s := range e.segs.set {
		st.Segments++
		st.LogOctets += s.size
		st.LiveOctets += s.live
		if s.n < a.end.seg {
			st.DeadOctets += max(0, s.size-s.live)
		}
	}
	e.segs.mu.Unlock()
	st.IndexOctets = int64(e.db.Metrics().DiskSpaceUsage())
	space, err := e.o.FS.Space(e.o.Dir)
	if err != nil {
		return st, fmt.Errorf("status: %w", err)
	}
	st.FreeOctets = space.Free
	st.Full = space.Free < e.o.ReserveOctets
	e.full.Store(st.Full)
	return st, nil
}

// Verify is of store.Maintainer: every group and block of the log, every block of the index, every reference both ways.
func (e *Engine) Verify(ctx context.Context, progress func(done, total int64)) ([]store.Fault, error) {
	e.collectMu.Lock()
	defer e.collectMu.Unlock()
	if progress == nil {
		progress = func(done, total int64) {}
	}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return nil, fmt.Errorf("verify: %w", store.ErrClosed)
	}
	e.done.Add(1)
	e.mu.Unlock()
	defer e.done.Done()
	v := &verifier{e: e, ctx: ctx, progress: progress, upTo: e.applied.Load().end}
	err := v.run()
	if err != nil {
		err = fmt.Errorf("verify: %w", err)
	}
	return v.faults, err
}

// Inspect reads the whole log of a database that need not open, and reports what does not check. It changes nothing. A
// fault at the very end of the last segment may be no more than the torn tail of a crash, which Open cuts off.
func Inspect(ctx context.Context, o Options, progress func(done, total int64)) ([]store.Fault, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{o: o, log: o.Logger, closeIndex: make(chan struct{})}
	defer e.abandon()
	if _, err := o.FS.Stat(o.Dir + "/FORMAT"); err != nil {
		return nil, fmt.Errorf("inspect %s: no store is there: %w", o.Dir, err)
	}
	if err := e.prepareDir(); err != nil {
		return nil, fmt.Errorf("inspect %s: %w", o.Dir, err)
	}
	found, err := e.segs.load()
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", o.Dir, err)
	}
	if progress == nil {
		progress = func(done, total int64) {}
	}
	v := &verifier{e: e, ctx: ctx, progress: progress, total: e.segs.octetsFrom(place{})}
	if len(found) > 0 {
		v.last = found[len(found)-1]
	}
	for _, n := range found {
		if err := v.segment(n); err != nil {
			return v.faults, fmt.Errorf("inspect %s: %w", o.Dir, err)
		}
	}
	return v.faults, nil
}

type verifier struct {
	e           *Engine
	ctx         context.Context
	progress    func(done, total int64)
	upTo        place
	last        uint32 // the segment that may end in zeros; 0: none may
	done, total int64
	faults      []store.Fault
}

// maxFaults ends a list that would only say again that all is lost.
const maxFaults = 10000

func (v *verifier) fault(file string, offset int64, format string, args ...any) {
	if len(v.faults) < maxFaults {
		v.faults = append(v.faults, store.Fault{File: file, Offset: offset, What: fmt.Sprintf(format, args...)})
	}
}

func (v *verifier) run() error {
	v.total = v.e.segs.octetsFrom(place{}) + int64(v.e.db.Metrics().DiskSpaceUsage())
	snap := v.e.db.NewSnapshot()
	defer snap.Close()
	for _, n := range v.e.segs.list() {
		if n > v.upTo.seg {
			break
		}
		if err := v.segment(n); err != nil {
			return err
		}
	}
	if err := v.e.db.CheckLevels(nil); err != nil {
		v.fault("index", 0, "%v", err)
	}
	if err := v.rows(snap); err != nil {
		return err
	}
	if err := v.bodies(snap); err != nil {
		return err
	}
	v.progress(v.total, v.total)
	return nil
}

// segment reads all groups of a segment, up to the last one that is in the index.
func (v *verifier) segment(n uint32) error {
	s, err := v.e.newScanner(place{n, 0})
	if err != nil {
		v.fault(v.e.segs.path(n), 0, "%v", err)
		return nil
	}
	defer s.close()
	if n == v.upTo.seg {
		s.size = min(s.size, int64(v.upTo.off))
	}
	whole := true
	for {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		before := s.at
		_, _, err := s.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errBad):
			if zeros, err := v.e.onlyZeros(s.at); err == nil && zeros && n == v.last {
				return nil // written ahead, and not used
			}
			if whole {
				v.fault(v.e.segs.path(n), int64(s.at.off), "%v", err)
			}
			whole = false
			s.at.off += disk.Align
		case err != nil:
			v.fault(v.e.segs.path(n), int64(s.at.off), "%v", err)
			return nil
		default:
			whole = true
		}
		v.done += int64(s.at.off - before.off)
		v.progress(v.done, v.total)
	}
}

// rows reads every row, and for those with a body that its segments know it.
func (v *verifier) rows(snap *pebble.Snapshot) error {
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: []byte{keyRow}, UpperBound: []byte{keyRow + 1}})
	if err != nil {
		return corrupt(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			v.fault("index", 0, "row %q: %v", it.Key()[1:], err)
			continue
		}
		v.done += int64(len(value) + len(it.Key()))
		if _, r, ok := rowRef(value); ok {
			v.row(snap, bytes.Clone(it.Key()[1:]), &r)
		}
	}
	if err := it.Error(); err != nil {
		v.fault("index", 0, "%v", err)
	}
	return nil
}

func (v *verifier) row(snap *pebble.Snapshot, key []byte, r *ref) {
	for _, s := range r.shares() {
		got, err := v.e.get(snap, bodyKey(s.seg, key))
		if err != nil || len(got) != 16 || le.Uint64(got) != r.body {
			v.fault(v.e.segs.path(s.seg), 0, "row %q has a body there that the index does not count (%v)", key, err)
		}
	}
	var start int64
	for _, x := range r.extents {
		// All blocks were read with their groups; here it is the reference that is tried, at both ends.
		for _, off := range []int64{0, int64(x.n) - 1} {
			if _, err := v.e.readExtent(v.ctx, nil, r.body, x, start, off, 1); err != nil && v.ctx.Err() == nil {
				v.fault(v.e.segs.path(x.at.seg), int64(x.at.off), "row %q: %v", key, err)
			}
		}
		start += int64(x.n)
	}
}

// bodies goes the other way: each body that a segment counts is in a segment that is there.
func (v *verifier) bodies(snap *pebble.Snapshot) error {
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: []byte{keyBody}, UpperBound: []byte{keyBody + 1}})
	if err != nil {
		return corrupt(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if k := it.Key(); len(k) < 5 || !v.e.segs.has(segmentOf(k)) {
			v.fault("index", 0, "row %q counts a body in a segment that is not there", k)
		}
	}
	if err := it.Error(); err != nil {
		v.fault("index", 0, "%v", err)
	}
	return nil
}
