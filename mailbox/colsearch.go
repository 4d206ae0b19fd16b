package mailbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// columnNeeds is what columns can fill in of a message.
const columnNeeds = imap.NeedDates | imap.NeedSize

// defaultColumnWorth is how many messages a command must look at for columns to be made for it.
const defaultColumnWorth = 256

// columnPage reads the next messages of a set out of the columns; false: there are none.
func (s *selected) columnPage(ctx context.Context, p *page, uids imap.UIDSet) (bool, error) {
	limit := s.m.limits.PageMessages
	return s.withColumns(ctx, false, func(c *columns) {
		p.small, p.msgs, p.next = p.small[:0], p.msgs[:0], 0
		c.each(uids, func(r *columnRow) bool {
			if len(p.msgs) == limit {
				p.next = r.uid
				return false
			}
			p.small = append(p.small, c.small(r))
			p.msgs = append(p.msgs, pageRow{uid: r.uid})
			return true
		})
	})
}

// plainSet finds the messages of a set that match criteria which need nothing but columns; false: there are none.
func (s *selected) plainSet(ctx context.Context, set imap.UIDSet, f *finder) (found imap.UIDSet, ok bool, err error) {
	var odd imap.UIDSet // without keys
	dated := f.keyed.dated()
	days := f.keyed.days()
	var inner error
	highest := modSeq(0)
	ok, err = s.withColumns(ctx, dated, func(c *columns) {
		found, odd, highest = nil, nil, 0
		if f.rest != nil {
			if inner = s.loadWords(ctx); inner != nil { // not before: the columns must not know more than it
				return
			}
		}
		var m imap.Message
		c.each(set, func(r *columnRow) bool {
			if f.rest != nil {
				var match bool
				if match, inner = s.matchRow(ctx, c, r, &m, f); !match {
					return inner == nil
				}
			}
			if dated {
				k, keyed, err := decodeKeys(r.keys(c))
				if err != nil || !keyed {
					odd.Add(imap.UID(r.uid))
					return true
				}
				if !days.has(&k) {
					return true
				}
			}
			found.Add(imap.UID(r.uid))
			highest = max(highest, r.s)
			return true
		})
	})
	if err = firstError(inner, err); err != nil || !ok {
		return nil, ok, err
	}
	f.res.ModSeq = max(f.res.ModSeq, imap.ModSeq(highest))
	if len(odd) > 0 {
		few := imap.SearchResult{}
		g := &finder{res: &few, rest: f.dates, restNeed: f.dates.Need()}
		if err := s.find(ctx, odd, g); err != nil {
			return nil, true, err
		}
		found, f.res.ModSeq = found.Union(few.UIDs), max(f.res.ModSeq, few.ModSeq)
	}
	return found, true, nil
}

func (s *selected) matchRow(ctx context.Context, c *columns, r *columnRow, m *imap.Message, f *finder) (bool, error) {
	small := smallRow{System: r.system, S: r.s, Date: r.date, Zone: r.zone, Saved: r.saved}
	m.UID, m.ModSeq, m.Size = imap.UID(r.uid), imap.ModSeq(r.s), r.size
	m.Flags = imap.Flags{System: r.system}
	if r.words != 0 {
		small.Keywords = []byte(c.words[r.words])
		var err error
		if m.Flags, err = s.words.of(&small); err != nil {
			return false, err
		}
	}
	if f.restNeed&imap.NeedDates != 0 {
		m.InternalDate, m.SaveDate = small.internalDate(), savedDate(&small)
	}
	return f.rest.Match(ctx, m)
}

// sortItem is one message of a SORT: the beginning of its first key, so that most comparisons end there.
type sortItem struct {
	first, second uint64 // octets of a text, or a number
	row           int32
	uid           uid
}

// ordering is what SORT and THREAD work on: the rows of the messages found, in order of UID.
type ordering struct {
	c    *columns
	rows []*columnRow
	odd  map[uid]sortKeys // of messages whose keys are not kept
	bad  error
}

// key decodes the sort keys of a message.
func (o *ordering) key(i int) sortKeys {
	r := o.rows[i]
	if r.keyLen > 1 {
		k, _, err := decodeKeys(r.keys(o.c))
		if err != nil {
			o.bad = err
		}
		return k
	}
	return o.odd[r.uid]
}

