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

// transaction judges one message. It holds how many recipients it accepted, nothing else.
type transaction struct {
	c        *Config
	session  *mail.Session
	from     mail.Address
	accepted int
	proofs   []proof
	over     bool
}

// Recipient gives the first verdict on a recipient, and where his mail goes.
func (t *transaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	if t.over {
		return errOver
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
	refusal := verdict(&res, r.Address)
	if refusal == nil && res.Gated != nil {
		refusal = t.gate(ctx, &res, r.Address)
	}
	if refusal != nil {
		t.c.Log.LogAttrs(ctx, slog.LevelInfo, "recipient refused", slog.String("session", t.session.ID),
			slog.String("from", t.from.String()), slog.String("to", r.Address.String()),
			slog.String("reply", refusal.String()))
		return refusal
	}
	r.Targets = res.Targets
	if r.Folder != "" {
		r.Targets = inFolder(res.Targets, r.Folder)
	}
	t.accepted++
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

// Write is of mail.Transaction: content does not change the verdict, so it is not kept.
func (t *transaction) Write(p []byte) (int, error) {
	if t.over {
		return 0, errOver
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
	replies := t.replies()
	return replies, t.settle(ctx, replies)
}

// Abort is of mail.Transaction.
func (t *transaction) Abort() error {
	t.over = true
	return nil
}

func (t *transaction) replies() []mail.Reply {
	out := make([]mail.Reply, t.accepted)
	for i := range out {
		out[i] = mail.OK()
	}
	return out
}
