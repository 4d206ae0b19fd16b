//go:build !linux

package drop

import (
	"errors"
	"os"
)

// syncDir makes a rename in dir durable.
func syncDir(dir string, _ *os.File) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
