package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// blockBuilder collects the terms of the emails of a block.
type blockBuilder struct {
	first emailID
	n     uint32

	last   []uint32 // by term: number of the last email that has it, plus 1
	counts []uint32 // by term: emails that have it
	list   []uint32 // terms of all emails
	walker imap.TextWalker
	ends   []int    // of each email's terms in list
	all    []uint32 // emails that are always proposed
}

func newBlockBuilder() *blockBuilder {
	return &blockBuilder{last: make([]uint32, terms), counts: make([]uint32, terms)}
}

func (b *blockBuilder) reset(first emailID) {
	b.first, b.n = first, 0
	clear(b.last)
	clear(b.counts)
	b.list, b.ends, b.all = b.list[:0], b.ends[:0], b.all[:0]
}

// add takes a piece of the text of the current email.
func (b *blockBuilder) add(text []byte) {
	if len(text) < 3 {
		return
	}
	mark := b.n + 1
	x, y := text[0], text[1]
	for _, z := range text[2:] {
		if t := termOf(x, y, z); b.last[t] != mark {
			b.last[t] = mark
			b.counts[t]++
			b.list = append(b.list, t)
		}
		x, y = y, z
	}
}

// end ends the current email; with always, it will be proposed whatever is asked.
func (b *blockBuilder) end(always bool) {
	if always {
		from := 0
		if len(b.ends) > 0 {
			from = b.ends[len(b.ends)-1]
		}
		for _, t := range b.list[from:] {
			b.counts[t]--
			b.last[t] = 0
		}
		b.list = b.list[:from]
		b.all = append(b.all, b.n)
	}
	b.ends = append(b.ends, len(b.list))
	b.n++
}

// rows calls put with the rows of the block.
func (b *blockBuilder) rows(block *indexBlock, put func(row uint32, value []byte)) {
	starts := b.counts // counts become places
	at := uint32(0)
	for t, n := range b.counts {
		starts[t] = at
		at += n
	}
	emails := make([]uint32, at)
	from := 0
	for e, end := range b.ends {
		for _, t := range b.list[from:end] {
			emails[starts[t]] = uint32(e)
			starts[t]++
		}
		from = end
	}
	w := rowWriter{block: block, put: put}
	from = 0
	for t := range starts { // each is where the next one begins now
		if end := int(starts[t]); end > from {
			w.term(uint32(t), emails[from:end])
			from = end
		}
	}
	w.flush()
	if len(b.all) > 0 {
		put(allRow, appendPostings(nil, b.all))
	}
}

// rowWriter makes rows of terms that come in order.
type rowWriter struct {
	block *indexBlock
	put   func(row uint32, value []byte)
	row   uint32
	last  uint32
	value []byte
	list  []byte
}

func (w *rowWriter) term(t uint32, emails []uint32) {
	if row := w.block.row(t); row != w.row || w.value == nil {
		w.flush()
		w.row, w.last = row, row<<(termBits-w.block.bits)
		w.value = make([]byte, 0, 256)
	}
	w.value = binary.AppendUvarint(w.value, uint64(t-w.last))
	w.last = t
	w.list = appendPostings(w.list[:0], emails)
	w.value = appendBytes(w.value, w.list)
}

func (w *rowWriter) flush() {
	if len(w.value) > 0 {
		w.put(w.row, w.value)
	}
	w.value = nil
}

// appendPostings appends ascending numbers.
func appendPostings(b []byte, list []uint32) []byte {
	last := uint32(0)
	for _, n := range list {
		b = binary.AppendUvarint(b, uint64(n-last))
		last = n
	}
	return b
}

