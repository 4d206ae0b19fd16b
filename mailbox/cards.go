package mailbox

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/samotop/samotop/store"
)

// Cards are messages that the house itself keeps in an account, each under a name, in one of a few folders that mean
// something: a person decides by moving one (package internal/house has one for each contact). They do not count for the
// quota, and are not refused by it. What a person copies out of the folders is a message like any other.
//
// A card is known by rows, not by what is written in it: no message can pass for one. What a mail program that cannot move
// sends anew is known by the token that the house has written into it (Token), and may be made the card (CardChange.Adopt). Its rows are written in one batch
// with the message, so that a crash neither doubles nor loses any.
type Cards struct {
	m       *Mailbox
	folders []string
}

// Cards returns the cards of a set of folders. A State is the number of one.
func (m *Mailbox) Cards(folders []string) *Cards { return &Cards{m: m, folders: folders} }

// Card is one.
type Card struct {
	Name  string
	State int    // the folder where the house put it
	Mark  uint64 // of what it was made of, as Change was given it
	At    int    // the folder where it is now: State, unless a person has moved it; Deleted
	// Lost: the folder that it was put into was deleted or renamed. That is no decision: At is State.
	Lost bool
}

// Deleted is where a card is that a person has deleted, or moved to a folder that means nothing here.
const Deleted = -1

// CardChange makes, changes, moves or removes a card.
type CardChange struct {
	Name    string // at most maxCardName octets
	State   int    // the folder where it is to be
	Mark    uint64
	Content []byte // a new message in place of the old one; nil: the message that there is
	Drop    bool   // remove it
	// Adopt is the EMAILID of a message in the folder of State that becomes the card. Where there was one it counts as moved there
	// by a person: Card.State stays as it was, Card.At is State.
	Adopt string
}

// Limits of cards.
const (
	maxCardName    = 1024
	cardRoom       = 1 + 4*10
	CardsAtOnce    = 200 // in one Change
	MaxCardsListed = 500 // by one List
)

// ErrNoCard: a Change without Content of a card that is not there.
var ErrNoCard = errors.New("mailbox: there is no such card")

// cardRow is version, state, mark, size, email, box.
type cardRow struct {
	State int
	Mark  uint64
	Size  int64
	Email emailID
	Box   boxID // where it was put
}

func (r *cardRow) appendTo(b []byte) []byte {
	b = append(b, rowVersion, byte(r.State))
	for _, v := range [...]uint64{r.Mark, uint64(r.Size), uint64(r.Email), uint64(r.Box)} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func decodeCard(b []byte) (r cardRow, err error) {
	d := decoderOf(b)
	d.version()
	r.State = int(d.Byte())
	r.Mark, r.Size, r.Email, r.Box = d.Uint(), int64(d.Uint()), emailID(d.Uint()), boxID(d.Uint())
	return r, d.err("a card")
}

// List returns cards in the order of their names, at most MaxCardsListed, those after a name.
func (c *Cards) List(ctx context.Context, ownerID uint64, from string) (list []Card, err error) {
	id := accountID(ownerID)
	err = c.m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		hi := after(ar.accountKey(kindCard, id))
		lo := append(ar.nameKey(kindCard, id, from), 0)
		if from == "" {
			lo = ar.accountKey(kindCard, id)
		}
		boxes, err := c.boxes(ctx, r, id)
		if err != nil {
			return err
		}
		for kv, err := range r.Scan(ctx, lo, hi, false) {
			if err != nil {
				return err
			}
			if len(list) == MaxCardsListed {
				return nil
			}
			card, err := c.read(ctx, r, id, boxes, string(kv.Key[9:]), kv.Value)
			if err != nil {
				return err
			}
			list = append(list, card)
		}
		return nil
	})
	return list, err
}

// Named returns those of the names that are there.
func (c *Cards) Named(ctx context.Context, ownerID uint64, names []string) (list []Card, err error) {
	id := accountID(ownerID)
	err = c.m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		keys := make([][]byte, len(names))
		for i, n := range names {
			keys[i] = ar.nameKey(kindCard, id, n)
		}
		rows, err := r.GetMulti(ctx, keys)
		if err != nil {
			return err
		}
		boxes, err := c.boxes(ctx, r, id)
		if err != nil {
			return err
		}
		for i, row := range rows {
			if row == nil {
				continue
			}
			card, err := c.read(ctx, r, id, boxes, names[i], row)
			if err != nil {
				return err
			}
			list = append(list, card)
		}
		return nil
	})
	return list, err
}

// Of returns the cards among emails, by their EMAILIDs, also of those that have gone.
func (c *Cards) Of(ctx context.Context, ownerID uint64, emails []string) ([]Card, error) {
	id := accountID(ownerID)
	var names []string
	err := c.m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		var keys [][]byte
		for _, name := range emails {
			if e, ok := parseEmailName(id, name); ok {
				keys = append(keys, ar.longKey(kindCardOf, id, uint64(e)))
			}
		}
		rows, err := r.GetMulti(ctx, keys)
		for _, row := range rows {
			if row != nil {
				names = append(names, string(row))
			}
		}
		return err
	})
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return c.Named(ctx, ownerID, names)
}

