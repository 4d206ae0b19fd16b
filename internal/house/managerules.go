package house

import (
	"context"
	"errors"
	"iter"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/management"
)

// rulesOf shows lists and rules of the accounts room to management.
type rulesOf struct{ a *accounts.Accounts }

var (
	_ management.Lists = rulesOf{}
	_ management.Rules = rulesOf{}
)

// texts writes addresses as people read them.
func texts(list []mail.Address) []string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = accounts.ShowAlias(a)
	}
	return out
}

func list(l accounts.List) management.List {
	return management.List{Address: l.Address.String(), Title: l.Title, Post: l.Posting.String(), Owners: texts(l.Owners),
		Posters: texts(l.Posters), Members: texts(l.Members), Created: l.Created}
}

// listChange reads what is to be changed.
func listChange(args management.ListArgs) (c accounts.ListChange, err error) {
	c = accounts.ListChange{Title: args.Title, Owners: args.Owners}
	if args.Post != "" {
		p, err := accounts.ParsePosting(args.Post)
		if err != nil {
			return c, err
		}
		c.Posting = &p
	}
	return c, nil
}

func (r rulesOf) AddList(ctx context.Context, args management.ListArgs) (management.List, error) {
	c, err := listChange(args)
	if err != nil {
		return management.List{}, told(err)
	}
	n := accounts.NewList{Owners: args.Owners}
	if c.Title != nil {
		n.Title = *c.Title
	}
	if c.Posting != nil {
		n.Posting = *c.Posting
	}
	l, err := r.a.AddList(ctx, args.Address, n)
	return list(l), told(err)
}

func (r rulesOf) SetList(ctx context.Context, args management.ListArgs) (management.List, error) {
	c, err := listChange(args)
	if err != nil {
		return management.List{}, told(err)
	}
	l, err := r.a.SetList(ctx, args.Address, c)
	return list(l), told(err)
}

func (r rulesOf) List(ctx context.Context, address string) (management.List, error) {
	l, err := r.a.List(ctx, address)
	return list(l), told(err)
}

func (r rulesOf) Lists(ctx context.Context, domain string) iter.Seq2[management.List, error] {
	return convert(r.a.Lists(ctx, domain), list)
}

func (r rulesOf) RemoveList(ctx context.Context, address string) error {
	return told(r.a.RemoveList(ctx, address))
}

func (r rulesOf) ChangeList(ctx context.Context, part string, add bool, args management.AliasArgs) (management.List, error) {
	change := r.a.RemoveMembers
	switch {
	case part == "member" && add:
		change = r.a.AddMembers
	case part == "poster" && add:
		change = r.a.AddPosters
	case part == "poster":
		change = r.a.RemovePosters
	}
	l, err := change(ctx, args.Address, args.Targets...)
	return list(l), told(err)
}

func (r rulesOf) SetDomain(ctx context.Context, args management.DomainArgs) (management.Domain, error) {
	d, err := r.a.SetDomain(ctx, args.Name, accounts.DomainChange{Separators: args.Separators, AliasOf: args.AliasOf})
	return domain(d), told(err)
}

func (r rulesOf) AddRule(ctx context.Context, args management.RuleArgs) (management.Domain, error) {
	d, err := r.a.AddRule(ctx, args.Domain, accounts.MapRule{Pattern: args.Pattern, Replace: args.Replace}, args.Number)
	return domain(d), told(err)
}

func (r rulesOf) RemoveRule(ctx context.Context, args management.RuleArgs) (management.Domain, error) {
	d, err := r.a.RemoveRule(ctx, args.Domain, args.Number)
	return domain(d), told(err)
}

func (r rulesOf) Grant(ctx context.Context, args management.GrantArgs) error {
	return told(r.a.Grant(ctx, args.Address, args.As))
}

func (r rulesOf) Revoke(ctx context.Context, args management.GrantArgs) error {
	return told(r.a.Revoke(ctx, args.Address, args.As))
}

func (r rulesOf) Test(ctx context.Context, address string) (management.Tested, error) {
	addr, rest, err := mail.ParsePath("<" + address + ">")
	if err != nil || rest != "" {
		return management.Tested{}, &management.Error{Kind: management.Invalid, Thing: "address " + address, Cause: "is not of the form local@domain"}
	}
	out := management.Tested{Address: addr.String()}
	res, err := r.a.Resolve(ctx, addr)
	var reply *mail.Reply
	if errors.As(err, &reply) {
		out.Ours, out.Refused = true, reply.String()
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.Ours, out.Disabled = res.OurDomain, res.Disabled
	for _, w := range res.Rewritten {
		out.Steps = append(out.Steps, w.String())
	}
	for i, t := range res.Targets {
		kind := "account"
		switch {
		case len(res.Lists) > i && res.Lists[i]:
			kind = "list"
		case t.Remote:
			kind = "elsewhere"
		}
		out.Targets = append(out.Targets, management.Tester{Address: t.Address.String(), Kind: kind})
	}
	return out, nil
}
