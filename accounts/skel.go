package accounts

import (
	"context"
	"crypto/x509"
	"errors"
	"iter"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
)

var errSkeleton = errors.New("accounts: being built")

// Errors that callers test for, with errors.Is.
var (
	ErrUnknown = errors.New("accounts: not known")
	ErrExists  = errors.New("accounts: exists already")
	ErrInUse   = errors.New("accounts: in use")
	ErrInvalid = errors.New("accounts: not valid")
)

type Accounts struct{}

func Open(ctx context.Context, c Config) (*Accounts, error) { return nil, errSkeleton }
func (a *Accounts) Close() error                            { return nil }
func (a *Accounts) Secret() []byte                          { return nil } // 32 octets, of the house: for sasl.Config.Secret

func (a *Accounts) AddDomain(ctx context.Context, domain string) (Domain, error) {
	return Domain{}, errSkeleton
}
func (a *Accounts) RemoveDomain(ctx context.Context, domain string) error { return errSkeleton }
func (a *Accounts) Domain(ctx context.Context, domain string) (Domain, error) {
	return Domain{}, errSkeleton
}
func (a *Accounts) Domains(ctx context.Context) ([]Domain, error) { return nil, errSkeleton }

func (a *Accounts) AddAccount(ctx context.Context, address string, o Options) (Account, error) {
	return Account{}, errSkeleton
}
func (a *Accounts) Account(ctx context.Context, address string) (Account, error) {
	return Account{}, errSkeleton
}
func (a *Accounts) AccountByID(ctx context.Context, id uint64) (Account, error) {
	return Account{}, errSkeleton
}

// Accounts yields the accounts of a domain, or of all with "", by address.
func (a *Accounts) Accounts(ctx context.Context, domain string) iter.Seq2[Account, error] { return nil }
func (a *Accounts) SetAccount(ctx context.Context, address string, c Change) (Account, error) {
	return Account{}, errSkeleton
}
func (a *Accounts) SetPassword(ctx context.Context, address, password string) error {
	return errSkeleton
}
func (a *Accounts) RemoveAccount(ctx context.Context, address string) (Account, error) {
	return Account{}, errSkeleton
}

// AddAlias adds targets to an alias, which it makes if need be.
func (a *Accounts) AddAlias(ctx context.Context, address string, targets ...string) (Alias, error) {
	return Alias{}, errSkeleton
}

// RemoveAlias removes targets from an alias; without targets, or with the last one, the alias.
func (a *Accounts) RemoveAlias(ctx context.Context, address string, targets ...string) error {
	return errSkeleton
}
func (a *Accounts) Alias(ctx context.Context, address string) (Alias, error) {
	return Alias{}, errSkeleton
}
func (a *Accounts) Aliases(ctx context.Context, domain string) iter.Seq2[Alias, error] { return nil }

func (a *Accounts) Resolve(ctx context.Context, addr mail.Address) (Resolution, error) {
	return Resolution{}, errSkeleton
}
func (a *Accounts) Lookup(ctx context.Context, addr mail.Address) (Owner, error) {
	return Owner{}, errSkeleton
}
func (a *Accounts) MaySendAs(ctx context.Context, account string, from mail.Address) (bool, error) {
	return false, errSkeleton
}

func (a *Accounts) Password(ctx context.Context, s *mail.Session, user, password string) (string, error) {
	return "", errSkeleton
}
func (a *Accounts) Scram(ctx context.Context, s *mail.Session, user string, hash sasl.Hash) (sasl.ScramKeys, string, error) {
	return sasl.ScramKeys{}, "", errSkeleton
}
func (a *Accounts) Certificate(ctx context.Context, s *mail.Session, leaf *x509.Certificate, authzid string) (string, error) {
	return "", errSkeleton
}

// GeneratePassword makes a password with at least 128 bits from rand (nil: crypto/rand).
func (a *Accounts) GeneratePassword() (string, error) { return "", errSkeleton }

// Verify reads everything and returns each fault found.
func (a *Accounts) Verify(ctx context.Context) ([]string, error) { return nil, errSkeleton }
