package accounts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// AddAccount makes an account. Its domain must be ours, and the address not in use.
func (a *Accounts) AddAccount(ctx context.Context, address string, o Options) (Account, error) {
	addr, err := parseOurs(address)
	if err != nil {
		return Account{}, err
	}
	if err := checkQuota(addr, o.Quota, o.QuotaMessages); err != nil {
		return Account{}, err
	}
	var secret []byte
	if o.Password != "" {
		s, err := a.makeSecrets(ctx, addr, o.Password)
		if err != nil {
			return Account{}, err
		}
		secret = encodeSecrets(s)
	}
	a.change.Lock()
	defer a.change.Unlock()
	if err := a.free(ctx, addr); err != nil {
		return Account{}, err
	}
	next, err := a.get(ctx, keyNextID)
	if err == nil && len(next) != 8 {
		err = store.ErrCorrupt
	}
	if err != nil {
		return Account{}, fmt.Errorf("add account %s: next id: %w", addr, err)
	}
	acc := Account{ID: binary.BigEndian.Uint64(next), Address: addr, Admin: o.Admin, Enabled: true, Quota: o.Quota, Created: a.c.Clock(),
		QuotaMessages: o.QuotaMessages, PlusFolders: o.PlusFolders}
	row := encodeAccount(acc)
	domain, _ := a.held.domain(addr.Domain)
	b := &store.Batch{
		Asserts: []store.Assert{
			{Key: keyNextID, Value: next}, {Key: keyDomain(addr.Domain), Value: encodeDomain(domain)},
			{Key: keyName(addr), Absent: true}, {Key: keyID(tagAccount, acc.ID), Absent: true},
		},
		Ops: []store.Op{
			store.Put(keyNextID, binary.BigEndian.AppendUint64(nil, acc.ID+1)),
			store.Put(keyName(addr), encodeNameOfAccount(acc.ID)), store.Put(keyID(tagAccount, acc.ID), row),
		},
	}
	if acc.Admin {
		b.Ops = append(b.Ops, store.Put(keyID(tagAdmin, acc.ID), nil))
	}
	if secret != nil {
		b.Ops = append(b.Ops, store.Put(keyID(tagPassword, acc.ID), secret))
	}
	if err := a.commit(ctx, b, touched{name: addr, is: true, admin: adminID(acc)}); err != nil {
		return Account{}, fmt.Errorf("add account %s: %w", addr, err)
	}
	return decodeAccount(acc.ID, row)
}

// free refuses an address that is not in a domain of ours, or is in use.
func (a *Accounts) free(ctx context.Context, addr mail.Address) error {
	d, ok := a.held.domain(addr.Domain)
	switch {
	case !ok:
		return unknownDomain(addr.Domain)
	case d.AliasOf != "":
		return refuse(ErrInvalid, "domain %s is another name of %s: use %s@%s", d.Name, d.AliasOf, addr.Local, d.AliasOf)
	}
	n, err := a.find(ctx, addr)
	switch {
	case err != nil:
		return err
	case n == nil:
		return nil
	case n.account != nil:
		return refuse(ErrExists, "account %s exists already: see `samotop account show %s`", addr, addr)
	case n.list != nil:
		return refuse(ErrExists, "%s is a list: remove it first with `samotop list remove %s`", addr, addr)
	}
	return refuse(ErrExists, "%s is an alias: remove it first with `samotop alias remove %s`", ShowAlias(addr), ShowAlias(addr))
}

func checkQuota(addr mail.Address, octets, messages int64) error {
	if octets < 0 || messages < 0 {
		return refuse(ErrInvalid, "quota of %s is negative: give octets or messages, 0 for no limit", addr)
	}
	return nil
}

