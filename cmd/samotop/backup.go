package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type backupCmd struct {
	To   string `arg:"" help:"Directory of the backups; best on another disk."`
	Keep int    `help:"Keep so many of the newest backups; a new one is made before an old one goes." default:"2"`
	jsonFlag
}

func (backupCmd) Help() string {
	return `Copies databases, configuration, keys and certificates to a new directory in TO, while the house serves or not. What
the newest backup there has already is shared with it; on the same file system most is linked, not copied: that is quick,
and no help when the disk dies. The copy is then read and verified, and counts only after that. It holds the private keys
and all mail: guard it as the house.

Example:
  samotop backup /mnt/backup/samotop`
}

func (c *backupCmd) Run(e *env) (err error) {
	if c.Keep < 1 {
		return &house.UsageError{Text: "backup: --keep must be 1 or more"}
	}
	to, err := filepath.Abs(c.To)
	if err != nil {
		return err
	}
	dir, err := e.house()
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	a, err := e.ask(house.All)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	p := e.progress()
	m, err := house.Backup(e.ctx, house.BackupOptions{Dir: dir, To: to, Keep: c.Keep, Version: buildVersion(), Client: a.Client,
		Progress: func(x management.Progress) { p.show(x.What, x.Done, x.Total) }})
	p.clear()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, m)
	}
	var total int64
	files, shared := 0, 0
	for _, d := range m.Databases {
		total, files, shared = total+d.Octets, files+d.NewFiles, shared+d.SharedFiles
	}
	fmt.Fprintf(e.stdout, "Backup      %s\nHolds       %s in %d files, %d of them shared\nVerified    everything was read, nothing is damaged\nTook        %s\n",
		m.Dir, octets(total), files+shared, shared, m.Done.Sub(m.Begun).Round(10*time.Millisecond))
	fmt.Fprintf(e.stdout, "To go back: samotop restore %s --dir NEW\n", m.Dir)
	return nil
}

type restoreCmd struct {
	From string `arg:"" help:"A backup, or the directory of the backups: then the newest."`
	jsonFlag
}

func (restoreCmd) Help() string {
	return `Makes a house in the directory of --dir, which must not hold one, and verifies it. The backup stays as it is. Every
mailbox gets a new UIDVALIDITY, so that mail programs read it anew instead of trusting numbers that were given after the
backup. Mail that waited in the queue then will be sent, also if it was sent since: look at it with "samotop queue list"
before the house serves.

Example:
  samotop restore /mnt/backup/samotop --dir /var/lib/samotop.new`
}

func (c *restoreCmd) Run(e *env) error {
	dir, err := e.house()
	if err != nil {
		return err
	}
	p := e.progress()
	r, err := house.Restore(e.ctx, house.RestoreOptions{From: c.From, Dir: dir,
		Progress: func(x management.Progress) { p.show(x.What, x.Done, x.Total) }})
	p.clear()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	fmt.Fprintf(e.stdout, "Restored    %s\nAs it was   %s\nVerified    everything was read, nothing is damaged\n", r.Dir, stamp(r.Begun))
	fmt.Fprintf(e.stdout, "Next: samotop queue list --dir %s, then samotop serve --dir %s\n", r.Dir, r.Dir)
	return nil
}
