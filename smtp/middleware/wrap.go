package middleware

import (
	"context"
	"io"

	"github.com/samotop/samotop/mail"
)

// wrapped is a Door in front of another.
type wrapped struct {
	next mail.Door
	open func(ctx context.Context, s *mail.Session) (mail.Receiver, error)
}

func (w *wrapped) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
	return w.open(ctx, s)
}

// beginning is a Receiver in front of another, which is closed with it.
type beginning struct {
	next  mail.Receiver
	begin func(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error)
}

func (b *beginning) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	return b.begin(ctx, s, from)
}

func (b *beginning) Close() error {
	if c, ok := b.next.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// transactions makes a middleware of what is done to each transaction. A stage at which the next Door has no receiver yet
// stays without one.
func transactions(next mail.Door, begin func(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error)) mail.Door {
	return &wrapped{next: next, open: func(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
		r, err := next.Open(ctx, s)
		if err != nil || r == nil {
			return r, err
		}
		return &beginning{next: r, begin: func(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
			return begin(ctx, s, from, r)
		}}, nil
	}}
}

type canPrepare struct {
	mail.Transaction
	mail.Preparer
}

type canAmend struct {
	mail.Transaction
	mail.Amender
}

type canBoth struct {
	mail.Transaction
	mail.Preparer
	mail.Amender
}

// beforePrepare does something before the next one prepares.
type beforePrepare struct {
	mail.Preparer
	do func()
}

func (b beforePrepare) Prepare(ctx context.Context) ([]mail.Reply, error) {
	b.do()
	return b.Preparer.Prepare(ctx)
}

// like gives outer what inner can do beyond mail.Transaction.
func like(outer, inner mail.Transaction) mail.Transaction {
	p, prepares := inner.(mail.Preparer)
	a, amends := inner.(mail.Amender)
	switch {
	case prepares && amends:
		return canBoth{outer, p, a}
	case prepares:
		return canPrepare{outer, p}
	case amends:
		return canAmend{outer, a}
	}
	return outer
}
