package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type listCmd struct {
	Add    listAddCmd    `cmd:"" help:"Make a list."`
	List   listListCmd   `cmd:"" help:"List the lists."`
	Show   listShowCmd   `cmd:"" help:"Show a list and its members."`
	Set    listSetCmd    `cmd:"" help:"Change who may post, the title, or the owners."`
	Remove listRemoveCmd `cmd:"" help:"Remove a list."`
	Member listMemberCmd `cmd:"" help:"Who gets the mail of a list."`
	Poster listPosterCmd `cmd:"" help:"Who may post to a list with --post listed."`
}

type listAddCmd struct {
	Address string   `arg:"" help:"Its address, in a domain of the house."`
	Owner   []string `help:"Who gets what comes back, and what is written to LIST-owner; several times for several." required:"" placeholder:"ADDRESS" sep:"none"`
	Title   *string  `help:"Shown in the field List-Id." placeholder:"TEXT"`
	Post    string   `help:"Who may post: members (default), anyone, or listed (samotop list poster)." placeholder:"WHO"`
}

func (listAddCmd) Help() string {
	return `A post is sent on as the list's: its sender is LIST-bounces, so that what cannot be delivered comes back to the owners,
and it bears the fields List-Id, List-Post, List-Owner and List-Unsubscribe. Nothing else of it is changed.

Example:
  samotop list add team@example.org --owner alice@example.org --title "Our team"`
}

func (c *listAddCmd) Run(e *env) error {
	var l management.List
	err := e.call(house.Accounts, "list/add", management.ListArgs{Address: c.Address, Owners: c.Owner, Title: c.Title, Post: c.Post}, &l)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "List %s, %s may post\nIts members: samotop list member add %s ADDRESS...\n", l.Address, mayPost(l), l.Address)
	return nil
}

func mayPost(l management.List) string {
	if l.Post == "listed" {
		return "those listed"
	}
	return l.Post
}

type listListCmd struct {
	Domain string `arg:"" optional:"" help:"Only those of this domain."`
	jsonFlag
}

func (listListCmd) Help() string {
	return `Example:
  samotop list list --json`
}

func (c *listListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "list\tmembers\tmay post\towners", func(l management.List) string {
		return fmt.Sprintf("%s\t%d\t%s\t%s", l.Address, len(l.Members), mayPost(l), strings.Join(l.Owners, " "))
	})
	return t.end(each(e, house.Accounts, "list/list", management.NameArgs{Name: c.Domain}, t.add))
}

type listShowCmd struct {
	Address string `arg:"" help:"Its address."`
	jsonFlag
}

func (listShowCmd) Help() string {
	return `Example:
  samotop list show team@example.org`
}

func (c *listShowCmd) Run(e *env) error {
	var l management.List
	if err := e.call(house.Accounts, "list/show", management.NameArgs{Name: c.Address}, &l); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, l)
	}
	fmt.Fprintf(e.stdout, "List     %s\n", l.Address)
	if l.Title != "" {
		fmt.Fprintf(e.stdout, "Title    %s\n", l.Title)
	}
	fmt.Fprintf(e.stdout, "May post %s\nCreated  %s\n", mayPost(l), stamp(l.Created))
	lines(e.stdout, "Owner    ", l.Owners)
	lines(e.stdout, "Poster   ", l.Posters)
	lines(e.stdout, "Member   ", l.Members)
	return nil
}

func lines(w io.Writer, label string, list []string) {
	for _, s := range list {
		fmt.Fprintf(w, "%s%s\n", label, s)
	}
}

type listSetCmd struct {
	Address string   `arg:"" help:"Its address."`
	Owner   []string `help:"The new owners; several times for several." placeholder:"ADDRESS" sep:"none"`
	Title   *string  `help:"Shown in the field List-Id." placeholder:"TEXT"`
	Post    string   `help:"Who may post: members, anyone, or listed (samotop list poster)." placeholder:"WHO"`
}

func (listSetCmd) Help() string {
	return `Example:
  samotop list set team@example.org --post anyone`
}

func (c *listSetCmd) Run(e *env) error {
	if c.Title == nil && c.Post == "" && len(c.Owner) == 0 {
		return &house.UsageError{Text: "list set: nothing to change was given; see \"samotop list set --help\""}
	}
	return e.call(house.Accounts, "list/set", management.ListArgs{Address: c.Address, Owners: c.Owner, Title: c.Title, Post: c.Post}, nil)
}

type listRemoveCmd struct {
	Address string `arg:"" help:"Its address."`
}

func (listRemoveCmd) Help() string {
	return `Example:
  samotop list remove team@example.org`
}

func (c *listRemoveCmd) Run(e *env) error {
	return e.call(house.Accounts, "list/remove", management.NameArgs{Name: c.Address}, nil)
}

type listMemberCmd struct {
	Add    listMemberAddCmd    `cmd:"" help:"Add members."`
	Remove listMemberRemoveCmd `cmd:"" help:"Remove members."`
}

type listMembers struct {
	Address string   `arg:"" help:"The list."`
	Members []string `arg:"" name:"member" help:"Addresses, here or elsewhere."`
}

func (m *listMembers) change(e *env, verb string) error {
	var l management.List
	if err := e.call(house.Accounts, verb, management.AliasArgs{Address: m.Address, Targets: m.Members}, &l); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "List %s has %d members\n", l.Address, len(l.Members))
	return nil
}

type listMemberAddCmd struct{ listMembers }

func (listMemberAddCmd) Help() string {
	return `Example:
  samotop list member add team@example.org bob@example.org carol@example.net`
}

func (c *listMemberAddCmd) Run(e *env) error { return c.change(e, "list/member-add") }

type listMemberRemoveCmd struct{ listMembers }

func (listMemberRemoveCmd) Help() string {
	return `Example:
  samotop list member remove team@example.org carol@example.net`
}

func (c *listMemberRemoveCmd) Run(e *env) error { return c.change(e, "list/member-remove") }

type listPosterCmd struct {
	Add    listPosterAddCmd    `cmd:"" help:"Let somebody, or all of a domain, post."`
	Remove listPosterRemoveCmd `cmd:"" help:"Take that back."`
}

type listPosters struct {
	Address string   `arg:"" help:"The list."`
	Posters []string `arg:"" name:"poster" help:"Addresses, or @domain for all of one."`
}

func (p *listPosters) change(e *env, verb string) error {
	var l management.List
	if err := e.call(house.Accounts, verb, management.AliasArgs{Address: p.Address, Targets: p.Posters}, &l); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "List %s: %d may post\n", l.Address, len(l.Posters))
	if l.Post != "listed" {
		fmt.Fprintf(e.stdout, "Now %s may post; so that only those may: samotop list set %s --post listed\n", l.Post, l.Address)
	}
	return nil
}

type listPosterAddCmd struct{ listPosters }

func (listPosterAddCmd) Help() string {
	return `Example:
  samotop list poster add news@example.org editor@example.org @press.example.org`
}

func (c *listPosterAddCmd) Run(e *env) error { return c.change(e, "list/poster-add") }

type listPosterRemoveCmd struct{ listPosters }

func (listPosterRemoveCmd) Help() string {
	return `Example:
  samotop list poster remove news@example.org @press.example.org`
}

func (c *listPosterRemoveCmd) Run(e *env) error { return c.change(e, "list/poster-remove") }
