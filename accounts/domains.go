package accounts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

func parseDomain(s string) (string, error) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	d, ok := CanonicalDomain(s)
	if !ok || strings.HasPrefix(d, "[") || len(d) > 253 {
		return "", refuse(ErrInvalid, "%q is not a domain: give a name such as example.org", s)
	}
	if strings.Contains(d, "xn--") { // an A-label must be the one that its U-label has (RFC 5891 section 4.4)
		if u, err := domainProfile.ToUnicode(d); err != nil {
			return "", refuse(ErrInvalid, "%q is not a domain: an xn-- label in it is wrong: %v", s, err)
		} else if back, ok := CanonicalDomain(u); !ok || back != d {
			return "", refuse(ErrInvalid, "%q is not a domain: an xn-- label in it is not what %q gives", s, u)
		}
	}
	return d, nil
}

// AddDomain makes a domain ours. It may be given with A-labels or U-labels.
func (a *Accounts) AddDomain(ctx context.Context, domain string) (Domain, error) {
	name, err := parseDomain(domain)
	if err != nil {
		return Domain{}, err
	}
	a.change.Lock()
	defer a.change.Unlock()
	if _, ok := a.held.domain(name); ok {
		return Domain{}, refuse(ErrExists, "domain %s exists already: nothing to do", name)
	}
	if a.held.count() >= MaxDomains {
		return Domain{}, refuse(ErrInvalid, "there are %d domains, which is the limit: remove one with `samotop domain remove`", MaxDomains)
	}
	d := Domain{Name: name, Unicode: UnicodeDomain(name), Created: a.c.Clock()}
	row := encodeDomain(d)
	err = a.commit(ctx, &store.Batch{
		Asserts: []store.Assert{{Key: keyDomain(name), Absent: true}},
		Ops:     []store.Op{store.Put(keyDomain(name), row)},
	}, touched{domain: name})
	if err != nil {
		return Domain{}, fmt.Errorf("add domain %s: %w", name, err)
	}
	return decodeDomain(name, row)
}

// RemoveDomain gives a domain up. Accounts, aliases and lists in it, and its other names, must be removed first.
func (a *Accounts) RemoveDomain(ctx context.Context, domain string) error {
	name, err := parseDomain(domain)
	if err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	d, ok := a.held.domain(name)
	if !ok {
		return unknownDomain(name)
	}
	inside := append([]byte(tagName+name), 0)
	key, err := a.first(ctx, inside)
	if err != nil {
		return fmt.Errorf("remove domain %s: %w", name, err)
	}
	if key != nil {
		who := mail.Address{Local: string(key[len(inside):]), Domain: name}
		return refuse(ErrInUse, "domain %s still has addresses, such as %s: remove them first with `samotop account remove`, `samotop alias remove` and `samotop list remove`", name, who)
	}
	if other := a.held.named(name); other != "" {
		return refuse(ErrInUse, "domain %s is another name of it: remove that first with `samotop domain remove %s`", other, other)
	}
	b := &store.Batch{
		Asserts: []store.Assert{{Key: keyDomain(name), Value: encodeDomain(d)}},
		Ops:     []store.Op{store.Delete(keyDomain(name))},
		Deletes: true,
	}
	if err := a.dropGranted(ctx, b, append([]byte(tagGranted+name), 0)); err != nil {
		return fmt.Errorf("remove domain %s: %w", name, err)
	}
	err = a.commit(ctx, b, touched{domain: name})
	if err != nil {
		return fmt.Errorf("remove domain %s: %w", name, err)
	}
	return nil
}

// Domain returns one of our domains.
func (a *Accounts) Domain(_ context.Context, domain string) (Domain, error) {
	name, err := parseDomain(domain)
	if err != nil {
		return Domain{}, err
	}
	d, ok := a.held.domain(name)
	if !ok {
		return Domain{}, unknownDomain(name)
	}
	return d, nil
}

// Domains returns our domains by name.
func (a *Accounts) Domains(context.Context) ([]Domain, error) {
	out := a.held.all()
	slices.SortFunc(out, func(x, y Domain) int { return cmp.Compare(x.Name, y.Name) })
	return out, nil
}