// indexBlock puts the next emails of an account into a new block, unless there are fewer than least. It reports
// whether there are more.
func (m *Mailbox) indexBlock(ctx context.Context, a accountID, least int, b *blockBuilder) (more bool, err error) {
	var old indexRow
	var list []emailPlace
	err = m.eng.View(ctx, func(r store.Reader) error {
		if old, err = readIndex(ctx, r, a); err == nil {
			list, err = emailsAfter(ctx, r, a, old.upTo(), indexBlockEmails+1)
		}
		return err
	})
	b.reset(old.upTo() + 1)
	if err != nil || len(list) == 0 || len(list) < least {
		return false, err
	}
	if len(list) > indexBlockEmails {
		list, more = list[:indexBlockEmails], true
	}
	began := time.Now()
	for i := range list {
		for b.first+emailID(b.n) < list[i].email { // gone before they were indexed
			b.end(false)
			if b.n >= 64*indexBlockEmails {
				break
			}
		}
		if len(b.list) >= indexBlockTerms || b.n >= 64*indexBlockEmails {
			more = true
			break
		}
		if err := m.indexEmail(ctx, a, &list[i], b); err != nil {
			return false, err
		}
		began = m.breathe(began)
	}
	block := indexBlock{no: old.next, first: b.first, n: b.n, bits: rowBits(b.n)}
	batch := &store.Batch{Ops: []store.Op{dropBlock(a, block.no)}} // what an interrupted merge has left
	b.rows(&block, func(row uint32, value []byte) {
		batch.Ops = append(batch.Ops, store.Put(appendPostingsKey(nil, a, block.no, row), value))
	})
	now := indexRow{next: old.next + 1, blocks: append(old.blocks[:len(old.blocks):len(old.blocks)], block)}
	putIndex(batch, a, &old, &now)
	return more, store.Commit(ctx, m.eng, batch)
}

// breathe lets deliveries have the machine: while mail comes in, the index takes a quarter of a processor.
func (m *Mailbox) breathe(began time.Time) time.Time {
	worked := time.Since(began)
	if worked < 5*time.Millisecond {
		return began
	}
	if time.Since(time.Unix(0, m.indexer.last.Load())) < indexQuiet {
		m.pause(3 * worked)
	}
	return time.Now()
}

// emailPlace is an email with one of its places.
type emailPlace struct {
	email emailID
	place
}

// emailsAfter reads the first emails after a number.
func emailsAfter(ctx context.Context, r store.Reader, a accountID, e emailID, n int) (list []emailPlace, err error) {
	var ar arena
	lo := ar.longKey(kindEmail, a, uint64(e)+1)
	for kv, err := range r.Scan(ctx, lo, after(appendAccountKey(nil, kindEmail, a)), false) {
		if err != nil {
			return nil, err
		}
		row, err := decodeEmail(kv.Value)
		if err != nil {
			return nil, err
		}
		p := emailPlace{email: emailID(lastUint64(kv.Key))}
		if len(row.Places) > 0 {
			p.place = row.Places[0]
		}
		if list = append(list, p); len(list) == n {
			break
		}
	}
	return list, nil
}

// indexEmail adds the text of one email. One that has gone meanwhile has none; one that cannot be read will always be
// proposed, and the search says why.
func (m *Mailbox) indexEmail(ctx context.Context, a accountID, e *emailPlace, b *blockBuilder) error {
	msg, err := m.textOf(ctx, a, e.place)
	if errors.Is(err, store.ErrNotFound) {
		// It may have been moved: only an email that is gone is left out.
		b.end(true)
		return nil
	}
	if err == nil {
		room := m.limits.IndexOctets
		err = b.walker.Walk(ctx, msg, func(text []byte) bool {
			room -= int64(len(text))
			b.add(text)
			return room > 0
		})
		if err == nil {
			b.end(room <= 0)
			return nil
		}
	}
	if ctx.Err() != nil || errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrClosed) {
		return err
	}
	b.end(true)
	return nil
}

// textOf opens a message for a TextWalker.
func (m *Mailbox) textOf(ctx context.Context, a accountID, at place) (*imap.Message, error) {
	var msg *imap.Message
	err := m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		v, err := r.Get(ctx, ar.msgKey(kindSummary, a, at.Box, at.UID))
		if err != nil {
			return err
		}
		sum, err := decodeSummary(v)
		if err != nil {
			return err
		}
		sh, err := decodeShared(sum.Shared)
		if err != nil {
			return err
		}
		parts, err := decodeParts(sh.parts, int64(len(sum.Prefix)))
		if err != nil {
			return err
		}
		msg = &imap.Message{Parts: parts, Content: &content{m: m, prefix: append([]byte(nil), sum.Prefix...), hash: sum.Hash, body: sum.Body}}
		return nil
	})
	return msg, err
}
