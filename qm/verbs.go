package qm

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Retry makes all recipients of a message that wait for their time due now; held ones stay held. The destination is
// tried again too, even if it rests.
func (q *QM) Retry(ctx context.Context, id string) error {
	return q.verb(ctx, id, "retry", func(w *workOn) error {
		now := millis(q.now())
		for i, r := range w.rows {
			if !r.held && r.due > now {
				w.replace(i, func(r *recipientRow) { r.due = now })
			}
			q.wakeLine(r.dest)
		}
		return nil
	})
}

// Hold keeps a message from being tried, until Release. It waits for an attempt under way to end.
func (q *QM) Hold(ctx context.Context, id string) error {
	return q.verb(ctx, id, "hold", func(w *workOn) error {
		for i, r := range w.rows {
			if !r.held {
				w.replace(i, func(r *recipientRow) { r.held = true })
			}
		}
		return nil
	})
}

// Release ends Hold, also one that the sender asked for (FUTURERELEASE); the message is due now.
func (q *QM) Release(ctx context.Context, id string) error {
	return q.verb(ctx, id, "release", func(w *workOn) error {
		now := millis(q.now())
		for i, r := range w.rows {
			if r.held || r.attempts == 0 && r.due > now {
				w.replace(i, func(r *recipientRow) { r.held, r.due = false, now })
			}
		}
		return nil
	})
}

// Remove takes a message out of the queue; with bounce its sender is told so.
func (q *QM) Remove(ctx context.Context, id string, bounce bool) error {
	return q.verb(ctx, id, "remove", func(w *workOn) error {
		c := &change{m: w.m, gone: len(w.rows)}
		reply := mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 7, 0}, Text: "Removed from the queue by its administrator"}
		for i, r := range w.rows {
			w.batch.Ops = unplace(w.batch.Ops, w.m.id, w.ns[i], r)
			w.batch.Ops = append(w.batch.Ops, store.Delete(recipientKey(w.m.id, w.ns[i])))
			o := outcome{e: &entry{msg: w.m, n: w.ns[i], row: r}, reply: reply, at: q.now()}
			if t, ok := w.m.tell(r, &o, decision{action: fail, reply: reply}, q.cfg.Schedule); ok && bounce {
				c.told = append(c.told, t)
			}
		}
		w.batch.Ops = closeRecipients(w.batch.Ops, w.m, w.m.open)
		w.batch.Deletes = true
		w.removed = true
		if len(c.told) > 0 {
			w.report = c
			return q.addReports(ctx, &w.batch, c)
		}
		return nil
	})
}

// workOn is a message that a verb has to itself.
type workOn struct {
	q       *QM
	m       *message
	ns      []uint32
	rows    []*recipientRow
	batch   store.Batch
	removed bool
	report  *change
}

// replace changes one recipient.
func (w *workOn) replace(i int, change func(*recipientRow)) {
	row := *w.rows[i]
	w.batch.Ops = unplace(w.batch.Ops, w.m.id, w.ns[i], &row)
	change(&row)
	w.batch.Ops = w.q.putRecipient(w.batch.Ops, w.m.id, w.ns[i], &row)
	w.rows[i] = &row
}

// verb does something to a message while nobody else does.
func (q *QM) verb(ctx context.Context, id, name string, do func(*workOn) error) error {
	n, err := ParseID(id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoMessage, err)
	}
	if err := q.stopped(); err != nil {
		return err
	}
	if err := q.freeze(ctx, n); err != nil {
		return err
	}
	w, err := q.readWhole(ctx, n)
	if err == nil {
		if err = do(w); err == nil && len(w.batch.Ops) > 0 {
			err = q.commit(ctx, &w.batch)
			q.check(err)
		}
		if err != nil && w.report != nil {
			q.discard(&w.batch, []*change{w.report})
		}
	}
	q.thaw(n, w, err)
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, id, err)
	}
	q.cfg.Log.Info("queue verb", "verb", name, "id", id)
	return nil
}

// freeze takes a message out of memory and waits until nothing of it is on the wire.
func (q *QM) freeze(ctx context.Context, id ID) error {
	q.mu.Lock()
	if q.frozen[id] {
		q.mu.Unlock()
		return ErrBusy
	}
	q.frozen[id] = true
	m := q.msgs[id]
	var wait chan struct{}
	if m != nil {
		for _, e := range append([]*entry(nil), m.entries...) {
			if !e.taken {
				if l := q.lines[e.row.dest]; l != nil {
					l.queue.drop(m)
				}
				q.detach(e)
			}
		}
		if m.busy > 0 {
			wait = make(chan struct{})
			m.frozen = wait
		}
		q.settle(m)
	}
	q.mu.Unlock()
	if wait == nil {
		return nil
	}
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		q.thaw(id, nil, ctx.Err())
		return ErrBusy
	}
}

// thaw lets the message be tried again.
func (q *QM) thaw(id ID, w *workOn, err error) {
	q.mu.Lock()
	delete(q.frozen, id)
	q.verbs++
	switch {
	case w == nil: // what was dropped from memory is found again by reading all that is due
		q.rescan = q.running
		wake(q.scanWake)
	case !w.removed || err != nil:
		for _, r := range w.rows {
			if !r.held {
				q.missed(r.dest, r.due)
			}
		}
	}
	q.mu.Unlock()
	if err == nil && w.report != nil {
		for _, r := range w.report.reports {
			q.arrived(r.m, r.entries)
		}
	}
}

// readWhole reads a message with all its open recipients.
func (q *QM) readWhole(ctx context.Context, id ID) (*workOn, error) {
	w := &workOn{q: q}
	err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
		m, err := q.readMessage(ctx, r, id)
		if err != nil {
			return ErrNoMessage
		}
		w.m = m
		prefix := append(messageKey(id), 'r')
		for kv, err := range r.Scan(ctx, prefix, after(prefix), false) {
			if err != nil {
				return err
			}
			row, err := decodeRecipient(kv.Value)
			if err != nil {
				return err
			}
			w.rows = append(w.rows, row)
			w.ns = append(w.ns, binary.BigEndian.Uint32(kv.Key[len(prefix):]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// wakeLine lets a destination that rests be tried at once.
func (q *QM) wakeLine(dest string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.lines[dest]; l != nil {
		l.state.until = q.now()
	}
}
