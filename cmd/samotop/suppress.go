package main

import (
	"fmt"

	"github.com/samotop/samotop/management"
)

type suppressCmd struct {
	Add    suppressAddCmd    `cmd:"" help:"Write to an address elsewhere no more."`
	List   suppressListCmd   `cmd:"" help:"List the addresses that are not written to."`
	Remove suppressRemoveCmd `cmd:"" help:"Let an address be written to again."`
}

type suppressAddCmd struct {
	Address string `arg:"" help:"An address elsewhere, or @DOMAIN for all of a domain."`
	Why     string `help:"What who writes to it is told." placeholder:"TEXT"`
	jsonFlag
}

func (suppressAddCmd) Help() string {
	return `Mail for it is refused with 550 5.7.1 when our people hand it in, and returned if it is in the queue already. With
[qm] suppress_after = N in samotop.toml addresses come here by themselves, when they have refused mail N times in a row because
nobody is there.

Example:
  samotop suppress add bob@example.net --why "asked to be left alone"`
}

func (c *suppressAddCmd) Run(e *env) error {
	var s management.Suppressed
	if err := e.call(queueRooms, "suppress/add", management.SuppressArgs{Address: c.Address, Why: c.Why}, &s); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, s)
	}
	fmt.Fprintf(e.stdout, "%s is not written to\n", s.Address)
	return nil
}

type suppressListCmd struct{ jsonFlag }

func (suppressListCmd) Help() string {
	return `Example:
  samotop suppress list`
}

func (c *suppressListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "address\tsince\tby\twhy", func(s management.Suppressed) string {
		by := "hand"
		if s.Automatic {
			by = "its refusals"
		}
		return s.Address + "\t" + stamp(s.Since) + "\t" + by + "\t" + printableText(s.Why)
	})
	return t.end(each(e, queueRooms, "suppress/list", struct{}{}, t.add))
}

type suppressRemoveCmd struct {
	Address string `arg:"" help:"As the list shows it."`
}

func (suppressRemoveCmd) Help() string {
	return `Example:
  samotop suppress remove bob@example.net`
}

func (c *suppressRemoveCmd) Run(e *env) error {
	if err := e.call(queueRooms, "suppress/remove", management.NameArgs{Name: c.Address}, nil); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s may be written to again\n", c.Address)
	return nil
}
