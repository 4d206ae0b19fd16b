package main

import (
	"fmt"
	"strings"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type aliasCmd struct {
	Add    aliasAddCmd    `cmd:"" help:"Lead an address to others; more targets join those it has."`
	List   aliasListCmd   `cmd:"" help:"List aliases."`
	Test   aliasTestCmd   `cmd:"" help:"Show where the mail to an address goes."`
	Remove aliasRemoveCmd `cmd:"" help:"Remove an alias, or targets of it."`
}

type aliasAddCmd struct {
	Address string   `arg:"" help:"The address, in a domain of the house; @domain for every address there that nobody has."`
	Targets []string `arg:"" name:"target" help:"Where its mail goes, here or elsewhere."`
}

func (aliasAddCmd) Help() string {
	return `Of each message every target gets a copy. What leads in a circle is refused. To have posts sent on as those of a list, see
"samotop list add --help".

Examples:
  samotop alias add @example.org alice@example.org

Example:
  samotop alias add info@example.org alice@example.org bob@example.net`
}

func (c *aliasAddCmd) Run(e *env) error {
	var a management.Alias
	if err := e.call(house.Accounts, "alias/add", management.AliasArgs{Address: c.Address, Targets: c.Targets}, &a); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "Alias %s -> %s\n", a.Address, strings.Join(a.Targets, " "))
	return nil
}

type aliasListCmd struct {
	Domain string `arg:"" optional:"" help:"Only those of this domain."`
	jsonFlag
}

func (aliasListCmd) Help() string {
	return `Example:
  samotop alias list --json`
}

func (c *aliasListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "alias\ttargets", func(a management.Alias) string { return a.Address + "\t" + strings.Join(a.Targets, " ") })
	return t.end(each(e, house.Accounts, "alias/list", management.NameArgs{Name: c.Domain}, t.add))
}

type aliasRemoveCmd struct {
	Address string   `arg:"" help:"The address."`
	Targets []string `arg:"" optional:"" name:"target" help:"Only these of its targets."`
}

func (aliasRemoveCmd) Help() string {
	return `Example:
  samotop alias remove info@example.org bob@example.net`
}

func (c *aliasRemoveCmd) Run(e *env) error {
	return e.call(house.Accounts, "alias/remove", management.AliasArgs{Address: c.Address, Targets: c.Targets}, nil)
}
