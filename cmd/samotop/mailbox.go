package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type mailboxCmd struct {
	Reindex reindexCmd    `cmd:"" help:"Make the text index of an account anew."`
	ACL     mailboxACLCmd `cmd:"" name:"acl" help:"Who may use a folder besides its owner."`
}

type reindexCmd struct {
	Address string `arg:"" help:"Address of the account."`
	jsonFlag
}

func (reindexCmd) Help() string {
	return `The index makes searches in the text of messages fast. It is kept by itself; this makes it anew, after a restore
or where searches have become slow. Searches are right meanwhile, and slower. On a terminal the progress is shown.

Example:
  samotop mailbox reindex alice@example.org`
}

func (c *reindexCmd) Run(e *env) (err error) {
	a, err := e.ask(house.Accounts | house.Mails)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	end := func() {}
	if f, ok := e.stderr.(*os.File); ok && isTerminal(f) {
		a.Progress = func(p management.Progress) {
			fmt.Fprintf(e.stderr, "\r%s: %d of %d", p.What, p.Done, p.Total)
			end = func() { fmt.Fprintln(e.stderr) }
		}
	}
	raw, err := a.Each(e.ctx, "mailbox/reindex", management.NameArgs{Name: c.Address}, func(json.RawMessage) error { return nil })
	end()
	if err != nil {
		return err
	}
	var r management.Reindexed
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	_, err = fmt.Fprintf(e.stdout, "%s: %d messages indexed in %.1f s\n", r.Address, r.Messages, r.Seconds)
	return err
}

func isTerminal(f *os.File) bool {
	i, err := f.Stat()
	return err == nil && i.Mode()&os.ModeCharDevice != 0
}
