package accounts

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// AddAlias adds targets to an alias, which it makes if need be. A target in a domain of ours must be known; what
// would lead in a circle is refused.
func (a *Accounts) AddAlias(ctx context.Context, address string, targets ...string) (Alias, error) {
	addr, err := parseOurs(address)
	if err != nil {
		return Alias{}, err
	}
	added, err := parseTargets(targets)
	if err != nil {
		return Alias{}, err
	}
	if len(added) == 0 {
		return Alias{}, refuse(ErrInvalid, "alias %s has no target: name at least one address", addr)
	}
	a.change.Lock()
	defer a.change.Unlock()
	old, err := a.find(ctx, addr)
	if err != nil {
		return Alias{}, fmt.Errorf("add alias %s: %w", addr, err)
	}
	al := Alias{Address: addr, Created: a.c.Clock()}
	if old != nil && old.alias != nil {
		al.Created, al.Targets = old.alias.Created, slices.Clone(old.alias.Targets)
	} else if err := a.free(ctx, addr); err != nil {
		return Alias{}, err
	}
	for _, t := range added {
		if !slices.ContainsFunc(al.Targets, func(o mail.Address) bool { return sameTarget(o, t) }) {
			al.Targets = append(al.Targets, t)
		}
	}
	if err := a.checkAlias(ctx, &al); err != nil {
		return Alias{}, err
	}
	if err := a.writeAlias(ctx, old, &al); err != nil {
		return Alias{}, fmt.Errorf("add alias %s: %w", addr, err)
	}
	return al, nil
}

func parseTargets(targets []string) ([]mail.Address, error) {
	out := make([]mail.Address, 0, len(targets))
	for _, t := range targets {
		addr, err := parseAddress(t)
		if err != nil {
			return nil, err
		}
		out = append(out, addr)
	}
	return out, nil
}

func sameTarget(x, y mail.Address) bool {
	cx, okx := canonical(x)
	cy, oky := canonical(y)
	return x == y || okx && oky && cx == cy
}

// checkAlias finds out where a new alias would lead, and refuses unknown targets, circles and floods.
func (a *Accounts) checkAlias(ctx context.Context, al *Alias) error {
	if len(al.Targets) > MaxTargets {
		return refuse(ErrInvalid, "alias %s would have %d targets, more than %d: spread them over several", al.Address, len(al.Targets), MaxTargets)
	}
	x := expansion{a: a, strict: al}
	_, err := x.visit(ctx, al.Address, "", 0)
	return err
}

// writeAlias writes the alias, whose name was old, with the index of its targets.
func (a *Accounts) writeAlias(ctx context.Context, old *name, al *Alias) error {
	b := &store.Batch{Ops: []store.Op{store.Put(keyName(al.Address), encodeAlias(*al))}}
	t := touched{name: al.Address, is: true}
	if old == nil {
		b.Asserts = []store.Assert{{Key: keyName(al.Address), Absent: true}}
	} else {
		b.Asserts = []store.Assert{{Key: keyName(al.Address), Value: encodeAlias(*old.alias)}}
		t.was = true
		for _, target := range old.alias.Targets {
			if !slices.Contains(al.Targets, target) {
				b.Ops = append(b.Ops, deleteReverse(target, al.Address))
			}
		}
	}
	for _, target := range al.Targets {
		if c, ok := canonical(target); ok {
			b.Ops = append(b.Ops, store.Put(keyReverse(c, al.Address), nil))
		}
	}
	return a.commit(ctx, b, t)
}

func deleteReverse(target, alias mail.Address) store.Op {
	c, _ := canonical(target)
	return store.Delete(keyReverse(c, alias))
}

