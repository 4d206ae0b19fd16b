package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/samotop/samotop/store"
)

const (
	sweepBodies   = 256  // bodies looked at in one batch
	sweepMessages = 1000 // messages of a deleted mailbox taken away in one batch
	sweepPause    = time.Minute
)

// wakeSweeper asks for a sweep soon.
func (m *Mailbox) wakeSweeper() {
	select {
	case m.sweepNow <- struct{}{}:
	default:
	}
}

// sweeper removes in the background what nothing refers to any more.
func (m *Mailbox) sweeper() {
	defer m.wg.Done()
	timer := time.NewTimer(sweepPause)
	defer timer.Stop()
	m.wakeSweeper()
	for {
		select {
		case <-m.bg.Done():
			return
		case <-m.sweepNow:
		case <-timer.C:
		}
		if err := m.Sweep(m.bg); err != nil && m.bg.Err() == nil {
			m.log.WarnContext(m.bg, "sweep failed", "error", err)
		}
		timer.Reset(sweepPause)
	}
}

// Sweep removes the messages of deleted mailboxes, bodies without references whose grace is over, old entries of
// change logs and old delivery ids. The room does it by itself from time to time; it may be called at any time, and
// waits for a sweep that is under way: what that one has in hand is done when Sweep returns.
func (m *Mailbox) Sweep(ctx context.Context) error {
	m.sweeping.Lock()
	defer m.sweeping.Unlock()
	return firstError(m.turnIfDue(ctx), m.reapBoxes(ctx), m.trimLogs(ctx), m.freeBodies(ctx))
}

// reapBoxes finishes the deletion of mailboxes.
func (m *Mailbox) reapBoxes(ctx context.Context) error {
	type doomed struct {
		account accountID
		box     boxID
	}
	var list []doomed
	err := m.eng.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, []byte{kindDoomed}, []byte{kindDoomed + 1}, false) {
			if err != nil {
				return err
			}
			if len(kv.Key) == 13 {
				list = append(list, doomed{accountID(binary.BigEndian.Uint64(kv.Key[1:])), boxID(lastUint32(kv.Key))})
			}
			if len(list) == sweepMessages {
				break
			}
		}
		return nil
	})
	for _, d := range list {
		if err != nil {
			break
		}
		err = m.reapBox(ctx, d.account, d.box)
		if errors.Is(err, errPurged) {
			err = nil
		}
	}
	return err
}

func (m *Mailbox) reapBox(ctx context.Context, id accountID, box boxID) error {
	a := m.account(id)
	defer m.release(a)
	for more := true; more; {
		err := m.change(ctx, []*account{a}, func(c *commit, r store.Reader) (err error) {
			c.batch.Deletes = true
			more, err = c.parts[0].reap(ctx, r, box)
			return err
		})
		if err != nil {
			return fmt.Errorf("mailbox: remove messages of a deleted mailbox: %w", err)
		}
	}
	return nil
}

// reap takes away some messages of a deleted mailbox, and at last its other rows.
func (p *part) reap(ctx context.Context, r store.Reader, box boxID) (more bool, err error) {
	c := p.c
	lo := c.ar.boxKey(kindSummary, p.id, box)
	n, last := 0, uid(0)
	for kv, err := range r.Scan(ctx, lo, after(lo), false) {
		if err != nil {
			return false, err
		}
		if n == sweepMessages {
			more = true
			break
		}
		last = lastUint32(kv.Key)
		n++
		sum, err := decodeSummary(kv.Value)
		if err != nil {
			continue // what it referred to is found by Verify; the mailbox has to go all the same
		}
		if err := p.unplace(ctx, r, sum.Email, place{box, last}); err != nil {
			return false, err
		}
	}
	drop := func(kind byte, hi []byte) {
		c.batch.Ops = append(c.batch.Ops, store.DeleteRange(c.ar.boxKey(kind, p.id, box), hi))
	}
	if more {
		for _, kind := range [...]byte{kindSmall, kindSummary, kindHeader, kindSort} {
			drop(kind, append(c.ar.msgKey(kind, p.id, box, last), 0))
		}
		return true, nil
	}
	for _, kind := range [...]byte{kindSmall, kindSummary, kindHeader, kindSort, kindChunk, kindLog, kindKeywords, kindMetadata, kindURLKey, kindDoomed} {
		drop(kind, after(c.ar.boxKey(kind, p.id, box)))
	}
	return false, nil
}

// logKeyOf names a change log that has become long.
type logKeyOf struct {
	account accountID
	box     boxID
}

func (m *Mailbox) longLog(a accountID, b boxID) {
	m.mu.Lock()
	m.longLogs[logKeyOf{a, b}] = struct{}{}
	m.mu.Unlock()
	m.wakeSweeper()
}

// trimLogs forgets the older entries of the change logs that have become long.
func (m *Mailbox) trimLogs(ctx context.Context) error {
	m.mu.Lock()
	logs := m.longLogs
	m.longLogs = map[logKeyOf]struct{}{}
	m.mu.Unlock()
	for l := range logs {
		if err := m.trimLog(ctx, l); err != nil && !errors.Is(err, errPurged) {
			return err
		}
	}
	return nil
}

