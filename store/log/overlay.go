package log

import (
	"bytes"

	"github.com/samotop/samotop/store"
)

// overlay is what was submitted and is not yet in the index: assertions see through it. The engine's lock guards it.
type overlay struct {
	rows   map[string]change
	ranges []cut
	order  uint64
}

// change is the last submitted operation on a row.
type change struct {
	order  uint64
	value  []byte
	gone   bool
	placed bool // value is final; before, nobody can know the row's Ref
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
		case store.OpDelete:
			o.rows[string(op.Key)] = change{order: o.order, gone: true, placed: true}
		default:
			o.rows[string(op.Key)] = change{order: o.order, value: e.values[i], placed: !e.pending[i]}
		}
		o.order++
	}
	return first, o.order
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
	return c, ok
}

// settle forgets the changes of a batch that is in the index now.
func (o *overlay) settle(keys [][]byte, first, next uint64) {
	for _, k := range keys {
		if c, ok := o.rows[string(k)]; ok && c.order >= first && c.order < next {
			delete(o.rows, string(k))
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
