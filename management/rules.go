package management

import (
	"context"
	"iter"
	"time"
)

// Lists are addresses whose mail is sent on to members.
type Lists interface {
	AddList(ctx context.Context, a ListArgs) (List, error)
	SetList(ctx context.Context, a ListArgs) (List, error)
	List(ctx context.Context, address string) (List, error)
	Lists(ctx context.Context, domain string) iter.Seq2[List, error] // "": of all domains
	RemoveList(ctx context.Context, address string) error
	// ChangeList adds to or removes from a part of a list: "member" or "poster".
	ChangeList(ctx context.Context, part string, add bool, a AliasArgs) (List, error)
}

// Rules are what decides where mail goes beside names, and who may send as whom.
type Rules interface {
	SetDomain(ctx context.Context, a DomainArgs) (Domain, error)
	AddRule(ctx context.Context, a RuleArgs) (Domain, error)
	RemoveRule(ctx context.Context, a RuleArgs) (Domain, error)
	Grant(ctx context.Context, a GrantArgs) error
	Revoke(ctx context.Context, a GrantArgs) error
	// Test says where the mail to an address goes.
	Test(ctx context.Context, address string) (Tested, error)
}

// List is an address whose mail is sent on to members.
type List struct {
	Address string    `json:"address"`
	Title   string    `json:"title,omitempty"`
	Post    string    `json:"post"` // members, anyone, listed
	Owners  []string  `json:"owners"`
	Posters []string  `json:"posters,omitempty"`
	Members []string  `json:"members"`
	Created time.Time `json:"created"`
}

// ListArgs is list/add and list/set; what is nil or empty stays.
type ListArgs struct {
	Address string   `json:"address"`
	Title   *string  `json:"title,omitempty"`
	Post    string   `json:"post,omitempty"`
	Owners  []string `json:"owners,omitempty"`
}

// MapRule turns addresses of a domain into others.
type MapRule struct {
	Pattern string `json:"pattern"`
	Replace string `json:"replace"`
}

// DomainArgs is domain/set; what is nil stays.
type DomainArgs struct {
	Name       string  `json:"name"`
	Separators *string `json:"separators,omitempty"`
	AliasOf    *string `json:"alias_of,omitempty"`
}

// RuleArgs is rule/add and rule/remove: the place of a rule, counted from 1; 0 adds it behind the others.
type RuleArgs struct {
	Domain string `json:"domain"`
	Number int    `json:"number,omitempty"`
	MapRule
}

// GrantArgs is account/grant and account/revoke.
type GrantArgs struct {
	Address string `json:"address"` // of the account
	As      string `json:"as"`      // an address, or @domain
}

// Tested is the answer to alias/test.
type Tested struct {
	Address  string   `json:"address"`
	Ours     bool     `json:"ours"`
	Disabled bool     `json:"disabled,omitempty"`
	Steps    []string `json:"steps,omitempty"`   // what rules made of it
	Targets  []Tester `json:"targets,omitempty"` // none: there is no such user
	Refused  string   `json:"refused,omitempty"` // what a peer is told
}

// Tester is one place where mail goes.
type Tester struct {
	Address string `json:"address"`
	Kind    string `json:"kind"` // account, list, elsewhere
}

func (h *Handler) ruleVerbs(t map[string]verb) {
	if r := h.cfg.Rules; r != nil {
		t["domain/set"] = on(func(ctx context.Context, a DomainArgs, _ *sender) (any, error) { return r.SetDomain(ctx, a) })
		t["domain/rule-add"] = on(func(ctx context.Context, a RuleArgs, _ *sender) (any, error) { return r.AddRule(ctx, a) })
		t["domain/rule-remove"] = on(func(ctx context.Context, a RuleArgs, _ *sender) (any, error) { return r.RemoveRule(ctx, a) })
		t["account/grant"] = on(func(ctx context.Context, a GrantArgs, _ *sender) (any, error) { return nil, r.Grant(ctx, a) })
		t["account/revoke"] = on(func(ctx context.Context, a GrantArgs, _ *sender) (any, error) { return nil, r.Revoke(ctx, a) })
		t["alias/test"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return r.Test(ctx, a.Name) })
	}
	l := h.cfg.Lists
	if l == nil {
		return
	}
	t["list/add"] = on(func(ctx context.Context, a ListArgs, _ *sender) (any, error) { return l.AddList(ctx, a) })
	t["list/set"] = on(func(ctx context.Context, a ListArgs, _ *sender) (any, error) { return l.SetList(ctx, a) })
	t["list/show"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return l.List(ctx, a.Name) })
	t["list/list"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
		return list(l.Lists(ctx, a.Name), out)
	})
	t["list/remove"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return nil, l.RemoveList(ctx, a.Name) })
	for _, part := range []string{"member", "poster"} {
		for name, add := range map[string]bool{"add": true, "remove": false} {
			t["list/"+part+"-"+name] = on(func(ctx context.Context, a AliasArgs, _ *sender) (any, error) { return l.ChangeList(ctx, part, add, a) })
		}
	}
}
