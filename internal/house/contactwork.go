package house

import (
	"context"
	"slices"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/mailbox"
)

// work is what is to be done about the messages of one account. The account's lock is held.
type work struct {
	desk    *contactDesk
	account uint64
	page    *accounts.ContactPage
	now     bool // what a person did came just now: it counts more than what else was decided
	changes []mailbox.CardChange
}

// one makes a contact and its message agree; either may be nil.
func (w *work) one(ctx context.Context, c *accounts.Contact, k *mailbox.Card) error {
	if c != nil && c.List != "" && c.State == accounts.Pending {
		c = nil // its list is shown
	}
	if k != nil && k.At != k.State && (w.now || c == nil && k.At >= 0 || c != nil && int(c.State) == k.State) {
		return w.decided(ctx, c, k)
	}
	switch {
	case c == nil && k == nil:
		return nil
	case c == nil:
		return w.add(ctx, mailbox.CardChange{Name: k.Name, Drop: true})
	case k == nil && c.State == accounts.Pending && !w.desk.mayShow(w.account, c.Sender):
		return nil
	}
	x := mailbox.CardChange{Name: c.Sender, State: int(c.State), Mark: markOf(c)}
	if k == nil || k.Lost || k.At == mailbox.Deleted || c.State == accounts.Pending && k.Mark != x.Mark {
		x.Content = w.card(c)
	} else {
		if k.State == x.State && k.At == k.State {
			return nil
		}
		x.Mark = k.Mark
	}
	return w.add(ctx, x)
}

// decided tells the accounts room what a person has decided by moving or deleting a message, and settles the message. To
// delete a pending one rejects, so that the sender's next attempt does not bring it back; it is then to be found among the
// rejected. To delete another takes the decision back.
func (w *work) decided(ctx context.Context, c *accounts.Contact, k *mailbox.Card) error {
	v := accounts.Verdict{Account: w.account, Sender: k.Name, State: accounts.ContactState(max(k.At, 0))}
	x := mailbox.CardChange{Name: k.Name, State: k.At, Mark: k.Mark}
	if k.At == mailbox.Deleted {
		if k.State == int(accounts.Pending) {
			v.State, x.State = accounts.Rejected, int(accounts.Rejected)
			show := accounts.Contact{Sender: k.Name, FirstSeen: w.desk.now()}
			if c != nil {
				show = *c
			}
			x.Mark, x.Content = markOf(&show), w.card(&show)
		} else {
			v.Forget, x.Drop = true, true
		}
	}
	if err := w.desk.rules.Judge(ctx, v); err != nil {
		return err
	}
	w.desk.log.InfoContext(ctx, "decided by moving a message", "account", w.page.Address, "contact", k.Name, "state", v.State.String(), "forgotten", v.Forget)
	return w.add(ctx, x)
}

func (w *work) card(c *accounts.Contact) []byte {
	return contactCard(w.page.Address, w.desk.cards.Token(w.account, c.Sender), c)
}

func (w *work) add(ctx context.Context, x mailbox.CardChange) error {
	w.changes = append(w.changes, x)
	if len(w.changes) < mailbox.CardsAtOnce {
		return nil
	}
	return w.flush(ctx)
}

func (w *work) flush(ctx context.Context) error {
	if len(w.changes) == 0 {
		return nil
	}
	list := w.changes
	w.changes = nil
	return w.desk.cards.Change(ctx, w.account, list)
}

// mayShow says whether a new pending contact gets its message now; else it waits.
func (d *contactDesk) mayShow(account uint64, name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spend(account) {
		return true
	}
	list := d.behind[account]
	if slices.Contains(list, name) {
		return false
	}
	if len(list) >= accounts.MaxPending {
		list = slices.Delete(list, 0, 1) // it has waited longest, and is the first to expire
	}
	d.behind[account] = append(list, name)
	return false
}

// spend takes one from an account's budget. It needs d.mu.
func (d *contactDesk) spend(account uint64) bool {
	now := d.now()
	b := d.budget[account]
	if b == nil {
		if len(d.budget) >= maxBudgets {
			for id, old := range d.budget {
				if now.Sub(old.at) > cardsAtFirst*cardEvery {
					delete(d.budget, id)
				}
			}
		}
		b = &budget{left: cardsAtFirst, at: now}
		d.budget[account] = b
	}
	if n := int(now.Sub(b.at) / cardEvery); n > 0 {
		b.left, b.at = min(b.left+n, cardsAtFirst), b.at.Add(time.Duration(n)*cardEvery)
	}
	if b.left <= 0 {
		return false
	}
	b.left--
	return true
}

// catchUp shows what waits.
func (d *contactDesk) catchUp(ctx context.Context) {
	t := time.NewTicker(cardEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for id, names := range d.due() {
			d.retry(ctx, id, d.update(ctx, id, names))
		}
	}
}

// due takes some names of each account that waits.
func (d *contactDesk) due() map[uint64][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[uint64][]string{}
	for id, list := range d.behind {
		n := min(len(list), cardsAtFirst)
		out[id] = list[:n:n]
		if d.behind[id] = list[n:]; len(list) == n {
			delete(d.behind, id)
		}
	}
	return out
}

// Observe takes what a person does to messages in the folders of contacts as decisions.
func (d *contactDesk) Observe(ctx context.Context, e mailbox.Event) {
	if !ofContacts(e.From.Name) && !ofContacts(e.To.Name) {
		return
	}
	switch e.Cause {
	case mailbox.FolderDeleted, mailbox.FolderRenamed: // nothing is decided by that: the folders come back
		d.owe(e.Owner)
		return
	case mailbox.Appended:
		d.appended(ctx, &e)
		return
	case mailbox.Moved, mailbox.Copied, mailbox.Expunged:
	default:
		return
	}
	var emails []string
	for _, m := range e.Messages {
		emails = append(emails, m.EmailID)
	}
	ctx, cancel := context.WithTimeout(ctx, decideTime)
	defer cancel()
	if err := d.gestures(ctx, e.Owner, emails); err != nil {
		d.owe(e.Owner)
		d.log.WarnContext(ctx, "decisions about contacts are told later", "err", err)
	}
}

// ofContacts tells whether a name is one of the folders.
func ofContacts(name string) bool { return slices.Contains(contactFolders, name) }

func (d *contactDesk) gestures(ctx context.Context, account uint64, emails []string) error {
	for part := range slices.Chunk(emails, mailbox.CardsAtOnce) {
		if err := d.gesture(ctx, account, part); err != nil {
			return err
		}
	}
	return nil
}

func (d *contactDesk) gesture(ctx context.Context, account uint64, emails []string) error {
	defer d.lock(account)()
	cards, err := d.cards.Of(ctx, account, emails)
	if err != nil || len(cards) == 0 {
		return err
	}
	names := make([]string, len(cards))
	for i, k := range cards {
		names[i] = k.Name
	}
	page, err := d.rules.ContactPage(ctx, accounts.ContactRange{Account: account, Names: names})
	if err != nil || !page.Gated {
		return err
	}
	w := work{desk: d, account: account, page: &page, now: true}
	for i := range cards {
		c := slices.IndexFunc(page.Contacts, func(c accounts.Contact) bool { return c.Sender == cards[i].Name })
		if err := w.one(ctx, at(page.Contacts, c), &cards[i]); err != nil {
			return err
		}
	}
	return w.flush(ctx)
}
