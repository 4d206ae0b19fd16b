package house

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/log"
)

// Databases are the names of a house's databases, each a directory of its own.
func Databases() []string { return []string{accountsDB, mailsDB, queueDB, journalDB, evidenceDB} }

// Rescue makes a damaged database of a house that does not run one that opens, and tells what was lost and what is still
// damaged. See log.Rescue.
func Rescue(ctx context.Context, dir, name string, progress func(management.Progress)) (lost, still []management.Fault, err error) {
	if !slices.Contains(Databases(), name) {
		return nil, nil, &management.Error{Kind: management.NotFound, Thing: "database " + name, Cause: fmt.Sprintf("the databases are %v", Databases())}
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(filepath.Join(path, "FORMAT")); err != nil {
		return nil, nil, fmt.Errorf("rescue database %s: %w", name, err)
	}
	progress(management.Progress{What: "rescuing " + name})
	faults, err := log.Rescue(ctx, copyOptions(path))
	for _, f := range faults {
		lost = append(lost, management.Fault{Store: name, File: f.File, Offset: f.Offset, What: f.What})
	}
	if errors.Is(err, store.ErrLocked) {
		err = fmt.Errorf("%w; stop the house first", err)
	}
	if err != nil {
		return lost, nil, err
	}
	still, err = verifyRescued(ctx, dir, name, progress)
	counted := !slices.ContainsFunc(still, func(f management.Fault) bool { return f.File == "" })
	if err != nil || name != mailsDB || len(lost) == 0 && counted {
		return lost, still, err
	}
	if err := recount(ctx, path, progress); err != nil {
		return lost, still, fmt.Errorf("rescue database %s: %w", name, err)
	}
	still, err = verifyRescued(ctx, dir, name, progress)
	return lost, still, err
}

func verifyRescued(ctx context.Context, dir, name string, progress func(management.Progress)) ([]management.Fault, error) {
	var left *FaultsError
	if err := verifyCopies(ctx, dir, []string{name}, progress); errors.As(err, &left) {
		return left.Faults, nil
	} else if err != nil {
		return nil, err
	}
	return nil, nil
}

// recount makes the mailboxes fit the messages that are left.
func recount(ctx context.Context, path string, progress func(management.Progress)) (err error) {
	e, err := log.Open(ctx, copyOptions(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return mailbox.Recount(ctx, e, time.Now(), func(n int64) { progress(management.Progress{What: "counting again", Done: n}) })
}
