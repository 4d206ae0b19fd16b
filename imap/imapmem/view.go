package imapmem

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/imap"
)

// view is a selected mailbox.
type view struct {
	box      *box
	readOnly bool
	news     chan struct{}
	newKeys  bool // the client is to be told
}

var _ imap.Mailbox = (*view)(nil)

func (v *view) lock() func() {
	v.box.user.mu.Lock()
	return v.box.user.mu.Unlock
}

func (v *view) Notify() <-chan struct{} { return v.news }

func (v *view) Close() error {
	defer v.lock()()
	delete(v.box.views, v)
	return nil
}

// takeRecent gives the view the messages that are \Recent to nobody yet.
func (v *view) takeRecent() (set imap.UIDSet) {
	for i := len(v.box.msgs) - 1; i >= 0 && v.box.msgs[i].uid >= v.box.recent; i-- {
		set.Add(v.box.msgs[i].uid)
	}
	if !v.readOnly {
		v.box.recent = v.box.uidNext
	}
	return set
}

func (v *view) Snapshot(context.Context) (*imap.Snapshot, error) {
	defer v.lock()()
	if v.box.deleted {
		return nil, nonexistent(v.box.name)
	}
	s := &imap.Snapshot{Status: v.box.status(), RecentUIDs: v.takeRecent(), ReadOnly: v.readOnly}
	for _, m := range v.box.msgs {
		s.UIDs.Add(m.uid)
		if s.FirstUnseen == 0 && m.flags.System&imap.FlagSeen == 0 {
			s.FirstUnseen = m.uid
		}
		s.Keywords = without(s.Keywords, nil, m.flags.Keywords...)
	}
	return s, nil
}

func (v *view) Changes(_ context.Context, since imap.ModSeq) (*imap.Changes, error) {
	defer v.lock()()
	b := v.box
	ch := &imap.Changes{ModSeq: b.modseq, UIDNext: b.uidNext, Gone: b.deleted}
	ch.NewKeys, v.newKeys = v.newKeys, false
	if b.modseq <= since {
		return ch, nil
	}
	for _, m := range b.msgs {
		switch {
		case m.created > since:
			ch.New.Add(m.uid)
		case m.modseq > since:
			ch.Flags = append(ch.Flags, m.state())
		}
	}
	ch.Recent = v.takeRecent()
	for i := len(b.gone) - 1; i >= 0 && b.gone[i].modseq > since; i-- {
		ch.Vanished.Add(b.gone[i].uid)
	}
	return ch, nil
}

func (m *msg) state() imap.FlagChange {
	return imap.FlagChange{UID: m.uid, ModSeq: m.modseq, Flags: m.flags}
}

// pick returns the messages of a set; the lock is held.
func (v *view) pick(uids imap.UIDSet) []*msg {
	var out []*msg
	for _, r := range uids {
		i, _ := slices.BinarySearchFunc(v.box.msgs, r.Start, func(m *msg, u imap.UID) int { return int(int64(m.uid) - int64(u)) })
		for ; i < len(v.box.msgs) && v.box.msgs[i].uid <= r.Stop; i++ {
			out = append(out, v.box.msgs[i])
		}
	}
	return out
}

func (v *view) Fetch(_ context.Context, uids imap.UIDSet, _ imap.Need) iter.Seq2[*imap.Message, error] {
	return func(yield func(*imap.Message, error) bool) {
		unlock := v.lock()
		picked := v.pick(uids)
		now := make([]imap.Message, len(picked))
		for i, m := range picked {
			now[i] = imap.Message{
				UID: m.uid, ModSeq: m.modseq, Flags: m.flags, InternalDate: m.date, SaveDate: m.saved, Size: m.Size(),
				EmailID: m.emailID, ThreadID: m.threadID, Envelope: m.envelope, Body: m.body, Structure: m.structure,
				Header: m.header, Preview: m.preview, Parts: m.parts, Content: m.content,
			}
		}
		unlock()
		for i := range now {
			if !yield(&now[i], nil) {
				return
			}
		}
	}
}

func (v *view) Store(_ context.Context, uids imap.UIDSet, ch imap.StoreChange) (imap.StoreResult, error) {
	defer v.lock()()
	var res imap.StoreResult
	for _, m := range v.pick(uids) {
		if ch.UnchangedSince != nil && m.modseq > *ch.UnchangedSince {
			res.Modified.Add(m.uid)
			continue
		}
		if f := change(m.flags, ch); !sameFlags(f, m.flags) {
			m.flags, m.modseq = f, v.box.user.next()
			v.box.modseq = m.modseq
			v.box.user.emit(nil, imap.Event{Kind: imap.EventFlagChange, Mailbox: v.box.name})
		}
		res.Stored = append(res.Stored, m.state())
	}
	v.box.notify()
	return res, nil
}

func (v *view) Expunge(_ context.Context, uids imap.UIDSet) (imap.UIDSet, error) {
	defer v.lock()()
	var gone []*msg
	for _, m := range v.box.msgs {
		if m.flags.System&imap.FlagDeleted != 0 && (uids == nil || uids.Contains(m.uid)) {
			gone = append(gone, m)
		}
	}
	set := v.box.remove(gone)
	v.box.notify()
	return set, nil
}

func (v *view) Copy(_ context.Context, uids imap.UIDSet, to string, move bool) (imap.CopyResult, error) {
	defer v.lock()()
	dst := v.box.user.boxes[to]
	if dst == nil {
		return imap.CopyResult{}, &imap.Error{Code: "TRYCREATE", Text: "there is no mailbox " + to}
	}
	res := imap.CopyResult{UIDValidity: dst.validity}
	msgs := v.pick(uids)
	if move {
		res.Source, res.Dest = v.box.move(msgs, dst)
		return res, nil
	}
	var octets int64
	for _, m := range msgs {
		res.Source.Add(m.uid)
		octets += m.Size()
	}
	if err := v.box.user.overQuota(len(msgs), octets); err != nil {
		return imap.CopyResult{}, err
	}
	res.Dest = dst.copyIn(msgs)
	return res, nil
}

func (v *view) Search(ctx context.Context, q *imap.Query) (*imap.SearchResult, error) {
	match := imap.NewMatcher(q.Criteria, time.Now())
	res := &imap.SearchResult{}
	var sorted []imap.SortEntry
	var threaded []imap.ThreadEntry
	for m, err := range v.Fetch(ctx, q.Within, match.Need()) {
		if err != nil {
			return nil, err
		}
		if ok, err := match.Match(ctx, m); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		res.UIDs.Add(m.UID)
		res.ModSeq = max(res.ModSeq, m.ModSeq)
		if len(q.Sort) > 0 {
			e, err := imap.SortEntryOf(ctx, m, q.Sort)
			if err != nil {
				return nil, err
			}
			sorted = append(sorted, e)
		}
		if q.Thread != "" {
			e, err := imap.ThreadEntryOf(ctx, m)
			if err != nil {
				return nil, err
			}
			threaded = append(threaded, e)
		}
	}
	if len(q.Sort) > 0 {
		res.Ordered = imap.SortUIDs(sorted, q.Sort)
	}
	if q.Thread != "" {
		res.Threads = imap.Threads(strings.ToUpper(q.Thread), threaded)
	}
	return res, nil
}
