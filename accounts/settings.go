package accounts

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// NoSeparators says that a domain's local parts have no detail.
const NoSeparators = "none"

// separatorOctets may part a local part from its detail.
const separatorOctets = "+-_=.~#!"

// DomainChange is what SetDomain changes; nil stays.
type DomainChange struct {
	Separators *string // "": the default of the house; NoSeparators
	AliasOf    *string // "": it has addresses of its own again
}

// SetDomain changes a domain and returns it as it is now.
func (a *Accounts) SetDomain(ctx context.Context, domain string, c DomainChange) (Domain, error) {
	return a.changeDomain(ctx, domain, func(d *Domain) error {
		if c.Separators != nil {
			if s := *c.Separators; s != NoSeparators && strings.Trim(s, separatorOctets) != "" {
				return refuse(ErrInvalid, "separators %q: give some of %s, or \"none\"", s, separatorOctets)
			}
			d.Separators = *c.Separators
		}
		if c.AliasOf == nil {
			return nil
		}
		if *c.AliasOf == "" {
			d.AliasOf = ""
			return nil
		}
		return a.aliasDomain(ctx, d, *c.AliasOf)
	})
}

// aliasDomain makes a domain another name of one. A chain of names could become a circle, so there is none.
func (a *Accounts) aliasDomain(ctx context.Context, d *Domain, of string) error {
	name, err := parseDomain(of)
	if err != nil {
		return err
	}
	real, ok := a.held.domain(name)
	switch {
	case !ok:
		return unknownDomain(name)
	case name == d.Name:
		return refuse(ErrInvalid, "domain %s cannot be another name of itself", name)
	case real.AliasOf != "":
		return refuse(ErrInvalid, "domain %s is itself another name of %s: use that", name, real.AliasOf)
	case len(d.Rules) > 0:
		return refuse(ErrInUse, "domain %s has rules of its own: remove them first, see `samotop domain rule list %s`", d.Name, d.Name)
	}
	if other := a.held.named(d.Name); other != "" {
		return refuse(ErrInvalid, "domain %s is another name of %s: change that first", other, d.Name)
	}
	inside := append([]byte(tagName+d.Name), 0)
	key, err := a.first(ctx, inside)
	if err != nil {
		return err
	}
	if key != nil {
		return refuse(ErrInUse, "domain %s has addresses of its own, such as %s: remove them first", d.Name, mail.Address{Local: string(key[len(inside):]), Domain: d.Name})
	}
	d.AliasOf = name
	return nil
}

// AddRule adds a rule to a domain in front of the n-th, or behind the others with 0. A rule that can make no valid address,
// leads to nobody, or whose result rules would rewrite again and again, is refused.
func (a *Accounts) AddRule(ctx context.Context, domain string, r MapRule, n int) (Domain, error) {
	return a.changeDomain(ctx, domain, func(d *Domain) error {
		switch {
		case d.AliasOf != "":
			return refuse(ErrInvalid, "domain %s is another name of %s: add the rule there", d.Name, d.AliasOf)
		case len(d.Rules) >= MaxMapRules:
			return refuse(ErrInvalid, "domain %s has %d rules, which is the limit: make one of several", d.Name, MaxMapRules)
		case a.held.rules() >= MaxHouseMapRules:
			return refuse(ErrInvalid, "all domains together have %d rules, which is the limit: use aliases", MaxHouseMapRules)
		case n < 0 || n > len(d.Rules)+1:
			return refuse(ErrInvalid, "domain %s has %d rules: there is no place %d", d.Name, len(d.Rules), n)
		}
		if _, err := r.check(d.Name); err != nil {
			return err
		}
		if n == 0 {
			n = len(d.Rules) + 1
		}
		d.Rules = slices.Insert(slices.Clone(d.Rules), n-1, r)
		if err := d.compile(); err != nil {
			return err
		}
		return a.checkRules(ctx, d, n)
	})
}

// checkRules follows what each rule makes of an address whose groups are a letter each.
func (a *Accounts) checkRules(ctx context.Context, d *Domain, added int) error {
	for i, r := range d.Rules {
		to, err := r.whole(d.Name).Sample()
		if err != nil {
			return refuse(ErrInvalid, "rule %q -> %q: %v", r.Pattern, r.Replace, err)
		}
		known, circle, err := a.followSample(ctx, d, to)
		switch {
		case err != nil:
			return err
		case circle:
			return refuse(ErrInvalid, "rule %d would rewrite its own result (%s) again and again: make the pattern narrower", i+1, to)
		case !known && i+1 == added && !strings.Contains(r.Replace, "$"):
			return refuse(ErrUnknown, "rule %q leads to %s, which is not known: add it first with `samotop account add %s`", r.Pattern, to, to)
		}
	}
	return nil
}

// followSample leads an address through the rules, with d as it would be.
func (a *Accounts) followSample(ctx context.Context, d *Domain, addr mail.Address) (known, circle bool, err error) {
	for range MaxMapDepth {
		domain, ok := CanonicalDomain(addr.Domain)
		if !ok {
			return false, false, nil
		}
		at, ours := a.held.real(domain)
		if !ours {
			return true, false, nil
		}
		if at.Name == d.Name {
			at = *d
		}
		f, err := a.match(ctx, &at, addr.Local, nil)
		if f.rewrite == nil || err != nil {
			return f.n != nil || isRole(addr.Local), false, err
		}
		addr = f.rewrite.To
	}
	return false, true, nil
}

// RemoveRule takes the n-th rule out of a domain; the first is 1.
func (a *Accounts) RemoveRule(ctx context.Context, domain string, n int) (Domain, error) {
	return a.changeDomain(ctx, domain, func(d *Domain) error {
		if n < 1 || n > len(d.Rules) {
			return refuse(ErrUnknown, "domain %s has no rule %d: see `samotop domain rule list %s`", d.Name, n, d.Name)
		}
		d.Rules = slices.Delete(slices.Clone(d.Rules), n-1, n)
		return nil
	})
}

// changeDomain writes a domain as fn makes it.
func (a *Accounts) changeDomain(ctx context.Context, domain string, fn func(*Domain) error) (Domain, error) {
	name, err := parseDomain(domain)
	if err != nil {
		return Domain{}, err
	}
	a.change.Lock()
	defer a.change.Unlock()
	old, ok := a.held.domain(name)
	if !ok {
		return Domain{}, unknownDomain(name)
	}
	d := old
	if err := fn(&d); err != nil {
		return Domain{}, asRefusal("domain "+name, err)
	}
	row := encodeDomain(d)
	err = a.commit(ctx, &store.Batch{
		Asserts: []store.Assert{{Key: keyDomain(name), Value: encodeDomain(old)}},
		Ops:     []store.Op{store.Put(keyDomain(name), row)},
	}, touched{domain: name})
	if err != nil {
		return Domain{}, fmt.Errorf("set domain %s: %w", name, err)
	}
	return decodeDomain(name, row)
}
