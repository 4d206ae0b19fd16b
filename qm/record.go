package qm

import (
	"context"
	"errors"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// change is what one batch does to one message.
type change struct {
	m       *message
	outs    []outcome
	dec     []decision
	rows    []*recipientRow // new ones, nil where the recipient is done
	told    []told          // what its sender is to be told
	copied  []told          // what Config.ReportCopy is to be told
	reports []reportMade    // the reports that tell it
	gone    int             // recipients done
}

// recordAll makes outcomes durable: what is done goes, what is to be tried again gets its time, and the reports
// about both are put into the queue, all in one batch.
func (q *QM) recordAll(ctx context.Context, outs []outcome) error {
	changes := q.group(outs)
	for {
		b, err := q.changeBatch(ctx, changes)
		if err != nil {
			q.discard(b, changes)
			if stops(err) {
				return err
			}
			q.cfg.Log.Error("make a report", "err", err)
		} else if len(b.Ops) == 0 {
			break
		} else if err = q.commit(ctx, b); err == nil {
			break
		} else {
			q.discard(b, changes)
			if !errors.Is(err, store.ErrFull) {
				return err
			}
			q.cfg.Log.Error("no space to record what was delivered; trying again", "err", err)
		}
		if !pause(ctx, 10*time.Second) {
			return ctx.Err()
		}
	}
	q.applied(changes)
	return nil
}

// stops reports whether the engine will never again do what was asked.
func stops(err error) bool { return errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrClosed) }

// group sorts outcomes by message and decides what each leads to.
func (q *QM) group(outs []outcome) []*change {
	var changes []*change
	byMsg := make(map[*message]*change, len(outs))
	for _, o := range outs {
		c := byMsg[o.e.msg]
		if c == nil {
			c = &change{m: o.e.msg}
			byMsg[o.e.msg] = c
			changes = append(changes, c)
		}
		c.outs = append(c.outs, o)
		c.decide(q, o)
	}
	return changes
}

// decide adds what one outcome leads to.
func (c *change) decide(q *QM, o outcome) {
	r := o.e.row
	if o.not {
		c.dec, c.rows = append(c.dec, decision{action: retry}), append(c.rows, r)
		return
	}
	q.countAttempt(&o)
	attempts := r.attempts + 1
	d := q.cfg.Schedule.decide(c.m.terms(), attempts, r.warned, o.reply, o.before, o.at, q.chance())
	d.reply.Cause = nil
	o.own = o.own || d.reply.Code != o.reply.Code // we gave up
	o.reply = d.reply
	c.dec = append(c.dec, d)
	q.tellAttempt(c.m, &o, d)
	if t, ok := c.m.tell(r, &o, d, q.cfg.Schedule); ok {
		c.told = append(c.told, t)
	}
	if t, ok := q.tellCopy(c.m, r, &o, d); ok {
		c.copied = append(c.copied, t)
	}
	if d.action != retry {
		c.gone++
		c.rows = append(c.rows, nil)
		return
	}
	row := *r
	row.attempts, row.last, row.due = attempts, o.attempt(), millis(d.due)
	row.warned = row.warned || d.warn
	c.rows = append(c.rows, &row)
}

// changeBatch writes the batch of the changes.
func (q *QM) changeBatch(ctx context.Context, changes []*change) (*store.Batch, error) {
	b := &store.Batch{Deletes: true}
	for _, c := range changes {
		if err := q.addReports(ctx, b, c); err != nil {
			return b, err
		}
		for i, o := range c.outs {
			if o.not {
				continue
			}
			b.Ops = unplace(b.Ops, c.m.id, o.e.n, o.e.row)
			if c.rows[i] == nil {
				b.Ops = append(b.Ops, store.Delete(recipientKey(c.m.id, o.e.n)))
				continue
			}
			b.Deletes = false
			b.Ops = q.putRecipient(b.Ops, c.m.id, o.e.n, c.rows[i])
		}
		b.Ops = closeRecipients(b.Ops, c.m, c.gone)
	}
	return b, q.countRefusals(ctx, b, changes)
}

// closeRecipients counts recipients that are done; with the last one the message and its body go.
func closeRecipients(ops []store.Op, m *message, gone int) []store.Op {
	switch {
	case gone == 0:
	case m.open-gone <= 0:
		ops = append(ops, store.Delete(messageKey(m.id)))
		if m.row.total > 1 {
			ops = append(ops, store.Delete(counterKey(m.id)))
		}
	default:
		ops = append(ops, store.Put(counterKey(m.id), encodeCount(m.open-gone)))
	}
	return ops
}

// discard gives up a batch that was not committed.
func (q *QM) discard(b *store.Batch, changes []*change) {
	for _, s := range b.Blobs {
		s.Discard()
	}
	for _, c := range changes {
		for _, r := range c.reports {
			q.lost(r.m.id)
		}
		c.reports = nil
	}
}

// applied takes durable changes into memory.
func (q *QM) applied(changes []*change) {
	q.mu.Lock()
	for _, c := range changes {
		m := c.m
		m.open -= c.gone
		m.busy -= len(c.outs)
		for i, o := range c.outs {
			q.detach(o.e)
			if c.rows[i] != nil {
				q.missed(c.rows[i].dest, c.rows[i].due)
			}
		}
		q.settle(m)
	}
	q.mu.Unlock()
	for _, c := range changes {
		for _, r := range c.reports {
			q.arrived(r.m, r.entries)
		}
	}
}

// told is something the sender of a message is to be told about a recipient (RFC 3461 section 5.2).
type told struct {
	row    *recipientRow
	action toldAction
	at     time.Time
	host   string
	reply  mail.Reply
	until  time.Time
}

type toldAction uint8

const (
	toldFailed toldAction = iota
	toldDelayed
	toldDelivered
	toldRelayed
	toldExpanded
)

// wants reports whether the sender asked to be told, or is told by default (RFC 3461 section 4.1).
func wants(r *recipientRow, what mail.Notify) bool {
	n := r.rcpt.Notify
	if n == 0 {
		return what == mail.NotifyFailure || what == mail.NotifyDelay
	}
	return n&what != 0 && n&mail.NotifyNever == 0
}

// tell decides what the sender is told of an outcome.
func (m *message) tell(r *recipientRow, o *outcome, d decision, s Schedule) (told, bool) {
	if m.row.untold() {
		return told{}, false
	}
	t := told{row: r, at: o.at, host: o.host, reply: o.reply}
	if o.own { // RFC 3464 section 2.3.5: Remote-MTA is who said it
		t.host = ""
	}
	switch {
	case d.action == fail && wants(r, mail.NotifyFailure):
		t.action = toldFailed
	case d.action == retry && d.warn && wants(r, mail.NotifyDelay):
		t.action, t.until = toldDelayed, s.expires(m.terms())
	case d.action == finish && r.final && wants(r, mail.NotifySuccess): // RFC 3461 section 5.2.7.2
		t.action = toldExpanded
	case d.action == finish && wants(r, mail.NotifySuccess) && !r.expanded && !r.target.Remote:
		t.action = toldDelivered
	case d.action == finish && wants(r, mail.NotifySuccess) && !r.expanded && o.relayed: // RFC 3461 section 5.2.2
		t.action = toldRelayed
	default:
		return told{}, false
	}
	return t, true
}
