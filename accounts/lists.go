package accounts

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Limits of lists.
const (
	MaxListMembers     = 10_000 // of one list, and what they lead to
	MaxListPosters     = 10_000
	MaxListOwners      = 20
	MaxListTitleOctets = 200
)

// Posting says who may post to a list.
type Posting byte

const (
	PostMembers Posting = iota
	PostAnyone
	PostListed // those among Posters
)

var postingNames = []string{"members", "anyone", "listed"}

func (p Posting) String() string {
	if int(p) < len(postingNames) {
		return postingNames[p]
	}
	return fmt.Sprintf("posting %d", byte(p))
}

// ParsePosting reads the name of a Posting.
func ParsePosting(s string) (Posting, error) {
	for i, n := range postingNames {
		if n == s {
			return Posting(i), nil
		}
	}
	return 0, refuse(ErrInvalid, "%q does not say who may post: anyone, members or listed", s)
}

// List is an address whose mail is sent on to its members as the list's own. Mail that comes back goes to the owners, as
// does what is written to LIST-owner, LIST-bounces and LIST-request.
type List struct {
	Address mail.Address // canonical
	Title   string       // shown in List-Id
	Posting Posting
	Owners  []mail.Address // at least one; ours or elsewhere
	Posters []mail.Address // who may post with PostListed; a whole domain has the local part CatchAll
	Members []mail.Address // ours or elsewhere, in the order given
	Created time.Time
}

// What belongs to a list beside its own address (RFC 2142 section 6).
const (
	ListOwner   = "-owner"
	ListBounces = "-bounces"
	ListRequest = "-request"
)

var listSuffixes = []string{ListOwner, ListBounces, ListRequest}

// Of returns an address that belongs to the list, by its suffix.
func (l *List) Of(suffix string) mail.Address {
	return mail.Address{Local: l.Address.Local + suffix, Domain: l.Address.Domain}
}

// ofList finds the owners behind an address that belongs to a list; nil: it belongs to none.
func (a *Accounts) ofList(ctx context.Context, d *Domain, local string) (*name, error) {
	l, ok := CanonicalLocal(local)
	if !ok {
		return nil, nil
	}
	for _, s := range listSuffixes {
		base, found := strings.CutSuffix(l, s)
		if !found || base == "" {
			continue
		}
		n, err := a.find(ctx, mail.Address{Local: base, Domain: d.Name})
		if err != nil || n == nil || n.list == nil {
			return nil, err
		}
		return &name{alias: &Alias{Address: mail.Address{Local: l, Domain: d.Name}, Targets: n.list.Owners, Created: n.list.Created}}, nil
	}
	return nil, nil
}

// NewList is what AddList needs.
type NewList struct {
	Owners  []string
	Title   string
	Posting Posting
}