// tokenOctets of the hash that a token is of.
const tokenOctets = 16

// Token is what only the house can write about a card: a message that holds it was a message of this card once.
func (c *Cards) Token(ownerID uint64, name string) string {
	h := hmac.New(sha256.New, c.m.houseKey[:])
	fmt.Fprintf(h, "card\x00%d\x00%s", ownerID, name)
	return hex.EncodeToString(h.Sum(nil)[:tokenOctets])
}

// boxes are the numbers of the folders; 0 for one that is not there.
func (c *Cards) boxes(ctx context.Context, r store.Reader, id accountID) ([]boxID, error) {
	var ar arena
	keys := make([][]byte, len(c.folders))
	for i, n := range c.folders {
		keys[i] = ar.nameKey(kindName, id, n)
	}
	rows, err := r.GetMulti(ctx, keys)
	out := make([]boxID, len(keys))
	for i, row := range rows {
		out[i] = boxID(lastUint32(row))
	}
	return out, err
}

// read finds out where a card is. A copy in another folder than its own counts as moved there: so some programs move.
func (c *Cards) read(ctx context.Context, r store.Reader, id accountID, boxes []boxID, name string, value []byte) (Card, error) {
	row, err := decodeCard(value)
	if err != nil {
		return Card{}, err
	}
	if row.State >= len(boxes) {
		return Card{}, fmt.Errorf("mailbox: card %q: %w", name, store.ErrCorrupt)
	}
	card := Card{Name: name, State: row.State, Mark: row.Mark, At: row.State}
	var ar arena
	v, err := r.Get(ctx, ar.longKey(kindEmail, id, uint64(row.Email)))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return card, err
	}
	here := false
	if err == nil {
		e, err := decodeEmail(v)
		if err != nil {
			return card, err
		}
		for _, p := range e.Places {
			at := slices.Index(boxes, p.Box)
			switch {
			case p.Box == row.Box, at == row.State:
				here = true
			case at >= 0:
				card.At = at
			}
		}
	}
	if card.At != card.State || here && boxes[row.State] == row.Box {
		return card, nil
	}
	if boxes[row.State] == row.Box {
		card.At = Deleted
		return card, nil
	}
	card.Lost = true
	return card, nil
}

// Ensure makes the folders that are not there, and subscribes to them.
func (c *Cards) Ensure(ctx context.Context, ownerID uint64) error {
	return c.change(ctx, ownerID, func(p *part, r store.Reader) error {
		for _, name := range c.folders {
			if _, err := p.cardFolder(ctx, r, name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Cards) change(ctx context.Context, ownerID uint64, build func(p *part, r store.Reader) error) error {
	a := c.m.account(accountID(ownerID))
	defer c.m.release(a)
	for tries := 1; ; tries++ {
		err := c.m.change(ctx, []*account{a}, func(cm *commit, r store.Reader) error {
			cm.quiet = true
			return build(cm.parts[0], r)
		})
		if !errors.Is(err, errOnItsWay) || tries == maxAttempts {
			return err
		}
		if err := a.wait(ctx); err != nil {
			return err
		}
	}
}

// errOnItsWay: a message is being moved at this moment, and cannot be read before that is durable.
var errOnItsWay = errors.New("mailbox: a card is on its way")

// wait waits until what was submitted so far is durable.
func (a *account) wait(ctx context.Context) error {
	if err := a.lock(ctx); err != nil {
		return err
	}
	last := a.last
	a.mu.Unlock()
	if last == nil {
		return nil
	}
	return last.Wait(ctx)
}

// Change carries out changes, all of them in one batch; at most CardsAtOnce. The Observer is not told.
func (c *Cards) Change(ctx context.Context, ownerID uint64, list []CardChange) error {
	if len(list) > CardsAtOnce {
		return fmt.Errorf("mailbox: %d changes of cards at once: %w", len(list), store.ErrTooLarge)
	}
	in := make([]*intake, len(list))
	defer func() {
		for _, x := range in {
			x.discard()
		}
	}()
	for i := range list {
		if list[i].State < 0 || list[i].State >= len(c.folders) || list[i].Name == "" || len(list[i].Name) > maxCardName {
			return fmt.Errorf("mailbox: card %q of state %d: %w", list[i].Name, list[i].State, store.ErrInvalid)
		}
		if list[i].Content == nil || list[i].Drop || list[i].Adopt != "" {
			continue
		}
		var err error
		if in[i], err = c.m.newIntake(ctx); err != nil {
			return err
		}
		if _, err := in[i].Write(list[i].Content); err != nil {
			return err
		}
		if err := in[i].close(1); err != nil {
			return err
		}
	}
	err := c.change(ctx, ownerID, func(p *part, r store.Reader) error {
		for i := range list {
			if err := c.one(ctx, p, r, &list[i], in[i]); err != nil {
				return fmt.Errorf("card %q: %w", list[i].Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mailbox: change cards: %w", err)
	}
	return nil
}
