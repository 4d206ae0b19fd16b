package middleware

import (
	"context"

	"github.com/samotop/samotop/mail"
)

// Size refuses messages over a limit of its own, below that of the server: for some peers, or one service.
type Size struct {
	MaxOctets int64                    // of content; 0: no limit
	Applies   func(*mail.Session) bool // nil: to everybody
}

// Wrap is the mail.Middleware.
func (m Size) Wrap(next mail.Door) mail.Door {
	return transactions(next, func(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error) {
		if m.MaxOctets <= 0 || m.Applies != nil && !m.Applies(s) {
			return r.Begin(ctx, s, from)
		}
		if from.Size > m.MaxOctets { // RFC 1870 section 6.1
			return nil, m.refusal()
		}
		tx, err := r.Begin(ctx, s, from)
		if err != nil {
			return nil, err
		}
		return like(&sized{Transaction: tx, m: m}, tx), nil
	})
}

func (m Size) refusal() error {
	return mail.NewReply(552, mail.Enhanced{5, 3, 4}, "Message is larger than the %d octets we take", m.MaxOctets)
}

type sized struct {
	mail.Transaction
	m Size
	n int64
}

func (tx *sized) Write(p []byte) (int, error) {
	if tx.n += int64(len(p)); tx.n > tx.m.MaxOctets {
		return 0, tx.m.refusal()
	}
	return tx.Transaction.Write(p)
}