// AddList makes a list without members.
func (a *Accounts) AddList(ctx context.Context, address string, o NewList) (List, error) {
	addr, err := parseOurs(address)
	if err != nil {
		return List{}, err
	}
	if strings.Trim(addr.Local, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(addr.Local)+len(ListRequest) > mail.MaxLocalOctets {
		return List{}, refuse(ErrInvalid, "%s cannot be a list: use at most %d letters, digits and -_. before the @", addr, mail.MaxLocalOctets-len(ListRequest))
	}
	for _, s := range listSuffixes {
		if strings.HasSuffix(addr.Local, s) {
			return List{}, refuse(ErrInvalid, "%s cannot be a list: addresses that end in %s belong to lists", addr, s)
		}
	}
	a.change.Lock()
	defer a.change.Unlock()
	if err := a.free(ctx, addr); err != nil {
		return List{}, err
	}
	l := List{Address: addr, Created: a.c.Clock()}
	return a.putList(ctx, nil, l, func(l *List) error { return l.set(ListChange{Owners: o.Owners, Title: &o.Title, Posting: &o.Posting}) })
}

// ListChange is what SetList changes; nil stays.
type ListChange struct {
	Owners  []string
	Title   *string
	Posting *Posting
}

func (l *List) set(c ListChange) (err error) {
	if c.Owners != nil {
		if l.Owners, err = parseTargets(c.Owners); err != nil {
			return err
		}
		l.Owners = join(nil, l.Owners)
	}
	if c.Title != nil {
		l.Title = strings.TrimSpace(*c.Title)
	}
	if c.Posting != nil {
		l.Posting = *c.Posting
	}
	return nil
}

// SetList changes a list and returns it as it is now.
func (a *Accounts) SetList(ctx context.Context, address string, c ListChange) (List, error) {
	return a.changeList(ctx, address, func(l *List) error { return l.set(c) })
}

// AddMembers adds members to a list. Whom it has already stays.
func (a *Accounts) AddMembers(ctx context.Context, address string, members ...string) (List, error) {
	added, err := parseTargets(members)
	if err != nil {
		return List{}, err
	}
	return a.changeList(ctx, address, func(l *List) error {
		l.Members = join(slices.Clone(l.Members), added)
		return nil
	})
}

// RemoveMembers takes members out of a list.
func (a *Accounts) RemoveMembers(ctx context.Context, address string, members ...string) (List, error) {
	gone, err := parseTargets(members)
	if err != nil {
		return List{}, err
	}
	return a.changeList(ctx, address, func(l *List) error {
		left, missing := leave(l.Members, gone)
		if missing != nil {
			return refuse(ErrUnknown, "list %s has no member %s: see `samotop list show %s`", l.Address, *missing, l.Address)
		}
		l.Members = left
		return nil
	})
}

// AddPosters adds who may post where the list says PostListed; "@domain" is everybody there.
func (a *Accounts) AddPosters(ctx context.Context, address string, posters ...string) (List, error) {
	added, err := parsePosters(posters)
	if err != nil {
		return List{}, err
	}
	return a.changeList(ctx, address, func(l *List) error {
		l.Posters = join(slices.Clone(l.Posters), added)
		return nil
	})
}

// RemovePosters takes that back.
func (a *Accounts) RemovePosters(ctx context.Context, address string, posters ...string) (List, error) {
	gone, err := parsePosters(posters)
	if err != nil {
		return List{}, err
	}
	return a.changeList(ctx, address, func(l *List) error {
		left, missing := leave(l.Posters, gone)
		if missing != nil {
			return refuse(ErrUnknown, "%s is not among those who may post to list %s: see `samotop list show %s`", ShowAlias(*missing), l.Address, l.Address)
		}
		l.Posters = left
		return nil
	})
}

func parsePosters(list []string) ([]mail.Address, error) {
	whole := make([]string, len(list))
	for i, s := range list {
		if whole[i] = strings.TrimSpace(s); strings.HasPrefix(whole[i], "@") {
			whole[i] = CatchAll + whole[i]
		}
	}
	return parseTargets(whole)
}

// changeList writes a list as fn makes it.
func (a *Accounts) changeList(ctx context.Context, address string, fn func(*List) error) (List, error) {
	addr, err := parseOurs(address)
	if err != nil {
		return List{}, err
	}
	a.change.Lock()
	defer a.change.Unlock()
	n, err := a.find(ctx, addr)
	if err != nil {
		return List{}, fmt.Errorf("list %s: %w", addr, err)
	}
	if n == nil || n.list == nil {
		return List{}, unknownList(addr)
	}
	return a.putList(ctx, n, *n.list, fn)
}

func unknownList(addr mail.Address) error {
	return refuse(ErrUnknown, "list %s is not known: see `samotop list list`", addr)
}

// putList checks what fn makes of a list, and writes it in place of old.
func (a *Accounts) putList(ctx context.Context, old *name, l List, fn func(*List) error) (List, error) {
	if err := fn(&l); err != nil {
		return List{}, err
	}
	switch {
	case len(l.Owners) == 0:
		return List{}, refuse(ErrInvalid, "list %s needs an owner, who gets the mail that comes back: give one with --owner", l.Address)
	case len(l.Owners) > MaxListOwners:
		return List{}, refuse(ErrInvalid, "list %s would have %d owners, more than %d", l.Address, len(l.Owners), MaxListOwners)
	case len(l.Members) > MaxListMembers:
		return List{}, refuse(ErrInvalid, "list %s would have %d members, more than %d", l.Address, len(l.Members), MaxListMembers)
	case len(l.Posters) > MaxListPosters:
		return List{}, refuse(ErrInvalid, "more than %d would be let post to list %s: name whole domains, as @example.org", MaxListPosters, l.Address)
	case len(l.Title) > MaxListTitleOctets || strings.ContainsFunc(l.Title, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return List{}, refuse(ErrInvalid, "the title of list %s must be one line of at most %d octets", l.Address, MaxListTitleOctets)
	case int(l.Posting) >= len(postingNames):
		return List{}, refuse(ErrInvalid, "%s does not say who may post", l.Posting)
	}
	now := &name{list: &l}
	for _, leads := range [][]mail.Address{l.Members, l.Owners} {
		x := expansion{a: a, strict: now, home: l.Address, what: "list " + l.Address.String(), members: true, most: MaxListMembers}
		if err := x.all(ctx, leads); err != nil {
			return List{}, asRefusal(x.what, err)
		}
	}
	if err := a.write(ctx, l.Address, old, now); err != nil {
		return List{}, fmt.Errorf("list %s: %w", l.Address, err)
	}
	return l, nil
}

// all follows several addresses.
func (x *expansion) all(ctx context.Context, list []mail.Address) error {
	for _, t := range list {
		if err := x.target(ctx, t, "", 0); err != nil {
			return err
		}
	}
	return nil
}

// RemoveList removes a list. Aliases that lead to it must be removed first.
func (a *Accounts) RemoveList(ctx context.Context, address string) error {
	addr, err := parseOurs(address)
	if err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	n, err := a.find(ctx, addr)
	if err == nil && (n == nil || n.list == nil) {
		return unknownList(addr)
	}
	if err == nil {
		err = a.deleteName(ctx, addr, n)
	}
	var refusal *Error
	if err != nil && !errors.As(err, &refusal) {
		err = fmt.Errorf("remove list %s: %w", addr, err)
	}
	return err
}

// List returns a list by its address.
func (a *Accounts) List(ctx context.Context, address string) (List, error) {
	addr, err := parseOurs(address)
	if err != nil {
		return List{}, err
	}
	n, err := a.find(ctx, addr)
	if err != nil {
		return List{}, fmt.Errorf("list %s: %w", addr, err)
	}
	if n == nil || n.list == nil {
		return List{}, unknownList(addr)
	}
	return *n.list, nil
}

// Lists yields the lists of a domain, or of all with "", by domain and local part. No snapshot is open while the loop body
// runs.
func (a *Accounts) Lists(ctx context.Context, domain string) iter.Seq2[List, error] {
	return func(yield func(List, error) bool) {
		a.each(ctx, domain, func(_ uint64, n *name) bool {
			return n == nil || n.list == nil || yield(*n.list, nil)
		}, func(err error) { yield(List{}, err) })
	}
}
