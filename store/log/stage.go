package log

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/samotop/samotop/store"
)

// chunk is a piece of a large body on its way to the log.
type chunk struct {
	body   uint64
	first  uint32 // number of its first block
	n      int64
	framed []byte
	at     place // where its blocks begin, set by the writer
	done   chan error
	state  atomic.Int32
}

// States of a chunk: whoever changes it first decides.
const (
	chunkWritten = 1
	chunkGivenUp = 2 // nobody waits for it: the writer unpins it
)

// bodyWriter is a store.BlobWriter. The blocks get their checksums while they arrive, so that what is buffered goes to the
// log as it is.
type bodyWriter struct {
	e      *Engine
	ctx    context.Context
	ref    ref
	buf    *[]byte // framed, but for the block that is not full
	n      int64   // octets in buf
	block  int     // octets of the last block in buf, without checksum yet
	blocks uint32  // before buf
	err    error
	closed bool
}

// staged is a body that no batch took yet.
type staged struct {
	e      *Engine
	ref    ref
	inline []byte // framed: it travels with the batch
	buf    *[]byte

	mu    sync.Mutex
	taken bool
	freed bool
}

// Stage is of store.Engine. The context holds for the writing, too.
func (e *Engine) Stage(ctx context.Context) (store.BlobWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if e.isFull() {
		return nil, fmt.Errorf("stage: %w", store.ErrFull)
	}
	return e.newBody(ctx, rand.Uint64())
}

func (e *Engine) newBody(ctx context.Context, id uint64) (*bodyWriter, error) {
	e.mu.Lock()
	err := e.stopped()
	e.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	return &bodyWriter{e: e, ctx: ctx, ref: ref{body: id}, buf: e.buffer()}, nil
}

func (e *Engine) buffer() *[]byte {
	if b, ok := e.buffers.Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, 16<<10)
	return &b
}

// Write is of io.Writer.
func (w *bodyWriter) Write(p []byte) (int, error) {
	if w.closed && w.err == nil {
		return 0, fmt.Errorf("stage: write after close: %w", store.ErrInvalid)
	}
	written := 0
	for len(p) > 0 && w.err == nil {
		if w.n >= w.chunkOctets() {
			w.err = w.flush()
			continue
		}
		take := min(len(p), blockOctets-w.block)
		if w.ref.size+w.n+int64(take) > w.e.o.MaxBodyOctets {
			w.err = fmt.Errorf("stage: body over %d octets: %w", w.e.o.MaxBodyOctets, store.ErrTooLarge)
			break
		}
		*w.buf = append(*w.buf, p[:take]...)
		p = p[take:]
		written += take
		w.n += int64(take)
		if w.block += take; w.block == blockOctets {
			w.endBlock()
		}
	}
	return written, w.err
}

// chunkOctets grows with the body, so that the number of extents stays within a Ref.
func (w *bodyWriter) chunkOctets() int64 {
	if w.ref.size >= 64<<20 {
		return max(int64(w.e.o.InlineOctets), 1<<20)
	}
	return int64(w.e.o.InlineOctets)
}

func (w *bodyWriter) endBlock() {
	b := *w.buf
	index := w.blocks + uint32((w.n-1)/blockOctets)
	*w.buf = le.AppendUint32(b, blockSum(w.ref.body, index, b[len(b)-w.block:]))
	w.block = 0
}

// flush sends what is buffered to the log and waits until its place is known.
func (w *bodyWriter) flush() error {
	if w.block > 0 {
		w.endBlock()
	}
	if w.e.isFull() {
		return fmt.Errorf("stage: %w", store.ErrFull)
	}
	c := &chunk{body: w.ref.body, first: w.blocks, n: w.n, framed: *w.buf, done: make(chan error, 1)}
	if err := w.e.writeChunk(w.ctx, c); err != nil {
		// The writer may still read the buffer: it is not used again.
		w.buf = nil
		return fmt.Errorf("stage: %w", err)
	}
	w.ref.extents = append(w.ref.extents, extent{at: c.at, n: uint32(c.n)})
	*w.buf = (*w.buf)[:0]
	w.blocks += uint32((w.n + blockOctets - 1) / blockOctets)
	w.ref.size += w.n
	w.n = 0
	return nil
}

