package log

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/samotop/samotop/store"
)

// Kinds of an operation in a record.
const (
	opPut         = 1
	opDelete      = 2
	opDeleteRange = 3
	opPutNew      = 4 // the value ends in the Ref of a new body
	opPutSame     = 5 // the value ends in the Ref that the row had
)

// The meta of a batch record: the bodies in the record (count; identity 8, octets 4 each), what is freed (count; key
// and Ref that the row had), operations (count; kind, key, and value but for a deletion). Counts and lengths are
// uvarints.

// patchAt is a Ref in an encoded batch that gets its place when the group is put together.
type patchAt struct {
	at   int // of the Ref in the meta
	body int // index of the body in the record
}

// bodyIn is a body that travels in the record of its batch.
type bodyIn struct {
	id     uint64
	n      int64
	framed []byte
}

type encoded struct {
	meta    []byte
	patches []patchAt
	inline  []bodyIn
	pending map[int]bool // operations whose Ref is not placed yet
	keys    [][]byte
	ranges  [][2][]byte
	values  [][]byte // of each operation, aliasing meta
}

// encode turns a batch into the meta of its record. Bodies are resolved already.
func encode(b *store.Batch, bodies []*staged) *encoded {
	e := &encoded{keys: make([][]byte, 0, len(b.Ops)), values: make([][]byte, len(b.Ops))}
	place := make([]int, len(bodies))
	for i, s := range bodies {
		place[i] = -1
		if s.inline != nil {
			place[i] = len(e.inline)
			e.inline = append(e.inline, bodyIn{id: s.ref.body, n: s.ref.size, framed: s.inline})
		}
	}
	freed := freedBy(b)
	m := make([]byte, 0, sizeOf(b, bodies, freed))
	m = binary.AppendUvarint(m, uint64(len(e.inline)))
	for _, in := range e.inline {
		m = le.AppendUint64(m, in.id)
		m = le.AppendUint32(m, uint32(in.n))
	}
	m = binary.AppendUvarint(m, uint64(len(freed)))
	for _, f := range freed {
		m = appendBytes(appendBytes(m, f.Key), f.Value)
	}
	m = binary.AppendUvarint(m, uint64(len(b.Ops)))
	for i := range b.Ops {
		m = e.op(m, i, &b.Ops[i], bodies, place)
	}
	e.meta = m
	return e
}

func (e *encoded) op(m []byte, i int, op *store.Op, bodies []*staged, place []int) []byte {
	kind := byte(opPut)
	switch {
	case op.Kind == store.OpDelete:
		kind = opDelete
	case op.Kind == store.OpDeleteRange:
		kind = opDeleteRange
	case op.Blob > 0:
		kind = opPutNew
	case op.Ref != nil:
		kind = opPutSame
	}
	m = appendBytes(append(m, kind), op.Key)
	key := m[len(m)-len(op.Key) : len(m) : len(m)]
	switch kind {
	case opDelete:
		e.keys = append(e.keys, key)
		return m
	case opPut, opDeleteRange:
		m = appendBytes(m, op.Value)
	case opPutSame:
		m = binary.AppendUvarint(m, uint64(len(op.Value)+len(op.Ref)+2))
		m = store.AppendRef(append(m, op.Value...), op.Ref)
		e.values[i] = m[len(m)-len(op.Value)-len(op.Ref)-2 : len(m) : len(m)]
		e.keys = append(e.keys, key)
		return m
	case opPutNew:
		s := bodies[op.Blob-1]
		n := s.ref.octets()
		m = binary.AppendUvarint(m, uint64(len(op.Value)+n+2))
		m = append(m, op.Value...)
		at := len(m)
		m = s.ref.append(m)
		m = append(m, byte(n>>8), byte(n))
		if p := place[op.Blob-1]; p >= 0 && n == oneExtent {
			e.patches = append(e.patches, patchAt{at: at, body: p})
			if e.pending == nil {
				e.pending = map[int]bool{}
			}
			e.pending[i] = true
		}
		e.values[i] = m[at-len(op.Value) : len(m) : len(m)]
		e.keys = append(e.keys, key)
		return m
	}
	value := m[len(m)-len(op.Value) : len(m) : len(m)]
	if kind == opDeleteRange {
		e.ranges = append(e.ranges, [2][]byte{key, value})
		return m
	}
	e.keys = append(e.keys, key)
	e.values[i] = value
	return m
}

