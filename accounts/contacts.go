package accounts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Limits of contacts.
const (
	MaxPending  = 1000                // contacts of one account that wait to be decided; the oldest gives way
	MaxContacts = 100_000             // of one account that are decided by command, or by writing to them
	seenAgain   = time.Hour           // LastSeen is not written more often
	sentAgain   = 24 * time.Hour      // nor is it that the owner has sent mail
	sentRecent  = 10 * 24 * time.Hour // so long reports about mail that was sent are let in
)

// Policy says who may write to an account.
type Policy byte

const (
	PolicyOpen   Policy = iota // everyone but who was rejected
	PolicyShow                 // mail of those who are not approved is kept apart
	PolicyAsk                  // who is not known is put off until the owner decides
	PolicyClosed               // nobody who is not approved
)

var policyNames = []string{"open", "show", "ask", "closed"}

func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy %d", byte(p))
}

// ParsePolicy reads the name of a policy.
func ParsePolicy(s string) (Policy, error) {
	for i, n := range policyNames {
		if n == s {
			return Policy(i), nil
		}
	}
	return 0, refuse(ErrInvalid, "%q is not a policy: open, show, ask or closed", s)
}

// ContactState is what was decided about a contact.
type ContactState byte

const (
	Pending ContactState = iota
	Approved
	Rejected
)

var stateNames = []string{"pending", "approved", "rejected"}

func (s ContactState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", byte(s))
}

// Contact is somebody who wrote to an account, or to whom its owner wrote.
type Contact struct {
	Sender    string // normal form, see NormalSender: local@domain, or @domain for all of it
	State     ContactState
	FirstSeen time.Time
	LastSeen  time.Time
	// Expires is when a decision ends; zero: never.
	Expires time.Time
	// Proven: the sender was authenticated when it was first seen (SPF or DKIM), and has to be.
	Proven bool
	// Tries counts the times that he wrote while he waited, those within an hour as one.
	Tries uint32
	// What was learnt from the content of his mail, where any was read: cut to lengths of their own, control characters
	// removed.
	Subject string
	Signed  string // DKIM domain that signed it; of a list: the one that has to
	Read    bool   // content was read
	List    string // of a sender: what he sends is of this list, which is a contact of its own
	// Network is whence he wrote first, where he was not authenticated, as wide as Config.Networks says. Until then it is not valid.
	Network netip.Prefix
}

// Question is whether somebody may write to an account.
type Question struct {
	To     mail.Address // canonical, of an account
	Via    mail.Address // as the sender wrote it
	Sender mail.Address // reverse-path
	IP     netip.Addr   // whence
	Proven bool         // the sender's domain was authenticated for this mail (SPF or DKIM)
	Failed bool         // the sender's domain says that this is not its mail (SPF fail or softfail)
}

// Decision answers a Question.
type Decision byte

const (
	Accept Decision = iota
	Apart           // accept, and keep apart until the owner decides
	Later           // put off: the owner was asked
	Refuse          // for good
	Prove           // accept if the sender's domain is authenticated by the message itself (DKIM); else ask again
	Known           // accept: he is approved, and it is he
	Look            // ask again when the content is known; if that cannot be, put off
)

// contacts is what is held in memory: which accounts are gated at all.
type contacts struct {
	mu      sync.RWMutex
	gates   map[uint64]gate
	pending map[uint64]int          // counted when first needed
	counts  map[uint64]contactCount // the same; with the latch
	latch   sync.Mutex              // one change at a time
	news    contactNews
	cache   contactCache
}

// gate is the row that says that an account's mail is looked at.
type gate struct {
	policy Policy
	some   bool // there are contacts
	lists  bool // a mailing list is approved: the content of strangers' mail says whether it is of one
}

func (c *contacts) gate(id uint64) (gate, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	g, ok := c.gates[id]
	return g, ok
}

// gated says which of the accounts have to be asked about; nil: none.
func (c *contacts) gated(ids []uint64) []bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.gates) == 0 {
		return nil
	}
	var out []bool
	for i, id := range ids {
		if _, ok := c.gates[id]; ok {
			if out == nil {
				out = make([]bool, len(ids))
			}
			out[i] = true
		}
	}
	return out
}

// drop forgets an account that is gone.
func (c *contacts) drop(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.gates, id)
	delete(c.pending, id)
}

