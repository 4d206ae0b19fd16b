package mailbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store/mem"
)

var cardFolders = []string{"Cards/New", "Cards/Yes", "Cards/No"}

// deck is a mailbox with cards, and what its owner sees.
type deck struct {
	t *testing.T
	m *Mailbox
	c *Cards
	a imap.Account
}

func newDeck(t *testing.T, quota int64) *deck {
	m := newBox(t, Config{Directory: people{quota: quota}})
	return &deck{t, m, m.Cards(cardFolders), login(t, m, 1)}
}

func (d *deck) change(list ...CardChange) {
	d.t.Helper()
	if err := d.c.Change(context.Background(), 1, list); err != nil {
		d.t.Fatal(err)
	}
}

// state lists the cards as name:state@place, and the messages in each folder.
func (d *deck) state() string {
	d.t.Helper()
	list, err := d.c.List(context.Background(), 1, "")
	if err != nil {
		d.t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "%s:%d@%d", c.Name, c.State, c.At)
		if c.Lost {
			b.WriteString("lost")
		}
		b.WriteString(" ")
	}
	for _, f := range cardFolders {
		n := "-"
		if st, err := d.a.Status(context.Background(), f); err == nil {
			n = fmt.Sprint(st.Messages)
		}
		b.WriteString(n)
	}
	faults, err := d.m.Verify(context.Background(), nil)
	if err != nil || len(faults) > 0 {
		d.t.Errorf("verify: %v %v", faults, err)
	}
	return b.String()
}

func (d *deck) expect(want string) {
	d.t.Helper()
	if got := d.state(); got != want {
		d.t.Errorf("cards are %q, want %q", got, want)
	}
}

func (d *deck) move(from, to string, move bool) {
	d.t.Helper()
	box, _ := choose(d.t, d.a, from)
	if _, err := box.Copy(context.Background(), everything(), to, move); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deck) expunge(folder string) {
	d.t.Helper()
	box, _ := choose(d.t, d.a, folder)
	if _, err := box.Store(context.Background(), everything(), imap.StoreChange{Mode: imap.StoreAdd, Flags: imap.Flags{System: imap.FlagDeleted}}); err != nil {
		d.t.Fatal(err)
	}
	if _, err := box.Expunge(context.Background(), nil); err != nil {
		d.t.Fatal(err)
	}
}

func card(n int, state int) CardChange {
	return CardChange{Name: fmt.Sprintf("n%d", n), State: state, Mark: uint64(n), Content: []byte(letter(n))}
}

