package mailbox

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/samotop/samotop/store"
)

// mergeBatchOctets is about how much of a merged block is written at once.
const mergeBatchOctets = 2 << 20

// mergeBlocks merges the last blocks of an account's index if there are many of about a size. What is left behind by
// one that was interrupted is removed before the number of its block is used again.
func (m *Mailbox) mergeBlocks(ctx context.Context, a accountID) (merged bool, err error) {
	var old indexRow
	err = m.eng.View(ctx, func(r store.Reader) error {
		old, err = readIndex(ctx, r, a)
		return err
	})
	if err != nil {
		return false, err
	}
	from := mergeFrom(old.blocks)
	if from < 0 {
		return false, nil
	}
	list := old.blocks[from:]
	last := list[len(list)-1]
	n := uint32(last.first + emailID(last.n) - list[0].first)
	block := indexBlock{no: old.next, first: list[0].first, n: n, bits: rowBits(n)}
	w := &mergeWriter{m: m, ctx: ctx, account: a, began: time.Now()}
	w.batch.Ops = append(w.batch.Ops, dropBlock(a, block.no))
	if err := w.merge(&block, list); err != nil {
		return false, err
	}
	now := indexRow{next: old.next + 1, blocks: append(slices.Clone(old.blocks[:from]), block)}
	putIndex(&w.batch, a, &old, &now)
	for i := range list {
		w.batch.Ops = append(w.batch.Ops, dropBlock(a, list[i].no))
	}
	return true, w.flush()
}

// mergeFrom is where the blocks begin that are to be merged, up to the last one; -1: nowhere. A block that is larger than all
// after it together is left as it is: else a few small ones would have it written anew again and again.
func mergeFrom(blocks []indexBlock) int {
	for level := range 12 {
		from := len(blocks)
		for from > 0 && blocks[from-1].level() <= level {
			from--
		}
		rest := uint64(0)
		for i := from; i < len(blocks); i++ {
			rest += uint64(blocks[i].n)
		}
		for from < len(blocks) {
			if rest -= uint64(blocks[from].n); uint64(blocks[from].n) <= rest {
				break
			}
			from++
		}
		if len(blocks)-from >= indexFanOut && int64(blocks[len(blocks)-1].first)-int64(blocks[from].first) < 1<<28 {
			return from
		}
	}
	return -1
}

// mergeWriter writes a merged block in bounded batches. Nothing refers to it before the last one.
type mergeWriter struct {
	m       *Mailbox
	ctx     context.Context //nolint:containedctx // it lives as long as one call
	account accountID
	batch   store.Batch
	octets  int
	began   time.Time
	err     error
}

func (w *mergeWriter) flush() error {
	if w.err == nil {
		w.err = store.Commit(w.ctx, w.m.eng, &w.batch)
	}
	w.batch, w.octets = store.Batch{}, 0
	w.began = w.m.breathe(w.began)
	return w.err
}

func (w *mergeWriter) put(block, row uint32, value []byte) {
	w.batch.Ops = append(w.batch.Ops, store.Put(appendPostingsKey(nil, w.account, block, row), value))
	if w.octets += len(value) + 32; w.octets >= mergeBatchOctets {
		w.flush()
	}
}

// merge writes the rows of a block that stands for those of the list.
func (w *mergeWriter) merge(block *indexBlock, list []indexBlock) error {
	live, err := w.liveEmails(block)
	if err != nil {
		return err
	}
	cursors := make([]*blockCursor, len(list))
	var all []uint32
	for i := range list {
		cursors[i] = &blockCursor{w: w, block: &list[i], shift: uint32(list[i].first - block.first)}
		cursors[i].whole = live.hasAll(cursors[i].shift, list[i].n)
		if all, err = cursors[i].always(all); err != nil {
			return err
		}
		if err := cursors[i].next(); err != nil {
			return err
		}
	}
	out := rowWriter{block: block, put: func(row uint32, value []byte) { w.put(block.no, row, value) }}
	var merged postings
	for w.err == nil {
		t := uint32(terms)
		for _, c := range cursors {
			t = min(t, c.term)
		}
		if t == terms {
			break
		}
		merged = postings{list: merged.list[:0]}
		for _, c := range cursors {
			if c.term != t {
				continue
			}
			if err := c.appendTo(&merged, live); err != nil {
				return err
			}
			if err := c.next(); err != nil {
				return err
			}
		}
		if len(merged.list) > 0 {
			out.termList(t, merged.list)
		}
	}
	out.flush()
	all = slices.DeleteFunc(all, func(e uint32) bool { return !live.has(e) })
	if len(all) > 0 {
		w.put(block.no, allRow, appendPostings(nil, all))
	}
	return w.err
}

// emailSet is a set of the emails of a block.
type emailSet []uint64

