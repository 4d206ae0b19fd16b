package mailbox

import (
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// selected is one session's selected mailbox. It reads only what is durable; what it changes, it changes through the
// account's latch.
type selected struct {
	*view
	id       boxID
	first    boxRow // as found when it was selected
	inbox    bool   // selected as INBOX: it follows the name when INBOX is renamed
	readOnly bool
	have     rights // what the session may do, as of the last look
	notify   chan struct{}
	wake     func() // in place of notify; under the account's latch
	live     *live
	resets   uint32 // of live, that were told
	closed   bool

	checked modSeq // value of live.modseq at the last look
	looked  bool
	lastS   modSeq // of the last look, with its UIDNEXT
	lastUID uid

	words words
}

var (
	_ imap.Mailbox = (*selected)(nil)
	_ imap.Waker   = (*selected)(nil)
)

// attach makes the session one of those that are told of changes.
func (s *selected) attach() {
	a := s.account
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.live[s.id]
	if l == nil {
		l = &live{sessions: map[*selected]struct{}{}}
		a.live[s.id] = l
	}
	l.sessions[s] = struct{}{}
	s.live, s.resets = l, l.resets.Load()
	s.looked = false
}

func (s *selected) detach() {
	a := s.account
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(s.live.sessions, s)
	if len(s.live.sessions) == 0 && a.live[s.id] == s.live {
		delete(a.live, s.id)
	}
}

// Close ends the selection.
func (s *selected) Close() error {
	if !s.closed {
		s.closed = true
		s.detach()
		s.account.refs.Add(-1)
	}
	return nil
}

// Notify is sent to when something became durable.
func (s *selected) Notify() <-chan struct{} { return s.notify }

// Wake is of imap.Waker.
func (s *selected) Wake(f func()) {
	s.account.mu.Lock()
	s.wake = f
	s.account.mu.Unlock()
}

// row reads the mailbox's row, store.ErrNotFound if it was deleted, or may not be read any more (RFC 4314 section 5.1.1). A
// session that selected INBOX goes over to the new one when INBOX was renamed.
func (s *selected) row(ctx context.Context, r store.Reader) (boxRow, error) {
	row, err := s.anyRow(ctx, r)
	if err != nil || s.guest == 0 {
		return row, err
	}
	if s.have, err = s.rightsIn(ctx, r, s.id); err == nil && s.have&rightRead == 0 {
		err = store.ErrNotFound
	}
	return row, err
}

func (s *selected) anyRow(ctx context.Context, r store.Reader) (boxRow, error) {
	row, err := s.boxByID(ctx, r, s.id)
	if !s.inbox || err == nil && row.Name == inbox || err != nil && !errors.Is(err, store.ErrNotFound) {
		return row, err
	}
	id, row, err := s.findBox(ctx, r, inbox)
	if err == nil {
		s.detach()
		s.id = id
		s.attach()
	}
	return row, err
}

// letters are the session's rights as the client is told of them; "" for the owner.
func (s *selected) letters() string {
	if s.guest == 0 {
		return ""
	}
	return s.have.String()
}

// boxFor is box for a change that needs some rights.
func (s *selected) boxFor(ctx context.Context, p *part, r store.Reader, need rights) (*box, rights, error) {
	b, err := s.box(ctx, p, r)
	if err != nil {
		return nil, 0, err
	}
	have, err := p.may(ctx, r, s.view, b.id)
	switch {
	case err != nil:
	case have&rightRead == 0:
		err = errGone
	case need&^have != 0:
		err = no("NOPERM", "You need the rights %q here", need.String())
	}
	return b, have, err
}

// box is row for a change.
func (s *selected) box(ctx context.Context, p *part, r store.Reader) (*box, error) {
	b, err := p.box(ctx, r, s.id)
	if err != nil {
		return nil, err
	}
	if s.inbox && (b == nil || b.Name != inbox) {
		b, err = p.named(ctx, r, inbox)
	}
	if err == nil && b == nil {
		err = errGone
	}
	return b, err
}

var errGone = no("NONEXISTENT", "The mailbox was deleted")

// Snapshot reads the mailbox as it is.
func (s *selected) Snapshot(ctx context.Context) (*imap.Snapshot, error) {
	snap := &imap.Snapshot{ReadOnly: s.readOnly}
	checked := s.live.modseq.Load()
	err := s.m.eng.View(ctx, func(r store.Reader) error {
		row, err := s.row(ctx, r)
		if err != nil {
			return err
		}
		snap.Status = statusOf(s.account.id, &row)
		s.lastS, s.lastUID = row.S, row.UIDNext
		from := s.takeRecent(&row)
		if err := s.snapSets(ctx, r, &row, from, snap); err != nil {
			return err
		}
		snap.Rights = s.letters()
		list, err := s.words.load(ctx, r, s)
		snap.Keywords = slices.Clone(list)
		snap.MaxKeywords = len(list) >= s.m.limits.Keywords
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, errGone
	}
	if err != nil {
		return nil, toIMAP(err)
	}
	snap.Recent = uint32(snap.RecentUIDs.Len())
	s.checked, s.looked = checked, true
	return snap, nil
}

// snapSets fills in what a snapshot has of the UID sets.
func (s *selected) snapSets(ctx context.Context, r store.Reader, row *boxRow, recent uid, snap *imap.Snapshot) error {
	sets, err := s.setsAt(ctx, r, s.id, row)
	if err != nil {
		return err
	}
	if sets != nil { // the owner's, whose counters are kept
		snap.UIDs, snap.FirstUnseen = sets.all.Clone(), imap.UID(sets.firstUnseen())
		if row.UIDNext > recent {
			snap.RecentUIDs = snap.UIDs.Intersect(imap.UIDSet{{Start: imap.UID(recent), Stop: maxUID}})
		}
		return nil
	}
	unseen := 0
	err = s.chunks(ctx, r, s.id, 0, func(no uint32, c *chunk) bool {
		c.All.addTo(&snap.UIDs, no, 0)
		unseen += c.Unseen.count()
		if at := c.Unseen.next(0, true); snap.FirstUnseen == 0 && at < chunkUIDs {
			snap.FirstUnseen = imap.UID(no<<chunkShift + uint32(at))
		}
		if row.UIDNext > recent && no >= chunkOf(recent) {
			c.All.addTo(&snap.RecentUIDs, no, recent)
		}
		return true
	})
	snap.Unseen = uint32(unseen)
	return err
}

// takeRecent returns the first UID that no session has had as \Recent, and takes what is there for this one.
func (s *selected) takeRecent(row *boxRow) uid {
	if s.guest != 0 {
		return row.UIDNext // what is recent is the owner's affair
	}
	a := s.account
	a.mu.Lock()
	defer a.mu.Unlock()
	from := a.recentFrom(s.id, row)
	if !s.readOnly && row.UIDNext > from {
		a.recents[s.id] = row.UIDNext
	}
	return from
}

// Changes tells what happened after since.
func (s *selected) Changes(ctx context.Context, since imap.ModSeq) (*imap.Changes, error) {
	checked := s.live.modseq.Load()
	if s.looked && checked == s.checked && modSeq(since) == s.lastS {
		return &imap.Changes{ModSeq: since, UIDNext: imap.UID(s.lastUID), Rights: s.letters(), NewKeys: s.newKeys()}, nil
	}
	ch := &imap.Changes{}
	err := s.m.eng.View(ctx, func(r store.Reader) error {
		row, err := s.row(ctx, r)
		if errors.Is(err, store.ErrNotFound) || err == nil && row.UIDValidity != s.first.UIDValidity {
			ch.Gone = true
			return nil
		}
		if err != nil {
			return err
		}
		ch.ModSeq, ch.UIDNext, ch.Rights = imap.ModSeq(row.S), imap.UID(row.UIDNext), s.letters()
		if modSeq(since) < row.S {
			err = s.collect(ctx, r, &row, modSeq(since), ch)
		}
		return err
	})
	if err != nil {
		return nil, toIMAP(err)
	}
	if !ch.Gone {
		s.checked, s.looked = checked, true
		s.lastS, s.lastUID = modSeq(ch.ModSeq), uid(ch.UIDNext)
		ch.NewKeys = s.newKeys()
	}
	return ch, nil
}

// newKeys tells once that access keys were reset.
func (s *selected) newKeys() bool {
	if s.guest != 0 || s.resets == s.live.resets.Load() {
		return false
	}
	s.resets = s.live.resets.Load()
	return true
}

// collect fills in what changed after since.
func (s *selected) collect(ctx context.Context, r store.Reader, row *boxRow, since modSeq, ch *imap.Changes) error {
	newFrom := s.lastUID
	if since != s.lastS || newFrom == 0 {
		var err error
		if newFrom, err = s.firstAfter(ctx, r, row, since); err != nil {
			return err
		}
	}
	if newFrom < row.UIDNext {
		err := s.chunks(ctx, r, s.id, newFrom, func(no uint32, c *chunk) bool {
			c.All.addTo(&ch.New, no, newFrom)
			return true
		})
		if err != nil {
			return err
		}
		from := s.takeRecent(row)
		if from < row.UIDNext {
			ch.Recent = ch.New.Intersect(imap.UIDSet{{Start: imap.UID(from), Stop: maxUID}})
		}
	}
	if newFrom <= 1 {
		return nil
	}
	old := imap.UIDSet{{Start: 1, Stop: imap.UID(newFrom - 1)}}
	var flags, gone imap.UIDSet
	var err error
	if since >= row.Horizon {
		err = s.readLog(ctx, r, s.id, since, &flags, &gone)
	} else {
		err = s.resync(ctx, r, since, old, &flags, &gone)
	}
	if err != nil {
		return err
	}
	ch.Vanished = gone.Intersect(old)
	return s.readFlags(ctx, r, flags.Intersect(old).Subtract(ch.Vanished), ch)
}

// readLog adds up the change log after a modseq.
func (v *view) readLog(ctx context.Context, r store.Reader, id boxID, since modSeq, flags, gone *imap.UIDSet) error {
	var ar arena
	lo := ar.logKey(v.account.id, id, since+1)
	hi := after(ar.boxKey(kindLog, v.account.id, id))
	for kv, err := range r.Scan(ctx, lo, hi, false) {
		if err != nil {
			return err
		}
		if err := decodeLog(kv.Value, v.guest, flags, gone); err != nil {
			return err
		}
	}
	return nil
}

// resync is for a modseq from before the log's horizon: all small rows are looked at, and whatever is not there now
// counts as vanished (RFC 7162 section 3.2.6 allows it).
func (s *selected) resync(ctx context.Context, r store.Reader, since modSeq, old imap.UIDSet, flags, gone *imap.UIDSet) error {
	var present imap.UIDSet
	err := s.chunks(ctx, r, s.id, 0, func(no uint32, c *chunk) bool {
		c.All.addTo(&present, no, 0)
		return true
	})
	if err != nil {
		return err
	}
	*gone = old.Subtract(present)
	own, err := s.ownOf(ctx, r, s.id, 0, maxUID)
	if err != nil {
		return err
	}
	var ar arena
	lo := ar.boxKey(kindSmall, s.account.id, s.id)
	for kv, err := range r.Scan(ctx, lo, after(lo), false) {
		if err != nil {
			return err
		}
		m, err := decodeSmall(kv.Value)
		if err != nil {
			return err
		}
		u := lastUint32(kv.Key)
		if own.overlay(u, &m); m.S > since {
			flags.Add(imap.UID(u))
		}
	}
	return nil
}

// readFlags fills in the present flags of messages.
func (s *selected) readFlags(ctx context.Context, r store.Reader, set imap.UIDSet, ch *imap.Changes) error {
	if len(set) == 0 {
		return nil
	}
	if _, err := s.words.load(ctx, r, s); err != nil {
		return err
	}
	own, err := s.ownOf(ctx, r, s.id, uid(set.Min()), uid(set.Max()))
	if err != nil {
		return err
	}
	ch.Flags = make([]imap.FlagChange, 0, set.Len())
	var inner error
	err = s.smallRows(ctx, r, s.id, set, func(u uid, v []byte) bool {
		var m smallRow
		if m, inner = decodeSmall(v); inner != nil {
			return false
		}
		own.overlay(u, &m)
		var f imap.Flags
		if f, inner = s.words.of(&m); inner != nil {
			return false
		}
		ch.Flags = append(ch.Flags, imap.FlagChange{UID: imap.UID(u), ModSeq: imap.ModSeq(m.S), Flags: f})
		return true
	})
	return errors.Join(err, inner)
}

// firstAfter finds the first UID that arrived after a modseq, by bisection: modseqs of arrival grow with UIDs.
func (s *selected) firstAfter(ctx context.Context, r store.Reader, row *boxRow, since modSeq) (uid, error) {
	if since < row.Created {
		return 1, nil
	}
	all, err := s.allUIDs(ctx, r, row)
	if err != nil {
		return 0, err
	}
	var ar arena
	n := sort.Search(all.Len(), func(i int) bool {
		if err != nil {
			return true
		}
		v, e := r.Get(ctx, ar.msgKey(kindSmall, s.account.id, s.id, uint32(all.At(i+1))))
		var m smallRow
		if e == nil {
			m, e = decodeSmall(v)
		}
		if e != nil {
			err = e
		}
		return m.Arrived > since
	})
	switch {
	case err != nil:
		return 0, err
	case n == all.Len():
		return row.UIDNext, nil
	}
	return uid(all.At(n + 1)), nil
}

// allUIDs are the UIDs of a mailbox whose row is that of the View. They must not be changed.
func (s *selected) allUIDs(ctx context.Context, r store.Reader, row *boxRow) (all imap.UIDSet, err error) {
	sets, err := s.setsAt(ctx, r, s.id, row)
	if err != nil {
		return nil, err
	}
	if sets != nil {
		return sets.all, nil
	}
	err = s.chunks(ctx, r, s.id, 0, func(no uint32, c *chunk) bool {
		c.All.addTo(&all, no, 0)
		return true
	})
	return all, err
}
