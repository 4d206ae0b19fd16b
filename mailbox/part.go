package mailbox

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// box returns a working copy of a mailbox, nil if there is none of that number.
func (p *part) box(ctx context.Context, r store.Reader, id boxID) (*box, error) {
	for _, b := range p.boxes {
		if b.id == id {
			if b.gone {
				return nil, nil
			}
			return b, nil
		}
	}
	head := p.account.boxes[id]
	if head == nil {
		v, err := p.account.get(ctx, r, p.c.ar.boxKey(kindBox, p.id, id))
		if err != nil || v == nil {
			return nil, err
		}
		row, err := decodeBox(v)
		if err != nil {
			return nil, err
		}
		head = &box{boxRow: row, id: id}
	}
	if head.gone {
		return nil, nil
	}
	b := *head
	b.RecentFrom = p.account.recentFrom(id, &b.boxRow)
	p.boxes = append(p.boxes, &b)
	return &b, nil
}

// find returns the number of the mailbox of that name, 0 if there is none.
func (p *part) find(ctx context.Context, r store.Reader, name string) (boxID, error) {
	if id, ok := p.names[name]; ok {
		return id, nil
	}
	if id, ok := p.account.names[name]; ok {
		return id, nil
	}
	v, err := p.account.get(ctx, r, p.c.ar.nameKey(kindName, p.id, name))
	if err != nil || len(v) != 4 {
		return 0, err
	}
	id := boxID(binary.BigEndian.Uint32(v))
	p.account.names[name] = id // as it is in the database, with nothing on the way
	return id, nil
}

// named is find and box together.
func (p *part) named(ctx context.Context, r store.Reader, name string) (*box, error) {
	id, err := p.find(ctx, r, name)
	if err != nil || id == 0 {
		return nil, err
	}
	return p.box(ctx, r, id)
}

// newBox makes a mailbox; addName must follow.
func (p *part) newBox(name string, use uint16) *box {
	s := p.modseq()
	p.row.Box++
	p.row.Boxes++
	b := &box{id: p.row.Box, known: true, tail: &chunk{}, boxRow: boxRow{
		UIDValidity: p.nextValidity(), UIDNext: 1, RecentFrom: 1, Created: s, Object: uint64(p.row.Box), Use: use, Name: name,
	}}
	p.boxes = append(p.boxes, b)
	p.touch(b)
	return b
}

// nextValidity gives a UIDVALIDITY that no mailbox of the account has had (RFC 3501 section 2.3.1.1).
func (p *part) nextValidity() uint32 {
	p.row.UIDValidity = max(p.row.UIDValidity+1, uint32(p.m.now().Unix()))
	return p.row.UIDValidity
}

func (p *part) setName(name string, id boxID) {
	if p.names == nil {
		p.names = map[string]boxID{}
	}
	p.names[name] = id
}

func (p *part) addName(b *box) {
	p.setName(b.Name, b.id)
	c := p.c
	c.put(c.ar.nameKey(kindName, p.id, b.Name), binary.BigEndian.AppendUint32(c.ar.take(4), uint32(b.id)))
}

func (p *part) dropName(name string) {
	p.setName(name, 0)
	p.c.batch.Ops = append(p.c.batch.Ops, store.Delete(p.c.ar.nameKey(kindName, p.id, name)))
}

// touch marks a mailbox as changed by this batch, and returns the batch's modseq.
func (p *part) touch(b *box) modSeq {
	s := p.modseq()
	if !b.changed {
		b.changed, b.S = true, s
		p.touched = append(p.touched, touch{b.id, s})
	}
	return s
}

// edit returns chunk number no of the mailbox, to be changed.
func (p *part) edit(ctx context.Context, r store.Reader, b *box, no uint32) (*chunk, error) {
	for i := len(b.edits) - 1; i >= 0; i-- {
		if b.edits[i].no == no {
			return b.edits[i].chunk, nil
		}
	}
	c := new(chunk)
	if b.tail != nil && b.tailNo == no {
		*c = *b.tail
	} else {
		v, err := p.account.get(ctx, r, p.c.ar.msgKey(kindChunk, p.id, b.id, no))
		if err != nil {
			return nil, err
		}
		if v != nil {
			if err := decodeChunk(v, c); err != nil {
				return nil, err
			}
		}
	}
	b.edits = append(b.edits, chunkEdit{no, c})
	return c, nil
}

