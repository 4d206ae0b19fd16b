package accounts

import (
	"context"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Decide answers whether a sender may write to an account, and under Show and Ask remembers who asked. Nobody is kept from
// postmaster and abuse (RFC 5321 section 4.5.1): the caller does not ask about those.
func (a *Accounts) Decide(ctx context.Context, q Question) (Decision, error) {
	id, err := a.ownID(ctx, q.To)
	if err != nil {
		return Refuse, err
	}
	g, gated := a.contacts.gate(id)
	if !gated {
		return Accept, nil
	}
	if q.Sender.IsNull() {
		return a.decideReport(ctx, id, g)
	}
	name := NormalSender(q.Sender, q.To)
	asked := q
	if domainOf(name) != canonicalDomain(q.Sender.Domain) { // SRS: what was proven is who forwarded, who may be anybody
		q.Proven, q.Failed = false, true
	}
	c, err := a.contact(ctx, id, name)
	if err != nil {
		return Refuse, err
	}
	if c == nil || c.State == Pending {
		all, err := a.contact(ctx, id, "@"+domainOf(name))
		if err != nil {
			return Refuse, err
		}
		if all != nil && all.State != Pending {
			c = all
		}
	}
	switch {
	case c != nil && c.State == Rejected:
		return Refuse, nil
	case c != nil && c.State == Approved:
		return a.decideApproved(ctx, id, g, c, q)
	case g.policy == PolicyOpen:
		return Accept, nil
	}
	if d, err := a.bySuffix(ctx, id, asked); err != nil || d != Refuse {
		return d, err
	}
	return a.decideStranger(ctx, id, g, c, name, q)
}

// decideStranger answers for somebody who is not decided about.
func (a *Accounts) decideStranger(ctx context.Context, id uint64, g gate, c *Contact, name string, q Question) (Decision, error) {
	if g.policy != PolicyClosed {
		if err := a.ask(ctx, id, c, name, q); err != nil {
			return Refuse, err
		}
	}
	if g.policy == PolicyShow {
		return Apart, nil
	}
	return a.waits(ctx, id, g, c)
}

// stranger is the answer to who is not approved.
func stranger(p Policy) Decision {
	switch p {
	case PolicyShow:
		return Apart
	case PolicyAsk:
		return Later
	case PolicyClosed:
		return Refuse
	}
	return Accept
}

// decideApproved lets an approval be used only by whom it was given to: the authenticated sender, or, where he was not when
// he was first seen, whoever writes from the same network. The first unauthenticated mail of somebody to whom the owner wrote
// says which that is, unless it comes from where his domain says that it sends none.
func (a *Accounts) decideApproved(ctx context.Context, id uint64, g gate, c *Contact, q Question) (Decision, error) {
	switch {
	case q.Proven:
		return Known, nil
	case g.policy == PolicyOpen:
		return Accept, nil
	case c.Proven, strings.HasPrefix(c.Sender, "@"):
		return Prove, nil
	case c.Network.IsValid() && c.Network.Contains(q.IP.Unmap()):
		return Known, nil
	case c.Network.IsValid(), q.Failed:
		return Prove, nil
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	now, err := a.contact(ctx, id, c.Sender)
	if err != nil || now == nil || now.State != Approved || now.Network.IsValid() {
		return Prove, err // somebody was quicker
	}
	next := *now
	next.Network = a.c.Networks.Of(q.IP)
	if !next.Network.IsValid() {
		return Accept, nil
	}
	return Accept, a.putContact(ctx, id, now, next)
}

// ask remembers that somebody waits. Nothing is written when that is known already.
func (a *Accounts) ask(ctx context.Context, id uint64, c *Contact, name string, q Question) error {
	now := a.c.Clock()
	if c != nil && now.Sub(c.LastSeen) < seenAgain {
		return nil
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	old, err := a.contact(ctx, id, name)
	if err != nil {
		return err
	}
	if old != nil && old.State != Pending {
		return nil // decided at this moment
	}
	next := Contact{Sender: name, FirstSeen: now, Proven: q.Proven}
	if !q.Proven {
		next.Network = a.c.Networks.Of(q.IP)
	}
	if old != nil {
		next = *old
	}
	if err := a.makeRoom(ctx, id); err != nil {
		return err
	}
	next.LastSeen = now
	next.Tries++
	if err := a.putContact(ctx, id, old, next); err != nil {
		return err
	}
	a.contacts.mu.Lock()
	a.contacts.pending[id]++ // too high for who waited already: then it is only counted anew the sooner
	a.contacts.mu.Unlock()
	return nil
}

// pendingRoom is how many give way at once, so that a flood does not make each of its strangers dear.
const pendingRoom = 32

// makeRoom lets the contacts that have waited longest give way to a new one: a flood of strangers fills nothing. The count
// may be too high after decisions, never too low; then it is taken anew.
func (a *Accounts) makeRoom(ctx context.Context, id uint64) error {
	a.contacts.mu.RLock()
	n, known := a.contacts.pending[id]
	a.contacts.mu.RUnlock()
	if known && n < MaxPending {
		return nil
	}
	keys, err := a.pendingKeys(ctx, id)
	if err != nil {
		return err
	}
	n = len(keys)
	b := &store.Batch{}
	for least := MaxPending - pendingRoom; n > least && len(b.Ops) > 0 || n >= MaxPending; n-- {
		oldest := keys[0]
		keys = keys[1:]
		b.Ops = append(b.Ops, store.Delete(oldest), store.Delete(contactKey(id, senderOfPending(oldest))))
	}
	if len(b.Ops) > 0 {
		err = a.commitContacts(ctx, id, b)
	}
	a.contacts.mu.Lock()
	a.contacts.pending[id] = n
	a.contacts.mu.Unlock()
	return err
}

// pendingKeys lists who waits, who waits longest first.
func (a *Accounts) pendingKeys(ctx context.Context, id uint64) (keys [][]byte, err error) {
	lo := keyID(tagPending, id)
	err = a.c.Engine.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, lo, keyID(tagPending, id+1), false) {
			if err != nil {
				return err
			}
			keys = append(keys, append([]byte(nil), kv.Key...))
		}
		return nil
	})
	return keys, err
}