// order calls fn with the messages of a set. Where a mailbox is too large for columns, those of the set are made for
// this once: with the sort keys, the small rows, or both.
func (s *selected) order(ctx context.Context, set imap.UIDSet, keys, small bool, fn func(o *ordering)) error {
	var own columns
	with := func(use func(c *columns)) error {
		if own.ready {
			use(&own)
			return nil
		}
		ok, err := s.withColumns(ctx, keys, use)
		if err != nil || ok {
			return err
		}
		if err := s.columnsFor(ctx, set, keys, small, &own); err != nil {
			return err
		}
		own.ready = true
		use(&own)
		return nil
	}
	var o ordering
	if keys {
		var odd imap.UIDSet
		err := with(func(c *columns) {
			odd = nil
			c.each(set, func(r *columnRow) bool {
				if r.keyLen <= 1 {
					odd.Add(imap.UID(r.uid))
				}
				return true
			})
		})
		if err == nil && len(odd) > 0 {
			o.odd, err = s.askOdd(ctx, odd)
		}
		if err != nil {
			return err
		}
	}
	err := with(func(c *columns) {
		o.c, o.rows = c, make([]*columnRow, 0, set.Len())
		c.each(set, func(r *columnRow) bool {
			o.rows = append(o.rows, r)
			return true
		})
		fn(&o)
	})
	return firstError(err, o.bad)
}

// askOdd reads the keys of messages that have none kept out of their headers.
func (s *selected) askOdd(ctx context.Context, set imap.UIDSet) (map[uid]sortKeys, error) {
	odd := make(map[uid]sortKeys, set.Len())
	for m, err := range s.Fetch(ctx, set, imap.ThreadNeeds) {
		if err != nil {
			return nil, err
		}
		k, err := s.m.keysOf(ctx, m)
		if err != nil && !isExpunged(err) {
			return nil, err
		}
		odd[uid(m.UID)] = k
	}
	return odd, nil
}

// keysOf is makeKeys for a message of any size.
func (m *Mailbox) keysOf(ctx context.Context, msg *imap.Message) (k sortKeys, err error) {
	e, err := imap.SortEntryOf(ctx, msg, append([]imap.SortKey{{Key: "DATE"}}, everyKey...))
	if err != nil {
		return k, err
	}
	t, err := imap.ThreadEntryOf(ctx, msg)
	if err != nil {
		return k, err
	}
	k = sortKeys{hasDate: true, sent: e.Sent.Unix(), reply: t.Reply, subject: []byte(e.Subject), from: []byte(e.From), to: []byte(e.To),
		cc: []byte(e.Cc), displayFrom: []byte(e.DisplayFrom), displayTo: []byte(e.DisplayTo), msgID: m.threadNumber(t.MessageID)}
	for _, r := range t.Refs {
		k.refs = binary.BigEndian.AppendUint64(k.refs, m.threadNumber(r))
	}
	return k, nil
}

// columnsFor makes columns of a set, for one command.
func (s *selected) columnsFor(ctx context.Context, set imap.UIDSet, keys, small bool, c *columns) error {
	c.words, c.wordNo = []string{""}, map[string]uint32{"": 0}
	c.rows = make([]columnRow, 0, set.Len())
	return s.m.eng.View(ctx, func(r store.Reader) error {
		if keys && !small {
			if ok, err := s.keysFor(ctx, r, set, c); ok || err != nil {
				return err
			}
			c.rows, c.slab = c.rows[:0], nil
		}
		var inner error
		err := s.smallRows(ctx, r, s.id, set, func(u uid, v []byte) bool {
			c.rows = append(c.rows, columnRow{uid: u})
			inner = c.set(&c.rows[len(c.rows)-1], v)
			return inner == nil
		})
		if err = firstError(inner, err); err != nil || !keys || len(c.rows) == 0 {
			return err
		}
		return c.readKeys(ctx, r, s, 0)
	})
}

const keysSample = 1024

// keysFor is columnsFor with the sort keys, and of the small rows only what a message without a date needs; false: some
// have no row of sort keys, or have gone.
func (s *selected) keysFor(ctx context.Context, r store.Reader, set imap.UIDSet, c *columns) (ok bool, err error) {
	var dateless imap.UIDSet
	err = s.account.id.rows(ctx, r, kindSort, s.id, set, func(u uid, v []byte) bool {
		c.rows = append(c.rows, columnRow{uid: u, key: uint32(len(c.slab)), keyLen: uint16(len(v))})
		c.slab = append(c.slab, v...)
		if len(c.rows) == keysSample { // all at once, by the size of the first ones
			c.slab = slices.Grow(c.slab, len(c.slab)/keysSample*9/8*set.Len())
		}
		if !hasDate(v) {
			dateless.Add(imap.UID(u))
		}
		return true
	})
	if err != nil || len(c.rows) != set.Len() {
		return false, err
	}
	var inner error
	err = s.smallRows(ctx, r, s.id, dateless, func(u uid, v []byte) bool { // INTERNALDATE stands for it
		if i, ok := c.find(u); ok {
			inner = c.set(&c.rows[i], v)
		}
		return inner == nil
	})
	return true, firstError(inner, err)
}

