package accounts

import (
	"context"

	"github.com/samotop/samotop/mail"
)

// Named returns the canonical address of the account whose address this is, in any case, for logins that somebody else
// has verified (OAUTHBEARER). It gives mail.ErrCredentials if there is none that may log in.
func (a *Accounts) Named(ctx context.Context, address string) (string, error) {
	acc, err := a.user(ctx, address)
	if err != nil {
		return "", err
	}
	if acc.ID == 0 {
		return "", mail.ErrCredentials
	}
	return acc.Address.String(), nil
}
