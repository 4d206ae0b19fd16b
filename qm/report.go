package qm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message/dsn"
	"github.com/samotop/samotop/store"
)

// reportMade is a report that stands in a batch.
type reportMade struct {
	m       *message
	entries []*entry
}

// notice is what one report says to whom.
type notice struct {
	to   mail.Address
	told []told
	copy bool // for somebody who is not the sender
}

// addReports puts the reports about a change into the batch.
func (q *QM) addReports(ctx context.Context, b *store.Batch, c *change) error {
	if len(c.told) > 0 {
		if err := q.addReport(ctx, b, c, notice{to: c.m.row.sender.Address, told: c.told}); err != nil {
			return err
		}
	}
	if len(c.copied) > 0 {
		return q.addReport(ctx, b, c, notice{to: q.cfg.ReportCopy, told: c.copied, copy: true})
	}
	return nil
}

// tellCopy decides what whoever gets copies is told: every failure but that of a report of ours, also of mail whose sender
// cannot be told.
func (q *QM) tellCopy(m *message, r *recipientRow, o *outcome, d decision) (told, bool) {
	if d.action != fail || q.cfg.ReportCopy.IsNull() || m.row.report {
		return told{}, false
	}
	t := told{row: r, at: o.at, host: o.host, reply: o.reply}
	if o.own {
		t.host = ""
	}
	return t, true
}

// addReport puts a report into the batch, as a message of its own.
func (q *QM) addReport(ctx context.Context, b *store.Batch, c *change, n notice) error {
	sender := &c.m.row.sender
	targets, err := q.reportTargets(ctx, n.to)
	var refused *mail.Reply
	switch {
	case errors.As(err, &refused) && refused.Permanent() || err == nil && len(targets) == 0:
		q.cfg.Log.Warn("a report has nobody to go to", "id", c.m.id.String(), "to", n.to.Path(), "err", err)
		return nil
	case err != nil: // the address is as good as any other: let the attempt find out
		targets = []mail.Target{{Address: n.to, Remote: true}}
	}
	now := q.now()
	id := q.ids.next(now, q.random())
	out, staged, err := q.stageReport(ctx, c, n, id, q.content(ctx, c.m))
	if err != nil && !stops(err) && !errors.Is(err, store.ErrFull) && ctx.Err() == nil {
		q.cfg.Log.Error("the original cannot be read for its report, which goes without it", "id", c.m.id.String(), "err", err)
		out, staged, err = q.stageReport(ctx, c, n, id, nil)
	}
	if err != nil {
		return fmt.Errorf("report about %v: %w", c.m.id, err)
	}
	b.Blobs = append(b.Blobs, staged)
	b.Deletes = false
	row := &messageRow{arrival: now, report: true, size: out.n, trace: out.trace, msgID: "<" + q.reportID(id) + ">",
		sender: mail.Sender{Size: out.n, Body: mail.Body8Bit, UTF8: n.to.UTF8(), RequireTLS: sender.RequireTLS}, origin: origin{session: c.m.row.origin.session, service: "qm"}}
	m := &message{id: id, row: row, body: out.body}
	var rcpts []*recipientRow
	for _, t := range targets {
		r := &recipientRow{rcpt: mail.Recipient{Address: n.to, Notify: mail.NotifyNever}, target: t, expanded: len(targets) > 1}
		r.dest = q.routes.line(t, row)
		rcpts = append(rcpts, r)
	}
	q.coming(id)
	c.reports = append(c.reports, reportMade{m, q.enqueue(b, m, rcpts, len(b.Blobs)-1)})
	q.tellReport(ctx, c, n, id)
	return nil
}

// reportTargets says where a report goes; not to an address that is not to be written to.
func (q *QM) reportTargets(ctx context.Context, to mail.Address) ([]mail.Target, error) {
	targets, err := q.cfg.Rules.Resolve(ctx, to)
	if err != nil {
		return nil, err
	}
	return q.allowed(ctx, &mail.Recipient{Address: to, Targets: targets})
}

// stageReport writes the report as a body.
func (q *QM) stageReport(ctx context.Context, c *change, n notice, id ID, original io.Reader) (*counting, store.Staged, error) {
	w, err := q.cfg.Engine.Stage(ctx)
	if err != nil {
		return nil, nil, err
	}
	out := &counting{w: w, keep: q.cfg.Limits.MaxMemoryBodyBytes}
	to := io.Writer(out)
	var sign Signing
	if q.cfg.Sign != nil {
		sign = q.cfg.Sign(ctx)
		to = io.MultiWriter(out, sign)
	}
	err = q.writeReport(to, c, n, id, original)
	if err == nil && sign != nil {
		out.trace, err = sign.Close()
	}
	if err != nil {
		w.Discard()
		return nil, nil, err
	}
	staged, err := w.Close()
	return out, staged, err
}

// hostName takes the name off what Attempt.Host says.
func hostName(host string) string {
	name, _, _ := strings.Cut(host, " ")
	return name
}

func (q *QM) reportID(id ID) string {
	return "report." + id.String() + "@" + q.cfg.Hostname
}

func (q *QM) writeReport(w io.Writer, c *change, n notice, id ID, original io.Reader) error {
	m := c.m.row
	r := &dsn.Report{ReportingMTA: q.cfg.Hostname, EnvelopeID: m.sender.EnvelopeID, Arrival: m.arrival}
	for _, t := range n.told {
		d := dsn.Recipient{Original: t.row.rcpt.Original, Final: t.row.target.Address, RemoteMTA: hostName(t.host), Reply: t.reply,
			Status: t.reply.Enhanced, LastAttempt: t.at, LogID: c.m.id.String()}
		if t.row.expanded { // RFC 3461 section 6.2 (e): who is behind a list is its own affair
			d.Final = t.row.rcpt.Address
		}
		switch t.action {
		case toldFailed:
			d.Action = dsn.Failed
		case toldDelayed:
			d.Action, d.RetryUntil = dsn.Delayed, t.until
		case toldDelivered:
			d.Action = dsn.Delivered
		case toldRelayed:
			d.Action = dsn.Relayed
		case toldExpanded:
			d.Action = dsn.Expanded
		}
		r.Recipients = append(r.Recipients, d)
	}
	ret := m.sender.Ret
	// RFC 3461 section 4.3: only of a failure is the whole returned. RFC 8689 section 5: nor of what asked for REQUIRETLS.
	if n.told[0].action != toldFailed || m.sender.RequireTLS || n.copy {
		ret = mail.RetHeaders
	}
	return dsn.Write(w, r, dsn.Options{To: n.to, MessageID: q.reportID(id), Date: q.now(), UTF8: m.sender.UTF8,
		EightBit: true, Rand: randReader{q}, Contact: q.cfg.Contact, Original: original, Ret: ret, OriginalUTF8: m.sender.UTF8,
		Original8Bit: m.sender.Body != mail.Body7Bit, Size: m.size})
}

// counting writes to a body and keeps a small one.
type counting struct {
	w    io.Writer
	n    int64
	keep int
	body []byte

	trace []mail.Field // signatures of what was written
}

func (c *counting) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if c.n <= int64(c.keep) {
		c.body = append(c.body, p...)
	} else {
		c.body = nil
	}
	return c.w.Write(p)
}

type randReader struct{ q *QM }

func (r randReader) Read(p []byte) (int, error) { return copy(p, r.q.randomBytes(len(p))), nil }
