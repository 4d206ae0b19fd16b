package accounts

import (
	"context"
	"fmt"
	"slices"

	"github.com/samotop/samotop/mail"
)

// Post is what a list does with a message.
type Post struct {
	Allowed bool // the author may post; if not, there are no members
	Open    bool // anybody may post
	Closed  bool // only those who are listed may
	Ours    bool // the author's address is in a domain of ours
	List    mail.Address
	Title   string
	Owner   mail.Address // whoever looks after it
	Sender  mail.Address // of its posts: what comes back goes to the owners
	Members []mail.Target
}

// PostTo says whether an author may post to a list, and to whom the post goes. With check the members are left out. An
// address that is no list gives ErrUnknown.
func (a *Accounts) PostTo(ctx context.Context, list, author mail.Address, check bool) (p Post, err error) {
	f, err := a.lookup(ctx, list)
	if err != nil {
		return p, fmt.Errorf("post to %s: %w", list, err)
	}
	if f.n == nil || f.n.list == nil {
		return p, unknownList(list)
	}
	l := f.n.list
	p = Post{Open: l.Posting == PostAnyone, Closed: l.Posting == PostListed, List: l.Address, Title: l.Title,
		Owner: l.Of(ListOwner), Sender: l.Of(ListBounces)}
	if domain, ok := CanonicalDomain(author.Domain); ok {
		_, p.Ours = a.held.real(domain)
	}
	if p.Allowed, err = a.mayPost(ctx, l, author); err != nil || !p.Allowed || check {
		return p, err
	}
	x := expansion{a: a, members: true, most: MaxListMembers}
	if err := x.all(ctx, l.Members); err != nil {
		return p, fmt.Errorf("post to %s: %w", list, err)
	}
	if x.nested > 0 {
		a.c.Log.WarnContext(ctx, "a list leads to another list, which is left out", "list", l.Address.String())
	}
	p.Members = x.targets
	return p, nil
}

// mayPost tells whether an author may post. Nobody is the null reverse-path (RFC 5321 section 4.5.5), and a list and what
// belongs to it never writes to itself (RFC 3834 section 2).
func (a *Accounts) mayPost(ctx context.Context, l *List, author mail.Address) (bool, error) {
	if author.IsNull() || sameTarget(author, l.Address) {
		return false, nil
	}
	for _, s := range listSuffixes {
		if sameTarget(author, l.Of(s)) {
			return false, nil
		}
	}
	switch l.Posting {
	case PostAnyone:
		return true, nil
	case PostListed:
		return a.among(ctx, l.Posters, author)
	}
	return a.among(ctx, l.Members, author)
}

// among tells whether an author is one of several addresses: by name, or because his address and one of those lead to the
// same account.
func (a *Accounts) among(ctx context.Context, list []mail.Address, author mail.Address) (bool, error) {
	c, ok := canonical(author)
	if !ok {
		return false, nil
	}
	x := expansion{a: a, members: true, most: MaxListMembers}
	for _, m := range list {
		if mc, ok := canonical(m); ok && (mc == c || mc.Local == CatchAll && mc.Domain == c.Domain) {
			return true, nil
		}
	}
	res, err := a.Resolve(ctx, author)
	if err != nil || len(res.Targets) != 1 || res.Accounts[0] == 0 {
		return false, err
	}
	for _, m := range list {
		if m.Local == CatchAll {
			continue
		}
		if err := x.target(ctx, m, "", 0); err != nil {
			return false, err
		}
	}
	return slices.Contains(x.ids, res.Accounts[0]), nil
}