// RemoveAlias removes targets from an alias; the alias itself goes without targets given, or with its last one.
// Aliases that lead to it must be removed first.
func (a *Accounts) RemoveAlias(ctx context.Context, address string, targets ...string) error {
	addr, err := parseOurs(address)
	if err != nil {
		return err
	}
	gone, err := parseTargets(targets)
	if err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	n, err := a.find(ctx, addr)
	if err != nil {
		return fmt.Errorf("remove alias %s: %w", addr, err)
	}
	if n == nil || n.alias == nil {
		return unknownAlias(addr.String())
	}
	al := *n.alias
	al.Targets = slices.Clone(al.Targets)
	for _, g := range gone {
		i := slices.IndexFunc(al.Targets, func(t mail.Address) bool { return sameTarget(t, g) })
		if i < 0 {
			return refuse(ErrUnknown, "alias %s does not lead to %s: see `samotop alias list`", addr, g)
		}
		al.Targets = slices.Delete(al.Targets, i, i+1)
	}
	if len(gone) > 0 && len(al.Targets) > 0 {
		err = a.writeAlias(ctx, n, &al)
	} else {
		err = a.deleteAlias(ctx, n.alias)
	}
	if err != nil {
		return fmt.Errorf("remove alias %s: %w", addr, err)
	}
	return nil
}

func (a *Accounts) deleteAlias(ctx context.Context, al *Alias) error {
	if err := a.notTarget(ctx, al.Address); err != nil {
		return err
	}
	b := &store.Batch{
		Asserts: []store.Assert{{Key: keyName(al.Address), Value: encodeAlias(*al)}},
		Ops:     []store.Op{store.Delete(keyName(al.Address))},
		Deletes: true,
	}
	for _, t := range al.Targets {
		b.Ops = append(b.Ops, deleteReverse(t, al.Address))
	}
	return a.commit(ctx, b, touched{name: al.Address, was: true})
}

// notTarget refuses if an alias leads to the name, plainly or with a detail.
func (a *Accounts) notTarget(ctx context.Context, name mail.Address) error {
	prefixes := [][]byte{append(appendName([]byte(tagReverse), name), 0, 0)}
	for _, s := range []byte(a.c.Separators) {
		prefixes = append(prefixes, append(appendName([]byte(tagReverse), name), s))
	}
	for i, p := range prefixes {
		key, err := a.first(ctx, p)
		if err != nil {
			return err
		}
		if key == nil {
			continue
		}
		target, alias, ok := parseReverse(key)
		if !ok {
			return fmt.Errorf("row of an alias target: %w", store.ErrCorrupt)
		}
		if i > 0 {
			if own, err := a.find(ctx, target); err != nil || own != nil { // a name of its own
				continue
			}
		}
		return refuse(ErrInUse, "alias %s leads to %s: remove it first with `samotop alias remove %s %s`", alias, name, alias, target)
	}
	return nil
}

func parseReverse(key []byte) (target, alias mail.Address, ok bool) {
	t, al, ok := strings.Cut(string(key[len(tagReverse):]), "\x00\x00")
	if !ok {
		return target, alias, false
	}
	target, ok1 := parseName([]byte(t))
	alias, ok2 := parseName([]byte(al))
	return target, alias, ok1 && ok2
}

// Alias returns an alias by its address.
func (a *Accounts) Alias(ctx context.Context, address string) (Alias, error) {
	addr, err := parseOurs(address)
	if err != nil {
		return Alias{}, err
	}
	n, err := a.find(ctx, addr)
	if err != nil {
		return Alias{}, fmt.Errorf("alias %s: %w", addr, err)
	}
	if n == nil || n.alias == nil {
		return Alias{}, unknownAlias(addr.String())
	}
	al := *n.alias
	al.Targets = slices.Clone(al.Targets)
	return al, nil
}

// Aliases yields the aliases of a domain, or of all with "", by domain and local part. No snapshot is open while the
// loop body runs.
func (a *Accounts) Aliases(ctx context.Context, domain string) iter.Seq2[Alias, error] {
	return func(yield func(Alias, error) bool) {
		a.each(ctx, domain, func(id uint64, al Alias) bool {
			return id != 0 || yield(al, nil)
		}, func(err error) { yield(Alias{}, err) })
	}
}
