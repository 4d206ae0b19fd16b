package log

import (
	"context"
	"fmt"
	"slices"

	"github.com/samotop/samotop/store"
)

// runBlocks is how many blocks are read at once.
const runBlocks = 16

// readBody appends n octets of a body from off to dst.
func (e *Engine) readBody(ctx context.Context, dst []byte, b *ref, off, n int64) ([]byte, error) {
	n = min(n, b.size-off)
	var start int64 // of the extent in the body
	for _, x := range b.extents {
		if n <= 0 {
			break
		}
		if off < start+int64(x.n) {
			take := min(n, start+int64(x.n)-off)
			var err error
			if dst, err = e.readExtent(ctx, dst, b.body, x, start, off-start, take); err != nil {
				return dst, err
			}
			off, n = off+take, n-take
		}
		start += int64(x.n)
	}
	return dst, nil
}

// readExtent appends n octets of an extent from off; the extent begins at start in its body.
func (e *Engine) readExtent(ctx context.Context, dst []byte, body uint64, x extent, start, off, n int64) ([]byte, error) {
	dst = slices.Grow(dst, int(n))
	buf := e.buffer()
	defer e.recycle(buf)
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return dst, err
		}
		first := off / blockOctets
		last := min((off+n-1)/blockOctets, first+runBlocks-1)
		from, to := first*blockOctets, min((last+1)*blockOctets, int64(x.n))
		raw := framed(to - from)
		*buf = slices.Grow((*buf)[:0], int(raw))[:raw]
		at := place{x.at.seg, x.at.off + uint32(first*frameOctets)}
		got, err := e.segs.readAt(at.seg, *buf, int64(at.off))
		if err != nil {
			return dst, fmt.Errorf("body: %w", err)
		}
		if int64(got) < raw {
			return dst, damage(e.segs.path(at.seg), at, fmt.Errorf("the file ends within a body"))
		}
		if err := checkFrames(*buf, body, uint32((start+from)/blockOctets), to-from); err != nil {
			return dst, damage(e.segs.path(at.seg), at, err)
		}
		take := min(n, to-off)
		dst = appendUnframed(dst, *buf, off-from, take)
		off, n = off+take, n-take
	}
	return dst, nil
}

// appendUnframed takes n octets from off out of blocks with checksums.
func appendUnframed(dst, b []byte, off, n int64) []byte {
	for n > 0 {
		block, in := off/blockOctets, off%blockOctets
		take := min(n, blockOctets-in)
		at := block*frameOctets + in
		dst = append(dst, b[at:at+take]...)
		off, n = off+take, n-take
	}
	return dst
}

var _ store.Reader = (*reader)(nil)
