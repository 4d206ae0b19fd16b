package accounts

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// CatchAll is the local part of the alias for every address of its domain that nobody has; people write @example.org.
const CatchAll = "*"

// parseAlias reads the address of an alias as a person writes it.
func parseAlias(s string) (mail.Address, error) {
	if t := strings.TrimSpace(s); strings.HasPrefix(t, "@") {
		s = CatchAll + t
	}
	return parseOurs(s)
}

// ShowAlias writes the address of an alias as people read it.
func ShowAlias(a mail.Address) string {
	if a.Local == CatchAll {
		return "@" + a.Domain
	}
	return a.String()
}

// AddAlias adds targets to an alias, which it makes if need be; "@domain" stands for every address of the domain that nobody
// has. A target in a domain of ours must be known; what would lead in a circle is refused.
func (a *Accounts) AddAlias(ctx context.Context, address string, targets ...string) (Alias, error) {
	addr, err := parseAlias(address)
	if err != nil {
		return Alias{}, err
	}
	added, err := parseTargets(targets)
	if err != nil {
		return Alias{}, err
	}
	if len(added) == 0 {
		return Alias{}, refuse(ErrInvalid, "alias %s has no target: name at least one address", ShowAlias(addr))
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
	al.Targets = join(al.Targets, added)
	if err := a.checkAlias(ctx, &al); err != nil {
		return Alias{}, err
	}
	if err := a.write(ctx, addr, old, &name{alias: &al}); err != nil {
		return Alias{}, fmt.Errorf("add alias %s: %w", addr, err)
	}
	return al, nil
}

// join adds the addresses that are not in the list.
func join(list, added []mail.Address) []mail.Address {
	have := make(map[mail.Address]bool, len(list))
	key := func(a mail.Address) mail.Address {
		if c, ok := canonical(a); ok {
			return c
		}
		return a
	}
	for _, a := range list {
		have[key(a)] = true
	}
	for _, a := range added {
		if k := key(a); !have[k] {
			have[k] = true
			list = append(list, a)
		}
	}
	return list
}

// leave takes addresses out of a list; missing is one that was not in it.
func leave(list, gone []mail.Address) (left []mail.Address, missing *mail.Address) {
	left = slices.Clone(list)
	for _, g := range gone {
		i := slices.IndexFunc(left, func(t mail.Address) bool { return sameTarget(t, g) })
		if i < 0 {
			return nil, &g
		}
		left = slices.Delete(left, i, i+1)
	}
	return left, nil
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
	shown := ShowAlias(al.Address)
	if len(al.Targets) > MaxTargets {
		return refuse(ErrInvalid, "alias %s would have %d targets, more than %d: spread them over several", shown, len(al.Targets), MaxTargets)
	}
	x := expansion{a: a, strict: &name{alias: al}, home: al.Address, what: "alias " + shown}
	if err := x.alias(ctx, al, "", 0); err != nil || len(x.lists) == 0 {
		return asRefusal("alias "+shown, err)
	}
	list, err := a.inList(ctx, al.Address)
	if err == nil && list != nil {
		return refuse(ErrInvalid, "alias %s would lead to list %s, and is part of list %s: a list cannot be part of another", shown, x.lists[0], *list)
	}
	return err
}

// write writes a name, which was old, with the index of what it leads to.
func (a *Accounts) write(ctx context.Context, addr mail.Address, old, now *name) error {
	b := &store.Batch{Ops: []store.Op{store.Put(keyName(addr), now.encode())}}
	t := touched{name: addr, is: true}
	leads := make(map[mail.Address]bool)
	for _, target := range now.leads() {
		if c, ok := canonical(target); ok && !leads[c] {
			leads[c] = true
		}
	}
	if old == nil {
		b.Asserts = []store.Assert{{Key: keyName(addr), Absent: true}}
	} else {
		b.Asserts = []store.Assert{{Key: keyName(addr), Value: old.encode()}}
		t.was = true
		for _, target := range old.leads() {
			if c, ok := canonical(target); ok && leads[c] {
				delete(leads, c) // is there already
			} else if ok {
				b.Ops = append(b.Ops, store.Delete(keyReverse(c, addr)))
			}
		}
	}
	for c := range leads {
		b.Ops = append(b.Ops, store.Put(keyReverse(c, addr), nil))
	}
	return a.commit(ctx, b, t)
}

// RemoveAlias removes targets from an alias; the alias itself goes without targets given, or with its last one.
// Aliases and lists that lead to it must be changed first.
func (a *Accounts) RemoveAlias(ctx context.Context, address string, targets ...string) error {
	addr, err := parseAlias(address)
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
		return unknownAlias(ShowAlias(addr))
	}
	left, missing := leave(n.alias.Targets, gone)
	switch {
	case missing != nil:
		return refuse(ErrUnknown, "alias %s does not lead to %s: see `samotop alias list`", ShowAlias(addr), *missing)
	case len(gone) > 0 && len(left) > 0:
		err = a.write(ctx, addr, n, &name{alias: &Alias{Address: addr, Targets: left, Created: n.alias.Created}})
	default:
		err = a.deleteName(ctx, addr, n)
	}
	if err != nil {
		return fmt.Errorf("remove alias %s: %w", ShowAlias(addr), err)
	}
	return nil
}

