package house

import (
	"context"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/accounts/ruleproto"
)

// contactsRoom is what is asked of the accounts room about contacts by whoever shows them.
type contactsRoom interface {
	ContactNews(ctx context.Context, since accounts.ContactCursor) (accounts.ContactNews, error)
	ContactPage(ctx context.Context, q accounts.ContactRange) (accounts.ContactPage, error)
	GatedAccounts(ctx context.Context) ([]uint64, error)
	Judge(ctx context.Context, v accounts.Verdict) error
}

// contactMethods are added to the table of the rules protocol.
func contactMethods(a contactsRoom, t map[string]ruleproto.Method) map[string]ruleproto.Method {
	t["contact-news"] = ruleproto.Handle(a.ContactNews)
	t["contact-page"] = ruleproto.Handle(a.ContactPage)
	t["gated-accounts"] = ruleproto.Handle(func(ctx context.Context, _ struct{}) ([]uint64, error) { return a.GatedAccounts(ctx) })
	t["judge"] = ruleproto.Handle(func(ctx context.Context, v accounts.Verdict) (struct{}, error) { return struct{}{}, a.Judge(ctx, v) })
	return t
}

func (r *remoteAccounts) ContactNews(ctx context.Context, since accounts.ContactCursor) (accounts.ContactNews, error) {
	return ruleproto.Ask[accounts.ContactNews](ctx, r.c, "contact-news", since, nil)
}

func (r *remoteAccounts) ContactPage(ctx context.Context, q accounts.ContactRange) (accounts.ContactPage, error) {
	return ruleproto.Ask[accounts.ContactPage](ctx, r.c, "contact-page", q, nil)
}

func (r *remoteAccounts) GatedAccounts(ctx context.Context) ([]uint64, error) {
	return ruleproto.Ask[[]uint64](ctx, r.c, "gated-accounts", struct{}{}, nil)
}

func (r *remoteAccounts) Judge(ctx context.Context, v accounts.Verdict) error {
	_, err := ruleproto.Ask[struct{}](ctx, r.c, "judge", v, nil)
	return err
}
