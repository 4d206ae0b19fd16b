package accounts

import (
	"context"
	"slices"

	"github.com/samotop/samotop/mail"
)

// expansion follows aliases. With strict set it judges a new alias: circles and unknown targets are refused;
// otherwise they are passed over, as damage that must not keep mail from the others.
type expansion struct {
	a      *Accounts
	strict *Alias // stands for what is kept under its address

	targets  []mail.Target
	ids      []uint64
	disabled int
	visits   int
	circle   bool                  // one was met, and passed over
	seen     map[mail.Address]bool // aliases: true while being followed
}

// maxVisits bounds the work of one expansion.
const maxVisits = 4 * MaxTargets

var replyExpansion = mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 3, 5}, Text: "The alias leads to too many addresses"}

// visit follows one address; detail is what stood behind the alias that led here. It reports whether there is one.
func (x *expansion) visit(ctx context.Context, addr mail.Address, detail string, depth int) (bool, error) {
	if x.visits++; x.visits > maxVisits || len(x.targets) >= MaxTargets {
		if x.strict != nil {
			return false, refuse(ErrInvalid, "alias %s would lead to more than %d addresses: spread them over several", x.strict.Address, MaxTargets)
		}
		return false, &replyExpansion
	}
	domain, ok := CanonicalDomain(addr.Domain)
	if !ok {
		return false, nil
	}
	if _, ours := x.a.held.domain(domain); !ours {
		x.remote(mail.Address{Local: addr.Local, Domain: domain})
		return true, nil
	}
	n, own, err := x.a.match(ctx, domain, addr.Local, x.strict)
	if err != nil {
		return false, err
	}
	if own != "" {
		detail = own
	}
	switch {
	case n == nil:
		return false, nil
	case n.account != nil:
		x.account(n.account, detail)
		return true, nil
	}
	return true, x.alias(ctx, n.alias, detail, depth)
}

func (x *expansion) alias(ctx context.Context, al *Alias, detail string, depth int) error {
	following, seen := x.seen[al.Address]
	switch {
	case following && x.strict != nil:
		return refuse(ErrInvalid, "alias %s would lead back to itself by way of %s: leave that target out", x.strict.Address, al.Address)
	case seen:
		x.circle = x.circle || following
		return nil
	case depth >= MaxAliasDepth && x.strict != nil:
		return refuse(ErrInvalid, "alias %s would lead through more than %d aliases: name the final addresses", x.strict.Address, MaxAliasDepth)
	}
	if x.seen == nil {
		x.seen = make(map[mail.Address]bool)
	}
	x.seen[al.Address] = true
	for _, t := range al.Targets {
		known, err := x.visit(ctx, t, detail, depth+1)
		if err != nil {
			return err
		}
		if base, _ := x.a.split(t.Local); !known && x.strict != nil && !isRole(base) {
			return refuse(ErrUnknown, "target %s of alias %s is not known: add it first with `samotop account add %s`", t, x.strict.Address, t)
		} else if !known && isRole(base) {
			if err := x.keeper(ctx, t.Domain); err != nil {
				return err
			}
		}
	}
	x.seen[al.Address] = false
	return nil
}

func (x *expansion) keeper(ctx context.Context, domain string) error {
	acc, err := x.a.keeper(ctx, domain)
	if err == nil && acc.ID != 0 {
		x.account(&acc, "")
	}
	return err
}

// account adds a local target once, whichever way led to it.
func (x *expansion) account(acc *Account, detail string) {
	if !acc.Enabled {
		x.disabled++
		return
	}
	if slices.Contains(x.ids, acc.ID) {
		return
	}
	to := acc.Address
	if len(to.Local)+len(detail) <= mail.MaxLocalOctets {
		to.Local += detail
	}
	x.targets = append(x.targets, mail.Target{Address: to})
	x.ids = append(x.ids, acc.ID)
}

func (x *expansion) remote(addr mail.Address) {
	t := mail.Target{Address: addr, Remote: true}
	if !slices.Contains(x.targets, t) {
		x.targets = append(x.targets, t)
		x.ids = append(x.ids, 0)
	}
}

func (x *expansion) resolution(alias bool) Resolution {
	return Resolution{
		OurDomain: true, Alias: alias, Targets: x.targets, Accounts: x.ids,
		Disabled: len(x.targets) == 0 && x.disabled > 0,
		shared:   x.disabled > 0,
	}
}