func newEmailSet(n uint32) emailSet { return make(emailSet, (n+63)/64) }

func (s emailSet) has(e uint32) bool { return s[e/64]&(1<<(e%64)) != 0 }
func (s emailSet) add(e uint32)      { s[e/64] |= 1 << (e % 64) }

// hasAll reports whether n emails from one on are all there.
func (s emailSet) hasAll(from, n uint32) bool {
	for e := from; e < from+n; e++ {
		if !s.has(e) {
			return false
		}
	}
	return true
}

// liveEmails are those of the block that are still there.
func (w *mergeWriter) liveEmails(block *indexBlock) (emailSet, error) {
	live := newEmailSet(block.n)
	err := w.m.eng.View(w.ctx, func(r store.Reader) error {
		var ar arena
		lo := ar.longKey(kindEmail, w.account, uint64(block.first))
		hi := ar.longKey(kindEmail, w.account, uint64(block.first)+uint64(block.n))
		for kv, err := range r.Scan(w.ctx, lo, hi, false) {
			if err != nil {
				return err
			}
			live.add(uint32(lastUint64(kv.Key) - uint64(block.first)))
		}
		return nil
	})
	return live, err
}

// cursorRows is how many rows a cursor reads at once.
const cursorRows = 16

// blockCursor goes through the terms of a block in order.
type blockCursor struct {
	w     *mergeWriter
	block *indexBlock
	shift uint32 // of its emails in the merged block
	whole bool   // all its emails are still there

	term uint32 // terms at the end
	list []byte

	rows [][]byte
	nos  []uint32
	from uint32 // next row to read
	done bool
	d    decoder
	last uint32
}

func (c *blockCursor) always(all []uint32) ([]uint32, error) {
	err := c.w.m.eng.View(c.w.ctx, func(r store.Reader) error {
		v, err := r.GetMulti(c.w.ctx, [][]byte{appendPostingsKey(nil, c.w.account, c.block.no, allRow)})
		if err != nil || v[0] == nil {
			return err
		}
		d := decoderOf(v[0])
		for at := c.shift; len(d.B) > 0 && !d.Bad; {
			at += uint32(d.Uint())
			all = append(all, at)
		}
		return d.err("the text index")
	})
	return all, err
}

// next goes to the next term.
func (c *blockCursor) next() error {
	for len(c.d.B) == 0 {
		if len(c.rows) == 0 {
			if c.done {
				c.term = terms
				return nil
			}
			if err := c.read(); err != nil {
				return err
			}
			continue
		}
		c.d, c.last = decoderOf(c.rows[0]), c.nos[0]<<(termBits-c.block.bits)
		c.rows, c.nos = c.rows[1:], c.nos[1:]
	}
	c.last += uint32(c.d.Uint())
	c.list = c.d.Bytes()
	c.term = c.last
	if c.d.Bad || c.term >= terms {
		c.d.Fail()
	}
	return c.d.err("the text index")
}

func (c *blockCursor) read() error {
	return c.w.m.eng.View(c.w.ctx, func(r store.Reader) error {
		lo := appendPostingsKey(nil, c.w.account, c.block.no, c.from)
		hi := appendPostingsKey(nil, c.w.account, c.block.no, allRow)
		c.done = true
		for kv, err := range r.Scan(c.w.ctx, lo, hi, false) {
			if err != nil {
				return err
			}
			if len(c.rows) == cursorRows {
				c.done = false
				break
			}
			no := lastUint32(kv.Key)
			c.rows, c.nos, c.from = append(c.rows, slices.Clone(kv.Value)), append(c.nos, no), no+1
		}
		return nil
	})
}

// postings is a list of ascending emails in the form of appendPostings, that is being made.
type postings struct {
	list []byte
	last uint32
}

func (p *postings) add(e uint32) {
	p.list = binary.AppendUvarint(p.list, uint64(e-p.last))
	p.last = e
}

// appendTo adds the emails of the term that are still there. The list of a block that has lost none is taken as it is, but for
// its first number.
func (c *blockCursor) appendTo(p *postings, live emailSet) error {
	d := decoderOf(c.list)
	at := c.shift + uint32(d.Uint())
	if c.whole && !d.Bad {
		p.add(at)
		p.list = append(p.list, d.B...)
		for len(d.B) > 0 {
			if x := d.B[0]; x < 0x80 {
				p.last += uint32(x)
				d.B = d.B[1:]
			} else {
				p.last += uint32(d.Uint())
			}
		}
		if p.last >= c.shift+c.block.n {
			d.Fail()
		}
		return d.err("the text index")
	}
	for !d.Bad {
		if at < c.shift+c.block.n && live.has(at) {
			p.add(at)
		}
		if len(d.B) == 0 {
			break
		}
		at += uint32(d.Uint())
	}
	return d.err("the text index")
}
