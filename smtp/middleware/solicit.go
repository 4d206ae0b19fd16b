package middleware

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// NoSoliciting refuses messages whose Solicitation field names a class that is not wanted (RFC 3865 section 2.5). It is the
// other half of smtp.Server.NoSoliciting, which refuses by the SOLICIT parameter of MAIL: set both.
type NoSoliciting struct {
	Keywords []string // solicitation class keywords, such as "net.example:ADV"; compared without case
}

// Wrap is the mail.Middleware.
func (m NoSoliciting) Wrap(next mail.Door) mail.Door {
	return transactions(next, func(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error) {
		tx, err := r.Begin(ctx, s, from)
		if err != nil {
			return nil, err
		}
		outer := &soliciting{Transaction: tx}
		outer.header = message.NewHeaderEditor(io.Discard, message.EditOptions{Add: func(h *message.Header) []mail.Field {
			outer.refusal = m.refusal(h)
			return nil
		}})
		switch t := like(outer, tx).(type) {
		case canPrepare:
			return canPrepare{outer, solicitingPreparer{t.Preparer, outer}}, nil
		case canBoth:
			return canBoth{outer, solicitingPreparer{t.Preparer, outer}, t.Amender}, nil
		default:
			return t, nil
		}
	})
}

func (m NoSoliciting) refusal(h *message.Header) error {
	for _, v := range h.Values("Solicitation") {
		for _, class := range strings.Split(string(v), ",") {
			class = strings.TrimSpace(class)
			if slices.ContainsFunc(m.Keywords, func(k string) bool { return strings.EqualFold(k, class) }) {
				return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "Solicitation %s is not wanted here", class)
			}
		}
	}
	return nil
}

type soliciting struct {
	mail.Transaction
	header  *message.HeaderEditor // sees the header when it is complete
	refusal error
}

func (tx *soliciting) Write(p []byte) (int, error) {
	_, _ = tx.header.Write(p) // a header over its limit is not looked at
	if tx.refusal != nil {
		return 0, tx.refusal
	}
	return tx.Transaction.Write(p)
}

// end looks at a header that the content did not end.
func (tx *soliciting) end() error {
	_ = tx.header.Close()
	return tx.refusal
}

func (tx *soliciting) Commit(ctx context.Context) ([]mail.Reply, error) {
	if err := tx.end(); err != nil {
		return nil, err
	}
	return tx.Transaction.Commit(ctx)
}

type solicitingPreparer struct {
	mail.Preparer
	tx *soliciting
}

func (p solicitingPreparer) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if err := p.tx.end(); err != nil {
		return nil, err
	}
	return p.Preparer.Prepare(ctx)
}
