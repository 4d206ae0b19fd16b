package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/samotop/samotop/store"
)

// Purge removes everything of an account that Accounts has removed, in bounded batches. It may be called again if it
// was interrupted, and does nothing for an account that is not there. Sessions of the account find it gone.
func (m *Mailbox) Purge(ctx context.Context, ownerID uint64) error {
	a := m.account(accountID(ownerID))
	defer m.release(a)
	there, err := m.closeAccount(ctx, a)
	if err != nil || !there {
		return err
	}
	if err := m.purgeShares(ctx, a); err != nil {
		return fmt.Errorf("mailbox: purge: %w", err)
	}
	for more := true; more; {
		if more, err = m.purgeEmails(ctx, a.id); err != nil {
			return fmt.Errorf("mailbox: purge: %w", err)
		}
	}
	b := &store.Batch{Deletes: true}
	for _, kind := range kindsOfAccount {
		lo := appendAccountKey(nil, kind, a.id)
		b.Ops = append(b.Ops, store.DeleteRange(lo, after(lo)))
	}
	if err := store.Commit(ctx, m.eng, b); err != nil {
		return fmt.Errorf("mailbox: purge: %w", err)
	}
	a.mu.Lock()
	for id := range a.live {
		a.announce(id, a.row.S+1)
	}
	a.mu.Unlock()
	m.wakeSweeper()
	return nil
}

// closeAccount marks the account as being purged, durably, and waits for what is on its way. Nothing changes in the
// account after that but by Purge.
func (m *Mailbox) closeAccount(ctx context.Context, a *account) (there bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.flights > 0 {
		a.settled.Wait()
	}
	key := appendAccountKey(nil, kindAccount, a.id)
	var old []byte
	err = m.eng.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, key)
		old = append(old, v...)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("mailbox: purge: %w", err)
	}
	row, err := decodeAccount(old)
	if err != nil {
		return false, err
	}
	row.Purging = true
	err = store.Commit(ctx, m.eng, &store.Batch{
		Asserts: []store.Assert{{Key: key, Value: old}},
		Ops:     []store.Op{store.Put(key, row.appendTo(nil))},
		Deletes: true,
	})
	if err != nil {
		a.broken = true
		return false, fmt.Errorf("mailbox: purge: %w", err)
	}
	a.row, a.loaded, a.broken, a.purged = row, true, false, true
	return true, nil
}

// purgeEmails removes some emails with their references to bodies.
func (m *Mailbox) purgeEmails(ctx context.Context, id accountID) (more bool, err error) {
	b := &store.Batch{Deletes: true}
	var ar arena
	now := binary.BigEndian.AppendUint64(nil, uint64(m.now().Unix()))
	err = m.eng.View(ctx, func(r store.Reader) error {
		lo := ar.accountKey(kindEmail, id)
		n := 0
		for kv, err := range r.Scan(ctx, lo, after(lo), false) {
			if err != nil {
				return err
			}
			if n++; n > sweepMessages {
				more = true
				break
			}
			b.Ops = append(b.Ops, store.Delete(ar.copyOf(kv.Key)))
			row, err := decodeEmail(kv.Value)
			if err != nil {
				continue // Verify names the body that it leaves behind
			}
			e := emailID(lastUint64(kv.Key))
			b.Ops = append(b.Ops, store.Delete(ar.refKey(kindRef, &row.Hash, id, e)), store.Put(ar.refKey(kindFree, &row.Hash, id, e), now))
		}
		return nil
	})
	if err != nil || len(b.Ops) == 0 {
		return false, err
	}
	return more, store.Commit(ctx, m.eng, b)
}

// purgeShares takes the account out of the lists of others' mailboxes, and what it has shared out of the index.
func (m *Mailbox) purgeShares(ctx context.Context, a *account) error {
	given, err := m.grantsTo(ctx, a.id)
	if err != nil {
		return err
	}
	for _, at := range given {
		if err := m.shutOut(ctx, at, a.id); err != nil && !errors.Is(err, errPurged) {
			return err
		}
	}
	b := &store.Batch{Deletes: true}
	err = m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		lo := ar.accountKey(kindACL, a.id)
		for kv, err := range r.Scan(ctx, lo, after(lo), false) {
			if err != nil {
				return err
			}
			row, err := decodeACL(kv.Value)
			if err != nil {
				continue // Verify names what it leaves behind
			}
			for _, who := range row.named() {
				b.Ops = append(b.Ops, store.Delete(ar.grantKey(who, a.id, boxID(lastUint32(kv.Key)))))
			}
		}
		return nil
	})
	if err != nil || len(b.Ops) == 0 {
		return err
	}
	return store.Commit(ctx, m.eng, b)
}

// grantsTo lists the mailboxes of others in which an account may have rows: where it is given something, or anyone is.
func (m *Mailbox) grantsTo(ctx context.Context, id accountID) (list []logKeyOf, err error) {
	err = m.eng.View(ctx, func(r store.Reader) error {
		for _, who := range [...]accountID{id, anyone} {
			lo := appendAccountKey(nil, kindGrant, who)
			for kv, err := range r.Scan(ctx, lo, after(lo), false) {
				if err != nil {
					return err
				}
				if at := (logKeyOf{accountID(binary.BigEndian.Uint64(kv.Key[9:])), boxID(lastUint32(kv.Key))}); at.account != id {
					list = append(list, at)
				}
			}
		}
		return nil
	})
	return list, err
}

// shutOut takes an account out of the list of a mailbox, with what it has seen there.
func (m *Mailbox) shutOut(ctx context.Context, at logKeyOf, who accountID) error {
	a := m.account(at.account)
	defer m.release(a)
	return m.change(ctx, []*account{a}, func(c *commit, r store.Reader) error {
		p := c.parts[0]
		b, err := p.box(ctx, r, at.box)
		if err != nil || b == nil {
			return err
		}
		row, err := p.acl(ctx, r, b.id)
		if err != nil {
			return err
		}
		c.batch.Deletes = true
		p.dropOwn(b.id, []accountID{who}, nil)
		next := aclRow{Owner: row.Owner}
		for _, e := range row.Entries {
			if e.Grantee != who {
				next.Entries = append(next.Entries, e)
			}
		}
		if len(next.Entries) == len(row.Entries) {
			return nil
		}
		return p.setACL(ctx, r, b, next)
	})
}
