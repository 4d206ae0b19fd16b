package log

import (
	"bytes"

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
	for _, k := range keys {
		if c, ok := o.rows[string(k)]; ok && c.order >= first && c.order < next {
			delete(o.rows, string(k))
			if c.keep && !failed && !o.cutAfter(k, c.order) {
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
}
