package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store"
)

type verifyCmd struct{ jsonFlag }

func (verifyCmd) Help() string {
	return `Reads everything, also while the house runs: every checksum, every reference both ways, what is counted is counted
again, UIDs are in order. Of a database that does not open its log is read, to tell where it is damaged. Exit status 1 if
anything is.

Example:
  samotop verify`
}

func (c *verifyCmd) Run(e *env) (err error) {
	t := newTable(e.stdout, c.JSON, "database\tfile\toffset\tfault", func(f management.Fault) string {
		return fmt.Sprintf("%s\t%s\t%d\t%s", f.Store, f.File, f.Offset, f.What)
	})
	a, err := e.ask(house.All)
	if errors.Is(err, store.ErrCorrupt) {
		return c.inspect(e, t, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	p := e.progress()
	a.Progress = func(x management.Progress) { p.show("verifying "+x.What, x.Done, x.Total) }
	ok, err := a.Each(e.ctx, "store/verify", nil, func(raw json.RawMessage) error {
		var f management.Fault
		if err := json.Unmarshal(raw, &f); err != nil {
			return err
		}
		p.clear()
		return t.add(f)
	})
	p.clear()
	if err := t.end(err); err != nil {
		return err
	}
	var v management.Verified
	if err := json.Unmarshal(ok, &v); err != nil {
		return err
	}
	if v.Faults > 0 {
		return fmt.Errorf("verify: %d faults; copy the directory away, then restore a backup", v.Faults)
	}
	if !c.JSON {
		fmt.Fprintln(e.stdout, "Everything was read, nothing is damaged.")
	}
	return nil
}

// inspect reads the logs of a house that does not open.
func (c *verifyCmd) inspect(e *env, t *table[management.Fault], cause error) error {
	dir, err := e.house()
	if err != nil {
		return err
	}
	p := e.progress()
	err = house.Inspect(e.ctx, dir, func(f management.Fault) error {
		p.clear()
		return t.add(f)
	}, func(name string, done, total int64) { p.show("reading the log of "+name, done, total) })
	p.clear()
	if err := t.end(err); err != nil {
		return errors.Join(cause, err)
	}
	return fmt.Errorf("verify: %w", cause)
}
