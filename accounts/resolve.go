package accounts

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/srs"
	"github.com/samotop/samotop/store"
)

// Resolve finds out where the mail to an address goes: to an account, to what an alias leads to, to a list, where a rule of
// its domain sends it, or with a detail after the separator to what stands before it. Postmaster and abuse of each domain always lead somewhere
// (RFC 5321 section 4.5.1, RFC 2142): without an alias or account to an admin of the domain, else to the first
// admin, else to the oldest account; postmaster without a domain to that of the first admin. The slices returned
// belong to the room and must not be changed. An alias that leads too far gives a *mail.Reply.
func (a *Accounts) Resolve(ctx context.Context, addr mail.Address) (Resolution, error) {
	if addr.Domain == "" {
		if addr.IsNull() || !isRole(addr.Local) {
			return Resolution{}, nil
		}
		return a.resolveRole(ctx, &expansion{a: a}, a.homeDomain(), addr.Local)
	}
	if srs.Is(addr) {
		return a.resolveRewritten(addr)
	}
	domain, ok := CanonicalDomain(addr.Domain)
	if !ok {
		return Resolution{}, nil
	}
	d, ours := a.held.real(domain)
	if !ours {
		return Resolution{}, nil
	}
	f, err := a.match(ctx, &d, addr.Local, nil)
	if err != nil {
		return Resolution{}, fmt.Errorf("resolve %s: %w", addr, err)
	}
	n := f.n
	if n != nil && n.account != nil && n.account.Enabled && f.detail == "" && !isRole(addr.Local) {
		return Resolution{OurDomain: true, Targets: n.targets, Accounts: n.ids, Gated: a.contacts.gated(n.ids), Since: n.account.Created}, nil // the common case
	}
	x := &expansion{a: a}
	base, _ := a.split(&d, addr.Local)
	if isRole(base) {
		return a.resolveRole(ctx, x, d.Name, addr.Local) // never gated
	}
	if n != nil || f.rewrite != nil {
		if _, err := x.visit(ctx, mail.Address{Local: addr.Local, Domain: d.Name}, "", 0); err != nil {
			return Resolution{}, fmt.Errorf("resolve %s: %w", addr, err)
		}
	}
	res := x.resolution(f.rewrite != nil || n != nil && n.account == nil)
	res.Gated = a.contacts.gated(res.Accounts)
	return res, nil
}

// isRole tells the addresses that must always lead to somebody.
func isRole(local string) bool {
	return strings.EqualFold(local, "postmaster") || strings.EqualFold(local, "abuse")
}

// homeDomain is where postmaster without a domain belongs: the domain of the first admin; "" if there is none.
func (a *Accounts) homeDomain() string {
	if admins := a.held.admins(); len(admins) > 0 {
		return admins[0].Address.Domain
	}
	return ""
}

func (a *Accounts) resolveRole(ctx context.Context, x *expansion, domain, local string) (Resolution, error) {
	if domain != "" {
		if _, err := x.visit(ctx, mail.Address{Local: local, Domain: domain}, "", 0); err != nil {
			return Resolution{}, fmt.Errorf("resolve %s@%s: %w", local, domain, err)
		}
	}
	if len(x.targets) == 0 {
		acc, err := a.keeper(ctx, domain)
		if err != nil {
			return Resolution{}, fmt.Errorf("resolve %s@%s: %w", local, domain, err)
		}
		if acc.ID != 0 {
			x.account(&acc, "")
		}
	}
	res := x.resolution(true)
	res.Since = time.Time{} // whoever has the role is who is meant
	return res, nil
}

// keeper is who gets the mail for a role that nobody was given.
func (a *Accounts) keeper(ctx context.Context, domain string) (Account, error) {
	admins := a.held.admins()
	for _, admin := range admins {
		if admin.Address.Domain == domain {
			return admin, nil
		}
	}
	if len(admins) > 0 {
		return admins[0], nil
	}
	return a.oldest(ctx)
}

// maxOldest bounds the search for an account that is not disabled.
const maxOldest = 1000

func (a *Accounts) oldest(ctx context.Context) (acc Account, err error) {
	lo := []byte(tagAccount)
	err = a.c.Engine.View(ctx, func(r store.Reader) error {
		n := 0
		for kv, err := range r.Scan(ctx, lo, after(lo), false) {
			if err != nil {
				return err
			}
			row, err := decodeAccountRow(kv)
			if err != nil {
				return err
			}
			if row.Enabled {
				acc = row
				return nil
			}
			if n++; n == maxOldest {
				return nil
			}
		}
		return nil
	})
	return acc, err
}

// separators of a domain.
func (a *Accounts) separators(d *Domain) string {
	switch d.Separators {
	case "":
		return a.c.Separators
	case NoSeparators:
		return ""
	}
	return d.Separators
}

