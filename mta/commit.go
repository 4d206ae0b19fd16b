package mta

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
)

// Commit asks the guard for its last word, commits the queue and the Mailbox, sees to it that what is owed is
// queued, and answers.
func (t *transaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	replies, err := t.commit(ctx)
	t.record(ctx, replies, err)
	return replies, err
}

func (t *transaction) commit(ctx context.Context) ([]mail.Reply, error) {
	t.start()
	defer t.Abort() //nolint:errcheck // what was committed stays; the rest is given up
	if t.hops.looping() {
		return nil, mail.NewReply(554, mail.Enhanced{5, 4, 6}, "Too many hops: this message is looping")
	}
	if err := t.judge(ctx); err != nil {
		return nil, err
	}
	t.note()
	if err := t.amend(ctx); err != nil {
		return nil, err
	}
	if err := t.settle(ctx); err != nil {
		return nil, err
	}
	return t.answer(ctx)
}

// judge takes the guard's final verdict for each recipient. Where peers want one answer for all, a recipient that
// is put off puts off the message: nothing was taken yet, so nothing can double.
func (t *transaction) judge(ctx context.Context) error {
	verdicts, err := t.guard.Commit(ctx)
	if t.settled { // it keeps nothing, and what it has said holds, whether it hears of this or not
		t.use()
		return nil
	}
	if err != nil {
		return err
	}
	if len(verdicts) != t.guarded {
		return mail.NewReply(451, mail.Enhanced{4, 3, 0}, "Temporary local problem, please try again later")
	}
	for i := range t.recipients {
		rec := &t.recipients[i]
		v := verdicts[rec.guardIndex]
		switch {
		case v.Code == 251:
			if err := t.refile(rec, v.Text); err != nil {
				return err
			}
		case v.Positive():
		case v.Temporary() && !t.s.LMTP:
			return &v
		default:
			rec.refused = &v
		}
	}
	t.use()
	return nil
}

// use finds the targets that nobody wants any more.
func (t *transaction) use() {
	for i := range t.targets {
		t.targets[i].unused = true
	}
	for i := range t.recipients {
		if rec := &t.recipients[i]; rec.refused == nil && !rec.dropped {
			for _, at := range rec.targets {
				t.targets[at].unused = false
			}
		}
	}
}

// refile follows a last word that names folders. Addresses were settled at RCPT: the content has gone there.
func (t *transaction) refile(rec *recipient, text string) error {
	wanted, err := mail.ParseTargets(text)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		found := false
		for _, at := range rec.targets {
			if have := &t.targets[at]; have.Address == w.Address && have.Remote == w.Remote {
				found = true
				if w.Folder != "" || w.Note == "" { // a note alone changes nothing
					have.Folder = w.Folder
				}
				have.Note = w.Note
			}
		}
		if !found {
			return mail.NewReply(451, mail.Enhanced{4, 3, 5}, "Temporary local problem, please try again later")
		}
	}
	return nil
}

// JunkField is the header field with what the guard thinks of a message and why.
const JunkField = "X-Samotop-Junk"

// note puts what the guard thinks into the header. A field is for all who get the message here, so where he thinks
// differently of it for several of them there is none: none of them is to read of another.
func (t *transaction) note() {
	var text, rest string
	first := true
	for i := range t.targets {
		x := &t.targets[i]
		if x.part != &t.mailbox || x.index < 0 || x.unused {
			continue
		}
		own, more, _ := strings.Cut(x.Note, "\n")
		if !first && own != text {
			own = ""
		}
		if !first && more != rest {
			more = ""
		}
		text, rest, first = own, more, false
	}
	if t.mailbox.failed() {
		return
	}
	if text != "" {
		t.mailboxFields = append(t.mailboxFields, mail.Field{Name: JunkField, Value: foldWords(text)})
	}
	for line := range strings.Lines(rest) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok && name != "" {
			t.mailboxFields = append(t.mailboxFields, mail.Field{Name: name, Value: value})
		}
	}
	t.mailbox.tx.Trace(t.mailboxFields...)
}

// foldWords breaks a text into lines at its commas.
func foldWords(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	var b strings.Builder
	for i, part := range strings.SplitAfter(s, ", ") {
		if i > 0 {
			b.WriteString("\r\n\t")
		}
		b.WriteString(strings.TrimSuffix(part, " "))
	}
	return b.String()
}

// amend tells the Mailbox and the queue what the guard changed. A room that cannot be told gets the message again,
// from the spool.
func (t *transaction) amend(ctx context.Context) error {
	for _, p := range []*part{&t.queue, &t.mailbox} {
		if p.failed() || !t.changed(p) || !t.wanted(p) {
			continue
		}
		a, ok := p.tx.(mail.Amender)
		if !ok {
			if err := t.again(ctx, p); err != nil {
				p.fail(err)
			}
			continue
		}
		for i := range t.targets {
			if x := &t.targets[i]; x.part == p && x.index >= 0 && (x.unused || x.Folder != x.handed.Folder) {
				if err := a.Amend(x.index, x.Folder, x.unused); err != nil {
					return err
				}
				x.handed.Folder = x.Folder
			}
		}
	}
	return nil
}