// WroteTo approves those to whom the owner of an account writes, if anybody is kept out at all, and remembers that he
// wrote, and the Message-ID, for reports that come back.
func (a *Accounts) WroteTo(ctx context.Context, account string, to []mail.Address, messageID string) error {
	addr, err := mail.ParseAddress(account)
	if err != nil {
		return err
	}
	id, err := a.ownID(ctx, addr)
	if err != nil {
		return err
	}
	g, gated := a.contacts.gate(id)
	if !gated || g.policy == PolicyOpen {
		return nil
	}
	if err := a.noteSent(ctx, id); err != nil {
		return err
	}
	if err := a.noteSubmitted(ctx, id, messageID); err != nil {
		return err
	}
	for _, t := range to {
		if t.IsNull() || t.Domain == "" {
			continue
		}
		if err := a.autoApprove(ctx, id, NormalSender(t, mail.Address{})); err != nil {
			return err
		}
	}
	return nil
}

// autoApprove approves who is not decided about yet. Nobody whom the owner rejected comes back by it.
func (a *Accounts) autoApprove(ctx context.Context, id uint64, name string) error {
	c, err := a.contact(ctx, id, name)
	if err != nil || c != nil && c.State != Pending {
		return err
	}
	a.contacts.latch.Lock()
	defer a.contacts.latch.Unlock()
	if c, err = a.contact(ctx, id, name); err != nil || c != nil && c.State != Pending {
		return err
	}
	next := Contact{Sender: name, FirstSeen: a.c.Clock(), State: Approved}
	if c != nil {
		next = *c
		next.State = Approved
	} else if room, err := a.hasRoom(ctx, id); err != nil || !room { // who has so many is a program: its mail goes, and nobody more is approved
		return err
	}
	return a.putContact(ctx, id, c, next)
}

// noteSent remembers that the owner sent mail.
func (a *Accounts) noteSent(ctx context.Context, id uint64) error {
	sent, err := a.sent(ctx, id)
	now := a.c.Clock()
	if err != nil || now.Sub(sent) < sentAgain {
		return err
	}
	return a.commitContacts(ctx, id, &store.Batch{Ops: []store.Op{store.Put(keyID(tagSent, id), appendTime([]byte{1}, now))}})
}

// ownID is the account of a canonical address.
func (a *Accounts) ownID(ctx context.Context, addr mail.Address) (uint64, error) {
	o, err := a.Lookup(ctx, addr)
	if err != nil {
		return 0, err
	}
	if o.ID == 0 {
		return 0, errNotAccount
	}
	return o.ID, nil
}
