package main

import (
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type senderCmd struct {
	Allow  senderAllowCmd  `cmd:"" help:"Let a sender in without greylisting and score."`
	Deny   senderDenyCmd   `cmd:"" help:"Refuse all mail of a sender."`
	Remove senderRemoveCmd `cmd:"" help:"Take a sender out of a list."`
	List   senderListCmd   `cmd:"" help:"List who is allowed and denied."`
	Show   senderShowCmd   `cmd:"" help:"Tell what the guard has learned of a sender."`
	Forget senderForgetCmd `cmd:"" help:"Forget what the guard has learned of a sender."`
}

// listedArg is what an entry is.
type listedArg struct {
	Sender  string `arg:"" help:"user@example.org, @example.org, @.example.org for all domains below it, 192.0.2.1 or 192.0.2.0/24."`
	Account string `help:"Only for mail to this account; without it for all." placeholder:"ADDRESS"`
}

type senderAllowCmd struct {
	listedArg
	Note string `help:"Why, for those who read the list." placeholder:"TEXT"`
}

func (senderAllowCmd) Help() string {
	return `An address or domain that is allowed helps only who proves by SPF or DKIM that it is his; a network needs no proof. The owner's
contacts still decide. An account's own list goes before that for all; in each the closest entry counts.

Example:
  samotop sender allow 192.0.2.0/24 --note "the old server"`
}

func (c *senderAllowCmd) Run(e *env) error { return c.set(e, "allow", c.Note) }

func (c *listedArg) set(e *env, verdict, note string) error {
	var x management.ListedSender
	args := management.ListedSender{Account: c.Account, Sender: c.Sender, Verdict: verdict, Note: note}
	if err := e.call(house.Accounts, "sender/set", args, &x); err != nil {
		return err
	}
	done := map[string]string{"allow": "allowed", "deny": "denied"}[x.Verdict]
	fmt.Fprintf(e.stdout, "%s is %s %s\n", x.Sender, done, forWhom(x.Account))
	return nil
}

func forWhom(account string) string {
	if account == "" {
		return "for all accounts"
	}
	return "for " + account
}

type senderDenyCmd struct {
	listedArg
	Note string `help:"Why, for those who read the list." placeholder:"TEXT"`
}

func (senderDenyCmd) Help() string {
	return `Mail is refused with 550 5.7.1 at RCPT. Nobody is kept from postmaster and abuse. To shut out an address from all services,
use "samotop ban add".

Example:
  samotop sender deny @spam.example --account alice@example.org`
}

func (c *senderDenyCmd) Run(e *env) error { return c.set(e, "deny", c.Note) }

type senderRemoveCmd struct{ listedArg }

func (senderRemoveCmd) Help() string {
	return `Example:
  samotop sender remove @spam.example --account alice@example.org`
}

func (c *senderRemoveCmd) Run(e *env) error {
	return e.call(house.Accounts, "sender/remove", management.SenderArgs{Account: c.Account, Sender: c.Sender}, nil)
}

type senderListCmd struct {
	Account string `help:"The list of this account; without it all lists." placeholder:"ADDRESS"`
	jsonFlag
}

func (senderListCmd) Help() string {
	return `Example:
  samotop sender list --account alice@example.org`
}

func (c *senderListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "sender\tverdict\taccount\tsince\tnote", func(x management.ListedSender) string {
		account := x.Account
		if account == "" {
			account = "all"
		}
		return x.Sender + "\t" + x.Verdict + "\t" + account + "\t" + stamp(x.Since) + "\t" + x.Note
	})
	return t.end(each(e, house.Accounts, "sender/list", management.SenderArgs{Account: c.Account, Every: c.Account == ""}, t.add))
}
