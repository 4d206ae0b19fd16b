package mailbox

import (
	"bytes"
	"slices"
	"sync"

	"github.com/samotop/samotop/store"
)

// bodyUse is a body that a commit refers to anew.
type bodyUse struct {
	hash bodyHash
	size int64
	in   *intake // its body goes into the batch if the database has no such body
	key  []byte
	gone bool   // the row is removed, by the sweeper
	next []byte // the row as this batch leaves it; nil while the engine alone knows its Ref
}

// bodyTable knows the rows of bodies that are on their way, so that batches which refer to one body can follow each
// other without waiting: each rewrites the row with the next generation and asserts the one before.
type bodyTable struct {
	stripes [64]bodyStripe
}

type bodyStripe struct {
	mu      sync.Mutex
	flights map[bodyHash]*bodyFlight
}

// bodyFlight is the row of one body as last submitted; value is nil if it is being made or removed.
type bodyFlight struct {
	value []byte
	n     int
	last  store.Pending
}

func (t *bodyTable) stripe(h *bodyHash) *bodyStripe { return &t.stripes[h[0]%64] }

// lock takes the stripes of all the bodies, in order.
func (t *bodyTable) lock(bodies []*bodyUse) (unlock func()) {
	if len(bodies) == 0 {
		return func() {}
	}
	if len(bodies) == 1 {
		s := t.stripe(&bodies[0].hash)
		s.mu.Lock()
		return s.mu.Unlock
	}
	var used [64]bool
	for _, b := range bodies {
		used[b.hash[0]%64] = true
	}
	for i := range used {
		if used[i] {
			t.stripes[i].mu.Lock()
		}
	}
	return func() {
		for i := range used {
			if used[i] {
				t.stripes[i].mu.Unlock()
			}
		}
	}
}

// addBody adds the row of a body to the batch. It needs the body's stripe. If the row's value is not known yet, it
// returns what to wait for.
func (c *commit) addBody(b *bodyUse, hints map[bodyHash][]byte) (wait store.Pending) {
	value, known := hints[b.hash]
	if !known && b.in.row != nil {
		value, known = b.in.row, true
	}
	if f := c.m.bodies.stripe(&b.hash).flights[b.hash]; f != nil {
		switch {
		case f.value != nil:
			value = f.value
		case !known:
			return f.last
		}
	}
	b.key = c.ar.bodyKey(&b.hash)
	if len(value) == 0 && b.in.staged != nil {
		row := bodyRow{Generation: 1, Size: b.size}
		c.batch.Asserts = append(c.batch.Asserts, store.Assert{Key: b.key, Absent: true})
		c.batch.Ops = append(c.batch.Ops, store.PutBlob(b.key, row.appendTo(nil), len(c.batch.Blobs)))
		c.batch.Blobs = append(c.batch.Blobs, b.in.staged)
		return nil
	}
	own, ref, err := store.SplitRef(value)
	if err != nil {
		own, ref = nil, nil
	}
	row, _ := decodeBody(own) // a damaged row is found by the reader; here it only gets another reference
	row.Generation++
	row.Size = b.size
	own = row.appendTo(nil)
	c.batch.Asserts = append(c.batch.Asserts, store.Assert{Key: b.key, Value: value})
	c.batch.Ops = append(c.batch.Ops, store.PutRef(b.key, own, ref))
	b.next = store.AppendRef(slices.Clone(own), bytes.Clone(ref))
	return nil
}

// took remembers the rows of a submitted batch. It needs the stripes.
func (t *bodyTable) took(c *commit) {
	for _, b := range c.bodies {
		s := t.stripe(&b.hash)
		f := s.flights[b.hash]
		if f == nil {
			f = &bodyFlight{}
			if s.flights == nil {
				s.flights = map[bodyHash]*bodyFlight{}
			}
			s.flights[b.hash] = f
		}
		f.value, f.last = b.next, c.p
		f.n++
		if b.next == nil && !b.gone {
			b.in.taken = true
		}
	}
}

// settle forgets the rows of a batch that has ended.
func (t *bodyTable) settle(c *commit, err error) {
	for _, b := range c.bodies {
		s := t.stripe(&b.hash)
		s.mu.Lock()
		if f := s.flights[b.hash]; f != nil {
			if f.n--; f.n == 0 {
				delete(s.flights, b.hash)
			} else if err != nil {
				f.value = nil
			}
		}
		s.mu.Unlock()
	}
}
