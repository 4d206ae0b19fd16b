package house

import (
	"context"
	"net/netip"
	"strings"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/management"
)

// reputation shows what the guard knows of senders to management.
type reputation struct{ h *House }

var _ management.Reputation = reputation{}

// who reads a sender and an account, and waits until all that was kept is there.
func (r reputation) who(ctx context.Context, a management.SenderArgs) (s guard.Sender, account mail.Address, entry string, err error) {
	if a.Account != "" {
		if account, err = mail.ParseAddress(a.Account); err == nil {
			account, err = r.canonical(ctx, account)
		}
		if err != nil {
			return s, account, "", &management.Error{Kind: management.NotFound, Thing: "account " + a.Account, Cause: "is not known", Remedy: "see \"samotop account list\""}
		}
	}
	if entry, err = accounts.ParseListed(a.Sender); err != nil || strings.HasPrefix(entry, "@.") {
		return s, account, "", &management.Error{Kind: management.WrongUse, Thing: a.Sender, Cause: "is no sender",
			Remedy: "write user@example.org, @example.org, 192.0.2.1 or 192.0.2.0/24"}
	}
	switch p, perr := netip.ParsePrefix(entry); {
	case perr == nil:
		s.IP = p.Addr()
	case strings.HasPrefix(entry, "@"):
		s.Address.Domain = entry[1:]
	default:
		if s.Address, err = mail.ParseAddress(entry); err != nil {
			return s, account, "", &management.Error{Kind: management.WrongUse, Thing: a.Sender, Cause: err.Error()}
		}
	}
	return s, account, entry, r.h.history.Wait(ctx)
}

// canonical is the address under which the guard knows an account.
func (r reputation) canonical(ctx context.Context, a mail.Address) (mail.Address, error) {
	o, err := r.h.rules.Lookup(ctx, a)
	return o.Address, err
}

func (r reputation) Reputation(ctx context.Context, a management.SenderArgs) (out []management.Reputed, err error) {
	s, account, _, err := r.who(ctx, a)
	if err != nil {
		return nil, err
	}
	for _, x := range r.h.history.Reputation.Show(s, account) {
		out = append(out, management.Reputed{Name: x.Name, Of: x.Of, Since: x.Since, Good: x.Good, Bad: x.Bad, Score: x.Score})
	}
	return out, nil
}

func (r reputation) ForgetReputation(ctx context.Context, a management.SenderArgs) (int, error) {
	s, account, entry, err := r.who(ctx, a)
	if err != nil {
		return 0, err
	}
	n := r.h.history.Reputation.Forget(s, account, strings.Contains(entry, "/"))
	if n == 0 {
		return 0, &management.Error{Kind: management.NotFound, Thing: a.Sender, Cause: "has no reputation here", Remedy: "see what is known with \"samotop sender show " + a.Sender + "\""}
	}
	return n, r.h.history.Save(ctx)
}

func (r reputation) PurgeEvidence(ctx context.Context, owner uint64, address string) error {
	if a, err := mail.ParseAddress(address); err == nil {
		if err := r.h.history.Forget(ctx, a); err != nil {
			return err
		}
	}
	if r.h.filter == nil {
		return nil
	}
	return r.h.filter.Forget(ctx, owner)
}
