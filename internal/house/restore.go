package house

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store/disk"
	"github.com/samotop/samotop/store/log"
)

// restoring is what the directory of a database is called until all of them are there.
const restoring = ".restoring"

// RestoreOptions of Restore. From and Dir are required.
type RestoreOptions struct {
	From     string // a backup, or a directory of backups: the newest good one is taken
	Dir      string // of the new house
	Progress func(management.Progress)
}

// Restored says what was restored.
type Restored struct {
	From     string    `json:"from"`
	Begun    time.Time `json:"begun"` // the moment that the house is back at
	Dir      string    `json:"dir"`
	Accounts int64     `json:"accounts"` // that have mail
}

// Restore makes a house of a backup, in a directory that holds none, and verifies it. Numbers that were given after the
// backup are not given again. The backup is left as it is. What was begun and failed is no house, and can be begun again.
func Restore(ctx context.Context, o RestoreOptions) (*Restored, error) {
	if o.Progress == nil {
		o.Progress = func(management.Progress) {}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	from, m, err := chooseBackup(o.From)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if inside(dir, from) {
		return nil, &UsageError{Text: fmt.Sprintf("restore: %s is in the backup; name another directory with --dir", dir)}
	}
	r := &restore{o: o, from: from, dir: dir, m: m, done: Restored{From: from, Begun: m.Begun, Dir: dir}}
	if err := r.run(ctx); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	return &r.done, nil
}

// chooseBackup finds the newest good backup in a directory, or the directory itself is one.
func chooseBackup(from string) (string, *Manifest, error) {
	from, err := filepath.Abs(from)
	if err != nil {
		return "", nil, err
	}
	if m, err := readManifest(from); !errors.Is(err, fs.ErrNotExist) {
		return from, m, err
	}
	good, bad, err := findBackups(from)
	if err != nil {
		return "", nil, err
	}
	if len(good) == 0 {
		return "", nil, fmt.Errorf("%s holds no backup that was finished (unfinished: %d); name the directory that \"samotop backup\" was given", from, len(bad))
	}
	dir := good[len(good)-1]
	m, err := readManifest(dir)
	return dir, m, err
}

type restore struct {
	o         RestoreOptions
	from, dir string
	m         *Manifest
	done      Restored
}

func (r *restore) run(ctx context.Context) (err error) {
	names, err := r.prepare()
	if err != nil {
		return err
	}
	lock, err := disk.OS{}.Lock(filepath.Join(r.dir, config.RunDir, LockName))
	if err != nil {
		return err
	}
	defer lock.Close()
	defer func() {
		if err == nil {
			return
		}
		for _, n := range names { // none of them was there before
			err = errors.Join(err, os.RemoveAll(filepath.Join(r.dir, n)), os.RemoveAll(r.path(n)))
		}
	}()
	for _, d := range r.m.Databases {
		if err := r.database(ctx, d.Name); err != nil {
			return fmt.Errorf("database %s: %w", d.Name, err)
		}
	}
	for _, name := range r.m.Files {
		if name != config.FileName {
			if err := r.file(name); err != nil {
				return err
			}
		}
	}
	for _, d := range r.m.Databases {
		if err := os.Rename(r.path(d.Name), filepath.Join(r.dir, d.Name)); err != nil {
			return err
		}
	}
	if err := r.file(config.FileName); err != nil { // last: by it the directory is a house
		return err
	}
	return syncTree(r.dir)
}

func (r *restore) path(name string) string { return filepath.Join(r.dir, name+restoring) }

// prepare refuses a directory that holds a house or a part of one.
func (r *restore) prepare() (names []string, err error) {
	names = append(names, ownFiles...)
	for _, d := range r.m.Databases {
		names = append(names, d.Name)
	}
	for _, n := range names {
		switch _, err := os.Lstat(filepath.Join(r.dir, n)); {
		case err == nil:
			return nil, fmt.Errorf("%s has %s already; nothing was changed; name a new directory with --dir", r.dir, n)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return names, os.MkdirAll(filepath.Join(r.dir, config.RunDir), 0o700)
}

// database copies, verifies and renumbers one database. Nothing is linked: the backup stays as it is.
func (r *restore) database(ctx context.Context, name string) error {
	if err := os.RemoveAll(r.path(name)); err != nil { // of a try that failed
		return err
	}
	t := &tree{from: filepath.Join(r.from, name), to: r.path(name), fresh: true, progress: func(done, total int64) {
		r.o.Progress(management.Progress{What: "copying " + name, Done: done, Total: total})
	}}
	if err := t.copy(ctx); err != nil {
		return err
	}
	e := &FaultsError{Dir: r.from}
	err := verifyCopy(ctx, r.path(name), name, verification{
		found: func(f management.Fault) error { e.Faults = append(e.Faults, f); return nil },
		progress: func(what string, done, total int64) error {
			r.o.Progress(management.Progress{What: "verifying " + what, Done: done, Total: total})
			return nil
		}})
	if err == nil && len(e.Faults) > 0 {
		err = e
	}
	if err != nil {
		return err
	}
	return r.renumber(ctx, name)
}

// renumber lets the room of a database go on beyond all numbers that were given after the backup.
func (r *restore) renumber(ctx context.Context, name string) (err error) {
	if name != mailsDB && name != accountsDB {
		return nil // ids of the queue and of the journal are made of the time, evidence has none
	}
	e, err := log.Open(ctx, copyOptions(r.path(name)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if name == accountsDB {
		return accounts.Renumber(ctx, e)
	}
	return mailbox.Renumber(ctx, e, time.Now(), func(n int64) {
		r.done.Accounts = n
		r.o.Progress(management.Progress{What: "renumbering " + name, Done: n})
	})
}

func (r *restore) file(name string) error {
	from, to := filepath.Join(r.from, name), filepath.Join(r.dir, name)
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return copyFile(from, to, info.Mode().Perm())
}
