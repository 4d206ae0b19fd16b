package mailbox

import (
	"context"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// textPlan is what the index can tell of criteria: emails must have all of the terms, and for each alternative be
// proposed by one of its plans. Nil tells nothing.
type textPlan struct {
	terms []uint32
	or    [][2]*textPlan
}

// maxNeedleTerms is how many terms of one needle are asked for; of longer ones, some from everywhere.
const maxNeedleTerms = 24

// planText makes a plan of criteria; nil if the index cannot tell anything of them.
func planText(c *imap.Criteria) *textPlan {
	p := &textPlan{}
	p.and(c)
	if len(p.terms) == 0 && len(p.or) == 0 {
		return nil
	}
	slices.Sort(p.terms)
	p.terms = slices.Compact(p.terms)
	return p
}

func (p *textPlan) and(c *imap.Criteria) {
	for _, list := range [...][]string{c.Body, c.Text} {
		for _, needle := range list {
			p.needle(imap.Fold(needle))
		}
	}
	for i := range c.Or {
		a, b := planText(&c.Or[i][0]), planText(&c.Or[i][1])
		if a != nil && b != nil {
			p.or = append(p.or, [2]*textPlan{a, b})
		}
	}
	for i := range c.Not { // NOT NOT is how keys in parentheses and filters come
		if n := &c.Not[i]; len(n.Not) == 1 && onlyNot(n) {
			p.and(&n.Not[0])
		}
	}
}

// onlyNot tells whether criteria are nothing but their Not.
func onlyNot(c *imap.Criteria) bool {
	left := *c
	left.Not = nil
	return isEmpty(&left)
}

func (p *textPlan) needle(s string) {
	n := len(s) - 2
	if n <= 0 {
		return
	}
	step := max(1, (n+maxNeedleTerms-1)/maxNeedleTerms)
	for i := 0; i < n; i += step {
		p.terms = append(p.terms, termOf(s[i], s[i+1], s[i+2]))
	}
	p.terms = append(p.terms, termOf(s[n-1], s[n], s[n+1]))
}

// all lists the terms of the plan and of its alternatives.
func (p *textPlan) all(list []uint32) []uint32 {
	list = append(list, p.terms...)
	for _, o := range p.or {
		list = o[1].all(o[0].all(list))
	}
	return list
}

// propose limits a set of messages to those that the index proposes, and those that it does not cover.
func (s *selected) propose(ctx context.Context, set imap.UIDSet, plan *textPlan) (out imap.UIDSet, err error) {
	want := plan.all(nil)
	slices.Sort(want)
	want = slices.Compact(want)
	err = s.m.eng.View(ctx, func(r store.Reader) error {
		q := &indexQuery{ctx: ctx, r: r, account: s.account.id, want: want, plan: plan, limit: set.Len() / 2}
		row, err := readIndex(ctx, r, q.account)
		if err != nil {
			return err
		}
		for i := range row.blocks {
			if err := q.block(&row.blocks[i]); err != nil || q.over() {
				out = set
				return err
			}
		}
		if err := q.after(row.upTo()); err != nil || q.over() {
			out = set
			return err
		}
		out, err = q.places(s.id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, nil
	}
	slices.SortFunc(out, func(a, b imap.UIDRange) int { return int(int64(a.Start) - int64(b.Start)) })
	var sorted imap.UIDSet
	for _, r := range out {
		sorted.AddRange(r.Start, r.Stop)
	}
	return sorted.Intersect(set), nil
}

// indexQuery is one search in the index of an account.
type indexQuery struct {
	ctx     context.Context //nolint:containedctx // it lives as long as one View
	r       store.Reader
	account accountID
	want    []uint32 // terms
	plan    *textPlan
	found   []emailID
	limit   int
}

// over tells that so many are proposed that one may as well look at all messages.
func (q *indexQuery) over() bool { return len(q.found) > max(q.limit, 64) }

// block adds the emails that a block proposes.
func (q *indexQuery) block(b *indexBlock) error {
	keys := [][]byte{appendPostingsKey(nil, q.account, b.no, allRow)}
	var rows []uint32
	for _, t := range q.want {
		if row := b.row(t); len(rows) == 0 || rows[len(rows)-1] != row {
			rows = append(rows, row)
			keys = append(keys, appendPostingsKey(nil, q.account, b.no, row))
		}
	}
	values, err := q.r.GetMulti(q.ctx, keys)
	if err != nil {
		return err
	}
	sets := make(map[uint32]emailSet, len(q.want))
	for i, row := range rows {
		if err := q.row(b, row, values[i+1], sets); err != nil {
			return err
		}
	}
	found := q.plan.eval(sets, b.n)
	if values[0] != nil {
		if found == nil {
			found = newEmailSet(b.n)
		}
		if err := found.addList(values[0], b.n); err != nil {
			return err
		}
	}
	for i, w := range found {
		for ; w != 0; w &= w - 1 {
			q.found = append(q.found, b.first+emailID(64*i+bits.TrailingZeros64(w)))
		}
	}
	return nil
}

// row decodes the wanted terms of a row.
func (q *indexQuery) row(b *indexBlock, row uint32, value []byte, sets map[uint32]emailSet) error {
	d := decoderOf(value)
	at := row << (termBits - b.bits)
	for len(d.B) > 0 {
		at += uint32(d.Uint())
		list := d.Bytes()
		if _, ok := slices.BinarySearch(q.want, at); ok && !d.Bad {
			set := newEmailSet(b.n)
			if err := set.addList(list, b.n); err != nil {
				return err
			}
			sets[at] = set
		}
	}
	return d.err("the text index")
}

// addList adds a list as appendPostings made it.
func (s emailSet) addList(list []byte, n uint32) error {
	d := decoderOf(list)
	for at := uint64(0); len(d.B) > 0; {
		if at += d.Uint(); at >= uint64(n) {
			d.Fail()
			break
		}
		s.add(uint32(at))
	}
	return d.err("the text index")
}

// eval returns the emails of a block that a plan proposes; nil: none.
func (p *textPlan) eval(sets map[uint32]emailSet, n uint32) emailSet {
	var out emailSet
	first := true
	and := func(s emailSet) {
		if first {
			out, first = slices.Clone(s), false
			return
		}
		for i := range out {
			out[i] &= s[i]
		}
	}
	for _, t := range p.terms {
		s := sets[t]
		if s == nil {
			return nil
		}
		and(s)
	}
	for _, o := range p.or {
		a, b := o[0].eval(sets, n), o[1].eval(sets, n)
		switch {
		case a == nil && b == nil:
			return nil
		case a == nil:
			a = b
		case b != nil:
			for i := range a {
				a[i] |= b[i]
			}
		}
		and(a)
	}
	return out
}

// after adds the emails that the index does not cover.
func (q *indexQuery) after(e emailID) error {
	var ar arena
	lo := ar.longKey(kindEmail, q.account, uint64(e)+1)
	for kv, err := range q.r.Scan(q.ctx, lo, after(appendAccountKey(nil, kindEmail, q.account)), false) {
		if err != nil {
			return err
		}
		if q.found = append(q.found, emailID(lastUint64(kv.Key))); q.over() {
			return nil
		}
	}
	return nil
}

// places finds the messages of a mailbox that the emails found are, in no order.
func (q *indexQuery) places(id boxID) (out imap.UIDSet, err error) {
	keys := make([][]byte, len(q.found))
	for i, e := range q.found {
		keys[i] = binary.BigEndian.AppendUint64(appendAccountKey(make([]byte, 0, 17), kindEmail, q.account), uint64(e))
	}
	rows, err := q.r.GetMulti(q.ctx, keys)
	if err != nil {
		return nil, err
	}
	for _, v := range rows {
		if v == nil {
			continue // gone
		}
		row, err := decodeEmail(v)
		if err != nil {
			return nil, err
		}
		for _, p := range row.Places {
			if p.Box == id {
				out = append(out, imap.UIDRange{Start: imap.UID(p.UID), Stop: imap.UID(p.UID)})
			}
		}
	}
	return out, nil
}
