package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// blockBuilder collects the terms of the emails of a block.
type blockBuilder struct {
	first emailID
	n     uint32

	seen   []uint64 // by term: whether the current email has it
	counts []uint32 // by term: emails that have it
	list   []uint32 // terms of all emails
	walker imap.TextWalker
	page   page
	ends   []int    // of each email's terms in list
	all    []uint32 // emails that are always proposed
}

func newBlockBuilder() *blockBuilder {
	return &blockBuilder{seen: make([]uint64, terms/64), counts: make([]uint32, terms)}
}

func (b *blockBuilder) reset(first emailID) {
	b.first, b.n = first, 0
	clear(b.seen)
	clear(b.counts)
	b.list, b.ends, b.all = b.list[:0], b.ends[:0], b.all[:0]
}

// add takes a piece of the text of the current email. What it looks at of each term stays in the processor's cache.
func (b *blockBuilder) add(text []byte) {
	if len(text) < 3 {
		return
	}
	seen, list := b.seen, b.list
	run := uint32(text[0])<<8 | uint32(text[1])
	for _, z := range text[2:] {
		run = run<<8 | uint32(z)
		t := hashTerm(run)
		if w, bit := &seen[t/64], uint64(1)<<(t%64); *w&bit == 0 {
			*w |= bit
			list = append(list, t)
		}
	}
	b.list = list
}

// end ends the current email; with always, it will be proposed whatever is asked.
func (b *blockBuilder) end(always bool) {
	from := 0
	if len(b.ends) > 0 {
		from = b.ends[len(b.ends)-1]
	}
	for _, t := range b.list[from:] {
		b.seen[t/64] = 0
		b.counts[t]++
	}
	if always {
		for _, t := range b.list[from:] {
			b.counts[t]--
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

// term adds a term with its emails, which are ascending and at least one.
func (w *rowWriter) term(t uint32, emails []uint32) {
	w.list = appendPostings(w.list[:0], emails)
	w.termList(t, w.list)
}

// termList is term with the list as appendPostings makes it.
func (w *rowWriter) termList(t uint32, list []byte) {
	if row := w.block.row(t); row != w.row || len(w.value) == 0 {
		w.flush()
		w.row, w.last = row, row<<(termBits-w.block.bits)
	}
	w.value = binary.AppendUvarint(w.value, uint64(t-w.last))
	w.last = t
	w.value = appendBytes(w.value, list)
}

func (w *rowWriter) flush() {
	if len(w.value) > 0 {
		w.put(w.row, slices.Clone(w.value))
	}
	w.value = w.value[:0]
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
	from, read := 0, 0 // the emails that are in the page
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
		if i == from+read {
			from = i
			if read, err = m.readTexts(ctx, a, list[i:], &b.page); err != nil {
				return false, err
			}
		}
		if err := m.indexEmail(ctx, i-from, b); err != nil {
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

// indexEmail adds the text of one email of the builder's page. One that has gone meanwhile has none; one that cannot be read will always be
// proposed, and the search says why.
func (m *Mailbox) indexEmail(ctx context.Context, i int, b *blockBuilder) error {
	msg, err := m.text(&b.page, i)
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
