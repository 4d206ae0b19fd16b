package accounts

import (
	"context"
	"fmt"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Resolve finds out where the mail to an address goes: to an account, to what an alias leads to, or with a detail
// after the separator to what stands before it. Postmaster and abuse of each domain always lead somewhere
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
	domain, ok := CanonicalDomain(addr.Domain)
	if !ok {
		return Resolution{}, nil
	}
	if _, ours := a.held.domain(domain); !ours {
		return Resolution{}, nil
	}
	n, detail, err := a.match(ctx, domain, addr.Local, nil)
	if err != nil {
		return Resolution{}, fmt.Errorf("resolve %s: %w", addr, err)
	}
	if n != nil && n.account != nil && n.account.Enabled && detail == "" && !isRole(addr.Local) {
		return Resolution{OurDomain: true, Targets: n.targets, Accounts: n.ids, Gated: a.contacts.gated(n.ids)}, nil // the common case
	}
	x := &expansion{a: a}
	base, _ := a.split(addr.Local)
	if isRole(base) {
		return a.resolveRole(ctx, x, domain, addr.Local) // never gated
	}
	if n != nil {
		if _, err := x.visit(ctx, mail.Address{Local: addr.Local, Domain: domain}, "", 0); err != nil {
			return Resolution{}, fmt.Errorf("resolve %s: %w", addr, err)
		}
	}
	res := x.resolution(n != nil && n.alias != nil)
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
	return x.resolution(true), nil
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

// split parts a local part at its first separator. Detail begins with the separator.
func (a *Accounts) split(local string) (base, detail string) {
	if i := strings.IndexAny(local, a.c.Separators); i > 0 {
		return local[:i], local[i:]
	}
	return local, ""
}

// match finds the name that a local part of our domain stands for: itself, or the longest part before a separator.
// Detail is the rest as written, with its separator. Over, if not nil, stands before what is kept.
func (a *Accounts) match(ctx context.Context, domain, local string, over *Alias) (n *name, detail string, err error) {
	for end := len(local); end > 0; end = strings.LastIndexAny(local[:end], a.c.Separators) {
		l, ok := CanonicalLocal(local[:end])
		if !ok {
			return nil, "", nil
		}
		addr := mail.Address{Local: l, Domain: domain}
		if over != nil && over.Address == addr {
			return &name{alias: over}, local[end:], nil
		}
		if n, err = a.find(ctx, addr); n != nil || err != nil {
			return n, local[end:], err
		}
	}
	return nil, "", nil
}

// Lookup returns whose mail an address is: of an account, with a detail or not, or of an alias that leads to one
// account alone. Any other gives ErrUnknown; a disabled account gives its Owner.
func (a *Accounts) Lookup(ctx context.Context, addr mail.Address) (Owner, error) {
	domain, ok := CanonicalDomain(addr.Domain)
	if !ok {
		return Owner{}, unknownAccount(addr.String())
	}
	n, detail, err := a.match(ctx, domain, addr.Local, nil)
	if err != nil {
		return Owner{}, fmt.Errorf("look up %s: %w", addr, err)
	}
	if n != nil && n.account != nil {
		return owner(n.account, detail), nil
	}
	res, err := a.Resolve(ctx, addr)
	if err != nil {
		return Owner{}, err
	}
	if len(res.Targets) != 1 || res.Targets[0].Remote {
		return Owner{}, unknownAccount(addr.String())
	}
	n, detail, err = a.match(ctx, res.Targets[0].Address.Domain, res.Targets[0].Address.Local, nil)
	if err != nil {
		return Owner{}, fmt.Errorf("look up %s: %w", addr, err)
	}
	if n == nil || n.account == nil {
		return Owner{}, unknownAccount(addr.String())
	}
	return owner(n.account, detail), nil
}

func owner(acc *Account, detail string) Owner {
	if detail != "" {
		detail = detail[1:]
	}
	return Owner{ID: acc.ID, Address: acc.Address, Detail: detail, Enabled: acc.Enabled, Quota: acc.Quota}
}

// MaySendAs reports whether an account may use an address as the sender: its own, with a detail or not, or an
// alias that leads to it alone. The null reverse-path is nobody's.
func (a *Accounts) MaySendAs(ctx context.Context, account string, from mail.Address) (bool, error) {
	if from.Domain == "" {
		return false, nil
	}
	who, err := mail.ParseAddress(account)
	if err != nil {
		return false, nil
	}
	who, ok := canonical(who)
	domain, dok := CanonicalDomain(from.Domain)
	if !ok || !dok {
		return false, nil
	}
	if _, ours := a.held.domain(domain); !ours {
		return false, nil
	}
	self, err := a.find(ctx, who)
	if err != nil || self == nil || self.account == nil || !self.account.Enabled {
		return false, err
	}
	res, err := a.Resolve(ctx, from)
	if err != nil {
		return false, err
	}
	return len(res.Targets) == 1 && !res.shared && res.Accounts[0] == self.account.ID, nil
}