// sortSet answers SORT for the messages of a set (RFC 5256 section 3: equal ones in order of UID, also under REVERSE).
func (s *selected) sortSet(ctx context.Context, set imap.UIDSet, keys []imap.SortKey) (out []imap.UID, err error) {
	needKeys := imap.SortNeeds(keys)&imap.NeedHeader != 0
	needSmall := slices.ContainsFunc(keys, func(k imap.SortKey) bool { return k.Key == "ARRIVAL" || k.Key == "SIZE" })
	err = s.order(ctx, set, needKeys, needSmall, func(o *ordering) {
		values := o.values(keys, needKeys)
		items := make([]sortItem, len(o.rows))
		for i := range items {
			items[i] = sortItem{row: int32(i), uid: o.rows[i].uid}
			items[i].first, items[i].second = values[0].first(i)
		}
		if values[0].texts == nil {
			values = values[1:] // the first is told by the items
		}
		slices.SortFunc(items, func(a, b sortItem) int {
			if a.first != b.first {
				return cmp.Compare(a.first, b.first)
			}
			if a.second != b.second {
				return cmp.Compare(a.second, b.second)
			}
			for n := range values {
				if d := values[n].compare(int(a.row), int(b.row)); d != 0 {
					return d
				}
			}
			return cmp.Compare(a.uid, b.uid)
		})
		out = make([]imap.UID, len(items))
		for i := range items {
			out[i] = imap.UID(items[i].uid)
		}
	})
	return out, err
}

// sortValues are the values of one key of SORT, numbers or texts.
type sortValues struct {
	numbers []int64
	texts   [][]byte
	reverse bool
}

// values reads the keys of all messages.
func (o *ordering) values(keys []imap.SortKey, needKeys bool) []sortValues {
	list := make([]sortValues, len(keys))
	for n := range keys {
		v := &list[n]
		v.reverse = keys[n].Reverse
		switch keys[n].Key {
		case "ARRIVAL", "DATE", "SIZE":
			v.numbers = make([]int64, len(o.rows))
		default:
			v.texts = make([][]byte, len(o.rows))
		}
	}
	var k sortKeys
	for i, r := range o.rows {
		if needKeys {
			k = o.key(i)
		}
		for n := range keys {
			switch v := &list[n]; keys[n].Key {
			case "ARRIVAL":
				v.numbers[i] = r.date
			case "DATE":
				v.numbers[i] = k.sentAt(r.date)
			case "SIZE":
				v.numbers[i] = r.size
			default:
				v.texts[i] = k.text(keys[n].Key)
			}
		}
	}
	return list
}

// first is two numbers that order as the values do, as far as they reach.
func (v *sortValues) first(i int) (n, more uint64) {
	if v.texts != nil {
		var b [16]byte
		copy(b[:], v.texts[i])
		n, more = binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	} else {
		n = uint64(v.numbers[i]) ^ 1<<63
	}
	if v.reverse {
		n, more = ^n, ^more
	}
	return n, more
}

func (v *sortValues) compare(i, j int) (d int) {
	if v.texts != nil {
		d = bytes.Compare(v.texts[i], v.texts[j])
	} else {
		d = cmp.Compare(v.numbers[i], v.numbers[j])
	}
	if v.reverse {
		return -d
	}
	return d
}

// threadSet answers THREAD for the messages of a set.
func (s *selected) threadSet(ctx context.Context, set imap.UIDSet, algorithm string) (out []imap.Thread, err error) {
	var links []imap.ThreadLink
	err = s.order(ctx, set, true, false, func(o *ordering) {
		links = make([]imap.ThreadLink, len(o.rows))
		var subjects strings.Builder // all of them in one piece
		ends := make([]int, len(o.rows))
		for i := range links {
			k := o.key(i)
			links[i] = k.threadLink(imap.UID(o.rows[i].uid), o.rows[i].date)
			subjects.Write(k.subject)
			ends[i] = subjects.Len()
		}
		all, from := subjects.String(), 0
		for i := range links {
			links[i].Subject, from = all[from:ends[i]], ends[i]
		}
	})
	return imap.ThreadsOf(algorithm, links), err
}
