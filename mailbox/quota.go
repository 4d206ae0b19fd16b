package mailbox

import (
	"context"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// quotaRoot is the one quota root of an account (RFC 9208): all its mailboxes count for it.
const quotaRoot = "account"

var _ imap.Quotas = (*view)(nil)

// QuotaRoots returns the account's quota root, for what is in it.
func (v *view) QuotaRoots(ctx context.Context, mailbox string) ([]string, error) {
	g, name, err := v.at(ctx, mailbox)
	if err != nil {
		return nil, err
	}
	if g != v { // it counts for the owner, whose affair it is
		return nil, toIMAP(v.m.eng.View(ctx, func(r store.Reader) error {
			_, _, err := g.boxByName(ctx, r, name, rightRead)
			return err
		}))
	}
	return []string{quotaRoot}, nil
}

// Quota returns what the account holds and may hold; resources without a limit are left out.
func (v *view) Quota(ctx context.Context, root string) ([]imap.QuotaResource, error) {
	if root != quotaRoot {
		return nil, no("NONEXISTENT", "There is no quota root %q", root)
	}
	o, err := v.owner(ctx)
	if err != nil {
		return nil, toIMAP(err)
	}
	u, err := v.m.Usage(ctx, o.ID)
	if err != nil {
		return nil, toIMAP(err)
	}
	var list []imap.QuotaResource
	if o.QuotaOctets > 0 {
		list = append(list, imap.QuotaResource{Name: "STORAGE", Usage: (u.Octets + 1023) / 1024, Limit: o.QuotaOctets / 1024})
	}
	if o.QuotaMessages > 0 {
		list = append(list, imap.QuotaResource{Name: "MESSAGE", Usage: u.Messages, Limit: o.QuotaMessages})
	}
	return list, nil
}

// SetQuota is for whoever keeps the accounts, not for IMAP.
func (v *view) SetQuota(context.Context, string, []imap.QuotaResource) error {
	return no("NOPERM", "Quotas are set by the administrator")
}
