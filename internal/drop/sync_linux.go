package drop

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// syncDir makes a rename in dir durable. Who may not list the directory cannot open it either; then the whole file system
// is synced, by the file that is in it: rare enough, as it happens only while the house is down.
func syncDir(dir string, f *os.File) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return unix.Syncfs(int(f.Fd()))
	}
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
