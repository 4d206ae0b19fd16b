package mailbox

import (
	"cmp"
	"context"
	"encoding/binary"
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
		q.weights = make([]float64, len(want))
		for i := range q.weights {
			q.weights[i] = unknownWeight
		}
		for i := len(row.blocks) - 1; i >= 0; i-- { // the smallest first: it tells which terms are rare
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
	want    []uint32  // terms
	weights []float64 // of each term: octets of its list for one email, in the last block that it was read of
	plan    *textPlan
	found   []emailID
	limit   int
}

// over tells that so many are proposed that one may as well look at all messages.
func (q *indexQuery) over() bool { return len(q.found) > max(q.limit, 64) }

// block adds the emails that a block proposes.
func (q *indexQuery) block(b *indexBlock) error {
	x := &blockQuery{q: q, b: b, lists: make([][]byte, len(q.want)), read: make([]bool, len(q.want))}
	found, err := x.eval(q.plan)
	if err != nil {
		return err
	}
	values, err := q.r.GetMulti(q.ctx, [][]byte{appendPostingsKey(nil, q.account, b.no, allRow)})
	if err != nil {
		return err
	}
	if values[0] != nil {
		always, err := decodePostings(values[0], b.n)
		if err != nil {
			return err
		}
		found = union(found, always)
	}
	for _, e := range found {
		q.found = append(q.found, b.first+emailID(e))
	}
	return nil
}

// blockQuery asks one block. The rows of terms that most emails have are long: rare terms are asked for first, and the
// others only if that costs less than to look into the emails that are left.
type blockQuery struct {
	q     *indexQuery
	b     *indexBlock
	lists [][]byte // of the terms of q.want, as far as they were read
	read  []bool
}

// confirmOctets are about as many octets of lists as are gone through in the time that it takes to look into one email.
const confirmOctets = 16 << 10

// eval returns the emails of the block that a plan proposes, in order.
func (x *blockQuery) eval(p *textPlan) (out []uint32, err error) {
	first := true
	terms := x.rarest(p.terms)
	for n := 2; len(terms) > 0; n *= 2 {
		some := terms[:min(n, len(terms))]
		terms = terms[len(some):]
		if !first && float64(len(out))*confirmOctets < x.expected(some) {
			break
		}
		if err := x.load(some); err != nil {
			return nil, err
		}
		slices.SortFunc(some, func(a, b int) int { return len(x.lists[a]) - len(x.lists[b]) })
		for _, t := range some {
			if first {
				out, err = decodePostings(x.lists[t], x.b.n)
			} else {
				out, err = keepPostings(out, x.lists[t], x.b.n)
			}
			if first = false; err != nil || len(out) == 0 {
				return nil, err
			}
		}
	}
	for _, o := range p.or {
		one, err := x.eval(o[0])
		if err != nil {
			return nil, err
		}
		other, err := x.eval(o[1])
		if err != nil {
			return nil, err
		}
		if one = union(one, other); !first {
			one = intersection(out, one)
		}
		if out, first = one, false; len(out) == 0 {
			return nil, nil
		}
	}
	return out, nil
}

// unknownWeight is that of a term whose list was not read yet: as if each email had it, so that it is asked for only where
// many emails are left, or few are in the block.
const unknownWeight = 1

// rarest returns the places of terms in q.want, those first that few emails have, as far as is known.
func (x *blockQuery) rarest(terms []uint32) []int {
	places := make([]int, len(terms))
	for i, t := range terms {
		places[i], _ = slices.BinarySearch(x.q.want, t)
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(x.q.weights[a], x.q.weights[b]) })
	return places
}

// expected is how many octets the lists of terms are likely to have together, without those that were read.
func (x *blockQuery) expected(places []int) (octets float64) {
	for _, t := range places {
		if !x.read[t] {
			octets += x.q.weights[t] * float64(x.b.n)
		}
	}
	return octets
}

// load reads the lists of terms.
func (x *blockQuery) load(places []int) error {
	q, b := x.q, x.b
	var keys [][]byte
	var rows []uint32
	for _, t := range places {
		if row := b.row(q.want[t]); !x.read[t] && !slices.Contains(rows, row) {
			rows = append(rows, row)
			keys = append(keys, appendPostingsKey(make([]byte, 0, 17), q.account, b.no, row))
		}
	}
	values, err := q.r.GetMulti(q.ctx, keys)
	if err != nil {
		return err
	}
	for i, row := range rows {
		if err := x.takeRow(row, values[i]); err != nil {
			return err
		}
	}
	for _, t := range places {
		x.take(t, x.lists[t])
	}
	return nil
}

// take notes the list of a term; nil if no email has it.
func (x *blockQuery) take(t int, list []byte) {
	x.lists[t], x.read[t] = list, true
	x.q.weights[t] = float64(len(list)) / float64(x.b.n)
}

// takeRow takes the lists of the wanted terms out of a row.
func (x *blockQuery) takeRow(row uint32, value []byte) error {
	d := decoderOf(value)
	at := row << (termBits - x.b.bits)
	for len(d.B) > 0 {
		at += uint32(d.Uint())
		list := d.Bytes()
		if t, ok := slices.BinarySearch(x.q.want, at); ok && !d.Bad {
			x.take(t, list)
		}
	}
	return d.err("the text index")
}

// decodePostings reads a list as appendPostings made it, of a block of n emails.
func decodePostings(list []byte, n uint32) (out []uint32, err error) {
	out = make([]uint32, 0, min(len(list), int(n)))
	at := uint64(0)
	for i := 0; i < len(list); {
		d, next := distance(list, i)
		if at += d; next < 0 || at >= uint64(n) {
			return nil, badPostings()
		}
		i = next
		out = append(out, uint32(at))
	}
	return out, nil
}

// keepPostings leaves in a list of emails those that are in another one, which is as appendPostings made it.
func keepPostings(have []uint32, list []byte, n uint32) ([]uint32, error) {
	out, k, at := have[:0], 0, uint64(0)
	for i := 0; i < len(list) && k < len(have); {
		d, next := distance(list, i)
		if at += d; next < 0 || at >= uint64(n) {
			return nil, badPostings()
		}
		i = next
		for k < len(have) && uint64(have[k]) < at {
			k++
		}
		if k < len(have) && uint64(have[k]) == at {
			out = append(out, have[k])
		}
	}
	return out, nil
}

// distance reads the distance at place i of a list, nearly always one octet, and tells where the next one is; -1 if it is none.
func distance(list []byte, i int) (d uint64, next int) {
	if b := list[i]; b < 0x80 {
		return uint64(b), i + 1
	}
	d, n := binary.Uvarint(list[i:])
	if n <= 0 || d > 1<<32 {
		return 0, -1
	}
	return d, i + n
}

func badPostings() error {
	d := decoderOf(nil)
	d.Fail()
	return d.err("the text index")
}

// union adds two ordered lists up.
func union(a, b []uint32) []uint32 {
	if len(a) == 0 || len(b) == 0 {
		return append(a, b...)
	}
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

// intersection leaves in an ordered list what is in another one.
func intersection(a, b []uint32) []uint32 {
	return slices.DeleteFunc(a, func(e uint32) bool {
		_, ok := slices.BinarySearch(b, e)
		return !ok
	})
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
