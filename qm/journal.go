package qm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// event is what all events about a message have in common.
func (q *QM) event(m *message, kind string) mail.Event {
	e := mail.Event{Time: q.now(), Trace: m.row.origin.session, Room: "qm", Kind: kind, ID: m.id.String(),
		MessageID: strings.Trim(m.row.msgID, "<>"), From: m.row.sender.Address.String()}
	if e.From == "" {
		e.From = "<>"
	}
	return e
}

// maxTold recipients of one message are told of one by one when it is queued; each attempt is told anyway.
const maxTold = 100

func (q *QM) tellQueued(ctx context.Context, m *message, entries []*entry) {
	for i, x := range entries {
		if i == maxTold {
			return
		}
		e := q.event(m, "queued")
		e.To, e.Code = x.row.target.Address.String(), 250
		e.Text = fmt.Sprintf("%d octets, to go by %s", m.row.size, destination(x.row.dest))
		if m.row.origin.account != "" {
			e.Text += ", for the account " + m.row.origin.account
		}
		q.cfg.Journal.Record(ctx, e)
	}
}

func (q *QM) tellAttempt(m *message, o *outcome, d decision) {
	kind := "delivered"
	switch {
	case d.action == finish && o.e.row.final:
		return // it was told when it was queued
	case d.action == fail:
		kind = "failed"
	case d.action == retry:
		kind = "deferred"
	}
	e := q.event(m, kind)
	e.Time, e.To, e.Peer, e.Code = o.at, o.e.row.target.Address.String(), o.host, o.reply.Code
	where := "to our mailbox"
	if o.e.row.target.Remote {
		where = "to another server"
	}
	if o.tls != "" {
		where += " with " + o.tls
	}
	e.Text = fmt.Sprintf("attempt %d %s, %v after it came: %s", o.e.row.attempts+1, where, o.at.Sub(m.row.arrival).Round(time.Millisecond), o.reply.String())
	if d.action == fail && m.row.origin.forged() {
		e.Text += "; nobody is told: SPF says that the sender's address is forged"
	}
	if d.action == retry {
		e.Text += "; next try at " + d.due.UTC().Format(time.RFC3339)
	}
	q.cfg.Journal.Record(context.Background(), e)
}

func (q *QM) tellReport(ctx context.Context, c *change, n notice, report ID) {
	e := q.event(c.m, "reported")
	e.To = n.to.String()
	who := "the sender"
	if n.copy {
		who = "whoever gets copies"
	}
	e.Text = fmt.Sprintf("%s is told about %d recipients, by the report %v", who, len(n.told), report)
	q.cfg.Journal.Record(ctx, e)
}
