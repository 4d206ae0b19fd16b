// Package mem keeps a database in memory, for tests and for what may be forgotten.
//
//	e := mem.New(mem.Options{})
//	err := store.Commit(ctx, e, &store.Batch{Ops: []store.Op{store.Put(k, v)}})
//
// It keeps every promise of package store but surviving the process. As in an engine with a disk, a batch becomes
// durable, and with it visible, some time after Submit; with Options.Manual only when somebody waits for it or calls
// Sync. Crash gives the engine as it would be found after a power cut, Fail and Fence play a disk that fails.
package mem

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"sync"
	"time"

	"bytes"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/internal/watch"
)

var (
	_ store.Engine     = (*Engine)(nil)
	_ store.Maintainer = (*Engine)(nil)
)

// Options of an Engine; zero means the default.
type Options struct {
	// Manual leaves batches undurable until a Wait for them, or Sync.
	Manual bool
	// MoveBodies makes Collect move live bodies within its budget, and so rewrite their rows, as an engine with a
	// disk does.
	MoveBodies bool
	// ViewTime is how long a View may last; default 30 s.
	ViewTime time.Duration
	// ViewRows is how many rows a View may read; default 16 Mi.
	ViewRows int
	// QuotaOctets refuses batches that would make rows and bodies larger than this in all, as a full disk would,
	// unless they have Deletes set; 0: no limit.
	QuotaOctets int64
}

// Engine is safe for concurrent use.
type Engine struct {
	o   Options
	hub *watch.Hub

	mu      sync.Mutex
	durable tree // what readers see
	next    tree // with everything submitted
	pos     store.Pos
	durPos  store.Pos
	queue   []*pending
	syncing bool // a goroutine is about to make the queue durable
	bodies  map[uint64]*body
	lastID  uint64
	views   int
	stop    error // ErrFenced or ErrClosed
}

type body struct {
	data   []byte
	staged int // uses by what is staged or on its way; the collector keeps away while it is not 0
}

type pending struct {
	e      *Engine
	pos    store.Pos
	after  tree
	keys   [][]byte
	ranges [][2][]byte
	bodies []uint64
	done   chan struct{}
	err    error
}

// New returns an empty engine.
func New(o Options) *Engine {
	seed := maphash.MakeSeed()
	return start(o, tree{seed: seed}, map[uint64]*body{}, 0, 0)
}

func start(o Options, rows tree, bodies map[uint64]*body, lastID uint64, pos store.Pos) *Engine {
	if o.ViewTime <= 0 {
		o.ViewTime = 30 * time.Second
	}
	if o.ViewRows <= 0 {
		o.ViewRows = 16 << 20
	}
	return &Engine{o: o, hub: watch.New(watch.Options{}, pos), durable: rows, next: rows,
		pos: pos, durPos: pos, bodies: bodies, lastID: lastID}
}

// Submit is of store.Engine.
func (e *Engine) Submit(ctx context.Context, b *store.Batch) (store.Pending, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.Check(); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stop != nil {
		return nil, fmt.Errorf("submit: %w", e.stop)
	}
	if e.o.QuotaOctets > 0 && !b.Deletes && e.octets(e.next) > e.o.QuotaOctets {
		return nil, fmt.Errorf("submit: %w", store.ErrFull)
	}
	for i := range b.Asserts {
		if a := &b.Asserts[i]; !holds(e.next, a) {
			return nil, fmt.Errorf("submit: key %q: %w", a.Key, store.ErrConflict)
		}
	}
	ids, err := e.claim(b.Blobs)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	e.pos++
	p := &pending{e: e, pos: e.pos, bodies: ids, done: make(chan struct{})}
	for i := range b.Ops {
		p.apply(&b.Ops[i])
	}
	p.after = e.next
	e.queue = append(e.queue, p)
	if !e.o.Manual && !e.syncing {
		e.syncing = true
		go e.Sync()
	}
	return p, nil
}

func holds(t tree, a *store.Assert) bool {
	v, ok := t.get(a.Key)
	if a.Absent || !ok {
		return a.Absent && !ok
	}
	return bytes.Equal(v, a.Value)
}

