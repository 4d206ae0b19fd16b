package accounts

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// MaxGrants is how many addresses an account may be let send as, beyond its own.
const MaxGrants = 1000

// Rows of rights to send as an address: by account, and by address. An address without a local part is a whole domain, which
// is written with CatchAll.
const (
	tagGrant   = "x/"
	tagGranted = "y/"
)

func keyGrant(id uint64, addr mail.Address) []byte { return appendName(keyID(tagGrant, id), addr) }

func keyGranted(addr mail.Address, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(appendName([]byte(tagGranted), addr), 0, 0), id)
}

// Grant lets an account send as an address of ours, such as a shared one or a list, or with "@domain" as any address of a
// domain.
func (a *Accounts) Grant(ctx context.Context, account, address string) error {
	addr, err := parseAlias(address)
	if err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	acc, err := a.account(ctx, account)
	if err != nil {
		return err
	}
	d, ours := a.held.real(addr.Domain)
	if !ours {
		return refuse(ErrInvalid, "%s is not an address of this house: only what is ours can be vouched for, see `samotop domain list`", addr)
	}
	addr.Domain = d.Name
	if addr.Local != CatchAll {
		if res, err := a.Resolve(ctx, addr); err != nil {
			return asRefusal("address "+addr.String(), err)
		} else if len(res.Targets) == 0 && !res.Disabled {
			return refuse(ErrUnknown, "address %s is not known: add it first with `samotop account add` or `samotop alias add`", addr)
		}
	}
	have, err := a.keys(ctx, keyID(tagGrant, acc.ID), MaxGrants)
	if err != nil {
		return fmt.Errorf("grant %s to %s: %w", addr, acc.Address, err)
	}
	if len(have) >= MaxGrants {
		return refuse(ErrInvalid, "account %s may send as %d addresses, which is the limit: grant it a whole domain with @%s", acc.Address, MaxGrants, addr.Domain)
	}
	err = a.commit(ctx, &store.Batch{
		Asserts: []store.Assert{{Key: keyID(tagAccount, acc.ID), Value: encodeAccount(acc)}},
		Ops:     []store.Op{store.Put(keyGrant(acc.ID, addr), nil), store.Put(keyGranted(addr, acc.ID), nil)},
	}, touched{})
	if err != nil {
		return fmt.Errorf("grant %s to %s: %w", addr, acc.Address, err)
	}
	return nil
}

// Revoke takes back what Grant gave.
func (a *Accounts) Revoke(ctx context.Context, account, address string) error {
	addr, err := parseAlias(address)
	if err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	acc, err := a.account(ctx, account)
	if err != nil {
		return err
	}
	if d, ours := a.held.real(addr.Domain); ours {
		addr.Domain = d.Name
	}
	row, err := a.get(ctx, keyGrant(acc.ID, addr))
	if err == nil && row == nil {
		return refuse(ErrUnknown, "account %s was not granted %s: see `samotop account show %s`", acc.Address, ShowAlias(addr), acc.Address)
	}
	if err == nil {
		err = a.commit(ctx, &store.Batch{Deletes: true,
			Ops: []store.Op{store.Delete(keyGrant(acc.ID, addr)), store.Delete(keyGranted(addr, acc.ID))}}, touched{})
	}
	if err != nil {
		return fmt.Errorf("revoke %s from %s: %w", addr, acc.Address, err)
	}
	return nil
}

// Grants lists the addresses that an account was let send as, a whole domain with the local part CatchAll.
func (a *Accounts) Grants(ctx context.Context, account string) ([]mail.Address, error) {
	acc, err := a.account(ctx, account)
	if err != nil {
		return nil, err
	}
	keys, err := a.keys(ctx, keyID(tagGrant, acc.ID), MaxGrants)
	if err != nil {
		return nil, fmt.Errorf("grants of %s: %w", acc.Address, err)
	}
	var out []mail.Address
	for _, k := range keys {
		addr, ok := parseName(k[len(tagGrant)+8:])
		if !ok {
			return nil, fmt.Errorf("grants of %s: %w", acc.Address, store.ErrCorrupt)
		}
		out = append(out, addr)
	}
	return out, nil
}

