package mem

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/samotop/samotop/store"
)

type reader struct {
	e    *Engine
	rows tree
	pos  store.Pos
	over time.Time
	left int
	done bool
}

// View is of store.Engine.
func (e *Engine) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	if e.stop == store.ErrClosed {
		e.mu.Unlock()
		return fmt.Errorf("view: %w", e.stop)
	}
	e.views++
	r := &reader{e: e, rows: e.durable, pos: e.durPos, over: time.Now().Add(e.o.ViewTime), left: e.o.ViewRows}
	e.mu.Unlock()
	defer func() {
		r.done = true
		e.mu.Lock()
		e.views--
		e.mu.Unlock()
	}()
	return fn(r)
}

func (r *reader) check(ctx context.Context, rows int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.left -= rows; r.done || r.left < 0 || !time.Now().Before(r.over) {
		return store.ErrViewOver
	}
	return nil
}

// Pos is of store.Reader.
func (r *reader) Pos() store.Pos { return r.pos }

// Get is of store.Reader.
func (r *reader) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := r.check(ctx, 1); err != nil {
		return nil, err
	}
	v, ok := r.rows.get(key)
	if !ok {
		return nil, store.ErrNotFound
	}
	return v, nil
}

// GetMulti is of store.Reader.
func (r *reader) GetMulti(ctx context.Context, keys [][]byte) ([][]byte, error) {
	if err := r.check(ctx, len(keys)); err != nil {
		return nil, err
	}
	values := make([][]byte, len(keys))
	for i, k := range keys {
		if v, ok := r.rows.get(k); ok {
			values[i] = v[:len(v):len(v)]
			if v == nil {
				values[i] = []byte{}
			}
		}
	}
	return values, nil
}

// Scan is of store.Reader; hi nil is the end.
func (r *reader) Scan(ctx context.Context, lo, hi []byte, reverse bool) iter.Seq2[store.KV, error] {
	return func(yield func(store.KV, error) bool) {
		walk := ascend
		if reverse {
			walk = descend
		}
		if err := r.check(ctx, 0); err != nil {
			yield(store.KV{}, err)
			return
		}
		walk(r.rows.root, lo, hi, func(n *node) bool {
			if err := r.check(ctx, 1); err != nil {
				yield(store.KV{}, err)
				return false
			}
			return yield(store.KV{Key: n.key, Value: n.value}, nil)
		})
	}
}

// Blob is of store.Reader.
func (r *reader) Blob(ctx context.Context, dst []byte, ref store.Ref, off, n int64) ([]byte, error) {
	if err := r.check(ctx, 0); err != nil {
		return dst, err
	}
	id, ok := parseRef(ref)
	if !ok || off < 0 || n < 0 {
		return dst, fmt.Errorf("body: bad reference or range: %w", store.ErrInvalid)
	}
	r.e.mu.Lock()
	b := r.e.bodies[id]
	r.e.mu.Unlock()
	if b == nil {
		return dst, fmt.Errorf("body %d is gone: %w", id, store.ErrCorrupt)
	}
	if off >= int64(len(b.data)) {
		return dst, nil
	}
	rest := b.data[off:]
	return append(dst, rest[:min(n, int64(len(rest)))]...), nil
}