// readGates reads them all.
func (a *Accounts) readGates(ctx context.Context) error {
	gates := map[uint64]gate{}
	err := a.scan(ctx, []byte(tagGate), func(kv store.KV) error {
		if len(kv.Key) != len(tagGate)+8 {
			return fmt.Errorf("accounts: key of a gate: %w", store.ErrCorrupt)
		}
		g, err := decodeGate(kv.Value)
		gates[binary.BigEndian.Uint64(kv.Key[len(tagGate):])] = g
		return err
	})
	a.contacts.gates, a.contacts.pending, a.contacts.counts = gates, map[uint64]int{}, map[uint64]contactCount{}
	a.contacts.news.begin(uint64(a.c.Clock().UnixNano()))
	return err
}

// SetPolicy says who may write to an account from now on.
func (a *Accounts) SetPolicy(ctx context.Context, address string, p Policy) error {
	acc, err := a.account(ctx, address)
	if err != nil {
		return err
	}
	if int(p) >= len(policyNames) {
		return refuse(ErrInvalid, "%s is not a policy: open, show, ask or closed", p)
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	g, _ := a.contacts.gate(acc.ID)
	g.policy = p
	return a.commitGate(ctx, acc.ID, g, &store.Batch{})
}

// Policy returns who may write to an account.
func (a *Accounts) Policy(ctx context.Context, address string) (Policy, error) {
	acc, err := a.account(ctx, address)
	if err != nil {
		return 0, err
	}
	g, _ := a.contacts.gate(acc.ID)
	return g.policy, nil
}

// commitGate commits a batch with a gate. The latch is held.
func (a *Accounts) commitGate(ctx context.Context, id uint64, g gate, b *store.Batch) error {
	key := keyID(tagGate, id)
	if g == (gate{}) {
		b.Ops = append(b.Ops, store.Delete(key))
	} else {
		b.Ops = append(b.Ops, store.Put(key, encodeGate(g)))
	}
	// The account may have gone meanwhile: then nothing of it is to be left.
	if err := a.commitContacts(ctx, id, b); err != nil {
		return err
	}
	a.contacts.mu.Lock()
	defer a.contacts.mu.Unlock()
	if g == (gate{}) {
		delete(a.contacts.gates, id)
	} else {
		a.contacts.gates[id] = g
	}
	return nil
}

// commitContacts makes a batch about an account's contacts durable, whatever becomes of the caller.
func (a *Accounts) commitContacts(ctx context.Context, id uint64, b *store.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	row, err := a.get(ctx, keyID(tagAccount, id))
	if err != nil {
		return err
	}
	if row == nil {
		return refuse(ErrUnknown, "the account is not there any more")
	}
	b.Asserts = append(b.Asserts, store.Assert{Key: keyID(tagAccount, id), Value: row})
	if err := a.commitCached(context.WithoutCancel(ctx), b); err != nil {
		return err
	}
	a.contacts.news.tell(id, b)
	return nil
}

// Contacts yields the contacts of an account in the order of their names.
func (a *Accounts) Contacts(ctx context.Context, address string) iter.Seq2[Contact, error] {
	return func(yield func(Contact, error) bool) {
		acc, err := a.account(ctx, address)
		if err != nil {
			yield(Contact{}, err)
			return
		}
		prefix := contactKey(acc.ID, "")
		for lo := prefix; lo != nil; {
			var page []Contact
			page, lo, err = a.contactPage(ctx, acc.ID, lo, contactKey(acc.ID+1, ""))
			if err != nil {
				yield(Contact{}, err)
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

const contactsPage = 256

// contactPage reads some contacts, and tells where the next page begins.
func (a *Accounts) contactPage(ctx context.Context, id uint64, lo, hi []byte) (page []Contact, next []byte, err error) {
	err = a.c.Engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, lo, hi, false) {
			if err != nil {
				return err
			}
			if len(page) == contactsPage {
				next = append([]byte(nil), kv.Key...)
				return nil
			}
			c, err := decodeContact(string(kv.Key[len(contactKey(id, "")):]), kv.Value)
			if err != nil {
				return err
			}
			page = append(page, c)
		}
		return nil
	})
	return page, next, err
}

// parseContact reads what a person writes: an address, or @domain.
func parseContact(s string) (string, error) {
	if domain, ok := strings.CutPrefix(s, "@"); ok {
		d, ok := CanonicalDomain(domain)
		if !ok {
			return "", refuse(ErrInvalid, "%q is not a domain: write @example.org for all of it", s)
		}
		return "@" + d, nil
	}
	if list, ok := strings.CutPrefix(s, listPrefix); ok {
		if list = cleanListID(list); list == "" {
			return "", refuse(ErrInvalid, "%q is not a mailing list: write list: and what its List-Id has in angle brackets, as list:news.example.org", s)
		}
		return listPrefix + list, nil
	}
	addr, err := parseAddress(s)
	if err != nil {
		return "", err
	}
	return NormalSender(addr, mail.Address{}), nil
}

// Decided is a decision of the owner.
type Decided struct {
	State   ContactState  // Approved or Rejected
	Expires time.Duration // from now; 0: never
}

// SetContact decides about a sender, or with "@domain" about all of a domain. It may be known or not.
func (a *Accounts) SetContact(ctx context.Context, address, sender string, d Decided) (Contact, error) {
	acc, err := a.account(ctx, address)
	if err != nil {
		return Contact{}, err
	}
	name, err := parseContact(sender)
	if err != nil {
		return Contact{}, err
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	old, err := a.contact(ctx, acc.ID, name)
	if err != nil {
		return Contact{}, err
	}
	now := a.c.Clock()
	c := Contact{Sender: name, FirstSeen: now}
	if old != nil {
		c = *old
	} else if room, err := a.hasRoom(ctx, acc.ID); err != nil {
		return Contact{}, err
	} else if !room {
		return Contact{}, refuse(ErrInvalid, "%s has %d contacts, which is the limit: remove some, or approve whole domains as @example.org", acc.Address, a.maxContacts())
	}
	c.State, c.Expires = d.State, time.Time{}
	if d.Expires > 0 {
		c.Expires = now.Add(d.Expires)
	}
	return c, a.putContact(ctx, acc.ID, old, c)
}

// RemoveContact forgets what was decided about a sender.
func (a *Accounts) RemoveContact(ctx context.Context, address, sender string) error {
	acc, err := a.account(ctx, address)
	if err != nil {
		return err
	}
	name, err := parseContact(sender)
	if err != nil {
		return err
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	old, err := a.contact(ctx, acc.ID, name)
	if err != nil {
		return err
	}
	if old == nil {
		return refuse(ErrUnknown, "%s is no contact of %s: see `samotop contact list %s`", name, acc.Address, acc.Address)
	}
	b := &store.Batch{Ops: []store.Op{store.Delete(contactKey(acc.ID, name))}}
	a.unpend(b, acc.ID, old)
	return a.commitContacts(ctx, acc.ID, b)
}

// contact reads one; nil if there is none, or its decision has ended.
func (a *Accounts) contact(ctx context.Context, id uint64, name string) (*Contact, error) {
	row, err := a.contactRow(ctx, id, name)
	if err != nil || row == nil {
		return nil, err
	}
	c, err := decodeContact(name, row)
	a.endExpired(&c)
	return &c, err
}

// endExpired makes a decision that has ended one that is to be made.
func (a *Accounts) endExpired(c *Contact) {
	if c.State != Pending && !c.Expires.IsZero() && !a.c.Clock().Before(c.Expires) {
		c.State, c.Expires = Pending, time.Time{}
	}
}

// putContact writes a contact in place of old, with the latch held.
func (a *Accounts) putContact(ctx context.Context, id uint64, old *Contact, c Contact) error {
	b := &store.Batch{Ops: []store.Op{store.Put(contactKey(id, c.Sender), encodeContact(c))}}
	if old != nil {
		a.unpend(b, id, old)
	}
	if c.State == Pending {
		b.Ops = append(b.Ops, store.Put(pendingKey(id, c.FirstSeen, c.Sender), nil))
	}
	g, _ := a.contacts.gate(id)
	list := c.State == Approved && strings.HasPrefix(c.Sender, listPrefix)
	if g.some && (g.lists || !list) {
		return a.commitContacts(ctx, id, b)
	}
	g.some, g.lists = true, g.lists || list
	return a.commitGate(ctx, id, g, b)
}

// unpend takes a contact out of the list of those who wait. One that has ended may not be in it.
func (a *Accounts) unpend(b *store.Batch, id uint64, c *Contact) {
	if c.State == Pending {
		b.Ops = append(b.Ops, store.Delete(pendingKey(id, c.FirstSeen, c.Sender)))
	}
}

var errNotAccount = errors.New("accounts: the address is not that of an account")
