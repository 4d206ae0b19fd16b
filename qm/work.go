package qm

import (
	"context"
	"strconv"
	"time"

	"github.com/samotop/samotop/mail"
)

func itoa(n int) string { return strconv.Itoa(n) }

// work delivers what stands in a line until there is no more, or others wait.
func (q *QM) work(l *line, again bool) {
	ctx := q.runCtx
	var c *conn
	for b := q.take(l, again, false, false); len(b.es) > 0; b = q.take(l, again, true, c != nil) {
		outs, rest := q.reported(b.es)
		if not, others := q.withoutSuppressed(ctx, rest); not != nil {
			outs, rest = append(outs, not...), others
		}
		switch {
		case len(rest) == 0:
		case l.local:
			outs = append(outs, q.deliverLocal(ctx, rest)...)
		case !b.until.IsZero():
			outs = append(outs, q.notTried(rest, b.until, b.why)...)
		default:
			var more []outcome
			more, c = q.deliverRemote(ctx, l, c, rest)
			outs = append(outs, more...)
		}
		q.completed(outs)
	}
	if c != nil {
		q.park(l, c)
	}
}

// reported parts off what is only to be reported.
func (q *QM) reported(es []*entry) (outs []outcome, rest []*entry) {
	for i, e := range es {
		if !e.row.final {
			if outs != nil {
				rest = append(rest, e)
			}
			continue
		}
		if outs == nil {
			rest = append(rest, es[:i]...)
		}
		reply := e.row.last.Reply
		if !reply.Permanent() && !reply.Positive() {
			reply = mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 0, 0}, Text: reply.Text}
		}
		outs = append(outs, outcome{e: e, reply: reply, host: e.row.last.Host, at: q.now()})
	}
	if outs == nil {
		rest = es
	}
	return outs, rest
}

// all gives every entry the same outcome.
func (q *QM) all(es []*entry, o outcome) []outcome {
	o.at = q.now()
	outs := make([]outcome, len(es))
	for i, e := range es {
		outs[i] = o
		outs[i].e = e
	}
	return outs
}

// broken is the outcome of what could not even be tried because ctx ended; ok is false if that is not the reason.
func (q *QM) broken(ctx context.Context, es []*entry) (outs []outcome, ok bool) {
	if ctx.Err() == nil {
		return nil, false
	}
	return q.all(es, outcome{not: true}), true
}

// deliverLocal hands a message to the local door. Each recipient has its delivery id, so that what was stored and
// not recorded before a crash is not stored again.
func (q *QM) deliverLocal(ctx context.Context, es []*entry) []outcome {
	m := es[0].msg
	outs := make([]outcome, 0, len(es))
	replies, taken, err := q.hand(ctx, m, es)
	if err != nil {
		if outs, ok := q.broken(ctx, es); ok {
			return outs
		}
	}
	at := q.now()
	for i, e := range es {
		reply := taken[i]
		if reply == nil {
			switch {
			case err != nil:
				reply = mail.AsReply(err)
			case len(replies) == 0:
				reply = mail.NewReply(451, mail.Enhanced{4, 3, 0}, "The mailbox gave no answer")
			default:
				r := replies[0]
				replies = replies[1:]
				reply = &r
			}
		}
		if reply.Cause != nil {
			q.cfg.Log.Warn("local delivery", "id", m.id.String(), "to", e.row.target.Address.Path(), "err", reply)
		}
		outs = append(outs, outcome{e: e, reply: *reply, at: at})
	}
	return outs
}

// hand returns for each entry its refusal at RCPT, nil if it was accepted, and the replies of those accepted.
func (q *QM) hand(ctx context.Context, m *message, es []*entry) (replies []mail.Reply, refused []*mail.Reply, err error) {
	refused = make([]*mail.Reply, len(es))
	s := q.session(m)
	r, err := q.cfg.Local.Open(ctx, s)
	if err != nil {
		return nil, refused, err
	}
	if c, ok := r.(interface{ Close() error }); ok {
		defer c.Close()
	}
	from := m.row.sender
	from.Size = m.row.size
	tx, err := r.Begin(ctx, s, from)
	if err != nil {
		return nil, refused, err
	}
	defer func() { _ = tx.Abort() }()
	open := 0
	for i, e := range es {
		rcpt := e.row.rcpt
		rcpt.Address, rcpt.Folder = e.row.target.Address, e.row.target.Folder
		// Who handed the recipient to us under an id may have delivered it already. What several targets came of needs an id each.
		if rcpt.DeliveryID == "" || e.row.expanded {
			rcpt.DeliveryID = m.id.String() + "." + itoa(int(e.n))
		}
		if err := tx.Recipient(ctx, &rcpt); err != nil {
			refused[i] = mail.AsReply(err)
			continue
		}
		open++
	}
	if open == 0 {
		return nil, refused, nil
	}
	tx.Trace(m.row.trace...)
	if err := copyTo(tx, q.content(ctx, m)); err != nil {
		return nil, refused, err
	}
	replies, err = tx.Commit(ctx)
	return replies, refused, err
}

// session tells the local door what was known when the message came.
func (q *QM) session(m *message) *mail.Session {
	o := &m.row.origin
	return &mail.Session{ID: o.session, Service: "qm", LMTP: true, Stage: mail.StageHello, Hello: q.cfg.Hostname, Extended: true,
		Trusted: true, RemoteName: o.remoteName, Login: mail.Identity{Account: o.account}, Start: m.row.arrival,
		Facts: append([]mail.Fact(nil), o.facts...)}
}

// maxAttempt is the time for one attempt as a whole, whatever the peer does; RFC 5321 section 4.5.3.2 gives each
// step its own.
const maxAttempt = 2 * time.Hour