func (m *Mailbox) trimLog(ctx context.Context, l logKeyOf) error {
	a := m.account(l.account)
	defer m.release(a)
	return m.change(ctx, []*account{a}, func(c *commit, r store.Reader) error {
		p := c.parts[0]
		b, err := p.box(ctx, r, l.box)
		if err != nil || b == nil || b.LogRows <= uint64(m.limits.LogRows) {
			return err
		}
		lo := c.ar.boxKey(kindLog, p.id, b.id)
		n, first := 0, modSeq(0)
		for kv, err := range r.Scan(ctx, lo, after(lo), true) {
			if err != nil {
				return err
			}
			first = lastUint64(kv.Key)
			if n++; n == m.limits.LogRows {
				break
			}
		}
		if first == 0 {
			return nil
		}
		c.batch.Ops = append(c.batch.Ops, store.DeleteRange(lo, c.ar.logKey(p.id, b.id, first)))
		b.Horizon, b.LogRows, b.changed = max(b.Horizon, first-1), uint64(n), true // its modseq stays
		return nil
	})
}

// freeBody is a body that may have lost its last reference.
type freeBody struct {
	hash  bodyHash
	value []byte // its row; nil if there is none
	used  bool   // it has a reference all the same
	marks [][]byte
}

// freeBodies removes the rows of bodies that nothing refers to, so that the engine can collect them. The row is
// asserted to be as it was when no reference was found: a new reference would have rewritten it.
func (m *Mailbox) freeBodies(ctx context.Context) error {
	from := []byte{kindFree}
	for from != nil {
		list, next, err := m.findFree(ctx, from)
		if err == nil && len(list) > 0 {
			err = m.free(ctx, list)
		}
		if errors.Is(err, store.ErrConflict) {
			for i := range list {
				if err = m.free(ctx, list[i:i+1]); errors.Is(err, store.ErrConflict) {
					err = nil // it has a new reference: the next sweep sees it
				}
			}
		}
		if err != nil {
			return fmt.Errorf("mailbox: remove bodies: %w", err)
		}
		from = next
	}
	return nil
}

// findFree reads marks from a key on, and what their bodies are.
func (m *Mailbox) findFree(ctx context.Context, from []byte) (list []freeBody, next []byte, err error) {
	due := uint64(m.now().Add(-m.limits.BodyGrace).Unix())
	err = m.eng.View(ctx, func(r store.Reader) error {
		seen := 0
		for kv, err := range r.Scan(ctx, from, []byte{kindFree + 1}, false) {
			if err != nil {
				return err
			}
			if seen++; seen > 8*sweepBodies || len(list) == sweepBodies {
				next = append([]byte(nil), kv.Key...)
				break
			}
			if len(kv.Key) != 49 || len(kv.Value) != 8 || binary.BigEndian.Uint64(kv.Value) > due {
				continue
			}
			hash := bodyHash(kv.Key[1:33])
			if n := len(list); n == 0 || list[n-1].hash != hash {
				list = append(list, freeBody{hash: hash})
			}
			f := &list[len(list)-1]
			f.marks = append(f.marks, append([]byte(nil), kv.Key...))
		}
		for i := range list {
			if err := list[i].look(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	return list, next, err
}

func (f *freeBody) look(ctx context.Context, r store.Reader) error {
	var ar arena
	v, err := r.Get(ctx, ar.bodyKey(&f.hash))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	f.value = append([]byte(nil), v...)
	lo := append([]byte{kindRef}, f.hash[:]...)
	for _, err := range r.Scan(ctx, lo, after(lo), false) {
		f.used = true
		return err
	}
	return nil
}

// free removes the rows of bodies without a reference, and the marks. Bodies that a batch on its way refers to are
// left to the next sweep.
func (m *Mailbox) free(ctx context.Context, list []freeBody) error {
	c := &commit{m: m}
	c.batch.Deletes = true
	for i := range list {
		c.bodies = append(c.bodies, &bodyUse{hash: list[i].hash})
	}
	unlock := m.bodies.lock(c.bodies)
	c.bodies = nil
	for i := range list {
		f := &list[i]
		if m.bodies.stripe(&f.hash).flights[f.hash] != nil {
			continue
		}
		if !f.used && len(f.value) > 0 {
			key := c.ar.bodyKey(&f.hash)
			c.batch.Asserts = append(c.batch.Asserts, store.Assert{Key: key, Value: f.value})
			c.batch.Ops = append(c.batch.Ops, store.Delete(key))
			c.bodies = append(c.bodies, &bodyUse{hash: f.hash, gone: true})
		}
		for _, k := range f.marks {
			c.batch.Ops = append(c.batch.Ops, store.Delete(k))
		}
	}
	if len(c.batch.Ops) == 0 {
		unlock()
		return nil
	}
	var err error
	c.p, err = m.eng.Submit(ctx, &c.batch)
	if err == nil {
		m.bodies.took(c)
	}
	unlock()
	if err != nil {
		return err
	}
	return c.finish(ctx)
}
