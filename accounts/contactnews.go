package accounts

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/store"
)

// contactNews remembers the last changes to contacts, for those who show them elsewhere. What is older, or from before the
// room was opened, counts as lost: who follows reads all again.
type contactNews struct {
	mu   sync.Mutex
	boot uint64
	seq  uint64 // of the next change
	ring [newsKept]ContactChange
	wake chan struct{} // closed by the next change
}

const (
	newsKept = 4096
	newsWait = 5 * time.Second // a question waits so long for an answer
	newsMost = 500             // changes in one answer
)

// ContactChange names a contact that was changed, made or removed; Sender is empty where the policy was.
type ContactChange struct {
	Account uint64
	Sender  string
}

// ContactCursor is a place in the stream of changes. The zero cursor is before everything that is lost.
type ContactCursor struct{ Boot, Seq uint64 }

// ContactNews is what has changed since a cursor.
type ContactNews struct {
	Next    ContactCursor
	Lost    bool // changes before Changed are not known any more: read everything
	Changed []ContactChange
}

func (n *contactNews) begin(boot uint64) {
	n.boot, n.wake = max(boot, 1), make(chan struct{})
}

// tell takes the contacts and gates out of a batch that is durable.
func (n *contactNews) tell(id uint64, b *store.Batch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.seq
	for i := range b.Ops {
		key := b.Ops[i].Key
		switch tag := string(key[:min(len(key), len(tagContact))]); {
		case tag == tagContact && len(key) > len(tagContact)+8:
			n.ring[n.seq%newsKept] = ContactChange{id, string(key[len(tagContact)+8:])}
		case tag == tagGate:
			n.ring[n.seq%newsKept] = ContactChange{Account: id}
		default:
			continue
		}
		n.seq++
	}
	if n.seq != before {
		close(n.wake)
		n.wake = make(chan struct{})
	}
}

// since returns changes, or what to wait for.
func (n *contactNews) since(c ContactCursor) (news ContactNews, wake <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := c.Seq
	if c.Boot != n.boot || from > n.seq || n.seq-from > newsKept {
		return ContactNews{Next: ContactCursor{n.boot, n.seq}, Lost: true}, nil
	}
	to := min(n.seq, from+newsMost)
	for ; from < to; from++ {
		news.Changed = append(news.Changed, n.ring[from%newsKept])
	}
	news.Next = ContactCursor{n.boot, to}
	return news, n.wake
}

// ContactNews returns what has changed since a cursor. Where nothing has it waits for some seconds, and returns no change.
func (a *Accounts) ContactNews(ctx context.Context, since ContactCursor) (ContactNews, error) {
	news, wake := a.contacts.news.since(since)
	if news.Lost || len(news.Changed) > 0 {
		return news, nil
	}
	t := time.NewTimer(newsWait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return news, ctx.Err()
	case <-t.C:
	case <-wake:
		news, _ = a.contacts.news.since(since)
	}
	return news, nil
}

// ContactRange asks for contacts of an account: those named, or else those after a name.
type ContactRange struct {
	Account uint64
	After   string
	Names   []string
}

// ContactPage is the answer. Where the account is not there, or nobody was ever kept from it, Gated is false.
type ContactPage struct {
	Gated    bool
	Address  string // of the account
	Policy   Policy
	Contacts []Contact // in the order of their names
	More     bool      // there are others after the last one
}

// ContactPage reads contacts as they are now: a decision that has ended is shown as pending.
func (a *Accounts) ContactPage(ctx context.Context, q ContactRange) (p ContactPage, err error) {
	g, gated := a.contacts.gate(q.Account)
	if !gated {
		return p, nil
	}
	row, err := a.get(ctx, keyID(tagAccount, q.Account))
	if err != nil || row == nil {
		return p, err
	}
	acc, err := decodeAccount(q.Account, row)
	if err != nil {
		return p, err
	}
	p = ContactPage{Gated: true, Address: acc.Address.String(), Policy: g.policy}
	for _, name := range q.Names {
		c, err := a.contact(ctx, q.Account, name)
		if err != nil {
			return p, err
		}
		if c != nil {
			p.Contacts = append(p.Contacts, *c)
		}
	}
	if len(q.Names) > 0 {
		return p, nil
	}
	lo := contactKey(q.Account, q.After)
	if q.After != "" {
		lo = append(lo, 0)
	}
	page, next, err := a.contactPage(ctx, q.Account, lo, contactKey(q.Account+1, ""))
	for i := range page {
		a.endExpired(&page[i])
	}
	p.Contacts, p.More = page, next != nil
	return p, err
}

// GatedAccounts are those to whom not everybody may write, or ever was kept from it.
func (a *Accounts) GatedAccounts(context.Context) ([]uint64, error) {
	a.contacts.mu.RLock()
	defer a.contacts.mu.RUnlock()
	out := make([]uint64, 0, len(a.contacts.gates))
	for id := range a.contacts.gates {
		out = append(out, id)
	}
	return out, nil
}

// Verdict is what the owner of an account does about a contact by a gesture in his mail program.
type Verdict struct {
	Account uint64
	Sender  string // the contact's name
	State   ContactState
	Forget  bool // instead: the contact goes
}

// Judge carries a Verdict out. Pending takes a decision back.
func (a *Accounts) Judge(ctx context.Context, v Verdict) error {
	if !validContact(v.Sender) || int(v.State) >= len(stateNames) {
		return refuse(ErrInvalid, "%q cannot be %s", v.Sender, v.State)
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	old, err := a.contact(ctx, v.Account, v.Sender)
	if err != nil {
		return err
	}
	if v.Forget {
		if old == nil {
			return nil
		}
		b := &store.Batch{Ops: []store.Op{store.Delete(contactKey(v.Account, v.Sender))}}
		a.unpend(b, v.Account, old)
		return a.commitContacts(ctx, v.Account, b)
	}
	c := Contact{Sender: v.Sender, FirstSeen: a.c.Clock()}
	if old != nil {
		if old.State == v.State && old.Expires.IsZero() {
			return nil
		}
		c = *old
	}
	c.State, c.Expires = v.State, time.Time{}
	return a.putContact(ctx, v.Account, old, c)
}

// listPrefix begins the name of a contact that is a mailing list; its List-Id follows.
const listPrefix = "list:"

// maxContactName is the longest name of a contact, in octets.
const maxContactName = 600

// validContact tells whether a name could be that of a contact.
func validContact(name string) bool {
	return len(name) > 1 && len(name) <= maxContactName && (strings.Contains(name, "@") || strings.HasPrefix(name, listPrefix))
}
