package mem

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/samotop/samotop/store"
)

// refMagic tells a Ref of this engine from any other value.
const refMagic = "samotopmem:"

const refOctets = len(refMagic) + 16

func makeRef(id uint64, size int) store.Ref {
	r := append(make([]byte, 0, refOctets), refMagic...)
	r = binary.BigEndian.AppendUint64(r, id)
	return binary.BigEndian.AppendUint64(r, uint64(size))
}

func parseRef(r store.Ref) (id uint64, ok bool) {
	if len(r) != refOctets || string(r[:len(refMagic)]) != refMagic {
		return 0, false
	}
	return binary.BigEndian.Uint64(r[len(refMagic):]), true
}

// rowRef is the id of the body that a row's value refers to.
func rowRef(value []byte) (own []byte, id uint64, ok bool) {
	own, ref, err := store.SplitRef(value)
	if err != nil {
		return nil, 0, false
	}
	id, ok = parseRef(ref)
	return own, id, ok
}

type writer struct {
	e      *Engine
	data   []byte
	closed bool
}

// staged is spent once a batch took it; the engine's lock guards it.
type staged struct {
	e     *Engine
	id    uint64
	size  int64
	spent bool
}

// Stage is of store.Engine.
func (e *Engine) Stage(ctx context.Context) (store.BlobWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stop != nil {
		return nil, fmt.Errorf("stage: %w", e.stop)
	}
	if e.o.QuotaOctets > 0 && e.octets(e.next) > e.o.QuotaOctets {
		return nil, fmt.Errorf("stage: %w", store.ErrFull)
	}
	return &writer{e: e}, nil
}

// Write is of io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, fmt.Errorf("stage: write after close: %w", store.ErrInvalid)
	}
	w.data = append(w.data, p...)
	return len(p), nil
}

// Close is of store.BlobWriter.
func (w *writer) Close() (store.Staged, error) {
	if w.closed {
		return nil, fmt.Errorf("stage: closed twice: %w", store.ErrInvalid)
	}
	w.closed = true
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	if w.e.stop != nil {
		return nil, fmt.Errorf("stage: %w", w.e.stop)
	}
	w.e.lastID++
	st := &staged{e: w.e, id: w.e.lastID, size: int64(len(w.data))}
	w.e.bodies[st.id] = &body{data: w.data, staged: 1}
	w.data = nil
	return st, nil
}

// Discard is of store.BlobWriter.
func (w *writer) Discard() {
	w.closed, w.data = true, nil
}

// Size is of store.Staged.
func (s *staged) Size() int64 { return s.size }

// Discard is of store.Staged.
func (s *staged) Discard() {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if !s.spent {
		s.spent = true
		delete(s.e.bodies, s.id)
	}
}
