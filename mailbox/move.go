package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// Expunge removes the messages of the set that are \Deleted: one batch for Limits.StoreMessages messages.
func (s *selected) Expunge(ctx context.Context, uids imap.UIDSet) (imap.UIDSet, error) {
	if s.readOnly {
		return nil, errReadOnly
	}
	if uids != nil && len(uids) == 0 {
		return nil, nil
	}
	set, err := s.present(ctx, uids, imap.FlagDeleted)
	if err != nil {
		return nil, toIMAP(err)
	}
	if len(set) == 0 {
		return nil, s.mayExpunge(ctx)
	}
	var gone imap.UIDSet
	for _, piece := range pieces(set, s.m.limits.StoreMessages) {
		var done imap.UIDSet
		err := s.change(ctx, func(p *part, r store.Reader) error {
			done = nil
			p.c.batch.Deletes = true
			return s.expunge(ctx, p, r, piece, &done)
		})
		if err != nil {
			return gone, err
		}
		gone = gone.Union(done)
	}
	return gone, nil
}

// mayExpunge refuses an EXPUNGE that would find nothing, too, to who has no right to it (RFC 4314 section 4).
func (s *selected) mayExpunge(ctx context.Context) error {
	err := s.m.eng.View(ctx, func(r store.Reader) error {
		have, err := s.rightsIn(ctx, r, s.id)
		if err == nil {
			err = s.lacks(have, rightExpunge, s.first.Name)
		}
		return err
	})
	return toIMAP(err)
}

func (s *selected) expunge(ctx context.Context, p *part, r store.Reader, set imap.UIDSet, done *imap.UIDSet) error {
	b, _, err := s.boxFor(ctx, p, r, rightExpunge)
	if err != nil {
		return err
	}
	list, err := p.messages(ctx, r, b, set, false)
	if err != nil {
		return err
	}
	for i := range list {
		m := &list[i]
		if m.small.System&imap.FlagDeleted == 0 {
			continue
		}
		if err := p.mayTake(b); err != nil {
			return err
		}
		if err := p.depart(ctx, r, b, m.uid, &m.small); err != nil {
			return err
		}
		p.observe(Expunged, b, nil, m.uid, m.small.Email)
		done.Add(imap.UID(m.uid))
	}
	return nil
}

// moving is a message with the rows that COPY, MOVE and EXPUNGE need.
type moving struct {
	uid                   uid
	small                 smallRow
	summary, header, keys []byte
}

// errTooMuch: the messages do not fit into one batch.
var errTooMuch = fmt.Errorf("mailbox: too much for one batch: %w", store.ErrTooLarge)

