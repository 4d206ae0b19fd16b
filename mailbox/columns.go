package mailbox

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// columns keep what FETCH FLAGS, SEARCH, SORT and THREAD look at of one mailbox in memory, in UID order: the small
// rows always, the sort rows from the first time that they are asked for. They are made when a command looks at many
// messages, shared by all sessions, brought up to date from the change log, and forgotten, the longest unused first,
// when all of them together are over Limits.ColumnOctets.
type columns struct {
	used   atomic.Int64 // when, in steps of columnSet.clock
	octets atomic.Int64

	mu       sync.RWMutex
	ready    bool
	keyed    bool // key is filled
	live     *live
	checked  modSeq // value of live.modseq before the last look
	validity uint32
	s        modSeq // what is here is that of the mailbox at it
	next     uid
	rows     []columnRow
	gone     int
	words    []string // combinations of keyword numbers, as in small rows; the first is empty
	wordNo   map[string]uint32
	slab     []byte // of sort rows
}

// columnRow is one message.
type columnRow struct {
	uid    uid
	words  uint32 // in columns.words
	s      modSeq
	date   int64
	saved  int64
	size   int64
	zone   int32
	key    uint32 // where in columns.slab
	keyLen uint16
	system imap.SystemFlags
	gone   bool
}

const columnRowOctets = 56

// small makes the small row that a column row was made of.
func (c *columns) small(r *columnRow) smallRow {
	m := smallRow{System: r.system, S: r.s, Date: r.date, Zone: r.zone, Saved: r.saved, Size: r.size}
	if r.words != 0 {
		m.Keywords = []byte(c.words[r.words])
	}
	return m
}

func (r *columnRow) keys(c *columns) []byte { return c.slab[r.key : r.key+uint32(r.keyLen)] }

// columnSet are the columns of all mailboxes.
type columnSet struct {
	mu    sync.Mutex
	clock atomic.Int64
	all   map[logKeyOf]*columns
}

func (m *Mailbox) columnsOf(a accountID, b boxID) *columns {
	set := &m.columns
	set.mu.Lock()
	defer set.mu.Unlock()
	k := logKeyOf{a, b}
	c := set.all[k]
	if c == nil {
		if set.all == nil {
			set.all = map[logKeyOf]*columns{}
		}
		c = &columns{}
		set.all[k] = c
	}
	c.used.Store(set.clock.Add(1))
	return c
}

// trim forgets columns until the rest is within the limit.
func (m *Mailbox) trimColumns() {
	set := &m.columns
	set.mu.Lock()
	defer set.mu.Unlock()
	for {
		total, oldest, at := int64(0), int64(1<<62), logKeyOf{}
		for k, c := range set.all {
			total += c.octets.Load() + columnRowOctets
			if u := c.used.Load(); u < oldest {
				oldest, at = u, k
			}
		}
		if total <= m.limits.ColumnOctets || len(set.all) == 0 {
			return
		}
		delete(set.all, at)
	}
}

// withColumns calls fn with the columns of the mailbox as it is now. It returns false if there are none: the mailbox
// is too large for them, or has gone. With keys, the sort rows are there too. Fn must not block.
func (s *selected) withColumns(ctx context.Context, keys bool, fn func(c *columns)) (bool, error) {
	if s.first.tooLarge(s.m, keys) {
		return false, nil
	}
	c := s.m.columnsOf(s.account.id, s.id)
	for range maxAttempts {
		c.mu.RLock()
		if c.current(s) && (c.keyed || !keys) {
			fn(c)
			c.mu.RUnlock()
			return true, nil
		}
		c.mu.RUnlock()
		ok, err := s.refresh(ctx, c, keys)
		if err != nil || !ok {
			return false, err
		}
	}
	return false, nil // it changes faster than it is read
}

// expectedKeyOctets is about the size of a sort row.
const expectedKeyOctets = 160

// tooLarge guesses whether a mailbox would take more than half of the room of all columns.
func (row *boxRow) tooLarge(m *Mailbox, keys bool) bool {
	each := int64(columnRowOctets)
	if keys {
		each += expectedKeyOctets
	}
	return int64(row.Messages)*each > m.limits.ColumnOctets/2
}

// current needs a lock.
func (c *columns) current(s *selected) bool {
	return c.ready && c.live == s.live && c.checked == s.live.modseq.Load() && c.s >= s.lastS
}

// refresh brings the columns up to date.
func (s *selected) refresh(ctx context.Context, c *columns, keys bool) (ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current(s) && (c.keyed || !keys) {
		return true, nil
	}
	id := s.id
	checked := s.live.modseq.Load()
	err = s.m.eng.View(ctx, func(r store.Reader) error {
		row, err := s.row(ctx, r)
		if err != nil || s.id != id || row.tooLarge(s.m, keys) {
			return err
		}
		s.first.Messages = row.Messages
		if err = c.update(ctx, r, s, &row, keys); err == nil {
			ok = true
		}
		return err
	})
	if !ok {
		c.forget()
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return false, err
	}
	c.live, c.checked = s.live, checked
	before := c.octets.Swap(c.size())
	if c.octets.Load() > before {
		s.m.trimColumns()
	}
	return true, nil
}

func (c *columns) size() int64 {
	return int64(cap(c.rows))*columnRowOctets + int64(cap(c.slab)) + int64(len(c.words))*64
}

