package qm

import (
	"context"
	"sync/atomic"

	"github.com/samotop/samotop/mail"
)

// counter is a Door that counts messages.
type counter struct{ n atomic.Int64 }

func (c *counter) Open(context.Context, *mail.Session) (mail.Receiver, error) { return c, nil }
func (c *counter) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return &counted{c: c}, nil
}

type counted struct {
	c *counter
	n int
}

func (t *counted) Recipient(context.Context, *mail.Recipient) error { t.n++; return nil }
func (t *counted) Trace(...mail.Field)                              {}
func (t *counted) Write(p []byte) (int, error)                      { return len(p), nil }
func (t *counted) Abort() error                                     { return nil }
func (t *counted) Commit(context.Context) ([]mail.Reply, error) {
	t.c.n.Add(1)
	rs := make([]mail.Reply, t.n)
	for i := range rs {
		rs[i] = mail.OK()
	}
	return rs, nil
}
