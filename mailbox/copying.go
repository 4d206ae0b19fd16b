package mailbox

import (
	"context"
	"errors"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// copying is one COPY or MOVE, within an account or from one to another.
type copying struct {
	*selected
	dest  *view
	to    string
	move  bool
	owner *Owner // of the destination
	done  imap.CopyResult
}

// accounts are those of the source and of the destination, in order.
func (j *copying) accounts() []*account {
	a, b := j.account, j.dest.account
	switch {
	case a == b:
		return []*account{a}
	case a.id < b.id:
		return []*account{a, b}
	}
	return []*account{b, a}
}

// build is one batch.
func (j *copying) build(ctx context.Context, c *commit, r store.Reader, set imap.UIDSet) error {
	p, q := c.part(j.account), c.part(j.dest.account)
	need := rights(0)
	if j.move { // as COPY, STORE and EXPUNGE together
		need = rightDelete | rightExpunge
	}
	from, _, err := j.boxFor(ctx, p, r, need)
	if err != nil {
		return err
	}
	to, have, err := q.usable(ctx, r, j.dest, j.to, rightInsert)
	if err != nil || len(set) == 0 {
		return err
	}
	list, err := p.messages(ctx, r, from, set, true)
	if err != nil || len(list) == 0 {
		return err
	}
	if !j.move || p != q {
		octets := int64(0)
		for i := range list {
			octets += list[i].small.Size
		}
		if !q.fits(j.owner, octets, int64(len(list))) {
			return errQuota
		}
	}
	if j.move {
		if err := p.mayTake(from); err != nil {
			return err
		}
	}
	if err := p.moreRows(ctx, r, from, list); err != nil {
		return err
	}
	j.done.UIDValidity = to.UIDValidity
	for i := range list {
		if err := j.one(ctx, r, p, q, from, to, &list[i], have); err != nil {
			return err
		}
	}
	return nil
}

// moreRows reads the rows of messages that go along.
func (p *part) moreRows(ctx context.Context, r store.Reader, b *box, list []moving) error {
	for _, k := range [...]struct {
		kind  byte
		field func(m *moving) *[]byte
	}{{kindHeader, func(m *moving) *[]byte { return &m.header }}, {kindSort, func(m *moving) *[]byte { return &m.keys }}} {
		err := p.account.id.rows(ctx, r, k.kind, b.id, setOf(list), func(u uid, v []byte) bool {
			*k.field(byUID(list, u)) = p.c.ar.copyOf(v)
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// one copies one message, with the flags that the session sees and may set there.
func (j *copying) one(ctx context.Context, r store.Reader, p, q *part, from, to *box, m *moving, have rights) error {
	system := m.small.System
	if j.guest != 0 {
		own, err := p.own(ctx, r, j.view, from, m.uid)
		if err != nil {
			return err
		}
		shown := m.small
		ownSet{ownChunkOf(m.uid): own}.overlay(m.uid, &shown)
		system = shown.System
	}
	system, seen := j.dest.land(system, have)
	words := have&rightWrite != 0
	var u uid
	var err error
	if p == q {
		u, err = p.copyOne(ctx, r, from, to, m, system, words, j.move)
		p.observe(copyCause(j.move), from, to, u, m.small.Email)
	} else {
		u, err = j.across(ctx, r, p, q, from, to, m, system, words)
	}
	if err == nil && seen {
		err = q.markSeen(ctx, r, j.dest, to, u, true)
	}
	if err == nil {
		j.done.Source.Add(imap.UID(m.uid))
		j.done.Dest.Add(imap.UID(u))
	}
	return err
}

func copyCause(move bool) Cause {
	if move {
		return Moved
	}
	return Copied
}

// across puts a message into another account, where it is an email of its own: only the body is shared.
func (j *copying) across(ctx context.Context, r store.Reader, p, q *part, from, to *box, m *moving, system imap.SystemFlags, words bool) (uid, error) {
	in, err := p.again(ctx, r, m)
	if err != nil {
		return 0, err
	}
	sum, err := decodeSummary(m.summary)
	if err != nil {
		return 0, err
	}
	small := m.small
	if !words {
		small.Keywords = nil
	}
	ids, err := carried(ctx, r, p, q, from, to, &small)
	if err != nil {
		return 0, err
	}
	u, e, err := q.arrive(ctx, r, to, &arrival{in: in, prefix: sum.Prefix, system: system, keywords: ids, date: small.internalDate()})
	if err != nil {
		return 0, err
	}
	q.observe(Appended, nil, to, u, e)
	if !j.move {
		return u, nil
	}
	if err := p.depart(ctx, r, from, m.uid, &m.small); err != nil {
		return 0, err
	}
	p.observe(Expunged, from, nil, m.uid, m.small.Email)
	return u, nil
}

// again makes an intake of a message that is stored already, so that it can arrive once more.
func (p *part) again(ctx context.Context, r store.Reader, m *moving) (*intake, error) {
	sum, err := decodeSummary(m.summary)
	if err != nil {
		return nil, err
	}
	fields, texts, cut, err := decodeHeaderRow(m.header)
	if err != nil {
		return nil, err
	}
	v, err := p.get(ctx, r, p.c.ar.longKey(kindEmail, p.id, uint64(m.small.Email)))
	if err != nil {
		return nil, err
	}
	email, err := decodeEmail(v)
	if err != nil {
		return nil, err
	}
	body, err := r.Get(ctx, p.c.ar.bodyKey(&sum.Hash))
	if errors.Is(err, store.ErrNotFound) {
		body, err = nil, errExpunged
	}
	if err != nil {
		return nil, err
	}
	return &intake{m: p.m, size: sum.Body, hash: sum.Hash, done: true, row: p.c.ar.copyOf(body),
		digest: digest{shared: sum.Shared, header: fields, texts: texts, keys: m.keys, cut: cut, ids: email.IDs}}, nil
}

// carried turns the keyword numbers of a message into those of a mailbox of another account.
func carried(ctx context.Context, r store.Reader, p, q *part, from, to *box, small *smallRow) ([]uint32, error) {
	if len(small.Keywords) == 0 {
		return nil, nil
	}
	names, err := p.words(ctx, r, from)
	if err != nil {
		return nil, err
	}
	f, err := (&flagNames{names: names}).of(small)
	if err != nil {
		return nil, err
	}
	return q.keywordIDs(ctx, r, to, f.Keywords, true)
}
