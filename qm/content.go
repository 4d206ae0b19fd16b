package qm

import (
	"bytes"
	"context"
	"io"

	"github.com/samotop/samotop/store"
)

// contentOctets is how much of a body is read in one view.
const contentOctets = 256 << 10

// content reads the body of a message: from memory, or from the engine piece by piece, so that a slow peer holds no
// view open.
func (q *QM) content(ctx context.Context, m *message) io.Reader {
	q.mu.Lock()
	body := m.body
	q.mu.Unlock()
	if body != nil {
		return bytes.NewReader(body)
	}
	return &bodyReader{ctx: ctx, q: q, m: m}
}

type bodyReader struct {
	ctx  context.Context
	q    *QM
	m    *message
	off  int64
	buf  []byte
	rest []byte
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.rest) == 0 {
		if r.off >= r.m.row.size {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *bodyReader) fill() error {
	key := messageKey(r.m.id)
	err := r.q.cfg.Engine.View(r.ctx, func(v store.Reader) error {
		row, err := v.Get(r.ctx, key)
		if err != nil {
			return err
		}
		_, ref, err := store.SplitRef(row)
		if err != nil {
			return err
		}
		r.buf, err = v.Blob(r.ctx, r.buf[:0], ref, r.off, min(contentOctets, r.m.row.size-r.off))
		return err
	})
	if err != nil {
		return err
	}
	if len(r.buf) == 0 {
		return io.ErrUnexpectedEOF
	}
	r.off += int64(len(r.buf))
	r.rest = r.buf
	return nil
}
