package house

import (
	"context"
	"errors"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/management"
)

// mailboxes shows the mailbox room to management.
type mailboxes struct {
	m   *mailbox.Mailbox
	dir mailbox.Directory
}

var _ management.Mailboxes = mailboxes{}

// owner finds who has an address.
func (x mailboxes) owner(ctx context.Context, address string) (mailbox.Owner, error) {
	a, err := mail.ParseAddress(address)
	if err != nil {
		return mailbox.Owner{}, &management.Error{Kind: management.Invalid, Thing: address, Cause: "is not an address"}
	}
	o, err := x.dir.Lookup(ctx, a)
	if errors.Is(err, mailbox.ErrNoOwner) {
		return o, &management.Error{Kind: management.NotFound, Thing: address, Cause: "is not the address of an account", Remedy: "see \"samotop account list\""}
	}
	return o, err
}

// Reindex is of management.Mailboxes.
func (x mailboxes) Reindex(ctx context.Context, address string, progress func(done, total int64) error) (r management.Reindexed, err error) {
	o, err := x.owner(ctx, address)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin := time.Now()
	err = x.m.Reindex(ctx, o.ID, func(done, total uint64) {
		r.Messages = int64(total)
		if err := progress(int64(done), int64(total)); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	r.Address, r.Seconds = o.Address, time.Since(begin).Seconds()
	return r, err
}