// claim turns staged bodies, each good for one batch, into their ids.
func (e *Engine) claim(blobs []store.Staged) ([]uint64, error) {
	ids := make([]uint64, len(blobs))
	for i, s := range blobs {
		st, ok := s.(*staged)
		if !ok || st.e != e || st.spent || e.bodies[st.id] == nil {
			return nil, fmt.Errorf("body %d is not staged here, or was used: %w", i, store.ErrInvalid)
		}
		for _, seen := range ids[:i] {
			if seen == st.id {
				return nil, fmt.Errorf("body %d is there twice: %w", i, store.ErrInvalid)
			}
		}
		ids[i] = st.id
	}
	for _, s := range blobs {
		s.(*staged).spent = true
	}
	return ids, nil
}

func (p *pending) apply(op *store.Op) {
	e := p.e
	key := bytes.Clone(op.Key)
	switch op.Kind {
	case store.OpPut:
		value := append(make([]byte, 0, len(op.Value)), op.Value...)
		if op.Blob > 0 {
			id := p.bodies[op.Blob-1]
			value = store.AppendRef(value, makeRef(id, len(e.bodies[id].data)))
		} else if op.Ref != nil {
			value = store.AppendRef(value, op.Ref)
		}
		e.next = e.next.put(key, value)
		p.keys = append(p.keys, key)
	case store.OpDelete:
		e.next = e.next.remove(key)
		p.keys = append(p.keys, key)
	case store.OpDeleteRange:
		hi := bytes.Clone(op.Value)
		e.next = e.next.removeRange(key, hi)
		p.ranges = append(p.ranges, [2][]byte{key, hi})
	}
}

// Sync makes everything submitted so far durable and visible.
func (e *Engine) Sync() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.syncing = false
	e.syncTo(e.pos)
}

// syncTo needs the lock.
func (e *Engine) syncTo(pos store.Pos) {
	for len(e.queue) > 0 && e.queue[0].pos <= pos {
		p := e.queue[0]
		e.queue = e.queue[1:]
		e.durable, e.durPos = p.after, p.pos
		e.release(p)
		e.hub.Publish(p.pos, p.keys, p.ranges)
		close(p.done)
	}
}

func (e *Engine) release(p *pending) {
	for _, id := range p.bodies {
		e.bodies[id].staged--
	}
	p.after, p.bodies = tree{}, nil
}

// Pos is of store.Pending.
func (p *pending) Pos() store.Pos { return p.pos }

// Wait is of store.Pending.
func (p *pending) Wait(ctx context.Context) error {
	if p.e.o.Manual && ctx.Err() == nil {
		p.e.mu.Lock()
		p.e.syncTo(p.pos)
		p.e.mu.Unlock()
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Fail makes everything that is not durable yet fail with err, as a group does whose outcome is lost. The engine goes on.
func (e *Engine) Fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(err)
}

func (e *Engine) fail(err error) {
	for _, p := range e.queue {
		p.err = fmt.Errorf("commit: %w", err)
		e.release(p)
		close(p.done)
	}
	e.queue, e.next = nil, e.durable
}

// Fence makes what is not durable yet fail, and every change from now on, as after a failed write.
func (e *Engine) Fence() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(store.ErrFenced)
	if e.stop == nil {
		e.stop = store.ErrFenced
	}
}

// Close makes everything submitted durable and ends the engine.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.syncTo(e.pos)
	e.stop = store.ErrClosed
	e.hub.Close(store.ErrClosed)
	return nil
}

// Crash stops e at once and returns a new engine with what was durable: what one finds after a power cut. After Close
// it is what one finds when opening again.
func (e *Engine) Crash() *Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(store.ErrFenced)
	if e.stop == nil {
		e.stop = store.ErrFenced
	}
	e.hub.Close(e.stop)
	bodies := map[uint64]*body{}
	for id, b := range e.bodies {
		bodies[id] = &body{data: b.data}
	}
	return start(e.o, e.durable, bodies, e.lastID, e.durPos)
}

// Watch is of store.Engine.
func (e *Engine) Watch(ctx context.Context, prefix []byte, after store.Pos) iter.Seq2[store.Event, error] {
	return e.hub.Watch(ctx, prefix, after)
}
