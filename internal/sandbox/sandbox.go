// Package sandbox takes away from this process what it does not need, by Landlock: files that are not named can be neither
// opened nor made nor removed any more, by whoever takes the process over.
//
//	err := sandbox.Restrict(sandbox.Files{Read: []string{"/etc"}, Write: []string{"/var/lib/samotop/mails"}})
//
// It cannot be undone, and holds for all threads and all programs started later. Sockets that are open stay open, and so
// do files.
package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
)

// Files are the directories and files that stay, with all below them. What does not exist is left out.
type Files struct {
	Read  []string // and execute
	Write []string // and read, make, remove
}

// ErrUnsupported: the kernel does not have Landlock (Linux 5.13), or it is not switched on.
var ErrUnsupported = errors.New("the kernel does not have Landlock")

// Restrict leaves only the files.
func Restrict(f Files) error {
	var rules []landlock.Rule
	add := func(path string, dirs, files func(...string) landlock.FSRule) error {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("sandbox: %w", err)
		case info.IsDir():
			rules = append(rules, dirs(path))
		default:
			rules = append(rules, files(path))
		}
		return nil
	}
	var errs []error
	for _, p := range f.Read {
		errs = append(errs, add(p, landlock.RODirs, landlock.ROFiles))
	}
	for _, p := range f.Write {
		errs = append(errs, add(p, func(p ...string) landlock.FSRule { return landlock.RWDirs(p...).WithRefer() }, landlock.RWFiles))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// The first version has all that is needed here; where the kernel knows more rights, those are taken too.
	if err := landlock.V2.RestrictPaths(rules...); err == nil {
		return landlock.V5.BestEffort().RestrictPaths(rules...)
	}
	if err := landlock.V1.RestrictPaths(rules...); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return nil
}