func (t *transaction) changed(p *part) bool {
	for i := range t.targets {
		if x := &t.targets[i]; x.part == p && x.index >= 0 && (x.unused || x.Folder != x.handed.Folder) {
			return true
		}
	}
	return false
}

// again begins the transaction of a part anew with the targets that are left, and their folders.
func (t *transaction) again(ctx context.Context, p *part) error {
	p.tx.Abort() //nolint:errcheck // replaced
	door, at := t.config().Mailbox, &t.r.mailbox
	if p == &t.queue {
		door, at = t.config().Queue, &t.r.queue
	}
	tx, err := t.r.open(ctx, t.s, door, at, t.from)
	if err != nil {
		return err
	}
	p.tx, p.accepted = tx, 0
	for i := range t.targets {
		x := &t.targets[i]
		if x.part != p || x.index < 0 {
			continue
		}
		x.index, x.handed.Folder = -1, x.Folder
		if x.unused {
			continue
		}
		if err := tx.Recipient(ctx, &x.handed); err != nil {
			x.reply = *mail.AsReply(err)
			continue
		}
		x.index = p.accepted
		p.accepted++
	}
	if p == &t.mailbox {
		tx.Trace(t.mailboxFields...)
	}
	return t.resend(tx)
}

// resend writes the trace fields and the spooled content.
func (t *transaction) resend(tx mail.Transaction) error {
	tx.Trace(t.received())
	tx.Trace(t.fields...)
	return t.spool.CopyTo(tx)
}

// settle commits both parts, the queue first: what the Mailbox then does not take can still be queued, while what the Mailbox has
// taken cannot be given back. So what is owed as far as is known by then is written to the queue before the Mailbox is asked; where
// that cannot be done the sender is put off, and comes again to a house that has nothing of the message yet.
func (t *transaction) settle(ctx context.Context) error {
	queue, mailbox := t.ready(&t.queue), t.ready(&t.mailbox)
	if queue && mailbox {
		for _, p := range []*part{&t.queue, &t.mailbox} {
			if prep, ok := p.tx.(mail.Preparer); ok {
				if _, err := prep.Prepare(ctx); err != nil {
					p.fail(err)
				}
			}
		}
	}
	if queue && t.queue.err == nil {
		t.queue.commit(ctx)
	}
	if mailbox && t.mailbox.err == nil {
		t.tally(&t.mailbox)
		if err := t.foresee(ctx); err != nil {
			return err
		}
		t.mailbox.commit(ctx)
	}
	t.tally(nil)
	return nil
}

// ready reports whether something is wanted of a part that is well; a part of which nothing is wanted is given up.
func (t *transaction) ready(p *part) bool {
	if p.failed() {
		return false
	}
	if !t.wanted(p) {
		p.tx.Abort() //nolint:errcheck // nothing was wanted of it
		return false
	}
	return true
}

func (p *part) commit(ctx context.Context) {
	if p.replies, p.err = p.tx.Commit(ctx); p.err == nil && len(p.replies) != p.accepted {
		p.err = mail.NewReply(451, mail.Enhanced{4, 3, 0}, "Temporary local problem, please try again later")
	}
}

// tally notes what became of each target, as if the part that is still to come took all of its own.
func (t *transaction) tally(coming *part) {
	for i := range t.targets {
		x := &t.targets[i]
		switch {
		case x.index < 0, x.unused: // keeps the refusal it has
		case x.part == coming:
			x.reply = mail.OK()
		case x.part.err != nil:
			x.reply = *mail.AsReply(x.part.err)
		default:
			x.reply = x.part.replies[x.index]
		}
	}
}

// foresee writes what is owed as things stand to the queue, all but the last step.
func (t *transaction) foresee(ctx context.Context) error {
	replies, taken := t.verdicts()
	if !taken {
		return nil
	}
	owed := t.owed(replies)
	if len(owed) == 0 {
		return nil
	}
	tx, err := t.write(ctx, owed)
	if err == nil {
		if prep, ok := tx.(mail.Preparer); ok {
			_, err = prep.Prepare(ctx)
		}
		if err != nil {
			tx.Abort() //nolint:errcheck // it has failed already
		}
	}
	if err != nil {
		t.config().Log.WarnContext(ctx, "message put off: some targets would take it, and what the others are owed cannot be queued", "id", t.id, "error", err)
		return mail.AsReply(err)
	}
	t.debt, t.debtors = tx, owed
	return nil
}