// settleTail keeps the last chunk, which the next delivery needs, and ends the edits.
func (b *box) settleTail() {
	for _, e := range b.edits {
		if b.tail == nil && e.no == chunkOf(b.UIDNext) || b.tail != nil && e.no >= b.tailNo {
			b.tail, b.tailNo = e.chunk, e.no
		}
	}
	b.edits, b.changed, b.came, b.log, b.own = nil, false, false, logRow{}, nil
}

// count adds n messages with these flags and this size to the counters; n is 1 or -1.
func (p *part) count(b *box, n int, f imap.SystemFlags, size int64) {
	b.Messages += uint32(n)
	b.Octets += int64(n) * size
	p.row.Messages += int64(n)
	p.row.Octets += int64(n) * size
	if f&imap.FlagSeen == 0 {
		b.Unseen += uint32(n)
	}
	if f&imap.FlagDeleted != 0 {
		b.Deleted += uint32(n)
		b.DeletedSize += int64(n) * size
	}
}

// fits reports whether octets more in so many messages more are within the owner's quota. Cards do not
// count.
func (p *part) fits(o *Owner, octets, messages int64) bool {
	return (o.QuotaOctets <= 0 || p.row.Octets-p.row.FreeOctets+p.reserved.octets+octets <= o.QuotaOctets) &&
		(o.QuotaMessages <= 0 || p.row.Messages-p.row.FreeMessages+p.reserved.messages+messages <= o.QuotaMessages)
}

// words returns the keywords of a mailbox; a keyword's number is its place.
func (p *part) words(ctx context.Context, r store.Reader, b *box) ([]string, error) {
	if b.known {
		return b.keywords, nil
	}
	v, err := p.get(ctx, r, p.c.ar.boxKey(kindKeywords, p.id, b.id))
	if err != nil {
		return nil, err
	}
	if v != nil {
		if b.keywords, err = decodeKeywords(v); err != nil {
			return nil, err
		}
	}
	b.known = true
	return b.keywords, nil
}

// keywordIDs turns names into numbers, ascending, making those that are new if make is set; without it unknown names
// are left out. Names are compared without ASCII case (RFC 3501 section 2.3.2, RFC 9051).
func (p *part) keywordIDs(ctx context.Context, r store.Reader, b *box, names []string, create bool) ([]uint32, error) {
	if len(names) == 0 {
		return nil, nil
	}
	words, err := p.words(ctx, r, b)
	if err != nil {
		return nil, err
	}
	ids := make([]uint32, 0, len(names))
	made := false
	for _, n := range names {
		i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, n) })
		if i < 0 && !create {
			continue
		}
		if i < 0 {
			if err := p.m.checkKeyword(n, len(words)); err != nil {
				return nil, err
			}
			words = append(words[:len(words):len(words)], n)
			i, made = len(words)-1, true
		}
		ids = append(ids, uint32(i))
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if made {
		p.touch(b)
		b.keywords = words
		p.put(p.c.ar.boxKey(kindKeywords, p.id, b.id), appendKeywords(nil, words))
	}
	return ids, nil
}

func (m *Mailbox) checkKeyword(name string, have int) error {
	switch {
	case name == "" || len(name) > m.limits.KeywordOctets:
		return no("LIMIT", "Keyword is too long: at most %d octets", m.limits.KeywordOctets)
	case have >= m.limits.Keywords:
		return no("LIMIT", "Mailbox has %d keywords already, which is the limit", have)
	}
	return nil
}

func appendIDs(b []byte, ids []uint32) []byte {
	for _, id := range ids {
		b = binary.AppendUvarint(b, uint64(id))
	}
	return b
}

func decodeIDs(dst []uint32, b []byte) ([]uint32, error) {
	d := decoderOf(b)
	for len(d.B) > 0 {
		dst = append(dst, uint32(d.Uint()))
	}
	return dst, d.err("a message's keywords")
}

// countIDs counts the numbers in a small row's keywords.
func countIDs(b []byte) (n int) {
	for _, c := range b {
		if c < 0x80 { // the last octet of a varint
			n++
		}
	}
	return n
}