// place writes where the bodies came to stand, once the body of the record is known to begin there.
func (e *encoded) place(at place) {
	for _, p := range e.patches {
		off := at.off
		for _, in := range e.inline[:p.body] {
			off += uint32(len(in.framed))
		}
		patch(e.meta[p.at:], place{at.seg, off})
	}
}

func (e *encoded) bodyOctets() int {
	n := 0
	for _, in := range e.inline {
		n += len(in.framed)
	}
	return n
}

// freedBy finds the rows with a body that the batch asserts and takes the body from.
func freedBy(b *store.Batch) []store.KV {
	var out []store.KV
	for i := range b.Asserts {
		a := &b.Asserts[i]
		if a.Absent {
			continue
		}
		_, raw, err := store.SplitRef(a.Value)
		if err != nil {
			continue
		}
		if _, ok := parseRef(raw); !ok {
			continue
		}
		if gone(b, a.Key, raw) {
			out = append(out, store.KV{Key: a.Key, Value: raw})
		}
	}
	return out
}

// gone tells whether after the batch the row of key no longer has ref.
func gone(b *store.Batch, key []byte, ref store.Ref) bool {
	lost := false
	for i := range b.Ops {
		op := &b.Ops[i]
		switch {
		case op.Kind == store.OpDeleteRange:
			lost = lost || bytes.Compare(op.Key, key) <= 0 && bytes.Compare(key, op.Value) < 0
		case bytes.Equal(op.Key, key):
			lost = !bytes.Equal(op.Ref, ref)
		}
	}
	return lost
}

func sizeOf(b *store.Batch, bodies []*staged, freed []store.KV) int {
	n := 3*binary.MaxVarintLen32 + 12*len(bodies)
	for _, f := range freed {
		n += len(f.Key) + len(f.Value) + 6
	}
	for i := range b.Ops {
		op := &b.Ops[i]
		n += 9 + len(op.Key) + len(op.Value) + len(op.Ref)
		if op.Blob > 0 {
			n += bodies[op.Blob-1].ref.octets()
		}
	}
	return n
}

func appendBytes(m, b []byte) []byte {
	return append(binary.AppendUvarint(m, uint64(len(b))), b...)
}

// cursor reads a meta; after an error every read gives nothing.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) bytes() []byte { return c.take(c.uvarint()) }

// visitor is told what a batch record says, in its order.
type visitor struct {
	body  func(id uint64, n int64) error
	freed func(key []byte, ref store.Ref) error
	op    func(kind byte, key, value []byte) error
}

func visit(meta []byte, v visitor) error {
	c := &cursor{b: meta}
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		raw := c.take(12)
		if c.bad || v.body == nil {
			continue
		}
		if err := v.body(le.Uint64(raw), int64(le.Uint32(raw[8:]))); err != nil {
			return err
		}
	}
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		key, ref := c.bytes(), c.bytes()
		if c.bad || v.freed == nil {
			continue
		}
		if err := v.freed(key, ref); err != nil {
			return err
		}
	}
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		kind := c.take(1)
		key := c.bytes()
		var value []byte
		if !c.bad && kind[0] != opDelete {
			value = c.bytes()
		}
		if c.bad || v.op == nil {
			continue
		}
		if err := v.op(kind[0], key, value); err != nil {
			return err
		}
	}
	if c.bad || len(c.b) > 0 {
		return fmt.Errorf("record of a batch does not parse: %w", store.ErrCorrupt)
	}
	return nil
}
