package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/samotop/samotop/store"
)

// item is one thing the writer does.
type item struct {
	octets int64
	batch  *pending
	chunk  *chunk
	roll   chan error // end the segment
}

// pending is a batch on its way.
type pending struct {
	e           *Engine
	enc         *encoded
	bodies      []*staged
	pos         store.Pos
	first, next uint64 // of its operations in the overlay
	done        chan struct{}
	err         error
}

// Submit is of store.Engine. It waits only while Options.QueueOctets are waiting for the log.
func (e *Engine) Submit(ctx context.Context, b *store.Batch) (store.Pending, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.Check(); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	if !b.Deletes && e.isFull() {
		return nil, fmt.Errorf("submit: %w", store.ErrFull)
	}
	bodies, err := e.claim(b.Blobs)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	p, err := e.submit(ctx, b, bodies)
	if err != nil {
		unclaim(bodies)
		return nil, fmt.Errorf("submit: %w", err)
	}
	return p, nil
}

func (e *Engine) submit(ctx context.Context, b *store.Batch, bodies []*staged) (*pending, error) {
	if err := checkRefs(b, bodies); err != nil {
		return nil, err
	}
	enc := encode(b, bodies)
	p := &pending{e: e, enc: enc, bodies: bodies, done: make(chan struct{})}
	it := &item{batch: p, octets: int64(recordHeader + len(enc.meta) + enc.bodyOctets())}
	if it.octets > maxRecordOctets {
		return nil, fmt.Errorf("record of %d octets: %w", it.octets, store.ErrTooLarge)
	}
	if err := e.lockWithRoom(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	for i := range b.Asserts {
		ok, err := e.holds(&b.Asserts[i])
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("key %q: %w", b.Asserts[i].Key, store.ErrConflict)
		}
	}
	for i := range b.Ops {
		if b.Ops[i].Kind == store.OpPut {
			e.sieve.enter(b.Ops[i].Key)
		}
	}
	e.pos++
	p.pos = e.pos
	p.first, p.next = e.overlay.add(b, enc)
	e.push(it)
	return p, nil
}

// maxRecordOctets keeps a record, and so a group, within what its header can say.
const maxRecordOctets = 512 << 20

func checkRefs(b *store.Batch, bodies []*staged) error {
	for i := range b.Ops {
		op := &b.Ops[i]
		if op.Ref != nil {
			if _, ok := parseRef(op.Ref); !ok {
				return fmt.Errorf("operation %d: not a reference of this engine: %w", i, store.ErrInvalid)
			}
		}
		if op.Blob > 0 && len(op.Value)+bodies[op.Blob-1].ref.octets()+2 > store.MaxValueOctets {
			return fmt.Errorf("operation %d: value with reference: %w", i, store.ErrTooLarge)
		}
	}
	return nil
}

// lockWithRoom takes the lock once the queue has room and the engine takes changes; the caller unlocks if err is nil.
func (e *Engine) lockWithRoom(ctx context.Context) error {
	for {
		e.mu.Lock()
		if err := e.stopped(); err != nil {
			e.mu.Unlock()
			return err
		}
		if e.queued < e.o.QueueOctets {
			return nil
		}
		if e.room == nil {
			e.room = make(chan struct{})
		}
		room := e.room
		e.mu.Unlock()
		select {
		case <-room:
		case <-e.fenced:
		case <-e.stall.ended():
			return e.stuck()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// push needs the lock.
func (e *Engine) push(it *item) {
	e.queue = append(e.queue, it)
	e.queued += it.octets
	e.signal()
}

// holds needs the lock.
func (e *Engine) holds(a *store.Assert) (bool, error) {
	if c, ok := e.overlay.lookup(a.Key); ok {
		if c.gone || a.Absent {
			return c.gone && a.Absent, nil
		}
		return c.placed && bytes.Equal(c.value, a.Value), nil
	}
	if e.sieve.absent(a.Key) {
		return a.Absent, nil
	}
	var buf [64]byte
	v, closer, err := e.db.Get(rowKey(buf[:0], a.Key))
	if isNotFound(err) {
		return a.Absent, nil
	}
	if err != nil {
		return false, corrupt(err)
	}
	same := !a.Absent && bytes.Equal(v, a.Value)
	return same, closer.Close()
}

// isFull looks at the disk from time to time, so that the reserve is kept whoever fills the disk, and acceptance resumes
// by itself.
func (e *Engine) isFull() bool {
	e.checkSpace(false)
	return e.full.Load()
}

// Pos is of store.Pending.
func (p *pending) Pos() store.Pos { return p.pos }

// Wait is of store.Pending.
func (p *pending) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	case <-p.e.fenced:
	case <-p.e.stall.ended():
	}
	select {
	case <-p.done:
		return p.err
	default:
	}
	if p.e.isFenced() != nil {
		return p.e.lost()
	}
	return p.e.unseen()
}

// fail ends a batch that will not be applied, or whose outcome is lost.
func (p *pending) fail(err error) {
	p.err = err
	p.release()
	close(p.done)
}

// release gives back what held the bodies.
func (p *pending) release() {
	for _, s := range p.bodies {
		s.release()
	}
}

// failQueued ends everything that was submitted and not written, because the group before it was not written: no
// space. What was submitted after that group may build on it.
func (e *Engine) failQueued(items []*item, cause error) {
	e.mu.Lock()
	items = append(items, e.queue...)
	e.queue, e.queued = nil, 0
	e.makeRoom()
	for _, it := range items {
		if it.batch != nil {
			e.overlay.settle(it.batch.enc.keys, it.batch.first, it.batch.next, true)
		}
	}
	e.mu.Unlock()
	for _, it := range items {
		it.end(cause)
	}
}

// end tells whoever waits for an item that it failed.
func (it *item) end(cause error) {
	switch {
	case it.batch != nil:
		it.batch.fail(fmt.Errorf("commit: %w", cause))
	case it.chunk != nil:
		it.chunk.done <- cause
	case it.roll != nil:
		it.roll <- cause
	}
}

// makeRoom needs the lock.
func (e *Engine) makeRoom() {
	if e.room != nil && e.queued < e.o.QueueOctets {
		close(e.room)
		e.room = nil
	}
}

var errNotStaged = errors.New("not staged here, or used before")
