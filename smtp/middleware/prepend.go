package middleware

import (
	"context"

	"github.com/samotop/samotop/mail"
)

// Prepend puts header fields in front of each message, the last on top.
type Prepend struct {
	Fields []mail.Field
	// Make gives further fields for a message; nil: none.
	Make func(ctx context.Context, s *mail.Session, from mail.Sender) []mail.Field
}

// Wrap is the mail.Middleware.
func (m Prepend) Wrap(next mail.Door) mail.Door {
	return transactions(next, func(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error) {
		tx, err := r.Begin(ctx, s, from)
		if err != nil {
			return nil, err
		}
		outer := &prepending{Transaction: tx, m: m, ctx: ctx, s: s, from: from}
		switch t := like(outer, tx).(type) {
		case canPrepare:
			return canPrepare{outer, beforePrepare{t.Preparer, outer.put}}, nil
		case canBoth:
			return canBoth{outer, beforePrepare{t.Preparer, outer.put}, t.Amender}, nil
		default:
			return t, nil
		}
	})
}

// prepending waits for the first octet of content, because fields come after the recipients.
type prepending struct {
	mail.Transaction
	m    Prepend
	ctx  context.Context //nolint:containedctx // that of Begin, for Write, which has none
	s    *mail.Session
	from mail.Sender
	done bool
}

func (tx *prepending) put() {
	if tx.done {
		return
	}
	tx.done = true
	tx.Transaction.Trace(tx.m.Fields...)
	if tx.m.Make != nil {
		tx.Transaction.Trace(tx.m.Make(tx.ctx, tx.s, tx.from)...)
	}
}

func (tx *prepending) Write(p []byte) (int, error) {
	tx.put()
	return tx.Transaction.Write(p)
}

func (tx *prepending) Commit(ctx context.Context) ([]mail.Reply, error) {
	tx.put()
	return tx.Transaction.Commit(ctx)
}
