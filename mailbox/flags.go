package mailbox

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// pieces cuts a set into sets of at most n messages each, in order. Ranges are cut as if all their UIDs were there.
func pieces(set imap.UIDSet, n int) (list []imap.UIDSet) {
	var cur imap.UIDSet
	room := int64(n)
	for _, r := range set {
		for {
			k := min(int64(r.Stop)-int64(r.Start)+1, room)
			cur = append(cur, imap.UIDRange{Start: r.Start, Stop: r.Start + imap.UID(k-1)})
			if room -= k; room == 0 {
				list = append(list, cur)
				cur, room = nil, int64(n)
			}
			if imap.UID(k-1) == r.Stop-r.Start {
				break
			}
			r.Start += imap.UID(k)
		}
	}
	if cur != nil {
		list = append(list, cur)
	}
	return list
}

// present limits a set from a client, which is not empty, to messages that exist and have flags of \Seen and \Deleted, so
// that what follows is bounded by the mailbox. A nil set stands for all.
func (s *selected) present(ctx context.Context, set imap.UIDSet, on imap.SystemFlags) (imap.UIDSet, error) {
	var all imap.UIDSet
	lo, hi := uid(0), uid(maxUID)
	if set != nil {
		lo, hi = uid(set.Min()), uid(set.Max())
	}
	err := s.m.eng.View(ctx, func(r store.Reader) error {
		row, err := s.row(ctx, r)
		if err != nil {
			return err
		}
		sets, err := s.setsAt(ctx, r, s.id, &row)
		if err != nil {
			return err
		}
		if sets != nil {
			all = sets.with(on, 0)
			return nil
		}
		return s.chunks(ctx, r, s.id, lo, func(no uint32, c *chunk) bool {
			if no > chunkOf(hi) {
				return false
			}
			c.restrict(on, 0)
			c.All.addTo(&all, no, lo)
			return true
		})
	})
	if err != nil {
		return nil, notThere(err, s.first.Name)
	}
	if set == nil {
		return all.Clone(), nil
	}
	return all.Intersect(set), nil
}

// some is present for a set that needs no limiting if it has at most n UIDs.
func (s *selected) some(ctx context.Context, set imap.UIDSet, n int) (imap.UIDSet, error) {
	if set.Len() <= n {
		return set, nil
	}
	return s.present(ctx, set, 0)
}

// Store changes flags: one batch for Limits.StoreMessages messages.
func (s *selected) Store(ctx context.Context, uids imap.UIDSet, change imap.StoreChange) (imap.StoreResult, error) {
	var result imap.StoreResult
	if s.readOnly {
		return result, errReadOnly
	}
	if len(change.Flags.Keywords) > s.m.limits.MessageKeywords {
		return result, no("LIMIT", "A message can have %d keywords", s.m.limits.MessageKeywords)
	}
	if len(uids) == 0 {
		return result, nil
	}
	set, err := s.some(ctx, uids, s.m.limits.StoreMessages)
	if err != nil {
		return result, toIMAP(err)
	}
	for _, piece := range pieces(set, s.m.limits.StoreMessages) {
		var done imap.StoreResult
		err := s.change(ctx, func(p *part, r store.Reader) error {
			done = imap.StoreResult{}
			// Marking for deletion must be possible on a full disk too.
			p.c.batch.Deletes = change.Mode == imap.StoreAdd && change.Flags.System&imap.FlagDeleted != 0
			return s.storeFlags(ctx, p, r, piece, &change, &done)
		})
		if err != nil {
			return result, err
		}
		result.Stored = append(result.Stored, done.Stored...)
		result.Modified = result.Modified.Union(done.Modified)
	}
	return result, nil
}

var errReadOnly = no("READ-ONLY", "The mailbox was opened read-only")

// storeFlags is one batch of Store.
func (s *selected) storeFlags(ctx context.Context, p *part, r store.Reader, set imap.UIDSet, change *imap.StoreChange, out *imap.StoreResult) error {
	b, have, err := s.boxFor(ctx, p, r, 0)
	if err != nil {
		return err
	}
	if s.guest != 0 {
		if change, err = s.permitted(change, have); err != nil {
			return err
		}
	}
	ids, err := p.keywordIDs(ctx, r, b, change.Flags.Keywords, change.Mode != imap.StoreRemove)
	if err != nil {
		return err
	}
	words, err := p.words(ctx, r, b)
	if err != nil {
		return err
	}
	names := flagNames{names: words}
	out.Stored = make([]imap.FlagChange, 0, set.Len())
	var inner error
	err = p.smallRows(ctx, r, b.id, set, func(u uid, v []byte) bool {
		if s.guest != 0 {
			inner = s.storeGuest(ctx, p, r, b, u, v, &guestChange{change, ids, have}, &names, out)
		} else {
			inner = p.storeOne(ctx, r, b, u, v, change, ids, &names, out)
		}
		return inner == nil
	})
	if inner != nil {
		return inner
	}
	return err
}

