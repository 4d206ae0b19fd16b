package main

import (
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type accountGrantCmd struct {
	Address string `arg:"" help:"The account."`
	As      string `arg:"" help:"The address it may send as too, or @domain for all of one."`
}

func (accountGrantCmd) Help() string {
	return `An account may always send as itself, and as an alias that leads to it alone.

Example:
  samotop account grant bob@example.org info@example.org`
}

func (c *accountGrantCmd) Run(e *env) error {
	return e.call(house.Accounts, "account/grant", management.GrantArgs{Address: c.Address, As: c.As}, nil)
}

type accountRevokeCmd struct {
	Address string `arg:"" help:"The account."`
	As      string `arg:"" help:"The address, or @domain."`
}

func (accountRevokeCmd) Help() string {
	return `Example:
  samotop account revoke bob@example.org info@example.org`
}

func (c *accountRevokeCmd) Run(e *env) error {
	return e.call(house.Accounts, "account/revoke", management.GrantArgs{Address: c.Address, As: c.As}, nil)
}

type aliasTestCmd struct {
	Address string `arg:"" help:"Any address."`
	jsonFlag
}

func (aliasTestCmd) Help() string {
	return `Example:
  samotop alias test sales-spring@example.org`
}

func (c *aliasTestCmd) Run(e *env) error {
	var a management.Tested
	if err := e.call(house.Accounts, "alias/test", management.NameArgs{Name: c.Address}, &a); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, a)
	}
	lines(e.stdout, "", a.Steps)
	switch {
	case a.Refused != "":
		fmt.Fprintf(e.stdout, "%s is refused: %s\n", a.Address, a.Refused)
	case !a.Ours:
		fmt.Fprintf(e.stdout, "%s is not of this house\n", a.Address)
	case a.Disabled:
		fmt.Fprintf(e.stdout, "%s leads to a disabled account\n", a.Address)
	case len(a.Targets) == 0:
		fmt.Fprintf(e.stdout, "%s leads to nobody\n", a.Address)
	}
	for _, t := range a.Targets {
		fmt.Fprintf(e.stdout, "%s -> %s %s\n", a.Address, t.Kind, t.Address)
	}
	return nil
}
