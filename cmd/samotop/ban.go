package main

import (
	"fmt"
	"time"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type banCmd struct {
	List   banListCmd   `cmd:"" help:"List who is banned, why, and until when."`
	Add    banAddCmd    `cmd:"" help:"Ban an address or a network from every service, at once."`
	Remove banRemoveCmd `cmd:"" help:"End a ban."`
}

type banListCmd struct{ jsonFlag }

func (banListCmd) Help() string {
	return `Who guesses passwords or recipients is banned by itself for a while; see docs/guard.md.

Example:
  samotop ban list --json`
}

func (c *banListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "network\tuntil\tby\treason", func(b management.Ban) string {
		until, by := "ever", "a person"
		if !b.Until.IsZero() {
			until = stamp(b.Until)
		}
		if b.Automatic {
			by = "itself"
		}
		return b.Network + "\t" + until + "\t" + by + "\t" + b.Reason
	})
	return t.end(each(e, house.Guard, "ban/list", struct{}{}, t.add))
}

type banAddCmd struct {
	Network string        `arg:"" help:"An address, or a network such as 192.0.2.0/24."`
	For     time.Duration `help:"Only for this time, such as 24h." placeholder:"TIME"`
	Reason  string        `help:"Why, for those who read the list." placeholder:"TEXT"`
}

func (banAddCmd) Help() string {
	return `It may not connect to SMTP, submission, IMAP and POP3 any more; connections that it has are cut off. Networks of your own
(loopback, [mta] trusted, [guard] own) cannot be banned. A ban of the same network is replaced.

Example:
  samotop ban add 192.0.2.7 --for 24h --reason "tries passwords"`
}

func (c *banAddCmd) Run(e *env) error {
	if c.For < 0 {
		return &house.UsageError{Text: "--for: the time is negative"}
	}
	var b management.Ban
	if err := e.call(house.Guard, "ban/add", management.BanArgs{Network: c.Network, For: c.For, Reason: c.Reason}, &b); err != nil {
		return err
	}
	until := "for ever"
	if !b.Until.IsZero() {
		until = "until " + stamp(b.Until)
	}
	fmt.Fprintf(e.stdout, "%s is banned %s\n", b.Network, until)
	return nil
}

type banRemoveCmd struct {
	Network string `arg:"" help:"As \"samotop ban list\" shows it."`
}

func (banRemoveCmd) Help() string {
	return `Example:
  samotop ban remove 192.0.2.7`
}

func (c *banRemoveCmd) Run(e *env) error {
	return e.call(house.Guard, "ban/remove", management.NameArgs{Name: c.Network}, nil)
}
