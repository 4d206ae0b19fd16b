package mta

import (
	"context"
	"errors"
	"fmt"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp/spool"
)

// transaction is one message on its way to the guard and to its targets.
type transaction struct {
	r    *receiver
	s    *mail.Session
	from mail.Sender
	id   string

	guard      mail.Transaction
	guarded    int // recipients that the guard accepted
	recipients []recipient
	targets    []target
	mailbox    part
	queue      part
	debt       mail.Transaction // written to the queue but for the last step: what will be owed if the Mailbox takes the rest
	debtors    []mail.Recipient // of debt

	fields        []mail.Field // added by those in front of us
	mailboxFields []mail.Field // for those alone who get it here
	started       bool         // content has begun
	settled       bool         // the guard has said its last word, and wants no content
	hops          hopCounter
	spool         *spool.Buffer // a copy, if some target may owe what another took or must be asked anew
	size          int64
}

// recipient is one that we accepted.
type recipient struct {
	mail.Recipient
	guardIndex int   // its place among the guard's replies
	targets    []int // its places in transaction.targets
	refused    *mail.Reply
	dropped    bool // amended away: its reply means nothing
}

// target is one place where the message goes, however many recipients lead there.
type target struct {
	mail.Target
	handed mail.Recipient // as the part was asked
	part   *part
	index  int        // its place among the part's replies; -1 if the part refused it at once
	reply  mail.Reply // what became of it
	unused bool       // every recipient that leads there was refused by the guard
}

// part is the transaction with a room that takes targets.
type part struct {
	tx       mail.Transaction
	accepted int
	away     error // it could not be begun
	err      error // it failed; its targets are owed
	replies  []mail.Reply
}

func (t *transaction) config() *Config { return &t.r.mta.c }

// Recipient asks the guard, then the rooms that its verdict leads to.
func (t *transaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	asked := *r
	asked.Targets = nil
	if err := t.guard.Recipient(ctx, &asked); err != nil {
		t.refusedAtRCPT(ctx, r.Address, err)
		return err
	}
	rec := recipient{Recipient: asked, guardIndex: t.guarded}
	t.guarded++
	wanted := asked.Targets
	if len(wanted) == 0 {
		wanted = []mail.Target{{Address: asked.Address, Folder: asked.Folder}}
	}
	if len(t.targets)+len(wanted) > t.config().MaxTargets {
		return mail.NewReply(452, mail.Enhanced{4, 5, 3}, "Too many recipients, send the rest in another message")
	}
	replies := make([]mail.Reply, 0, len(wanted))
	for _, w := range wanted {
		i := t.target(ctx, w, &asked)
		rec.targets = append(rec.targets, i)
		replies = append(replies, t.targets[i].reply)
	}
	if answer := mail.Agree(replies); !answer.Positive() {
		t.refusedAtRCPT(ctx, r.Address, &answer)
		return &answer
	}
	t.recipients = append(t.recipients, rec)
	return nil
}

// target returns the place of w among the targets, asking its room if it is new.
func (t *transaction) target(ctx context.Context, w mail.Target, r *mail.Recipient) int {
	for i := range t.targets {
		if have := &t.targets[i]; have.Address == w.Address && have.Folder == w.Folder && have.Remote == w.Remote {
			return i
		}
	}
	n := target{Target: w, index: -1, part: &t.mailbox, handed: mail.Recipient{
		Address: w.Address, Folder: w.Folder, Notify: r.Notify, Original: r.Original,
		DeliveryID: fmt.Sprintf("%s.%d", t.id, len(t.targets)),
	}}
	if w.Remote && len(r.Targets) == 1 { // the guard has judged for what is ours; one who is sent on to is judged there
		n.handed.RRVS = r.RRVS
	}
	if n.handed.Original == "" && w.Address != r.Address {
		n.handed.Original = originalOf(r.Address)
	}
	// A report of success is the queue's to write (RFC 3461 section 5.2), so such a recipient goes through it.
	if w.Remote || r.Notify&mail.NotifySuccess != 0 {
		n.part = &t.queue
	}
	if err := t.offer(ctx, &n); err != nil {
		n.reply = *mail.AsReply(err)
	} else {
		n.index, n.reply = n.part.accepted, mail.OK()
		n.part.accepted++
	}
	t.targets = append(t.targets, n)
	return len(t.targets) - 1
}

// originalOf writes an address as an ORCPT (RFC 3461 section 4.2, RFC 6533 section 3).
func originalOf(a mail.Address) string {
	if a.UTF8() {
		return "utf-8;" + a.String()
	}
	return "rfc822;" + a.String()
}