// wanted reports whether any target of the part is to be kept.
func (t *transaction) wanted(p *part) bool {
	for i := range t.targets {
		if x := &t.targets[i]; x.part == p && x.index >= 0 && !x.unused {
			return true
		}
	}
	return false
}

// verdicts gives one reply for each recipient, and tells whether the message was taken for any.
func (t *transaction) verdicts() (replies []mail.Reply, taken bool) {
	replies = make([]mail.Reply, len(t.recipients))
	// The Mailbox may have it, though its answer was lost: then the queue hands it over once more under the same delivery
	// id. Were it left to the peer to send again, it would be there twice.
	taken = t.spool != nil && errors.Is(t.mailbox.err, mail.ErrUnknownOutcome)
	for i := range t.recipients {
		rec := &t.recipients[i]
		if rec.dropped {
			replies[i] = mail.OK()
			continue
		}
		if rec.refused != nil {
			replies[i] = *rec.refused
			continue
		}
		of := make([]mail.Reply, len(rec.targets))
		for j, at := range rec.targets {
			of[j] = t.targets[at].reply
		}
		replies[i] = mail.Agree(of)
		taken = taken || replies[i].Positive()
	}
	return replies, taken
}

// answer gives one reply for each recipient. What is owed, because some target took the message and another did
// not, is queued first.
func (t *transaction) answer(ctx context.Context) ([]mail.Reply, error) {
	replies, taken := t.verdicts()
	if !taken {
		return replies, nil
	}
	owed := t.owed(replies)
	if len(owed) == 0 {
		return replies, nil
	}
	queued, err := t.enqueue(ctx, owed)
	if err != nil {
		// The peer will send all of it again, and what was taken already will be there twice: better than not at all.
		t.config().Log.WarnContext(ctx, "message taken by some targets only, and the rest could not be queued: the sender's retry will double it",
			"id", t.id, "error", err)
		return nil, mail.AsReply(err)
	}
	for i := range replies {
		if !replies[i].Positive() && !t.s.LMTP {
			replies[i] = queued
		}
	}
	return replies, nil
}

// owed lists what must be queued because the answer will be that the message was taken: the targets that did not
// take it, and recipients that the guard refused at the end. In LMTP each recipient has an answer of its own, so
// only the targets of those that were taken in part are owed.
func (t *transaction) owed(replies []mail.Reply) []mail.Recipient {
	var owed []mail.Recipient
	listed := make([]bool, len(t.targets))
	for i := range t.recipients {
		rec := &t.recipients[i]
		if rec.dropped {
			continue
		}
		if rec.refused != nil {
			if !t.s.LMTP {
				owed = append(owed, mail.Recipient{Address: rec.Address, Notify: rec.Notify, Original: rec.Original, Failed: rec.refused})
			}
			continue
		}
		if t.s.LMTP && !replies[i].Positive() {
			continue
		}
		for _, at := range rec.targets {
			if x := &t.targets[at]; !x.reply.Positive() && !listed[at] {
				listed[at] = true
				debt := x.handed
				if x.part == &t.queue && x.reply.Permanent() { // it would say the same again: only the sender is to hear of it
					refusal := x.reply
					debt.Failed = &refusal
				}
				owed = append(owed, debt)
			}
		}
	}
	return owed
}

// enqueue puts the message into the queue for those to whom it is owed. Where that was foreseen, only the last step is left.
func (t *transaction) enqueue(ctx context.Context, owed []mail.Recipient) (mail.Reply, error) {
	tx := t.debt
	if tx == nil || !slices.EqualFunc(owed, t.debtors, sameDebt) {
		var err error
		if tx, err = t.write(ctx, owed); err != nil {
			return mail.Reply{}, err
		}
		defer tx.Abort() //nolint:errcheck // committed or given up
	}
	replies, err := tx.Commit(ctx)
	if err != nil {
		return mail.Reply{}, err
	}
	for i := range replies {
		if !replies[i].Positive() {
			return mail.Reply{}, &replies[i]
		}
	}
	return mail.Agree(replies), nil
}

func sameDebt(a, b mail.Recipient) bool {
	return a.Address == b.Address && a.DeliveryID == b.DeliveryID && (a.Failed == nil) == (b.Failed == nil)
}

// write begins a message to the queue for those to whom it is owed, and writes all of it.
func (t *transaction) write(ctx context.Context, owed []mail.Recipient) (mail.Transaction, error) {
	tx, err := t.r.open(ctx, t.s, t.config().Queue, &t.r.queue, t.from)
	if err != nil {
		return nil, err
	}
	for i := range owed {
		if err := tx.Recipient(ctx, &owed[i]); err != nil {
			return nil, errors.Join(err, tx.Abort())
		}
	}
	if err := t.resend(tx); err != nil {
		return nil, errors.Join(err, tx.Abort())
	}
	return tx, nil
}
