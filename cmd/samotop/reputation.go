package main

import (
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

// reputedArg is whose reputation is meant.
type reputedArg struct {
	Sender  string `arg:"" help:"user@example.org, @example.org, 192.0.2.1 or 192.0.2.0/24."`
	Account string `help:"What this account has learned; without it what all have." placeholder:"ADDRESS"`
}

func (a *reputedArg) args() management.SenderArgs {
	return management.SenderArgs{Account: a.Account, Sender: a.Sender}
}

type senderShowCmd struct {
	reputedArg
	jsonFlag
}

func (senderShowCmd) Help() string {
	return `Counts of wanted and unwanted mail, which fade, and what they add to the score of his next message. What is known by domain and
address counts only for who proves by SPF or DKIM that they are his. See docs/guard.md.

Example:
  samotop sender show 192.0.2.1`
}

func (c *senderShowCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "name\tof\tsince\twanted\tunwanted\tscore", func(x management.Reputed) string {
		return fmt.Sprintf("%s\t%s\t%s\t%.1f\t%.1f\t%+.1f", x.Name, x.Of, stamp(x.Since), x.Good, x.Bad, x.Score)
	})
	return t.end(each(e, house.Guard|house.Accounts, "reputation/show", c.args(), t.add))
}

type senderForgetCmd struct{ reputedArg }

func (senderForgetCmd) Help() string {
	return `What is known under that very name is forgotten: of 192.0.2.1 not what is known of its network, of user@example.org not what
is known of the domain. To let a sender in for good, use "samotop sender allow".

Example:
  samotop sender forget @example.org`
}

func (c *senderForgetCmd) Run(e *env) error {
	var x management.Forgotten
	if err := e.call(house.Guard|house.Accounts, "reputation/forget", c.args(), &x); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s has no reputation %s now\n", c.Sender, forWhom(c.Account))
	return nil
}