func (t *transaction) offer(ctx context.Context, n *target) error {
	if n.part.tx == nil {
		if n.part.away != nil { // who was waited for once is not waited for again
			return n.part.away
		}
		var err error
		if n.part == &t.queue {
			n.part.tx, err = t.r.open(ctx, t.s, t.config().Queue, &t.r.queue, t.from)
		} else {
			n.part.tx, err = t.r.open(ctx, t.s, t.config().Mailbox, &t.r.mailbox, t.from)
		}
		if err != nil {
			n.part.tx, n.part.away = nil, err
			return err
		}
	}
	return n.part.tx.Recipient(ctx, &n.handed)
}

// Trace keeps fields until the content begins, so that they stand above our Received. What comes after the content, such
// as what the checks of a signature found, is handed on at once.
func (t *transaction) Trace(fields ...mail.Field) {
	t.fields = append(t.fields, fields...)
	if t.started {
		for _, tx := range t.open() {
			tx.Trace(fields...)
		}
	}
}

// Amend files an accepted recipient's mail away, or drops it, as somebody in front of the guard wants it. The guard has
// the last word on it: where he names a folder, that one holds.
func (t *transaction) Amend(i int, folder string, drop bool) error {
	if i < 0 || i >= len(t.recipients) {
		return fmt.Errorf("mta: amend recipient %d of %d", i, len(t.recipients))
	}
	rec := &t.recipients[i]
	rec.dropped = drop
	for _, at := range rec.targets {
		if x := &t.targets[at]; !x.Remote {
			x.Folder = folder
		}
	}
	return nil
}

// start hands the trace fields on, when no more recipients can come.
func (t *transaction) start() {
	if t.started {
		return
	}
	t.started = true
	s, ok := t.guard.(mail.Settler)
	t.settled = ok && s.Settled()
	for _, tx := range t.open() {
		tx.Trace(t.received())
		tx.Trace(t.fields...)
	}
	if t.config().SpoolAll || len(t.targets) > 1 || len(t.recipients) > 1 || t.mailbox.fixed() || t.queue.fixed() {
		t.spool = &spool.Buffer{MemoryOctets: t.config().SpoolMemoryOctets, Dir: t.config().SpoolDir}
	}
}

func (t *transaction) received() mail.Field {
	var to *mail.Address
	if len(t.recipients) == 1 {
		to = &t.recipients[0].Address
	}
	c := t.config()
	return mail.Received(t.s, c.Hostname, t.id, to, t.from.UTF8, c.Clock())
}

// open lists the transactions that are under way and well.
func (t *transaction) open() []mail.Transaction {
	txs := make([]mail.Transaction, 0, 3)
	if !t.settled {
		txs = append(txs, t.guard)
	}
	for _, p := range []*part{&t.mailbox, &t.queue} {
		if p.tx != nil && p.err == nil {
			txs = append(txs, p.tx)
		}
	}
	return txs
}

// Write hands content to everyone. A room that fails is left out from then on; its targets are owed.
func (t *transaction) Write(p []byte) (int, error) {
	t.start()
	t.hops.write(p)
	t.size += int64(len(p))
	if !t.settled {
		if _, err := t.guard.Write(p); err != nil {
			return 0, err
		}
	}
	for _, part := range []*part{&t.mailbox, &t.queue} {
		if part.tx == nil || part.err != nil {
			continue
		}
		if _, err := part.tx.Write(p); err != nil {
			part.fail(err)
		}
	}
	if t.mailbox.failed() && t.queue.failed() {
		return 0, errors.Join(t.mailbox.err, t.queue.err)
	}
	if t.spool != nil {
		return t.spool.Write(p)
	}
	return len(p), nil
}

func (p *part) fail(err error) {
	p.err = err
	p.tx.Abort() //nolint:errcheck // it has failed already
}

// fixed reports whether the part's recipients cannot be changed after the content.
func (p *part) fixed() bool {
	_, amends := p.tx.(mail.Amender)
	return p.tx != nil && !amends
}

// failed reports whether nothing can come of the part.
func (p *part) failed() bool { return p.tx == nil || p.err != nil }

// Abort gives the message up everywhere.
func (t *transaction) Abort() error {
	txs := t.open()
	if t.settled {
		txs = append(txs, t.guard)
	}
	if t.debt != nil {
		txs = append(txs, t.debt)
	}
	var errs []error
	for _, tx := range txs {
		errs = append(errs, tx.Abort())
	}
	if t.spool != nil {
		t.spool.Close()
	}
	return errors.Join(errs...)
}