// writeChunk waits until a chunk is written, not synced. The writer pins its segment.
func (e *Engine) writeChunk(ctx context.Context, c *chunk) error {
	if err := e.lockWithRoom(ctx); err != nil {
		return err
	}
	e.push(&item{chunk: c, octets: int64(recordHeader + 12 + len(c.framed))})
	e.mu.Unlock()
	select {
	case err := <-c.done:
		return err
	case <-e.stall.ended():
		if c.state.CompareAndSwap(0, chunkGivenUp) {
			return e.stuck()
		}
		return <-c.done
	}
}

// Close is of store.BlobWriter.
func (w *bodyWriter) Close() (store.Staged, error) {
	if w.closed || w.err != nil {
		w.Discard()
		return nil, errors.Join(w.err, fmt.Errorf("stage: closed twice or after an error: %w", store.ErrInvalid))
	}
	st, err := w.close()
	if err != nil {
		w.err = err
		w.Discard()
		return nil, err
	}
	return st, nil
}

func (w *bodyWriter) close() (*staged, error) {
	st := &staged{e: w.e}
	switch {
	case w.ref.size > 0:
		if w.n > 0 {
			if err := w.flush(); err != nil {
				return nil, err
			}
		}
		w.e.recycle(w.buf)
	case w.n > 0:
		if w.block > 0 {
			w.endBlock()
		}
		w.ref.size = w.n
		w.ref.extents = []extent{{n: uint32(w.n)}}
		st.inline, st.buf = *w.buf, w.buf
	default:
		w.e.recycle(w.buf)
	}
	st.ref = w.ref
	w.buf, w.closed = nil, true
	return st, nil
}

func (e *Engine) recycle(b *[]byte) {
	if b != nil && cap(*b) <= maxPooled {
		e.buffers.Put(b)
	}
}

// Discard is of store.BlobWriter.
func (w *bodyWriter) Discard() {
	if w.closed {
		return
	}
	w.closed = true
	w.e.recycle(w.buf)
	w.buf = nil
	w.e.unpin(&w.ref)
}

func (e *Engine) unpin(r *ref) {
	ended := false
	for _, s := range r.shares() {
		ended = e.segs.unpin(s.seg, r.body) || ended
	}
	if ended {
		e.poke() // the keeper removes segments that hold only what was given up
	}
}

// Size is of store.Staged.
func (s *staged) Size() int64 { return s.ref.size }

// Discard is of store.Staged.
func (s *staged) Discard() {
	s.mu.Lock()
	taken := s.taken
	s.taken = true
	s.mu.Unlock()
	if !taken {
		s.release()
	}
}

// release gives back the buffer and the pins, once.
func (s *staged) release() {
	s.mu.Lock()
	freed := s.freed
	s.freed = true
	s.mu.Unlock()
	if freed {
		return
	}
	if s.inline != nil {
		s.e.recycle(s.buf)
		s.inline, s.buf = nil, nil
		return
	}
	s.e.unpin(&s.ref)
}

// claim takes staged bodies for a batch.
func (e *Engine) claim(blobs []store.Staged) ([]*staged, error) {
	out := make([]*staged, 0, len(blobs))
	for i, b := range blobs {
		s, ok := b.(*staged)
		if !ok || s.e != e || !s.take() {
			unclaim(out)
			return nil, fmt.Errorf("body %d: %w: %w", i, errNotStaged, store.ErrInvalid)
		}
		out = append(out, s)
	}
	return out, nil
}

func (s *staged) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken {
		return false
	}
	s.taken = true
	return true
}

// unclaim makes bodies of a refused batch good for another try.
func unclaim(bodies []*staged) {
	for _, s := range bodies {
		s.mu.Lock()
		s.taken = false
		s.mu.Unlock()
	}
}

// maxPooled is the largest buffer that is kept for another body.
const maxPooled = 2 << 20
