package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/samotop/samotop/store"
)

// reader is a store.Reader.
type reader struct {
	e    *Engine
	snap *pebble.Snapshot
	over time.Time
	// table is the sieve that knows of all rows in snap; nil: none does.
	table *sieveTable

	mu   sync.Mutex
	left int
	done bool
}

// View is of store.Engine.
func (e *Engine) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &reader{e: e, over: time.Now().Add(e.o.ViewTime), left: e.o.ViewRows}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return fmt.Errorf("view: %w", store.ErrClosed)
	}
	e.done.Add(1)
	e.mu.Unlock()
	defer e.done.Done()
	e.segs.enter(r)
	table := e.sieve.table.Load()
	if r.snap = e.db.NewSnapshot(); table != nil && table == e.sieve.table.Load() {
		r.table = table
	}
	defer r.end()
	return fn(r)
}

func (r *reader) end() {
	r.mu.Lock()
	r.done = true
	r.mu.Unlock()
	err := r.snap.Close()
	if err != nil {
		r.e.log.Warn("index: snapshot", "dir", r.e.o.Dir, "err", err)
	}
	if r.e.segs.leave(r) {
		r.e.poke()
	}
}

// check counts rows and time.
func (r *reader) check(ctx context.Context, rows int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left -= rows; r.done || r.left < 0 || !time.Now().Before(r.over) {
		return store.ErrViewOver
	}
	return nil
}

// absent reports whether the row of key is known not to be in the view. A table that was made later may not know rows that
// went since, one that was replaced meanwhile may not know rows that came.
func (r *reader) absent(key []byte) bool {
	if r.table == nil {
		r.e.sieve.want(key)
		return false
	}
	return r.e.sieve.missing(r.table, key)
}

// Pos is of store.Reader.
func (r *reader) Pos() store.Pos {
	v, err := r.e.get(r.snap, []byte{keyApplied})
	if err != nil {
		return 0
	}
	a, err := parseApplied(v)
	if err != nil {
		return 0
	}
	return a.pos
}

// Get is of store.Reader.
func (r *reader) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := r.check(ctx, 1); err != nil {
		return nil, err
	}
	if r.absent(key) {
		return nil, store.ErrNotFound
	}
	var buf [128]byte
	return r.e.get(r.snap, rowKey(buf[:0], key))
}

// GetMulti is of store.Reader.
func (r *reader) GetMulti(ctx context.Context, keys [][]byte) ([][]byte, error) {
	if err := r.check(ctx, len(keys)); err != nil {
		return nil, err
	}
	values := make([][]byte, len(keys))
	var buf []byte
	for i, k := range keys {
		if r.absent(k) {
			continue
		}
		buf = rowKey(buf[:0], k)
		v, err := r.e.get(r.snap, buf)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// scanCheck is how many rows go by between two looks at the clock.
const scanCheck = 256

// Scan is of store.Reader.
func (r *reader) Scan(ctx context.Context, lo, hi []byte, reverse bool) iter.Seq2[store.KV, error] {
	return func(yield func(store.KV, error) bool) {
		if err := r.scan(ctx, lo, hi, reverse, yield); err != nil {
			yield(store.KV{}, err)
		}
	}
}

func (r *reader) scan(ctx context.Context, lo, hi []byte, reverse bool, yield func(store.KV, error) bool) error {
	if err := r.check(ctx, 0); err != nil {
		return err
	}
	bounds := pebble.IterOptions{LowerBound: rowKey(nil, lo), UpperBound: []byte{keyRow + 1}}
	if hi != nil {
		bounds.UpperBound = rowKey(nil, hi)
	}
	if bytes.Compare(bounds.LowerBound, bounds.UpperBound) >= 0 {
		return nil
	}
	it, err := r.snap.NewIter(&bounds)
	if err != nil {
		return corrupt(err)
	}
	defer it.Close()
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	rows := 0
	for ok := first(); ok; ok = next() {
		if rows++; rows%scanCheck == 1 {
			if err := r.check(ctx, scanCheck); err != nil {
				return err
			}
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return corrupt(err)
		}
		k := it.Key()
		if !yield(store.KV{Key: k[1:len(k):len(k)], Value: v[:len(v):len(v)]}, nil) {
			return nil
		}
	}
	return corrupt(it.Error())
}

// Blob is of store.Reader.
func (r *reader) Blob(ctx context.Context, dst []byte, raw store.Ref, off, n int64) ([]byte, error) {
	if err := r.check(ctx, 0); err != nil {
		return dst, err
	}
	b, ok := parseRef(raw)
	if !ok {
		return dst, errRef(raw)
	}
	if off < 0 || n < 0 {
		return dst, fmt.Errorf("range of a body: %w", store.ErrInvalid)
	}
	return r.e.readBody(ctx, dst, &b, off, n)
}