// granted reports whether an account was let send as an address, as it is, without its detail, or with all of its domain.
func (a *Accounts) granted(ctx context.Context, id uint64, from mail.Address) (yes bool, err error) {
	c, ok := canonical(from)
	if !ok {
		return false, nil
	}
	d, ours := a.held.real(c.Domain)
	if !ours {
		return false, nil
	}
	c.Domain = d.Name
	keys := [][]byte{keyGrant(id, c), keyGrant(id, mail.Address{Local: CatchAll, Domain: d.Name})}
	if base, detail := a.split(&d, c.Local); detail != "" {
		if n, err := a.find(ctx, c); err != nil { // it may be somebody's own
			return false, err
		} else if n == nil {
			keys = append(keys, keyGrant(id, mail.Address{Local: base, Domain: d.Name}))
		}
	}
	err = a.c.Engine.View(ctx, func(r store.Reader) error {
		rows, err := r.GetMulti(ctx, keys)
		for _, row := range rows {
			yes = yes || row != nil
		}
		return err
	})
	return yes, err
}

// dropGrantsOf takes back the rights to send as an address that goes: whoever gets it next is another.
func (a *Accounts) dropGrantsOf(ctx context.Context, b *store.Batch, addr mail.Address) error {
	return a.dropGranted(ctx, b, append(appendName([]byte(tagGranted), addr), 0, 0))
}

// dropGranted takes back all rights whose index has the prefix.
func (a *Accounts) dropGranted(ctx context.Context, b *store.Batch, prefix []byte) error {
	return a.scan(ctx, prefix, func(kv store.KV) error {
		addr, id, ok := parseGranted(kv.Key)
		if !ok {
			return fmt.Errorf("row of a right to send: %w", store.ErrCorrupt)
		}
		b.Ops = append(b.Ops, store.Delete(kv.Key), store.Delete(keyGrant(id, addr)))
		return nil
	})
}

func parseGranted(key []byte) (addr mail.Address, id uint64, ok bool) {
	end := len(key) - 10 // two NUL and the number
	if end <= len(tagGranted) {
		return addr, 0, false
	}
	addr, ok = parseName(key[len(tagGranted):end])
	return addr, binary.BigEndian.Uint64(key[end+2:]), ok
}

// dropGrants takes back those about an account, and those that it has.
func (a *Accounts) dropGrants(ctx context.Context, b *store.Batch, acc Account) error {
	if err := a.dropGrantsOf(ctx, b, acc.Address); err != nil {
		return err
	}
	keys, err := a.keys(ctx, keyID(tagGrant, acc.ID), MaxGrants)
	for _, k := range keys {
		addr, _ := parseName(k[len(tagGrant)+8:])
		b.Ops = append(b.Ops, store.Delete(k), store.Delete(keyGranted(addr, acc.ID)))
	}
	return err
}

func (v *verifier) grant(ctx context.Context, kv store.KV) error {
	if len(kv.Key) < len(tagGrant)+8 {
		return v.fault("right to send: key %q is malformed", kv.Key)
	}
	id := binary.BigEndian.Uint64(kv.Key[len(tagGrant):])
	addr, ok := parseName(kv.Key[len(tagGrant)+8:])
	if c, cok := canonical(addr); !ok || !cok || c != addr {
		return v.fault("right to send: key %q is malformed", kv.Key)
	}
	return v.pair(ctx, id, addr, keyGranted(addr, id))
}

func (v *verifier) granted(ctx context.Context, kv store.KV) error {
	addr, id, ok := parseGranted(kv.Key)
	if !ok {
		return v.fault("index of rights to send: key %q is malformed", kv.Key)
	}
	return v.pair(ctx, id, addr, keyGrant(id, addr))
}

// pair checks that the account is there, and the other row of a right.
func (v *verifier) pair(ctx context.Context, id uint64, addr mail.Address, other []byte) error {
	row, err := v.a.get(ctx, keyID(tagAccount, id))
	if err != nil {
		return err
	}
	if row == nil {
		return v.fault("right of account %d, which is not there, to send as %s", id, addr)
	}
	if row, err = v.a.get(ctx, other); err != nil {
		return err
	}
	if row == nil {
		return v.fault("right of account %d to send as %s has only one of its two rows", id, addr)
	}
	return nil
}