// account returns an account by its address, which is not looked for among aliases.
func (a *Accounts) account(ctx context.Context, address string) (Account, error) {
	addr, err := parseOurs(address)
	if err != nil {
		return Account{}, err
	}
	d, ok := a.held.real(addr.Domain)
	if !ok {
		return Account{}, unknownDomain(addr.Domain)
	}
	addr.Domain = d.Name
	n, err := a.find(ctx, addr)
	switch {
	case err != nil:
		return Account{}, fmt.Errorf("account %s: %w", addr, err)
	case n == nil:
		return Account{}, unknownAccount(addr.String())
	case n.list != nil:
		return Account{}, refuse(ErrUnknown, "%s is a list, not an account: see `samotop list show %s`", addr, addr)
	case n.account == nil:
		return Account{}, refuse(ErrUnknown, "%s is an alias, not an account: see `samotop alias list`", addr)
	}
	return *n.account, nil
}

// Account returns an account by its address.
func (a *Accounts) Account(ctx context.Context, address string) (Account, error) {
	return a.account(ctx, address)
}

// AccountByID returns an account by its ID.
func (a *Accounts) AccountByID(ctx context.Context, id uint64) (acc Account, err error) {
	err = a.c.Engine.View(ctx, func(r store.Reader) error {
		acc, err = readAccount(ctx, r, id)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return Account{}, refuse(ErrUnknown, "account number %d is not known: see `samotop account list`", id)
	}
	return acc, err
}

// AddressOf returns the canonical address of an account by its ID.
func (a *Accounts) AddressOf(ctx context.Context, id uint64) (mail.Address, error) {
	acc, err := a.AccountByID(ctx, id)
	return acc.Address, err
}

// Accounts yields the accounts of a domain, or of all with "", by domain and local part. No snapshot is open while
// the loop body runs.
func (a *Accounts) Accounts(ctx context.Context, domain string) iter.Seq2[Account, error] {
	return func(yield func(Account, error) bool) {
		a.each(ctx, domain, func(id uint64, _ *name) bool {
			if id == 0 {
				return true
			}
			acc, err := a.AccountByID(ctx, id)
			if errors.Is(err, ErrUnknown) { // removed meanwhile
				return true
			}
			return yield(acc, err) && err == nil
		}, func(err error) { yield(Account{}, err) })
	}
}

var errStop = errors.New("stop")

// each calls fn for each name of a domain, or of all, until it returns false.
func (a *Accounts) each(ctx context.Context, domain string, fn func(id uint64, n *name) bool, failed func(error)) {
	prefix := []byte(tagName)
	if domain != "" {
		d, err := a.Domain(ctx, domain)
		if err != nil {
			failed(err)
			return
		}
		prefix = append(append(prefix, d.Name...), 0)
	}
	err := a.scan(ctx, prefix, func(kv store.KV) error {
		addr, _ := parseName(kv.Key[len(tagName):])
		id, n, err := decodeName(addr, kv.Value)
		if err == nil && !fn(id, n) {
			err = errStop
		}
		return err
	})
	if err != nil && !errors.Is(err, errStop) {
		failed(err)
	}
}

// SetAccount changes an account and returns it as it is now.
func (a *Accounts) SetAccount(ctx context.Context, address string, c Change) (Account, error) {
	a.change.Lock()
	defer a.change.Unlock()
	old, err := a.account(ctx, address)
	if err != nil {
		return Account{}, err
	}
	acc := old
	if c.Admin != nil {
		acc.Admin = *c.Admin
	}
	if c.Enabled != nil {
		acc.Enabled = *c.Enabled
	}
	if c.Quota != nil {
		acc.Quota = *c.Quota
	}
	if c.QuotaMessages != nil {
		acc.QuotaMessages = *c.QuotaMessages
	}
	if c.PlusFolders != nil {
		acc.PlusFolders = *c.PlusFolders
	}
	if err := checkQuota(acc.Address, acc.Quota, acc.QuotaMessages); err != nil {
		return Account{}, err
	}
	key := keyID(tagAccount, acc.ID)
	b := &store.Batch{
		Asserts: []store.Assert{{Key: key, Value: encodeAccount(old)}},
		Ops:     []store.Op{store.Put(key, encodeAccount(acc))},
	}
	switch {
	case acc.Admin && !old.Admin:
		b.Ops = append(b.Ops, store.Put(keyID(tagAdmin, acc.ID), nil))
	case old.Admin && !acc.Admin:
		b.Ops = append(b.Ops, store.Delete(keyID(tagAdmin, acc.ID)))
	}
	err = a.commit(ctx, b, touched{name: acc.Address, is: true, was: true, admin: max(adminID(acc), adminID(old))})
	if err != nil {
		return Account{}, fmt.Errorf("set account %s: %w", acc.Address, err)
	}
	return acc, nil
}

// SetPassword gives an account a new password. Nobody can log in with the old one once it returned.
func (a *Accounts) SetPassword(ctx context.Context, address, password string) error {
	acc, err := a.account(ctx, address)
	if err != nil {
		return err
	}
	s, err := a.makeSecrets(ctx, acc.Address, password)
	if err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	now, err := a.account(ctx, address)
	if err != nil {
		return err
	}
	if now.ID != acc.ID {
		return unknownAccount(acc.Address.String())
	}
	err = a.commit(ctx, &store.Batch{
		Asserts: []store.Assert{{Key: keyID(tagAccount, acc.ID), Value: encodeAccount(now)}},
		Ops:     []store.Op{store.Put(keyID(tagPassword, acc.ID), encodeSecrets(s))},
	}, touched{})
	a.logins.drop(acc.ID)
	if err != nil {
		return fmt.Errorf("set password of %s: %w", acc.Address, err)
	}
	return nil
}

// RemoveAccount removes an account and returns what it was. Aliases and lists that lead to it must be changed first. Its mail is
// the Mailbox's and stays there.
func (a *Accounts) RemoveAccount(ctx context.Context, address string) (Account, error) {
	a.change.Lock()
	defer a.change.Unlock()
	acc, err := a.account(ctx, address)
	if err != nil {
		return Account{}, err
	}
	if err := a.notTarget(ctx, acc.Address); err != nil {
		return Account{}, err
	}
	b := &store.Batch{
		Asserts: []store.Assert{
			{Key: keyID(tagAccount, acc.ID), Value: encodeAccount(acc)},
			{Key: keyName(acc.Address), Value: encodeNameOfAccount(acc.ID)},
		},
		Ops: []store.Op{
			store.Delete(keyID(tagAccount, acc.ID)), store.Delete(keyID(tagPassword, acc.ID)),
			store.Delete(keyID(tagAdmin, acc.ID)), store.Delete(keyName(acc.Address)),
			store.Delete(keyID(tagGate, acc.ID)), store.Delete(keyID(tagSent, acc.ID)),
			store.DeleteRange(contactKey(acc.ID, ""), contactKey(acc.ID+1, "")),
			store.DeleteRange(keyID(tagPending, acc.ID), keyID(tagPending, acc.ID+1)),
			store.DeleteRange(keyID(tagSubmitted, acc.ID), keyID(tagSubmitted, acc.ID+1)),
			store.DeleteRange(keyID(tagSuffix, acc.ID), keyID(tagSuffix, acc.ID+1)),
			store.DeleteRange(keyID(tagListed, acc.ID), keyID(tagListed, acc.ID+1)),
		},
		Deletes: true,
	}
	if err := a.dropGrants(ctx, b, acc); err != nil {
		return Account{}, fmt.Errorf("remove account %s: %w", acc.Address, err)
	}
	err = a.commit(ctx, b, touched{name: acc.Address, was: true, admin: adminID(acc)})
	a.logins.drop(acc.ID)
	if err != nil {
		return Account{}, fmt.Errorf("remove account %s: %w", acc.Address, err)
	}
	a.contacts.drop(acc.ID)
	a.listed.dropAll(acc.ID)
	return acc, nil
}
