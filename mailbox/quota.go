package mailbox

import (
	"context"

	"github.com/samotop/samotop/imap"
)

// quotaRoot is the one quota root of an account (RFC 9208): all its mailboxes count for it.
const quotaRoot = "account"

var _ imap.Quotas = (*view)(nil)

// QuotaRoots returns the account's quota root.
func (v *view) QuotaRoots(_ context.Context, mailbox string) ([]string, error) {
	if _, err := v.m.canonical(mailbox); err != nil {
		return nil, err
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
