package house

import (
	"context"
	"errors"
	"time"

	"github.com/samotop/samotop/imap"
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

// lists opens what the owner of an address says who may do with his folders.
func (x mailboxes) lists(ctx context.Context, address string) (imap.Account, imap.ACLs, error) {
	o, err := x.owner(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	acct, err := x.m.QuietBackend().Open(ctx, &mail.Session{Login: mail.Identity{Account: o.Address}})
	if err != nil {
		return nil, nil, err
	}
	return acct, acct.(imap.ACLs), nil
}

// Grants is of management.Mailboxes.
func (x mailboxes) Grants(ctx context.Context, address, folder string) ([]management.FolderGrant, error) {
	acct, lists, err := x.lists(ctx, address)
	if err != nil {
		return nil, err
	}
	defer acct.Close()
	entries, err := lists.ACL(ctx, folder)
	out := make([]management.FolderGrant, len(entries))
	for i, e := range entries {
		out[i] = management.FolderGrant{Folder: folder, Who: e.Identifier, Rights: e.Rights}
	}
	return out, grantError(address, folder, err)
}

// Grant is of management.Mailboxes.
func (x mailboxes) Grant(ctx context.Context, address, folder, who, rights string) error {
	acct, lists, err := x.lists(ctx, address)
	if err != nil {
		return err
	}
	defer acct.Close()
	return grantError(address, folder, lists.SetACL(ctx, folder, who, imap.StoreReplace, rights))
}

// grantError says what is wrong as the command line does.
func grantError(address, folder string, err error) error {
	var e *imap.Error
	if !errors.As(err, &e) || e.Cause != nil {
		return err
	}
	out := &management.Error{Kind: management.Invalid, Thing: "folder " + folder + " of " + address, Cause: e.Text}
	switch {
	case e.Code == "NONEXISTENT":
		out.Kind, out.Remedy = management.NotFound, "name it as IMAP does, such as Archive or Work/Plans"
	case e.Bad:
		out.Remedy = "rights are letters of lrswipkxtea"
	}
	return out
}
