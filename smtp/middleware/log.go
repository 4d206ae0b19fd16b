package middleware

import (
	"context"
	"log/slog"

	"github.com/samotop/samotop/mail"
)

// Log writes a line for what is decided in a session: each refusal at its stage, each message with its answers.
type Log struct {
	Log *slog.Logger // nil: none
}

// Wrap is the mail.Middleware.
func (m Log) Wrap(next mail.Door) mail.Door {
	if m.Log == nil {
		return next
	}
	inner := transactions(next, m.begin)
	return &wrapped{next: next, open: func(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
		r, err := inner.Open(ctx, s)
		if err != nil {
			m.Log.Info("refused", "id", s.ID, "stage", int(s.Stage), "remote", remote(s), "hello", s.Hello, "error", err)
		}
		return r, err
	}}
}

func remote(s *mail.Session) string {
	if s.RemoteAddr == nil {
		return ""
	}
	return s.RemoteAddr.String()
}

func (m Log) begin(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error) {
	log := m.Log.With("id", s.ID, "remote", remote(s), "from", from.Address.Path())
	tx, err := r.Begin(ctx, s, from)
	if err != nil {
		log.Info("sender refused", "error", err)
		return nil, err
	}
	return like(&logged{Transaction: tx, log: log}, tx), nil
}

type logged struct {
	mail.Transaction
	log  *slog.Logger
	to   []string
	n    int64
	done bool
}

func (tx *logged) Recipient(ctx context.Context, r *mail.Recipient) error {
	err := tx.Transaction.Recipient(ctx, r)
	if err != nil {
		tx.log.Info("recipient refused", "to", r.Address.Path(), "error", err)
		return err
	}
	tx.to = append(tx.to, r.Address.Path())
	return nil
}

func (tx *logged) Write(p []byte) (int, error) {
	n, err := tx.Transaction.Write(p)
	tx.n += int64(n)
	return n, err
}

func (tx *logged) Commit(ctx context.Context) ([]mail.Reply, error) {
	replies, err := tx.Transaction.Commit(ctx)
	tx.done = true
	if err != nil {
		tx.log.Info("message refused", "to", tx.to, "octets", tx.n, "error", err)
		return replies, err
	}
	for i, r := range replies {
		to := ""
		if i < len(tx.to) {
			to = tx.to[i]
		}
		attrs := []any{"to", to, "octets", tx.n, "reply", r.String()}
		if r.Cause != nil {
			attrs = append(attrs, "cause", r.Cause)
		}
		tx.log.Info("message", attrs...)
	}
	return replies, err
}

func (tx *logged) Abort() error {
	if !tx.done {
		tx.done = true
		tx.log.Info("message given up", "to", tx.to, "octets", tx.n)
	}
	return tx.Transaction.Abort()
}
