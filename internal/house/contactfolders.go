package house

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mailbox"
)

// contactDesk shows the contacts of accounts as messages in contactFolders, and takes what people do to those messages as
// their decisions. The accounts room has the contacts, the Mailbox the messages (mailbox.Cards); this makes them agree:
// by news while both are there, and by a comparison of all after anything may have been missed. A decision that could not
// be told, because the accounts room was away, stays to be seen in where the message is, and is told later.
type contactDesk struct {
	rules   contactsRoom
	cards   *mailbox.Cards
	content func(ctx context.Context, owner uint64, emailID string) (imap.Content, error)
	clock   func() time.Time // nil: time.Now
	log     *slog.Logger

	accounts [64]sync.Mutex // by number: one change at a time

	mu     sync.Mutex
	again  map[uint64]bool     // accounts to be compared when the accounts room answers
	behind map[uint64][]string // contacts whose message waits, because there are so many new ones
	budget map[uint64]*budget
}

var _ mailbox.Observer = (*contactDesk)(nil)

const (
	cardsAtFirst = 50              // new pending contacts of an account that get a message at once
	cardEvery    = 2 * time.Second // and then one in such a time: who has expired until then never costs one
	deskPause    = 500 * time.Millisecond
	deskPauseMax = 10 * time.Second
	decideTime   = 30 * time.Second // for all that one gesture decides
	maxBudgets   = 10_000
)

// budget of new messages of one account.
type budget struct {
	left int
	at   time.Time
}

func newContactDesk(rules contactsRoom, m *mailbox.Mailbox, log *slog.Logger) *contactDesk {
	return &contactDesk{rules: rules, cards: m.Cards(contactFolders), content: m.Content, log: log,
		again: map[uint64]bool{}, behind: map[uint64][]string{}, budget: map[uint64]*budget{}}
}

func (d *contactDesk) now() time.Time {
	if d.clock != nil {
		return d.clock()
	}
	return time.Now()
}

// lock keeps changes of one account apart.
func (d *contactDesk) lock(account uint64) (unlock func()) {
	mu := &d.accounts[account%uint64(len(d.accounts))]
	mu.Lock()
	return mu.Unlock
}

// run follows the contacts until ctx ends.
func (d *contactDesk) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { d.catchUp(ctx) })
	defer wg.Wait()
	var at accounts.ContactCursor
	for pause := deskPause; ctx.Err() == nil; {
		next, err := d.step(ctx, at)
		if err == nil {
			at, pause = next, deskPause
			continue
		}
		if ctx.Err() == nil {
			d.log.DebugContext(ctx, "contacts are not shown for now", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, deskPauseMax)
	}
}

// step takes one piece of news.
func (d *contactDesk) step(ctx context.Context, at accounts.ContactCursor) (accounts.ContactCursor, error) {
	news, err := d.rules.ContactNews(ctx, at)
	if err != nil {
		return at, err
	}
	if news.Lost {
		err := d.compareAll(ctx)
		return news.Next, err
	}
	d.compareOwed(ctx)
	names := map[uint64][]string{}
	for _, c := range news.Changed {
		if !slices.Contains(names[c.Account], c.Sender) {
			names[c.Account] = append(names[c.Account], c.Sender)
		}
	}
	for id, list := range names {
		d.retry(ctx, id, d.update(ctx, id, list))
	}
	return news.Next, nil
}

// owe notes that an account is to be compared.
func (d *contactDesk) owe(account uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.again[account] = true
}

// retry owes an account about which something went wrong, so that nothing stands still for the others.
func (d *contactDesk) retry(ctx context.Context, account uint64, err error) {
	if err == nil {
		return
	}
	d.owe(account)
	if ctx.Err() == nil {
		d.log.WarnContext(ctx, "contacts of an account are shown later", "id", account, "err", err)
	}
}

func (d *contactDesk) compareOwed(ctx context.Context) {
	d.mu.Lock()
	var list []uint64
	for id := range d.again {
		list = append(list, id)
	}
	clear(d.again)
	d.mu.Unlock()
	for _, id := range list {
		d.retry(ctx, id, d.compare(ctx, id))
	}
}

func (d *contactDesk) compareAll(ctx context.Context) error {
	ids, err := d.rules.GatedAccounts(ctx)
	for _, id := range ids {
		d.retry(ctx, id, d.compare(ctx, id))
	}
	return err
}

// update brings the messages of some contacts up to date. An empty name is that of the policy.
func (d *contactDesk) update(ctx context.Context, account uint64, names []string) error {
	defer d.lock(account)()
	named := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	if len(named) < len(names) {
		page, err := d.rules.ContactPage(ctx, accounts.ContactRange{Account: account, Names: []string{"@"}})
		if err != nil || !page.Gated {
			return err
		}
		if err := d.cards.Ensure(ctx, account); err != nil {
			return d.gone(err)
		}
	}
	for part := range slices.Chunk(named, mailbox.CardsAtOnce) {
		page, err := d.rules.ContactPage(ctx, accounts.ContactRange{Account: account, Names: part})
		if err != nil || !page.Gated {
			return err
		}
		have, err := d.cards.Named(ctx, account, part)
		if err != nil {
			return err
		}
		w := work{desk: d, account: account, page: &page}
		for _, n := range part {
			c := slices.IndexFunc(page.Contacts, func(c accounts.Contact) bool { return c.Sender == n })
			k := slices.IndexFunc(have, func(k mailbox.Card) bool { return k.Name == n })
			if err := w.one(ctx, at(page.Contacts, c), at(have, k)); err != nil {
				return err
			}
		}
		if err := w.flush(ctx); err != nil {
			return d.gone(err)
		}
	}
	return nil
}

// gone: an account that was removed needs no messages.
func (d *contactDesk) gone(err error) error {
	if errors.Is(err, mailbox.ErrNoOwner) {
		return nil
	}
	return err
}

func at[T any](list []T, i int) *T {
	if i < 0 {
		return nil
	}
	return &list[i]
}

// compare goes through all contacts and all messages of an account, both in the order of names.
func (d *contactDesk) compare(ctx context.Context, account uint64) error {
	defer d.lock(account)()
	page, err := d.rules.ContactPage(ctx, accounts.ContactRange{Account: account})
	if err != nil || !page.Gated {
		return err
	}
	if err := d.cards.Ensure(ctx, account); err != nil {
		return d.gone(err)
	}
	cards, err := d.cards.List(ctx, account, "")
	w := work{desk: d, account: account, page: &page}
	contacts, more, last := page.Contacts, page.More, ""
	for err == nil && (len(contacts) > 0 || len(cards) > 0) {
		var c *accounts.Contact
		var k *mailbox.Card
		order := -1
		if len(contacts) == 0 {
			order = 1
		} else if len(cards) > 0 {
			order = strings.Compare(contacts[0].Sender, cards[0].Name)
		}
		if order <= 0 {
			c, contacts = &contacts[0], contacts[1:]
		}
		if order >= 0 {
			k, cards = &cards[0], cards[1:]
			last = k.Name
		}
		if err = w.one(ctx, c, k); err != nil {
			break
		}
		if len(contacts) == 0 && more {
			page, err = d.rules.ContactPage(ctx, accounts.ContactRange{Account: account, After: c.Sender})
			contacts, more = page.Contacts, page.More
		}
		if len(cards) == 0 && last != "" && err == nil {
			cards, err = d.cards.List(ctx, account, last)
			last = ""
		}
	}
	if err == nil {
		err = w.flush(ctx)
	}
	return d.gone(err)
}
