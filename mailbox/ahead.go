package mailbox

import (
	"context"

	"github.com/samotop/samotop/store"
)

const (
	aheadBody   = 64 << 10  // largest body that is read ahead, octets
	aheadOctets = 512 << 10 // of bodies read ahead at once
	aheadMost   = 64        // bodies read ahead at once
)

// ahead holds the bodies of some messages of a page. The more messages in a row are read, the more are read at once.
type ahead struct {
	lo, hi int // the messages of the page that were looked at
	window int
	buf    []byte
	bodies []span // of each of them; empty: not read
}

// small returns the whole body of a small message, from what was read ahead; nil if it must be read by itself.
func (c *content) small(ctx context.Context) ([]byte, error) {
	if c.page == nil || c.body > aheadBody || c.body == 0 {
		return nil, nil
	}
	a := &c.page.ahead
	if c.index < a.lo || c.index >= a.hi {
		if a.window = 2 * a.window; c.index != a.hi || a.window == 0 {
			a.window = 1
		}
		a.window = min(a.window, aheadMost)
		if err := a.load(ctx, c.m, c.page, c.index); err != nil {
			a.lo, a.hi = 0, 0
			return nil, err
		}
	}
	s := a.bodies[c.index-a.lo]
	if int64(s.hi-s.lo) != c.body {
		return nil, nil
	}
	return a.buf[s.lo:s.hi], nil
}

// load reads the small bodies from message i on, in one View.
func (a *ahead) load(ctx context.Context, m *Mailbox, p *page, i int) error {
	a.lo, a.buf, a.bodies = i, a.buf[:0], a.bodies[:0]
	var ar arena
	var sizes []int64
	var keys [][]byte
	total := int64(0)
	for a.hi = i; a.hi < len(p.msgs) && a.hi < i+a.window; a.hi++ {
		sum, err := decodeSummary(p.get(p.msgs[a.hi].summary))
		if err != nil {
			return err
		}
		size := sum.Body
		if size > aheadBody {
			size = 0
		}
		if total += size; total > aheadOctets && a.hi > i {
			break
		}
		sizes, keys = append(sizes, size), append(keys, ar.bodyKey(&sum.Hash))
	}
	return m.eng.View(ctx, func(r store.Reader) error {
		a.buf, a.bodies = a.buf[:0], a.bodies[:0]
		rows, err := r.GetMulti(ctx, keys)
		if err != nil {
			return err
		}
		for k, v := range rows {
			at := len(a.buf)
			if v != nil && sizes[k] > 0 {
				_, ref, err := store.SplitRef(v)
				if err != nil {
					return err
				}
				if a.buf, err = r.Blob(ctx, a.buf, ref, 0, sizes[k]); err != nil {
					return err
				}
			}
			a.bodies = append(a.bodies, span{at, len(a.buf)})
		}
		return nil
	})
}
