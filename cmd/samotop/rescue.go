package main

import (
	"errors"
	"fmt"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type storeRescueCmd struct {
	Database string `arg:"" help:"Which one, as \"samotop verify\" names it: mails, accounts, queue, journal or evidence."`
	Copied   bool   `help:"Says that the directory of the database was copied away before."`
	jsonFlag
}

func (storeRescueCmd) Help() string {
	return `For a database that is damaged in the middle, when there is no backup that is good enough: opens it without what does not
check, moves what can be read out of the damaged files, and tells what was lost and what is damaged still. The house must
not run. What is lost is lost for good, so the database has to be copied away before. Exit status 1 if something is
damaged still: delete those messages, and call this again.

Example:
  systemctl stop samotop
  cp -a /var/lib/samotop/mails /somewhere/else
  samotop store rescue mails --copied`
}

func (c *storeRescueCmd) Run(e *env) error {
	dir, err := e.house()
	if err != nil {
		return err
	}
	if !c.Copied {
		return fmt.Errorf("store rescue: copy %s/%s to another disk first, then say --copied", dir, c.Database)
	}
	p := e.progress()
	lost, still, err := house.Rescue(e.ctx, dir, c.Database, func(x management.Progress) { p.show(x.What, x.Done, x.Total) })
	p.clear()
	t := newTable(e.stdout, c.JSON, "state\tfile\toffset\tfault", func(f rescued) string {
		return fmt.Sprintf("%s\t%s\t%d\t%s", f.State, f.File, f.Offset, f.What)
	})
	for _, f := range lost {
		err = errors.Join(err, t.add(rescued{"lost", f}))
	}
	for _, f := range still {
		err = errors.Join(err, t.add(rescued{"damaged", f}))
	}
	if err := t.end(err); err != nil {
		return err
	}
	if len(still) > 0 {
		return fmt.Errorf("store rescue: %s opens, and %d things in it are damaged still", c.Database, len(still))
	}
	if !c.JSON {
		fmt.Fprintf(e.stdout, "Database %s opens, and nothing in it is damaged. Next: samotop verify, then samotop serve.\n", c.Database)
	}
	return nil
}

// rescued is one line of what a rescue tells.
type rescued struct {
	State string `json:"state"` // lost, or damaged still
	management.Fault
}