// messages reads the rows of messages as the head has them, their summaries only if keep is set.
func (p *part) messages(ctx context.Context, r store.Reader, b *box, set imap.UIDSet, keep bool) ([]moving, error) {
	list := make([]moving, 0, set.Len())
	var inner error
	err := p.smallRows(ctx, r, b.id, set, func(u uid, v []byte) bool {
		var m moving
		m.uid = u
		m.small, inner = decodeSmall(p.c.ar.copyOf(v))
		list = append(list, m)
		return inner == nil
	})
	if err != nil || inner != nil {
		return nil, firstError(inner, err)
	}
	if !keep {
		return list, nil
	}
	octets := 0
	err = p.account.id.rows(ctx, r, kindSummary, b.id, setOf(list), func(u uid, v []byte) bool {
		byUID(list, u).summary = p.c.ar.copyOf(v)
		if octets += len(v); octets > p.m.rowsOctets {
			inner = errTooMuch
		}
		return inner == nil
	})
	return list, firstError(inner, err)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func byUID(list []moving, u uid) *moving {
	i, _ := slices.BinarySearchFunc(list, u, func(m moving, u uid) int { return int(int64(m.uid) - int64(u)) })
	return &list[i]
}

// Copy puts messages at the end of another mailbox, with move out of this one. COPY is one batch (RFC 3501 section
// 6.4.7); MOVE is one batch for Limits.StoreMessages messages, each of which is never in both or neither (RFC 6851
// section 3.3).
func (s *selected) Copy(ctx context.Context, uids imap.UIDSet, to string, move bool) (imap.CopyResult, error) {
	var result imap.CopyResult
	d, to, err := s.root.at(ctx, to)
	if err != nil {
		return result, tryCreate(err)
	}
	if move && s.readOnly {
		return result, errReadOnly
	}
	var set imap.UIDSet
	if len(uids) > 0 {
		if set, err = s.some(ctx, uids, min(s.m.limits.CopyMessages, s.m.limits.StoreMessages)); err != nil {
			return result, toIMAP(err)
		}
	}
	o, err := d.owner(ctx)
	if err != nil {
		return result, toIMAP(err)
	}
	n := s.m.limits.CopyMessages
	if move {
		n = s.m.limits.StoreMessages
	}
	list := pieces(set, n)
	if !move && len(list) > 1 {
		return result, no("LIMIT", "At most %d messages can be copied at once", n)
	}
	if len(list) == 0 {
		list = []imap.UIDSet{nil} // the mailbox must be there all the same
	}
	job := &copying{selected: s, dest: d, to: to, move: move, owner: &o}
	for len(list) > 0 {
		piece := list[0]
		err := s.changeIn(ctx, job.accounts(), func(c *commit, r store.Reader) error {
			job.done = imap.CopyResult{}
			return job.build(ctx, c, r, piece)
		})
		if n := piece.Len(); move && n > 1 && errors.Is(err, store.ErrTooLarge) {
			list = append(pieces(piece, (n+1)/2), list[1:]...)
			continue
		}
		if err != nil {
			return result, tryCreate(err)
		}
		list = list[1:]
		result.UIDValidity = job.done.UIDValidity
		result.Source = result.Source.Union(job.done.Source)
		result.Dest = result.Dest.Union(job.done.Dest)
	}
	return result, nil
}

var errQuota = no("OVERQUOTA", "The account has no room for this")

func setOf(list []moving) (set imap.UIDSet) {
	for i := range list {
		set.Add(imap.UID(list[i].uid))
	}
	return set
}

// copyOne puts one message into another mailbox, or the same. It stays the same email: EMAILID, thread and body are
// shared (RFC 8474 section 5.1). Its SAVEDATE is new (RFC 8514).
func (p *part) copyOne(ctx context.Context, r store.Reader, from, to *box, m *moving, system imap.SystemFlags, words, move bool) (uid, error) {
	if to.UIDNext == maxUID {
		return 0, no("LIMIT", "Mailbox has used up its unique identifiers")
	}
	small := m.small
	small.System = system
	if !words {
		small.Keywords = nil
	}
	s := p.touch(to)
	small.S, small.Arrived, small.Saved = s, s, p.m.now().Unix()
	if err := p.carryKeywords(ctx, r, from, to, &small); err != nil {
		return 0, err
	}
	u, err := p.place(ctx, r, to, &small)
	if err != nil {
		return 0, err
	}
	c := p.c
	c.put(c.ar.msgKey(kindSummary, p.id, to.id, u), m.summary)
	if m.header != nil {
		c.put(c.ar.msgKey(kindHeader, p.id, to.id, u), m.header)
	}
	if m.keys != nil {
		c.put(c.ar.msgKey(kindSort, p.id, to.id, u), m.keys)
	}
	key := c.ar.longKey(kindEmail, p.id, uint64(small.Email))
	v, err := p.get(ctx, r, key)
	if err != nil {
		return 0, err
	}
	row, err := decodeEmail(v)
	if err != nil {
		return 0, err
	}
	row.Places = append(row.Places, place{to.id, u})
	p.putEmail(small.Email, &row)
	if !move {
		return u, nil
	}
	return u, p.depart(ctx, r, from, m.uid, &m.small)
}

// carryKeywords turns the keyword numbers of one mailbox into those of another.
func (p *part) carryKeywords(ctx context.Context, r store.Reader, from, to *box, small *smallRow) error {
	if len(small.Keywords) == 0 || from.id == to.id {
		return nil
	}
	names, err := p.words(ctx, r, from)
	if err != nil {
		return err
	}
	f, err := (&flagNames{names: names}).of(small)
	if err != nil {
		return err
	}
	ids, err := p.keywordIDs(ctx, r, to, f.Keywords, true)
	if err != nil {
		return err
	}
	small.Keywords = appendIDs(p.c.ar.take(5*len(ids)), ids)
	return nil
}
