package house

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/qm"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/log"
)

// verification is where a verification tells what it finds and how far it is.
type verification struct {
	found    func(management.Fault) error
	progress func(store string, done, total int64) error
}

func (r verification) tell(name string) func(done, total int64) {
	return func(done, total int64) { _ = r.progress(name, done, total) } // who asked has gone: ctx ends too
}

// Verify reads every database, every reference in it both ways, and recounts what is counted.
func (a about) Verify(ctx context.Context, found func(management.Fault) error, progress func(string, int64, int64) error) error {
	r := verification{found, progress}
	for _, name := range a.h.names() {
		if err := r.engine(ctx, name, a.h.engines[name]); err != nil {
			return err
		}
		if err := r.room(ctx, name, a.h.engines[name], a.h.accounts); err != nil {
			return err
		}
	}
	return a.h.askOwners(func(_ string, c management.Client) error {
		c.Progress = func(p management.Progress) { _ = progress(p.What, p.Done, p.Total) } // as above
		_, err := c.Each(ctx, "store/verify", nil, func(raw json.RawMessage) error {
			var f management.Fault
			if err := json.Unmarshal(raw, &f); err != nil {
				return err
			}
			return found(f)
		})
		return err
	})
}

// engine verifies checksums and what the engine itself keeps.
func (r verification) engine(ctx context.Context, name string, e store.Engine) error {
	m, ok := e.(store.Maintainer)
	if !ok {
		return nil
	}
	faults, err := m.Verify(ctx, r.tell(name))
	if err != nil {
		return fmt.Errorf("verify database %s: %w", name, err)
	}
	for _, f := range faults {
		if err := r.found(management.Fault{Store: name, File: f.File, Offset: f.Offset, What: f.What}); err != nil {
			return err
		}
	}
	return nil
}

// room lets the room of a database look at its rows. The accounts are nil where the database is a copy.
func (r verification) room(ctx context.Context, name string, e store.Engine, a *accounts.Accounts) (err error) {
	var texts []string
	tell := r.tell("rows of " + name)
	switch name {
	case accountsDB:
		if a == nil {
			if a, err = accounts.Open(ctx, accounts.Config{Engine: e}); err != nil {
				break
			}
			defer func() { err = errors.Join(err, a.Close()) }()
		}
		texts, err = a.Verify(ctx)
	case mailsDB:
		var faults []mailbox.Fault
		faults, err = mailbox.VerifyDatabase(ctx, e, func(accounts, bodies int64) { tell(accounts+bodies, 0) })
		for _, f := range faults {
			texts = append(texts, f.String())
		}
	case evidenceDB:
		texts, err = guard.VerifyEvidence(ctx, e)
	case queueDB:
		texts, err = qm.Verify(ctx, e, func(rows int64) { tell(rows, 0) })
	}
	if err != nil {
		return fmt.Errorf("verify the rows of %s: %w", name, err)
	}
	for _, text := range texts {
		if err := r.found(management.Fault{Store: name, What: text}); err != nil {
			return err
		}
	}
	return nil
}

// Inspect looks for damage in databases that do not open, by reading their logs. The house must not run.
func Inspect(ctx context.Context, dir string, found func(management.Fault) error, progress func(store string, done, total int64)) error {
	for _, name := range []string{accountsDB, mailsDB, queueDB, journalDB, evidenceDB} {
		o := log.Options{Dir: filepath.Join(dir, name)}
		if _, err := os.Stat(filepath.Join(o.Dir, "FORMAT")); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		faults, err := log.Inspect(ctx, o, func(done, total int64) { progress(name, done, total) })
		if err != nil {
			return fmt.Errorf("inspect database %s: %w", name, err)
		}
		for _, f := range faults {
			if err := found(management.Fault{Store: name, File: f.File, Offset: f.Offset, What: f.What}); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyOptions opens a database only to look at it, with little memory.
func copyOptions(dir string) log.Options {
	o := log.Small(dir)
	o.SegmentOctets = 0 // as the databases that hold mail: nothing is to roll
	return o
}

// verifyCopies verifies databases that nobody has open. Their logs are read into their indexes, so that they open at
// once the next time.
func verifyCopies(ctx context.Context, dir string, names []string, progress func(management.Progress)) error {
	e := &FaultsError{Dir: dir}
	r := verification{found: func(f management.Fault) error { e.Faults = append(e.Faults, f); return nil },
		progress: func(name string, done, total int64) error {
			progress(management.Progress{What: "verifying " + name, Done: done, Total: total})
			return nil
		}}
	for _, name := range names {
		if err := verifyCopy(ctx, filepath.Join(dir, name), name, r); err != nil {
			return err
		}
	}
	if len(e.Faults) > 0 {
		return e
	}
	return nil
}

func verifyCopy(ctx context.Context, dir, name string, r verification) (err error) {
	e, err := log.Open(ctx, copyOptions(dir))
	if err != nil {
		return fmt.Errorf("the copy of database %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := r.engine(ctx, name, e); err != nil {
		return err
	}
	return r.room(ctx, name, e, nil)
}