// split parts a local part at its first separator. Detail begins with the separator.
func (a *Accounts) split(d *Domain, local string) (base, detail string) {
	if i := strings.IndexAny(local, a.separators(d)); i > 0 {
		return local[:i], local[i:]
	}
	return local, ""
}

// found is what an address of ours leads to: a name, or another address by a rule, or neither.
type found struct {
	n       *name
	detail  string // the rest of the local part as written, with its separator
	rewrite *Rewrite
}

// match finds what a local part of our domain stands for: the name that it is; one of the addresses that belong to a list;
// what a rule of the domain makes of it; the name that is the longest part before a separator; whoever gets what is left.
// What x judges stands before what is kept.
func (a *Accounts) match(ctx context.Context, d *Domain, local string, x *expansion) (f found, err error) {
	if f.n, err = a.named(ctx, d, local, x); f.n != nil || err != nil {
		return f, err
	}
	if f.n, err = a.ofList(ctx, d, local); f.n != nil || err != nil {
		return f, err
	}
	base, _ := a.split(d, local)
	role := isRole(base)
	if !role {
		if l, ok := CanonicalLocal(local); ok {
			if f.rewrite, err = d.rewrite(l); f.rewrite != nil || err != nil {
				return f, err
			}
		}
	}
	separators := a.separators(d)
	for end := strings.LastIndexAny(local, separators); end > 0; end = strings.LastIndexAny(local[:end], separators) {
		if f.n, err = a.named(ctx, d, local[:end], x); f.n != nil || err != nil {
			f.detail = local[end:]
			return f, err
		}
	}
	if !role { // those are never caught by chance
		f.n, err = a.named(ctx, d, CatchAll, x)
	}
	return f, err
}

// named finds the name that a local part is.
func (a *Accounts) named(ctx context.Context, d *Domain, local string, x *expansion) (*name, error) {
	l, ok := CanonicalLocal(local)
	if !ok {
		return nil, nil
	}
	addr := mail.Address{Local: l, Domain: d.Name}
	if x != nil && x.strict != nil && x.home == addr {
		return x.strict, nil
	}
	return a.find(ctx, addr)
}

// Lookup returns whose mail an address is: of an account, with a detail or not, or of what leads to one account alone. Any
// other gives ErrUnknown; a disabled account gives its Owner.
func (a *Accounts) Lookup(ctx context.Context, addr mail.Address) (Owner, error) {
	f, err := a.lookup(ctx, addr)
	if err != nil {
		return Owner{}, fmt.Errorf("look up %s: %w", addr, err)
	}
	if f.n != nil && f.n.account != nil {
		return owner(f.n.account, f.detail), nil
	}
	res, err := a.Resolve(ctx, addr)
	if err != nil {
		return Owner{}, err
	}
	if len(res.Targets) != 1 || res.Targets[0].Remote {
		return Owner{}, unknownAccount(addr.String())
	}
	if f, err = a.lookup(ctx, res.Targets[0].Address); err != nil {
		return Owner{}, fmt.Errorf("look up %s: %w", addr, err)
	}
	if f.n == nil || f.n.account == nil {
		return Owner{}, unknownAccount(addr.String())
	}
	return owner(f.n.account, f.detail), nil
}

// lookup matches an address of whichever domain.
func (a *Accounts) lookup(ctx context.Context, addr mail.Address) (found, error) {
	domain, ok := CanonicalDomain(addr.Domain)
	if !ok {
		return found{}, nil
	}
	d, ours := a.held.real(domain)
	if !ours {
		return found{}, nil
	}
	return a.match(ctx, &d, addr.Local, nil)
}

func owner(acc *Account, detail string) Owner {
	if detail != "" {
		detail = detail[1:]
	}
	return Owner{ID: acc.ID, Address: acc.Address, Detail: detail, Enabled: acc.Enabled, Quota: acc.Quota,
		QuotaMessages: acc.QuotaMessages, PlusFolders: acc.PlusFolders}
}

// MaySendAs reports whether an account may use an address as the sender: its own, with a detail or not, one that leads to it
// alone, or one that it was granted with Grant. The null reverse-path is nobody's.
func (a *Accounts) MaySendAs(ctx context.Context, account string, from mail.Address) (bool, error) {
	if from.Domain == "" {
		return false, nil
	}
	self, err := a.user(ctx, account)
	if err != nil || self.ID == 0 {
		return false, err
	}
	res, err := a.Resolve(ctx, from)
	if err != nil || !res.OurDomain {
		return false, err
	}
	if len(res.Targets) == 1 && !res.shared && res.Accounts[0] == self.ID {
		return true, nil
	}
	return a.granted(ctx, self.ID, from)
}
