package qm

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

// deliverRemote sends a message over c, an idle connection or a new one, and returns the one that is left.
func (q *QM) deliverRemote(ctx context.Context, l *line, c *conn, es []*entry) ([]outcome, *conn) {
	m := es[0].msg
	q.warnSuspects(es)
	if until, why := q.resting(l); !until.IsZero() && c == nil {
		// The destination was not reached a moment ago: nothing is gained by asking again for each message.
		why.Reply.Text = "Not tried, to give the server time to recover; the last try ended so: " + why.Reply.Text
		return q.all(es, outcome{reply: why.Reply, host: why.Host, own: true, before: q.spread(until)}), nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxAttempt)
	defer cancel()
	if m.row.sender.RequireTLS {
		if c != nil {
			q.park(l, c)
		}
		return q.deliverStrict(ctx, l, es), nil
	}
	reused := c != nil
	if c == nil {
		c = q.reuse(l)
		reused = c != nil
	}
	for {
		if c == nil {
			var outs []outcome
			if c, outs = q.begin(ctx, l, es, false); c == nil {
				return outs, nil
			}
		}
		outs, alive, unused := q.send(ctx, l, c, es)
		if !alive {
			_ = c.peer.Close()
			c = nil
			if unused && reused && ctx.Err() == nil { // it was closed while idle
				reused = false
				continue
			}
		} else if c.sent >= q.cfg.Limits.MaxSendMessages {
			q.quit(c)
			c = nil
		}
		return outs, c
	}
}

// begin connects; without success it returns what that means for the entries.
func (q *QM) begin(ctx context.Context, l *line, es []*entry, strict bool) (*conn, []outcome) {
	c, where, err := q.connect(ctx, l, strict)
	if err == nil {
		return c, nil
	}
	if outs, ok := q.broken(q.runCtx, es); ok {
		return nil, outs
	}
	o := outcome{host: where}
	o.reply, o.own = connectReply(err)
	if cause := errors.Unwrap(err); cause != nil && o.reply.Permanent() {
		q.cfg.Log.Info("no route", "destination", l.name, "err", err)
	}
	if !o.reply.Permanent() && !strict {
		o.at = q.now()
		o.before = q.spread(q.stepLine(l, unreachable, o.attempt()))
	}
	return nil, q.all(es, o)
}

// deliverStrict sends a message that must have TLS all the way (RFC 8689 section 4.2.1), over a connection of its own.
func (q *QM) deliverStrict(ctx context.Context, l *line, es []*entry) []outcome {
	c, outs := q.begin(ctx, l, es, true)
	if c == nil {
		return outs
	}
	defer q.quit(c)
	if !c.peer.Extensions().Has("REQUIRETLS") {
		return q.all(es, outcome{host: c.host, tls: c.tls, own: true,
			reply: mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 7, 30}, Text: "The next server does not support REQUIRETLS, which the sender asked for"}})
	}
	outs, _, _ = q.send(ctx, l, c, es)
	return outs
}

// send is one transaction. alive: the connection can be used again. unused: it broke before the peer had said
// anything to this message.
func (q *QM) send(ctx context.Context, l *line, c *conn, es []*entry) (outs []outcome, alive, unused bool) {
	m := es[0].msg
	msg := &smtp.Message{Envelope: mail.Envelope{Sender: m.row.sender, Recipients: make([]mail.Recipient, len(es))},
		Trace: m.row.trace, Body: q.content(ctx, m), Size: m.row.size}
	msg.Sender.Size, msg.Sender.Params, msg.Sender.HoldUntil = m.row.size, nil, time.Time{}
	if m.row.blank && len(m.row.trace) > 0 { // the header ends here, as it did when it came
		msg.Body, msg.Size = io.MultiReader(strings.NewReader("\r\n"), msg.Body), msg.Size+2
		msg.Sender.Size = msg.Size
	}
	for i, e := range es {
		r := mail.Recipient{Address: e.row.target.Address, Notify: e.row.rcpt.Notify, Original: e.row.rcpt.Original}
		if e.row.expanded { // RFC 3461 section 5.2.7.2
			r.Notify &^= mail.NotifySuccess
		}
		msg.Recipients[i] = r
	}
	c.sent++
	res, err := c.peer.Send(ctx, msg)
	if res == nil || len(res.Recipients) != len(es) {
		if outs, ok := q.broken(q.runCtx, es); ok {
			return outs, false, false
		}
		return q.all(es, outcome{host: c.host, tls: c.tls, own: true, reply: *mail.AsReply(err)}), false, true
	}
	at := q.now()
	outs = make([]outcome, len(es))
	answered := res.Sender.Code != 0
	event := reached
	for i := range res.Recipients {
		rr := &res.Recipients[i]
		answered = answered || rr.Command != ""
		if rr.Reply.Code == 421 { // RFC 5321 section 3.8
			event = troubled
		}
		outs[i] = outcome{e: es[i], reply: rr.Reply, host: c.host, tls: c.tls, at: at, own: rr.Command == "", relayed: !res.DSN}
	}
	if err != nil {
		event = troubled
	}
	if res.Uncertain {
		q.cfg.Log.Warn("the answer to the end of the message was lost: it may be delivered twice", "id", m.id.String(),
			"host", c.host, "recipients", len(es), "err", err)
	} else if err != nil && q.runCtx.Err() != nil { // we broke off: that is no attempt
		for i := range outs {
			outs[i].not = outs[i].reply.Temporary() && res.Recipients[i].Command == ""
		}
	}
	if answered || err == nil {
		q.stepLine(l, event, outs[0].attempt())
	}
	return outs, err == nil, !answered && !res.Uncertain
}

// warnSuspects says what may be sent for the second time.
func (q *QM) warnSuspects(es []*entry) {
	for _, e := range es {
		if e.suspect {
			e.suspect = false
			q.cfg.Log.Warn("this may have been on the wire when the queue stopped: it may be delivered twice",
				"id", e.msg.id.String(), "to", e.row.target.Address.Path())
		}
	}
}

// resting returns until when a line is left alone, and why; zero if it is not.
func (q *QM) resting(l *line) (time.Time, Attempt) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.now().Before(l.state.until) {
		return l.state.until, l.state.reason
	}
	return time.Time{}, Attempt{}
}

// spread keeps what waits for a line from coming back all at once: up to a tenth of the wait later.
func (q *QM) spread(until time.Time) time.Time {
	if until.IsZero() {
		return until
	}
	d := until.Sub(q.now())
	return until.Add(time.Duration(float64(d) * 0.1 * q.chance()))
}

// stepLine takes an event into the state of a line and returns until when it rests.
func (q *QM) stepLine(l *line, e lineEvent, why Attempt) time.Time {
	now, rnd := q.now(), q.chance()
	q.mu.Lock()
	defer q.mu.Unlock()
	l.state.step(e, q.cfg.Limits.MaxPerDestination, q.cfg.Schedule, why, now, rnd)
	q.makeReady(l)
	q.dispatch()
	return l.state.until
}

// copyTo copies a body into a transaction.
func copyTo(w io.Writer, r io.Reader) error {
	if wt, ok := r.(io.WriterTo); ok {
		_, err := wt.WriteTo(w)
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 64<<10))
	return err
}
