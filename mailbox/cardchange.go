package mailbox

import (
	"cmp"
	"context"
	"slices"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// cardFolder finds a folder of cards, or makes it.
func (p *part) cardFolder(ctx context.Context, r store.Reader, name string) (*box, error) {
	b, err := p.named(ctx, r, name)
	if err != nil || b != nil {
		return b, err
	}
	if b, err = p.create(ctx, r, name, 0); err != nil {
		return nil, err
	}
	p.notice(imap.Event{Kind: imap.EventCreated, Mailbox: name})
	p.c.put(p.c.ar.nameKey(kindSub, p.id, name), []byte{rowVersion})
	return b, nil
}

// cardPlace is where a card is, in a folder of ours.
type cardPlace struct {
	box *box
	uid uid
}

// one carries out one change.
func (c *Cards) one(ctx context.Context, p *part, r store.Reader, x *CardChange, in *intake) error {
	key := p.c.ar.nameKey(kindCard, p.id, x.Name)
	v, err := p.get(ctx, r, key)
	if err != nil {
		return err
	}
	var old cardRow
	var places []cardPlace
	if v != nil {
		if old, err = decodeCard(v); err != nil {
			return err
		}
		if places, err = c.places(ctx, p, r, &old); err != nil {
			return err
		}
	}
	if x.Drop {
		if v == nil {
			return nil
		}
		if err := p.departAll(ctx, r, places); err != nil {
			return err
		}
		p.delete(key)
		p.delete(p.c.ar.longKey(kindCardOf, p.id, uint64(old.Email)))
		p.free(-old.Size, -1)
		return nil
	}
	to, err := p.cardFolder(ctx, r, c.folders[x.State])
	if err != nil {
		return err
	}
	next := cardRow{State: x.State, Mark: x.Mark, Size: old.Size, Email: old.Email, Box: to.id}
	if x.Adopt != "" {
		if v != nil && old.State != x.State {
			next.State, next.Mark, next.Box = old.State, old.Mark, old.Box
		}
		err = p.adopt(ctx, r, x, v != nil, &old, places, to, &next)
	} else if in != nil {
		err = p.replaceCard(ctx, r, x, in, v != nil, &old, places, to, &next)
	} else {
		err = p.moveCard(ctx, r, places, to)
	}
	if err != nil {
		return err
	}
	p.modseq()
	p.put(key, next.appendTo(p.c.ar.take(cardRoom)))
	return nil
}

func (p *part) free(octets, messages int64) {
	p.modseq()
	p.row.FreeOctets = max(p.row.FreeOctets+octets, 0)
	p.row.FreeMessages = max(p.row.FreeMessages+messages, 0)
}

// places finds the messages of a card in the folders of cards and where it was put.
func (c *Cards) places(ctx context.Context, p *part, r store.Reader, row *cardRow) (out []cardPlace, err error) {
	v, err := p.get(ctx, r, p.c.ar.longKey(kindEmail, p.id, uint64(row.Email)))
	if err != nil || v == nil {
		return nil, err
	}
	e, err := decodeEmail(v)
	if err != nil {
		return nil, err
	}
	ours := []boxID{row.Box}
	for _, name := range c.folders {
		id, err := p.find(ctx, r, name)
		if err != nil {
			return nil, err
		}
		ours = append(ours, id)
	}
	for _, at := range e.Places {
		if !slices.Contains(ours, at.Box) {
			continue
		}
		b, err := p.box(ctx, r, at.Box)
		if err != nil {
			return nil, err
		}
		if b != nil { // else the folder was deleted, and the sweeper has not been there yet
			out = append(out, cardPlace{b, at.UID})
		}
	}
	return out, nil
}

// replaceCard puts a new message in place of the old one, which may be none.
func (p *part) replaceCard(ctx context.Context, r store.Reader, x *CardChange, in *intake, there bool, old *cardRow, places []cardPlace, to *box, next *cardRow) error {
	var system imap.SystemFlags
	if x.State != 0 {
		system = imap.FlagSeen // nobody has to look at what is decided
	}
	for _, at := range places {
		list, err := p.single(ctx, r, at, false)
		if err != nil {
			return err
		}
		system |= list[0].small.System & (imap.FlagSeen | imap.FlagFlagged)
	}
	if err := p.departAll(ctx, r, places); err != nil {
		return err
	}
	if there {
		p.delete(p.c.ar.longKey(kindCardOf, p.id, uint64(old.Email)))
		p.free(-old.Size, -1)
	}
	_, e, err := p.arrive(ctx, r, to, &arrival{in: in, system: system, date: p.m.now()})
	if err != nil {
		return err
	}
	next.Email, next.Size = e, in.size
	p.free(in.size, 1)
	p.put(p.c.ar.longKey(kindCardOf, p.id, uint64(e)), p.c.ar.copyOf([]byte(x.Name)))
	return nil
}

// adopt makes a message of a person's the card. Where it has gone meanwhile, or is a card already, nothing is done.
func (p *part) adopt(ctx context.Context, r store.Reader, x *CardChange, there bool, old *cardRow, places []cardPlace, to *box, next *cardRow) error {
	e, ok := parseEmailName(p.id, x.Adopt)
	if !ok {
		return ErrNoCard
	}
	if known, err := p.get(ctx, r, p.c.ar.longKey(kindCardOf, p.id, uint64(e))); err != nil || known != nil {
		return cmp.Or(err, ErrNoCard)
	}
	v, err := p.get(ctx, r, p.c.ar.longKey(kindEmail, p.id, uint64(e)))
	if err != nil || v == nil {
		return cmp.Or(err, ErrNoCard)
	}
	row, err := decodeEmail(v)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(row.Places, func(q place) bool { return q.Box == to.id })
	if at < 0 || len(row.Places) != 1 {
		return ErrNoCard
	}
	if v, err = p.get(ctx, r, p.c.ar.msgKey(kindSummary, p.id, to.id, row.Places[at].UID)); err != nil || v == nil {
		return cmp.Or(err, ErrNoCard)
	}
	sum, err := decodeSummary(v)
	if err != nil {
		return err
	}
	if err := p.departAll(ctx, r, places); err != nil {
		return err
	}
	if there {
		p.delete(p.c.ar.longKey(kindCardOf, p.id, uint64(old.Email)))
		p.free(-old.Size, -1)
	}
	next.Email, next.Size = e, int64(len(sum.Prefix))+sum.Body
	p.free(next.Size, 1)
	p.put(p.c.ar.longKey(kindCardOf, p.id, uint64(e)), p.c.ar.copyOf([]byte(x.Name)))
	return nil
}

// departAll takes a card out of its folders.
func (p *part) departAll(ctx context.Context, r store.Reader, places []cardPlace) error {
	for _, at := range places {
		list, err := p.single(ctx, r, at, false)
		if err != nil {
			return err
		}
		if err := p.depart(ctx, r, at.box, list[0].uid, &list[0].small); err != nil {
			return err
		}
	}
	return nil
}

// moveCard leaves a card in one folder only.
func (p *part) moveCard(ctx context.Context, r store.Reader, places []cardPlace, to *box) error {
	if len(places) == 0 {
		return ErrNoCard
	}
	keep := slices.IndexFunc(places, func(at cardPlace) bool { return at.box.id == to.id })
	if keep < 0 {
		keep = 0
		at := places[0]
		list, err := p.single(ctx, r, at, true)
		if err != nil {
			return err
		}
		if _, err := p.copyOne(ctx, r, at.box, to, &list[0], list[0].small.System, true, true); err != nil {
			return err
		}
	}
	return p.departAll(ctx, r, slices.Delete(slices.Clone(places), keep, keep+1))
}

// single reads the rows of one message, all of them with keep.
func (p *part) single(ctx context.Context, r store.Reader, at cardPlace, keep bool) ([]moving, error) {
	list, err := p.messages(ctx, r, at.box, imap.UIDSet{{Start: imap.UID(at.uid), Stop: imap.UID(at.uid)}}, keep)
	if err == nil && len(list) == 0 {
		err = errOnItsWay
	}
	if err == nil && keep {
		err = p.moreRows(ctx, r, at.box, list)
	}
	return list, err
}

// cards checks that the cards are counted, and their names are known both ways.
func (v *verifier) cards(r store.Reader, t *tally) error {
	var octets, n int64
	names := map[emailID]string{}
	err := v.scan(r, t, kindCard, func(key, value []byte) error {
		row, err := decodeCard(value)
		if err != nil {
			v.fault(t.id, "card "+string(key[9:]), "%v", err)
			return nil
		}
		octets, n = octets+row.Size, n+1
		names[row.Email] = string(key[9:])
		return nil
	})
	if err != nil {
		return err
	}
	if octets != t.row.FreeOctets || n != t.row.FreeMessages {
		v.fault(t.id, "cards", "counted as %d of %d octets; there are %d of %d", t.row.FreeMessages, t.row.FreeOctets, n, octets)
	}
	err = v.scan(r, t, kindCardOf, func(key, value []byte) error {
		if names[emailID(lastUint64(key))] != string(value) {
			v.fault(t.id, "cards", "email %d is not card %s", lastUint64(key), value)
		}
		n--
		return nil
	})
	if n != 0 {
		v.fault(t.id, "cards", "%d are not known by their emails", n)
	}
	return err
}
