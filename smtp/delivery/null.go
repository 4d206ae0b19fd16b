package delivery

import (
	"context"

	"github.com/samotop/samotop/mail"
)

// Null accepts everything and keeps nothing: for tests and measurements. It is the one Door whose 250 means nothing.
type Null struct{}

var _ mail.Door = Null{}

func (Null) Open(context.Context, *mail.Session) (mail.Receiver, error) { return Null{}, nil }

// Begin accepts any sender.
func (Null) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return new(nullTx), nil
}

type nullTx struct{ n int }

func (tx *nullTx) Recipient(context.Context, *mail.Recipient) error { tx.n++; return nil }
func (tx *nullTx) Trace(...mail.Field)                              {}
func (tx *nullTx) Write(p []byte) (int, error)                      { return len(p), nil }
func (tx *nullTx) Abort() error                                     { return nil }

func (tx *nullTx) Prepare(context.Context) ([]mail.Reply, error) { return all(tx.n, mail.OK()), nil }
func (tx *nullTx) Commit(context.Context) ([]mail.Reply, error)  { return all(tx.n, mail.OK()), nil }