func TestCards(t *testing.T) {
	d := newDeck(t, 0)
	d.expect("---")
	if err := d.c.Ensure(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	d.expect("000")
	d.change(card(1, 0), card(2, 0))
	d.expect("n1:0@0 n2:0@0 200")
	d.change(card(1, 0)) // again: in place of the old one
	d.expect("n1:0@0 n2:0@0 200")
	d.change(CardChange{Name: "n1", State: 1, Mark: 9})
	d.expect("n1:1@1 n2:0@0 110")
	d.change(CardChange{Name: "n1", Drop: true}, CardChange{Name: "n7", Drop: true})
	d.expect("n2:0@0 100")

	d.move("Cards/New", "Cards/No", true) // a person decides
	d.expect("n2:0@2 001")
	d.change(CardChange{Name: "n2", State: 2})
	d.expect("n2:2@2 001")
	d.move("Cards/No", "Cards/Yes", false) // a program that moves by COPY
	d.expect("n2:2@1 011")
	d.change(CardChange{Name: "n2", State: 1})
	d.expect("n2:1@1 010")
	d.move("Cards/Yes", "Trash", true)
	d.expect("n2:1@-1 000")
	d.change(card(2, 2))
	d.expect("n2:2@2 001")
	d.expunge("Trash") // is not the card any more
	d.expect("n2:2@2 001")
	d.expunge("Cards/No")
	d.expect("n2:2@-1 000")
	if err := d.c.Change(context.Background(), 1, []CardChange{{Name: "n2", State: 2}}); err == nil {
		t.Error("moved what is not there")
	}
	d.change(CardChange{Name: "n2", Drop: true})
	d.expect("000")
}

func TestCardFolderGone(t *testing.T) {
	ctx := context.Background()
	d := newDeck(t, 0)
	d.change(card(1, 0), card(2, 1))
	if err := d.a.Delete(ctx, "Cards/New"); err != nil {
		t.Fatal(err)
	}
	d.expect("n1:0@0lost n2:1@1 -1-")
	if _, err := d.a.Create(ctx, "Cards/New", nil); err != nil {
		t.Fatal(err)
	}
	d.expect("n1:0@0lost n2:1@1 01-")
	d.change(card(1, 0))
	d.expect("n1:0@0 n2:1@1 11-")
	if err := d.a.Rename(ctx, "Cards/New", "Other"); err != nil {
		t.Fatal(err)
	}
	d.expect("n1:0@0lost n2:1@1 -1-")
	if err := d.a.Rename(ctx, "Other", "Cards/No"); err != nil { // its cards are not decided about by that
		t.Fatal(err)
	}
	d.expect("n1:0@0lost n2:1@1 -11")
	d.change(CardChange{Name: "n1", State: 0})
	d.expect("n1:0@0 n2:1@1 110")
	if err := d.m.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	d.expect("n1:0@0 n2:1@1 110")
}

// Cards neither count for the quota nor are refused by it, but copies that people make do.
func TestCardsAndQuota(t *testing.T) {
	ctx := context.Background()
	d := newDeck(t, int64(len(letter(1)))+50)
	d.change(card(1, 0), card(2, 0), card(3, 1))
	put(t, d.a, "INBOX", imap.AppendOptions{}, letter(1))
	if u, err := d.m.Usage(ctx, 1); err != nil || u.Messages != 1 || u.Octets != int64(len(letter(1))) {
		t.Error(u, err)
	}
	d.change(card(4, 2))
	box, _ := choose(t, d.a, "Cards/New")
	if _, err := box.Copy(ctx, everything(), "Archive", false); code(err) != "OVERQUOTA" {
		t.Error(err)
	}
	d.expunge("Cards/New")
	d.change(CardChange{Name: "n1", Drop: true}, CardChange{Name: "n2", Drop: true}, CardChange{Name: "n3", Drop: true}, CardChange{Name: "n4", Drop: true})
	if u, err := d.m.Usage(ctx, 1); err != nil || u.Messages != 1 || u.Octets != int64(len(letter(1))) {
		t.Error(u, err)
	}
	d.expect("000")
	if err := d.m.Purge(ctx, 1); err != nil {
		t.Fatal(err)
	}
}

// Only rows make a message a card, and they survive the room.
func TestCardsOf(t *testing.T) {
	ctx := context.Background()
	e := mem.New(mem.Options{})
	m := open(t, e, Config{})
	c := m.Cards(cardFolders)
	if err := c.Change(ctx, 1, []CardChange{card(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := c.Ensure(ctx, 1); err != nil {
		t.Fatal(err)
	}
	a := login(t, m, 1)
	put(t, a, "Cards/Yes", imap.AppendOptions{}, letter(1))
	if list, err := c.Of(ctx, 1, []string{"E1-1", "E1-2", "E2-1", "?"}); err != nil || len(list) != 1 || list[0].Name != "n1" || list[0].At != 0 {
		t.Error(list, err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, e, Config{})
	if list, err := m.Cards(cardFolders).Named(ctx, 1, []string{"n1", "n2"}); err != nil || len(list) != 1 || list[0].Mark != 1 {
		t.Error(list, err)
	}
	for name, bad := range map[string][]CardChange{"no name": {{State: 1}}, "no state": {{Name: "x", State: 3}}, "too many": make([]CardChange, CardsAtOnce+1)} {
		if err := c.Change(ctx, 1, bad); err == nil {
			t.Error(name)
		}
	}
}

// A message that a person's program sent anew becomes the card, wherever the old one is, and is free as it was.
func TestCardsAdopt(t *testing.T) {
	ctx := context.Background()
	d := newDeck(t, 0)
	d.change(card(1, 0), card(2, 0))
	if err := d.c.Ensure(ctx, 1); err != nil {
		t.Fatal(err)
	}
	put(t, d.a, "Cards/Yes", imap.AppendOptions{}, letter(7), letter(8))
	box, _ := choose(t, d.a, "Cards/Yes")
	var ids []string
	for m, err := range box.Fetch(ctx, everything(), imap.NeedIDs) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.EmailID)
	}
	if len(ids) != 2 {
		t.Fatal(ids)
	}
	d.change(CardChange{Name: "n1", State: 1, Mark: 5, Adopt: ids[0]})
	d.expect("n1:0@1 n2:0@0 120")
	d.change(CardChange{Name: "n1", State: 1, Mark: 5})
	d.expect("n1:1@1 n2:0@0 120")
	if u, err := d.m.Usage(ctx, 1); err != nil || u.Messages != 1 || u.Octets != int64(len(letter(8))) {
		t.Error(u, err)
	}
	for name, x := range map[string]CardChange{"a card": {Name: "n2", State: 1, Adopt: ids[0]}, "elsewhere": {Name: "n2", State: 2, Adopt: ids[1]},
		"of nobody": {Name: "n2", State: 1, Adopt: "E9-1"}, "nothing": {Name: "n2", State: 1, Adopt: "E1-zzz"}} {
		if err := d.c.Change(ctx, 1, []CardChange{x}); !errors.Is(err, ErrNoCard) {
			t.Errorf("%s was adopted: %v", name, err)
		}
	}
	d.change(CardChange{Name: "n9", State: 1, Mark: 5, Adopt: ids[1]}) // whose card was not there
	d.expect("n1:1@1 n2:0@0 n9:1@1 120")
	d.move("Cards/Yes", "Cards/No", true)
	d.expect("n1:1@2 n2:0@0 n9:1@2 102")
	if d.c.Token(1, "n1") == d.c.Token(2, "n1") || d.c.Token(1, "n1") == d.c.Token(1, "n2") || len(d.c.Token(1, "")) != 2*tokenOctets {
		t.Error("tokens are alike")
	}
}
