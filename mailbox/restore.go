package mailbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// How far Renumber raises numbers: further than anything that was given between a backup and its restoring.
const (
	restoredNumbers    = 1 << 32 // modseqs and email ids
	restoredValidities = 1 << 16 // UIDVALIDITY, beyond the clock; numbers of mailboxes
)

// Renumber prepares a database that was restored from a backup, and that nobody has open. What was numbered after the
// backup was seen by clients and is gone: so every UIDVALIDITY is raised (RFC 9051 section 2.3.1.1), every modseq goes on
// beyond all that were given (RFC 7162 section 3.1), and neither an email id nor a mailbox id is given again (RFC 8474).
// Each account is one batch; after an error the database is to be restored anew. Progress may be nil.
func Renumber(ctx context.Context, eng store.Engine, now time.Time, progress func(accounts int64)) error {
	return renumberAll(ctx, eng, now, false, progress)
}

// Recount is Renumber for a database that lost changes (see log.Rescue): the sets of UIDs and what is counted are made
// anew from the messages that are there. A message whose removal was lost is back.
func Recount(ctx context.Context, eng store.Engine, now time.Time, progress func(accounts int64)) error {
	return renumberAll(ctx, eng, now, true, progress)
}

func renumberAll(ctx context.Context, eng store.Engine, now time.Time, recount bool, progress func(accounts int64)) error {
	done := int64(0)
	for next, more := accountID(0), true; more; {
		var b *store.Batch
		err := eng.View(ctx, func(r store.Reader) (err error) {
			b, next, more, err = renumber(ctx, r, next, now, recount)
			return err
		})
		if err == nil && b != nil {
			err = store.Commit(ctx, eng, b)
		}
		if err != nil {
			return fmt.Errorf("mailbox: renumber: %w", err)
		}
		if b != nil {
			done++
		}
		if progress != nil {
			progress(done)
		}
	}
	return nil
}

// renumber makes the batch of the first account from number id on; nil if there is none, or it is being removed.
func renumber(ctx context.Context, r store.Reader, id accountID, now time.Time, recount bool) (b *store.Batch, next accountID, more bool, err error) {
	var ar arena
	var row accountRow
	found := false
	for kv, err := range r.Scan(ctx, ar.accountKey(kindAccount, id), []byte{kindAccount + 1}, false) {
		if err != nil {
			return nil, 0, false, err
		}
		id, found = accountID(lastUint64(kv.Key)), true
		if row, err = decodeAccount(kv.Value); err != nil {
			return nil, 0, false, err
		}
		b = &store.Batch{Asserts: []store.Assert{{Key: ar.copyOf(kv.Key), Value: ar.copyOf(kv.Value)}}}
		break
	}
	if !found {
		return nil, 0, false, nil
	}
	next, more = id+1, id+1 != 0
	if row.Purging {
		return nil, next, more, nil
	}
	row.S += restoredNumbers
	row.Email += restoredNumbers
	row.Box += restoredValidities
	row.UIDValidity = max(row.UIDValidity, uint32(now.Unix())) + restoredValidities
	if recount {
		row.Octets, row.Messages, row.Boxes = 0, 0, 0
	}
	lo := ar.accountKey(kindBox, id)
	for kv, err := range r.Scan(ctx, lo, after(lo), false) {
		if err != nil {
			return nil, 0, false, err
		}
		box, err := decodeBox(kv.Value)
		if err != nil {
			return nil, 0, false, err
		}
		if recount {
			ops, err := box.recount(ctx, r, id, boxID(lastUint32(kv.Key)))
			if err != nil {
				return nil, 0, false, err
			}
			b.Ops = append(b.Ops, ops...)
			row.Boxes++
			row.Messages += int64(box.Messages)
			row.Octets += box.Octets
		}
		row.UIDValidity++
		box.UIDValidity, box.S, box.Horizon = row.UIDValidity, row.S, row.S
		b.Ops = append(b.Ops, store.Put(ar.copyOf(kv.Key), box.appendTo(ar.take(boxRoom+len(box.Name)))))
	}
	if row.UIDValidity < restoredValidities {
		return nil, 0, false, errors.New("UIDVALIDITY is used up")
	}
	b.Ops = append(b.Ops, store.Put(b.Asserts[0].Key, row.appendTo(nil)))
	return b, next, more, nil
}

// recount reads a mailbox's messages into its counters, and makes its set of UIDs.
func (b *boxRow) recount(ctx context.Context, r store.Reader, a accountID, id boxID) ([]store.Op, error) {
	var ar arena
	lo := ar.boxKey(kindChunk, a, id)
	ops := []store.Op{store.DeleteRange(lo, after(lo))}
	b.Messages, b.Octets, b.Unseen, b.Deleted, b.DeletedSize = 0, 0, 0, 0, 0
	var c chunk
	at := uint32(0)
	end := func() {
		if !c.empty() {
			ops = append(ops, store.Put(ar.msgKey(kindChunk, a, id, at), c.appendTo(nil)))
		}
		c = chunk{}
	}
	lo = ar.boxKey(kindSmall, a, id)
	for kv, err := range r.Scan(ctx, lo, after(lo), false) {
		if err != nil {
			return nil, err
		}
		s, err := decodeSmall(kv.Value)
		if err != nil {
			return nil, err
		}
		u := lastUint32(kv.Key)
		if chunkOf(u) != at {
			end()
			at = chunkOf(u)
		}
		c.put(u, s.System)
		b.Messages++
		b.Octets += s.Size
		b.Unseen += one(s.System&imap.FlagSeen == 0)
		if s.System&imap.FlagDeleted != 0 {
			b.Deleted++
			b.DeletedSize += s.Size
		}
		b.UIDNext = max(b.UIDNext, u+1)
	}
	end()
	return ops, nil
}

// VerifyDatabase is Mailbox.Verify for a database that nobody has open, such as a backup.
func VerifyDatabase(ctx context.Context, eng store.Engine, progress func(accounts, bodies int64)) ([]Fault, error) {
	return (&Mailbox{eng: eng}).Verify(ctx, progress)
}