// storeOne changes one message.
func (p *part) storeOne(ctx context.Context, r store.Reader, b *box, u uid, v []byte, change *imap.StoreChange, ids []uint32, names *flagNames, out *imap.StoreResult) error {
	m, err := decodeSmall(v)
	if err != nil {
		return err
	}
	if change.UnchangedSince != nil && m.S > modSeq(*change.UnchangedSince) { // RFC 7162 section 3.1.3
		out.Modified.Add(imap.UID(u))
		return nil
	}
	next, err := changed(&m, change, ids)
	if err != nil {
		return err
	}
	if countIDs(next.Keywords) > p.m.limits.MessageKeywords {
		return no("LIMIT", "A message can have %d keywords", p.m.limits.MessageKeywords)
	}
	if next.System != m.System || string(next.Keywords) != string(m.Keywords) {
		if err := p.setFlags(ctx, r, b, u, &m, &next); err != nil {
			return err
		}
		if err := p.observeFlags(b, u, names.names, &m, &next); err != nil {
			return err
		}
	}
	f, err := names.of(&next)
	if err != nil {
		return err
	}
	out.Stored = append(out.Stored, imap.FlagChange{UID: imap.UID(u), ModSeq: imap.ModSeq(next.S), Flags: f})
	return nil
}

// setFlags writes a small row with other flags and keeps the counters.
func (p *part) setFlags(ctx context.Context, r store.Reader, b *box, u uid, old, next *smallRow) error {
	next.S = p.touch(b)
	if both := old.System ^ next.System; both&(imap.FlagSeen|imap.FlagDeleted) != 0 {
		ch, err := p.edit(ctx, r, b, chunkOf(u))
		if err != nil {
			return err
		}
		ch.put(u, next.System)
		b.Unseen += one(next.System&imap.FlagSeen == 0) - one(old.System&imap.FlagSeen == 0)
		if both&imap.FlagDeleted != 0 {
			n := int64(one(next.System&imap.FlagDeleted != 0))*2 - 1
			b.Deleted += uint32(n)
			b.DeletedSize += n * next.Size
		}
	}
	b.log.Flags.Add(imap.UID(u))
	c := p.c
	p.put(c.ar.msgKey(kindSmall, p.id, b.id, u), next.appendTo(c.ar.take(smallRoom+len(next.Keywords))))
	return nil
}

func one(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// changed returns a message's row with its flags as the change makes them.
func changed(m *smallRow, change *imap.StoreChange, ids []uint32) (smallRow, error) {
	next := *m
	f := change.Flags.System
	switch change.Mode {
	case imap.StoreAdd:
		next.System |= f
	case imap.StoreRemove:
		next.System &^= f
	default:
		next.System = f
	}
	if len(ids) == 0 && change.Mode != imap.StoreReplace {
		return next, nil
	}
	have, err := decodeIDs(make([]uint32, 0, 16), m.Keywords)
	if err != nil {
		return next, err
	}
	switch change.Mode {
	case imap.StoreAdd:
		have = append(have, ids...)
		slices.Sort(have)
		have = slices.Compact(have)
	case imap.StoreRemove:
		have = slices.DeleteFunc(have, func(id uint32) bool { return slices.Contains(ids, id) })
	default:
		have = ids
	}
	next.Keywords = nil
	if len(have) > 0 {
		next.Keywords = appendIDs(make([]byte, 0, binary.MaxVarintLen16*len(have)), have)
	}
	return next, nil
}

// smallRows calls fn with the small rows of a set as the head has them.
func (p *part) smallRows(ctx context.Context, r store.Reader, id boxID, set imap.UIDSet, fn func(u uid, v []byte) bool) error {
	if len(p.pend) == 0 {
		return p.account.id.rows(ctx, r, kindSmall, id, set, fn)
	}
	var key []byte
	return p.account.id.rows(ctx, r, kindSmall, id, set, func(u uid, v []byte) bool {
		key = binary.BigEndian.AppendUint32(appendBoxKey(key[:0], kindSmall, p.id, id), u)
		if w, ok := p.pend[string(key)]; ok {
			if v = w.value; v == nil {
				return true
			}
		}
		return fn(u, v)
	})
}
