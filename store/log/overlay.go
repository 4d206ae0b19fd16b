package log

import (
	"bytes"
	"slices"

	"github.com/samotop/samotop/store"
)

// overlay is what was submitted and is not yet in the index: assertions see through it. The engine's lock guards it.
//
// It also keeps rows that are in the index already and are asserted again and again, such as the head of an account.
type overlay struct {
	rows   map[string]change
	ranges []cut
	order  uint64
	kept   map[string][]byte
	// settled is the order up to which all that was submitted is in the index, or will never be.
	settled uint64
	failed  [][2]uint64 // beyond it
	doubts  []doubt
}

// doubt is a row whose last change failed while others before it, maybe of the same row, are on their way to the index. Until
// those are there nobody knows its value, and no assertion on it holds.
type doubt struct {
	key   string
	until uint64 // order of the changes to wait for
}

// keptRows is how many rows are kept at most, of keptOctets each.
const (
	keptRows   = 1 << 14
	keptOctets = 256
)

// change is the last submitted operation on a row.
type change struct {
	order  uint64
	value  []byte
	gone   bool
	placed bool // value is final; before, nobody can know the row's Ref
	keep   bool // the batch asserted the value before
	doubt  bool
}

type cut struct {
	order  uint64
	lo, hi []byte
}

// add enters the operations of a batch and returns the order of the first and the one after the last.
func (o *overlay) add(b *store.Batch, e *encoded) (first, next uint64) {
	if o.rows == nil {
		o.rows = map[string]change{}
	}
	first = o.order
	cuts := 0
	for i := range b.Ops {
		op := &b.Ops[i]
		switch op.Kind {
		case store.OpDeleteRange:
			r := e.ranges[cuts]
			cuts++
			o.ranges = append(o.ranges, cut{order: o.order, lo: r[0], hi: r[1]})
			clear(o.kept)
		case store.OpDelete:
			o.rows[string(op.Key)] = change{order: o.order, gone: true, placed: true}
			delete(o.kept, string(op.Key))
		default:
			o.rows[string(op.Key)] = change{order: o.order, value: e.values[i], placed: !e.pending[i]}
			delete(o.kept, string(op.Key))
		}
		o.order++
	}
	for i := range b.Asserts {
		a := &b.Asserts[i]
		if c, ok := o.rows[string(a.Key)]; ok && !a.Absent && c.order >= first && c.placed && !c.gone && len(c.value) <= keptOctets {
			c.keep = true
			o.rows[string(a.Key)] = c
		}
	}
	return first, o.order
}

// keep is for a row that goes into the index.
func (o *overlay) keep(key []byte, c *change) {
	if o.kept == nil || len(o.kept) >= keptRows {
		o.kept = map[string][]byte{}
	}
	o.kept[string(key)] = bytes.Clone(c.value)
}

// lookup returns the last submitted change of a row; ok is false if the index knows better.
func (o *overlay) lookup(key []byte) (c change, ok bool) {
	c, ok = o.rows[string(key)]
	for i := range o.ranges {
		r := &o.ranges[i]
		if (!ok || r.order > c.order) && bytes.Compare(r.lo, key) <= 0 && bytes.Compare(key, r.hi) < 0 {
			c, ok = change{order: r.order, gone: true, placed: true}, true
		}
	}
	if !ok {
		if v, kept := o.kept[string(key)]; kept {
			return change{value: v, placed: true}, true
		}
	}
	return c, ok
}

// cutAfter reports whether a later range deletion takes the row away.
func (o *overlay) cutAfter(key []byte, order uint64) bool {
	for i := range o.ranges {
		if r := &o.ranges[i]; r.order > order && bytes.Compare(r.lo, key) <= 0 && bytes.Compare(key, r.hi) < 0 {
			return true
		}
	}
	return false
}

// settle forgets the changes of a batch that is in the index now, or with failed never will be.
func (o *overlay) settle(keys [][]byte, first, next uint64, failed bool) {
	if failed {
		o.undo(keys, first, next)
		return
	}
	for _, k := range keys {
		if c, ok := o.rows[string(k)]; ok && c.order >= first && c.order < next {
			delete(o.rows, string(k))
			if c.keep && !o.cutAfter(k, c.order) {
				o.keep(k, &c)
			}
		}
	}
	n := 0
	for n < len(o.ranges) && o.ranges[n].order < next {
		n++
	}
	if n > 0 {
		o.ranges = append([]cut(nil), o.ranges[n:]...)
	}
	o.settled = max(o.settled, next) // a batch without operations may end behind one that failed
	o.believe()
}

// undo takes back the changes of a batch that failed, and with which everything failed that was submitted later.
func (o *overlay) undo(keys [][]byte, first, next uint64) {
	for _, k := range keys {
		c, ok := o.rows[string(k)]
		switch {
		case !ok || c.order < first || c.order >= next:
		case o.settled >= first:
			delete(o.rows, string(k))
		default:
			o.rows[string(k)] = change{order: first, doubt: true}
			o.doubts = append(o.doubts, doubt{string(k), first})
		}
	}
	o.ranges = slices.DeleteFunc(o.ranges, func(r cut) bool { return r.order >= first && r.order < next })
	o.failed = append(o.failed, [2]uint64{first, next})
	o.believe()
}

// believe ends the doubts that nothing on its way can answer any more.
func (o *overlay) believe() {
	for len(o.failed) > 0 && o.failed[0][0] <= o.settled {
		o.settled = max(o.settled, o.failed[0][1])
		o.failed = o.failed[1:]
	}
	if len(o.failed) == 0 {
		o.failed = nil
	}
	if len(o.doubts) == 0 {
		return
	}
	o.doubts = slices.DeleteFunc(o.doubts, func(d doubt) bool {
		if d.until > o.settled {
			return false
		}
		if c, ok := o.rows[d.key]; ok && c.doubt && c.order == d.until {
			delete(o.rows, d.key)
		}
		return true
	})
}
