package guard

import (
	"context"
	"errors"
	"log/slog"

	"github.com/samotop/samotop/mail"
)

var (
	errNoRules = errors.New("guard: Config.Rules is not set, so nobody could be accepted")
	errOver    = errors.New("guard: the transaction has ended")
)

// transaction judges one message. It holds what is thought of it for each recipient, not the message.
type transaction struct {
	c        *Config
	ctx      context.Context // of Begin, for what Write begins
	session  *mail.Session
	from     mail.Address
	m        Message
	accepted int
	proofs   []proof
	learnt   learnt
	over     bool

	recipients []accepted
	free       []freed // of the present recipient
	asked      bool    // common is known
	common     Opinion // on the message, before the content
	suspects   []suspect
	began      bool // readings were begun
	readings   []Reading
}

// accepted is a recipient that was accepted at RCPT.
type accepted struct {
	address mail.Address
	targets int
}

// Recipient gives the first verdict on a recipient, and where his mail goes.
func (t *transaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	if t.over {
		return errOver
	}
	if t.looking() {
		return alone(r.Address)
	}
	if t.accepted >= t.c.MaxRecipients { // RFC 5321 section 4.5.3.1.10
		return mail.NewReply(452, mail.Enhanced{4, 5, 3}, "Too many recipients, send the rest in another message")
	}
	if r.Address.IsNull() {
		return mail.NewReply(550, mail.Enhanced{5, 1, 3}, "<> is not a recipient")
	}
	res, err := t.c.Rules.Resolve(ctx, r.Address)
	if err != nil {
		return err
	}
	if len(res.Rewritten) > 0 {
		t.tellRewritten(ctx, &res, r.Address)
	}
	refusal := verdict(&res, r.Address)
	t.guessed(ctx, refusal)
	if refusal == nil && !r.RRVS.IsZero() && res.Since.After(r.RRVS) { // RFC 7293 section 5.2
		refusal = mail.NewReply(550, mail.Enhanced{5, 7, 17}, "%s: the owner of the mailbox has changed since then", r.Address.Path())
	}
	if refusal == nil {
		refusal = t.judge(ctx, &res, r.Address)
	}
	if refusal != nil {
		t.c.Log.LogAttrs(ctx, slog.LevelInfo, "recipient refused", slog.String("trace", t.session.ID),
			slog.String("from", t.from.String()), slog.String("to", r.Address.String()),
			slog.String("reply", refusal.String()))
		return refusal
	}
	r.Targets = res.Targets
	if r.Folder != "" {
		r.Targets = inFolder(res.Targets, r.Folder)
	}
	t.conclude(ctx, r)
	if t.c.LogAccepted {
		t.c.Log.LogAttrs(ctx, slog.LevelInfo, "recipient accepted", slog.String("trace", t.session.ID),
			slog.String("from", t.from.String()), slog.String("to", r.Address.String()))
	}
	t.accepted++
	t.recipients = append(t.recipients, accepted{r.Address, len(res.Targets)})
	return nil
}

// verdict refuses whom no mail can reach.
func verdict(res *Resolution, a mail.Address) *mail.Reply {
	switch {
	case !res.OurDomain: // RFC 5321 section 7.9, RFC 3463 section 3.8
		return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s: relaying denied", a.Path())
	case len(res.Targets) > 0:
		return nil
	case res.Disabled:
		return mail.NewReply(550, mail.Enhanced{5, 2, 1}, "%s: account is disabled", a.Path())
	}
	return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "%s: no such user here", a.Path())
}

// guessed counts who asks for recipients that are not there, and keeps them waiting.
func (t *transaction) guessed(ctx context.Context, refusal *mail.Reply) {
	switch {
	case t.exempt(), refusal != nil && refusal.Enhanced == mail.Enhanced{5, 2, 1}:
	case refusal != nil:
		t.learn(mail.Address{}, GuessedAt)
		if t.c.Abuse != nil {
			t.c.Abuse.Did(ctx, UnknownRecipient, t.m.IP)
			t.c.Abuse.Tarpit(ctx, t.m.IP)
		}
	case t.c.Abuse != nil:
		t.c.Abuse.Did(ctx, KnownRecipient, t.m.IP)
	}
}

// inFolder keeps the folder that a trusted peer asked for, where the rules name none. Rules own their slice.
func inFolder(ts []mail.Target, folder string) []mail.Target {
	out := make([]mail.Target, len(ts))
	copy(out, ts)
	for i := range out {
		if !out[i].Remote && out[i].Folder == "" {
			out[i].Folder = folder
		}
	}
	return out
}

// Trace is of mail.Transaction: what others found is not kept.
func (t *transaction) Trace(...mail.Field) {}

// Write is of mail.Transaction: content is shown to those who judge it, and not kept.
func (t *transaction) Write(p []byte) (int, error) {
	if t.over {
		return 0, errOver
	}
	if len(t.proofs) > 0 {
		t.learnt.write(p, t.from.IsNull())
	}
	if len(t.suspects) > 0 {
		t.read(t.ctx)
		t.write(p)
	}
	return len(p), nil
}

// Prepare is of mail.Preparer.
func (t *transaction) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if t.over {
		return nil, errOver
	}
	replies := t.replies()
	if err := t.settle(ctx, replies); err != nil {
		return nil, err
	}
	t.sentence(ctx, replies)
	return replies, ctx.Err()
}

// Commit gives the final verdict on each recipient.
func (t *transaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	if t.over {
		return nil, errOver
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t.over = true
	defer t.closeReadings()
	replies := t.replies()
	if err := t.settle(ctx, replies); err != nil {
		return nil, err
	}
	t.sentence(ctx, replies)
	return replies, nil
}

// Abort is of mail.Transaction.
func (t *transaction) Abort() error {
	t.over = true
	t.closeReadings()
	return nil
}

func (t *transaction) replies() []mail.Reply {
	out := make([]mail.Reply, t.accepted)
	for i := range out {
		out[i] = mail.OK()
	}
	return out
}
