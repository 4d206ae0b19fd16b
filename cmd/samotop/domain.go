package main

import (
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type domainCmd struct {
	Add    domainAddCmd    `cmd:"" help:"Add a domain."`
	List   domainListCmd   `cmd:"" help:"List domains."`
	Show   domainShowCmd   `cmd:"" help:"Show a domain."`
	Set    domainSetCmd    `cmd:"" help:"Change how the addresses of a domain are read."`
	Rule   domainRuleCmd   `cmd:"" help:"Rules that turn addresses of a domain into others."`
	Remove domainRemoveCmd `cmd:"" help:"Remove a domain without accounts, aliases and lists."`
}

type domainAddCmd struct {
	Domain string `arg:"" help:"Its name."`
}

func (domainAddCmd) Help() string {
	return `Example:
  samotop domain add example.net`
}

func (c *domainAddCmd) Run(e *env) error {
	var d management.Domain
	if err := e.call(house.Accounts, "domain/add", management.NameArgs{Name: c.Domain}, &d); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "Domain %s\nIts DNS records: samotop dns show %s\n", d.Name, d.Name)
	return nil
}

type domainListCmd struct{ jsonFlag }

func (domainListCmd) Help() string {
	return `Example:
  samotop domain list`
}

func (c *domainListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "domain\tcreated", func(d management.Domain) string { return shown(d) + "\t" + stamp(d.Created) })
	return t.end(each(e, house.Accounts, "domain/list", nil, t.add))
}

func shown(d management.Domain) string {
	if d.Unicode != "" {
		return d.Name + " (" + d.Unicode + ")"
	}
	return d.Name
}

type domainShowCmd struct {
	Domain string `arg:"" help:"Its name."`
	jsonFlag
}

func (domainShowCmd) Help() string {
	return `Example:
  samotop domain show example.net`
}

func (c *domainShowCmd) Run(e *env) error {
	var d management.Domain
	if err := e.call(house.Accounts, "domain/show", management.NameArgs{Name: c.Domain}, &d); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, d)
	}
	fmt.Fprintf(e.stdout, "Domain   %s\nCreated  %s\nAccounts %d\nAliases  %d\nLists    %d\nRules    %d\n", shown(d), stamp(d.Created), d.Accounts, d.Aliases, d.Lists, len(d.Rules))
	if d.AliasOf != "" {
		fmt.Fprintf(e.stdout, "Alias of %s\n", d.AliasOf)
	}
	if d.Separators != "" {
		fmt.Fprintf(e.stdout, "Separators %s\n", d.Separators)
	}
	return nil
}

type domainRemoveCmd struct {
	Domain string `arg:"" help:"Its name."`
}

func (domainRemoveCmd) Help() string {
	return `Example:
  samotop domain remove example.net`
}

func (c *domainRemoveCmd) Run(e *env) error {
	return e.call(house.Accounts, "domain/remove", management.NameArgs{Name: c.Domain}, nil)
}
