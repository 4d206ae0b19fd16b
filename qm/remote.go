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
	ctx, cancel := context.WithTimeout(ctx, maxAttempt)
	defer cancel()
	w := m.row.wish()
	if w == strictly && c != nil { // it takes a connection of its own
		q.park(l, c)
		c = nil
	} else if c == nil && w != strictly {
		c = q.reuse(l)
	}
	return q.throughHosts(ctx, l, c, es, w)
}

// throughHosts sends over c, or goes from host to host until one answers for good (RFC 5321 section 5.1): who says 4yz to
// MAIL, or nothing, leaves it to the next.
func (q *QM) throughHosts(ctx context.Context, l *line, c *conn, es []*entry, w wish) (outs []outcome, left *conn) {
	reused, tried := c != nil, map[string]bool{}
	for {
		if c == nil {
			var failed []outcome
			if c, failed = q.begin(ctx, l, es, w, tried, outs != nil); c == nil {
				if outs == nil || failed != nil && failed[0].not {
					outs = failed
				}
				return outs, nil
			}
		}
		tried[c.addr] = true
		if w == strictly && !c.here && !c.peer.Extensions().Has("REQUIRETLS") {
			outs = q.all(es, outcome{host: c.host, tls: c.tls, own: true,
				reply: mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 7, 30}, Text: "The next server does not support REQUIRETLS, which the sender asked for"}})
			q.quit(c)
			c = nil
			continue
		}
		var alive, unused bool
		outs, alive, unused = q.send(ctx, l, c, es)
		again := ctx.Err() == nil && (unused || putOff(outs))
		if alive && (again || w != asPolicy || c.wish != asPolicy || c.sent >= q.cfg.Limits.MaxSendMessages) {
			q.quit(c)
			c = nil
		} else if !alive {
			_ = c.peer.Close()
			if unused && reused { // it was closed while idle
				delete(tried, c.addr)
			}
			c = nil
		}
		if !again {
			return outs, c
		}
		reused = false
	}
}

// putOff reports whether the server said 4yz to MAIL: another may take it now.
func putOff(outs []outcome) bool { return outs[0].command == "MAIL" && outs[0].reply.Temporary() }

// begin connects; without success it returns what that means for the entries, nil if no host was left. An answer that
// another host gave already says more than that this one cannot be reached.
func (q *QM) begin(ctx context.Context, l *line, es []*entry, w wish, tried map[string]bool, answered bool) (*conn, []outcome) {
	c, where, err := q.connect(ctx, l, w, es[0].row.attempts, tried)
	if err == nil {
		return c, nil
	}
	if outs, ok := q.broken(q.runCtx, es); ok {
		return nil, outs
	}
	if errors.Is(err, errTried) {
		return nil, nil
	}
	o := outcome{host: where}
	o.reply, o.own = connectReply(err)
	if cause := errors.Unwrap(err); cause != nil && o.reply.Permanent() {
		q.cfg.Log.Info("no route", "destination", l.name, "err", err)
	}
	if !o.reply.Permanent() && w == asPolicy && !answered {
		o.at = q.now()
		o.before = q.spread(q.stepLine(l, unreachable, o.attempt()))
	}
	return nil, q.all(es, o)
}

// send is one transaction. alive: the connection can be used again. unused: it broke before the peer had said
// anything to this message.
func (q *QM) send(ctx context.Context, l *line, c *conn, es []*entry) (outs []outcome, alive, unused bool) {
	m := es[0].msg
	msg := &smtp.Message{Envelope: mail.Envelope{Sender: m.row.sender, Recipients: make([]mail.Recipient, len(es))},
		Trace: m.row.trace, Body: q.content(ctx, m), Size: m.row.size}
	path, err := q.reversePath(ctx, es)
	if err != nil {
		return q.all(es, outcome{own: true, reply: *mail.AsReply(err)}), true, false
	}
	msg.Sender.Address = path
	msg.Sender.RequireTLS = msg.Sender.RequireTLS && !c.here
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
		outs[i] = outcome{e: es[i], reply: rr.Reply, host: c.host, tls: c.tls, at: at, own: rr.Command == "", command: rr.Command, relayed: !res.DSN}
	}
	if err != nil {
		event = troubled
	}
	if res.Uncertain {
		q.cfg.Log.Warn("the answer to the end of the message was lost: it may be delivered twice", "id", m.id.String(),
			"message_id", strings.Trim(m.row.msgID, "<>"), "host", c.host, "recipients", len(es), "err", err)
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
				"id", e.msg.id.String(), "message_id", strings.Trim(e.msg.row.msgID, "<>"), "to", e.row.target.Address.Path())
		}
	}
}

// notTried is the outcome for what stands in a line that rests: it was not reached a moment ago, and nothing is gained by asking
// again for each message.
func (q *QM) notTried(es []*entry, until time.Time, why Attempt) []outcome {
	q.warnSuspects(es)
	why.Reply.Text = "Not tried, to give the server time to recover; the last try ended so: " + why.Reply.Text
	outs := make([]outcome, len(es))
	for i, e := range es {
		outs[i] = outcome{e: e, reply: why.Reply, host: why.Host, own: true, at: q.now(), before: q.spread(until)}
	}
	return outs
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