// deleteName removes an alias or a list, and the rights to send as it.
func (a *Accounts) deleteName(ctx context.Context, addr mail.Address, n *name) error {
	if err := a.notTarget(ctx, addr); err != nil {
		return err
	}
	b := &store.Batch{
		Asserts: []store.Assert{{Key: keyName(addr), Value: n.encode()}},
		Ops:     []store.Op{store.Delete(keyName(addr))},
		Deletes: true,
	}
	for _, t := range n.leads() {
		if c, ok := canonical(t); ok {
			b.Ops = append(b.Ops, store.Delete(keyReverse(c, addr)))
		}
	}
	if err := a.dropGrantsOf(ctx, b, addr); err != nil {
		return err
	}
	return a.commit(ctx, b, touched{name: addr, was: true})
}

// notTarget refuses if an alias or a list leads to the name, plainly or with a detail.
func (a *Accounts) notTarget(ctx context.Context, addr mail.Address) error {
	return a.leading(ctx, addr, func(by, target mail.Address, n *name) error {
		if n.list != nil {
			return refuse(ErrInUse, "list %s has %s: remove it first with `samotop list member remove %s %s`, or give the list another owner", by, target, by, target)
		}
		shown := ShowAlias(by)
		return refuse(ErrInUse, "alias %s leads to %s: remove it first with `samotop alias remove %s %s`", shown, addr, shown, target)
	})
}

// maxLeading bounds how many names that lead to one are looked at.
const maxLeading = 1000

// leading calls fn for each alias and list that leads to a name, plainly or with a detail, until it gives an error.
func (a *Accounts) leading(ctx context.Context, addr mail.Address, fn func(by, target mail.Address, n *name) error) error {
	prefixes := [][]byte{append(appendName([]byte(tagReverse), addr), 0, 0)}
	d, _ := a.held.domain(addr.Domain)
	for _, s := range []byte(a.separators(&d)) {
		prefixes = append(prefixes, append(appendName([]byte(tagReverse), addr), s))
	}
	for i, p := range prefixes {
		keys, err := a.keys(ctx, p, maxLeading)
		if err != nil {
			return err
		}
		for _, key := range keys {
			target, by, ok := parseReverse(key)
			if !ok {
				return fmt.Errorf("row of an alias target: %w", store.ErrCorrupt)
			}
			if i > 0 {
				if own, err := a.find(ctx, target); err != nil {
					return err
				} else if own != nil { // a name of its own
					continue
				}
			}
			n, err := a.find(ctx, by)
			if err != nil {
				return err
			}
			if n == nil {
				return fmt.Errorf("row of a target of %s: %w", by, store.ErrCorrupt)
			}
			if err := fn(by, target, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// inList finds a list that has a name among its members, by way of aliases or not; nil: there is none.
func (a *Accounts) inList(ctx context.Context, addr mail.Address) (list *mail.Address, err error) {
	seen := map[mail.Address]bool{addr: true}
	for todo := []mail.Address{addr}; len(todo) > 0 && list == nil && len(seen) < maxLeading; todo = todo[1:] {
		err = a.leading(ctx, todo[0], func(by, target mail.Address, n *name) error {
			switch {
			case n.list != nil && slices.ContainsFunc(n.list.Members, func(m mail.Address) bool { return sameTarget(m, target) }):
				list = &by
				return errStop
			case n.alias != nil && !seen[by]:
				seen[by] = true
				todo = append(todo, by)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			return nil, err
		}
	}
	return list, nil
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
	addr, err := parseAlias(address)
	if err != nil {
		return Alias{}, err
	}
	n, err := a.find(ctx, addr)
	if err != nil {
		return Alias{}, fmt.Errorf("alias %s: %w", addr, err)
	}
	if n == nil || n.alias == nil {
		return Alias{}, unknownAlias(ShowAlias(addr))
	}
	al := *n.alias
	al.Targets = slices.Clone(al.Targets)
	return al, nil
}

// Aliases yields the aliases of a domain, or of all with "", by domain and local part. No snapshot is open while the
// loop body runs.
func (a *Accounts) Aliases(ctx context.Context, domain string) iter.Seq2[Alias, error] {
	return func(yield func(Alias, error) bool) {
		a.each(ctx, domain, func(_ uint64, n *name) bool {
			return n == nil || n.alias == nil || yield(*n.alias, nil)
		}, func(err error) { yield(Alias{}, err) })
	}
}