func (c *columns) forget() {
	c.ready, c.keyed, c.live = false, false, nil
	c.rows, c.slab, c.words, c.wordNo, c.gone = nil, nil, nil, nil, 0
	c.octets.Store(0)
}

// update needs the lock.
func (c *columns) update(ctx context.Context, r store.Reader, s *selected, row *boxRow, keys bool) error {
	if !c.ready || c.validity != row.UIDValidity || c.s < row.Horizon || c.next > row.UIDNext || 4*c.gone > len(c.rows)+64 {
		c.forget()
		c.words, c.wordNo = []string{""}, map[string]uint32{"": 0}
		c.next, c.validity = 1, row.UIDValidity
	} else if c.s < row.S {
		if err := c.follow(ctx, r, s); err != nil {
			return err
		}
	}
	from := len(c.rows)
	if err := c.extend(ctx, r, s, row); err != nil {
		return err
	}
	if keys && !c.keyed {
		from = 0
	}
	if keys || c.keyed {
		if err := c.readKeys(ctx, r, s, from); err != nil {
			return err
		}
		c.keyed = true
	}
	c.s, c.next, c.ready = row.S, row.UIDNext, true
	return nil
}

// follow does what the change log says.
func (c *columns) follow(ctx context.Context, r store.Reader, s *selected) error {
	var flags, gone imap.UIDSet
	if err := s.readLog(ctx, r, s.id, c.s, &flags, &gone); err != nil {
		return err
	}
	known := imap.UIDSet{{Start: 1, Stop: imap.UID(c.next - 1)}}
	if c.next <= 1 {
		known = nil
	}
	for u := range gone.Intersect(known).All() {
		if i, ok := c.find(uid(u)); ok && !c.rows[i].gone {
			c.rows[i].gone = true
			c.gone++
		}
	}
	var inner error
	err := s.smallRows(ctx, r, s.id, flags.Intersect(known).Subtract(gone), func(u uid, v []byte) bool {
		if i, ok := c.find(u); ok {
			inner = c.set(&c.rows[i], v)
		}
		return inner == nil
	})
	return firstError(inner, err)
}

// extend adds the messages that came.
func (c *columns) extend(ctx context.Context, r store.Reader, s *selected, row *boxRow) error {
	if c.next >= row.UIDNext {
		return nil
	}
	if c.rows == nil {
		c.rows = make([]columnRow, 0, int(row.Messages)+int(row.Messages)/8)
	}
	var ar arena
	lo := ar.msgKey(kindSmall, s.account.id, s.id, c.next)
	for kv, err := range r.Scan(ctx, lo, after(ar.boxKey(kindSmall, s.account.id, s.id)), false) {
		if err != nil {
			return err
		}
		c.rows = append(c.rows, columnRow{uid: lastUint32(kv.Key)})
		if err := c.set(&c.rows[len(c.rows)-1], kv.Value); err != nil {
			return err
		}
	}
	return nil
}

// set fills a row from a small row.
func (c *columns) set(row *columnRow, v []byte) error {
	m, err := decodeSmall(v)
	if err != nil {
		return err
	}
	row.system, row.s, row.date, row.saved, row.size, row.zone, row.words = m.System, m.S, m.Date, m.Saved, m.Size, m.Zone, 0
	if len(m.Keywords) == 0 {
		return nil
	}
	n, ok := c.wordNo[string(m.Keywords)]
	if !ok {
		n = uint32(len(c.words))
		w := string(m.Keywords)
		c.words = append(c.words, w)
		c.wordNo[w] = n
	}
	row.words = n
	return nil
}

// readKeys fills in the sort rows from a place on.
func (c *columns) readKeys(ctx context.Context, r store.Reader, s *selected, from int) error {
	if from == len(c.rows) {
		return nil
	}
	if c.slab == nil {
		c.slab = make([]byte, 0, len(c.rows)*expectedKeyOctets)
	}
	var ar arena
	lo := ar.msgKey(kindSort, s.account.id, s.id, c.rows[from].uid)
	i := from
	for kv, err := range r.Scan(ctx, lo, after(ar.boxKey(kindSort, s.account.id, s.id)), false) {
		if err != nil {
			return err
		}
		u := lastUint32(kv.Key)
		for i < len(c.rows) && c.rows[i].uid < u {
			i++
		}
		if i == len(c.rows) {
			break
		}
		if c.rows[i].uid == u {
			c.rows[i].key, c.rows[i].keyLen = uint32(len(c.slab)), uint16(len(kv.Value))
			c.slab = append(c.slab, kv.Value...)
		}
	}
	return nil
}

func (c *columns) find(u uid) (int, bool) {
	return slices.BinarySearchFunc(c.rows, u, func(r columnRow, u uid) int { return int(int64(r.uid) - int64(u)) })
}

// each calls fn with the rows of a set, in order, until it returns false.
func (c *columns) each(set imap.UIDSet, fn func(r *columnRow) bool) {
	for _, rng := range set {
		i, _ := c.find(uid(rng.Start))
		for ; i < len(c.rows) && c.rows[i].uid <= uid(rng.Stop); i++ {
			if !c.rows[i].gone && !fn(&c.rows[i]) {
				return
			}
		}
	}
}
