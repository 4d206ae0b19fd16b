package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OS is the real file system.
type OS struct{}

var _ FS = OS{}

type osFile struct{ *os.File }

// Open is of FS.
func (OS) Open(name string, how Flags) (File, error) {
	flags := os.O_RDONLY
	if how&Write != 0 {
		flags = os.O_RDWR
	}
	if how&Create != 0 {
		flags |= os.O_CREATE
	}
	if how&Truncate != 0 {
		flags |= os.O_TRUNC
	}
	if how&Direct != 0 {
		flags |= unix.O_DIRECT
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if how&Sequential != 0 {
		// Only advice: where it is not taken, reading is slower.
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
	}
	return osFile{f}, nil
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Reserve is of File.
func (f osFile) Reserve(n int64) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var res error
	err = conn.Control(func(fd uintptr) {
		for {
			if res = unix.Fallocate(int(fd), unix.FALLOC_FL_KEEP_SIZE, 0, n); res != unix.EINTR {
				return
			}
		}
	})
	if err = errors.Join(err, res); err != nil {
		return &fs.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Sync() error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var res error
	err = conn.Control(func(fd uintptr) {
		for {
			if res = unix.Fdatasync(int(fd)); res != unix.EINTR {
				return
			}
		}
	})
	if err = errors.Join(err, res); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// WriteAtSync is of File. Where the write makes the file longer it takes two calls: ext4 of Linux 5.5 to 6.6 does not sync the
// new length with a direct write that asks for it ("ext4: properly sync file size update after O_SYNC direct IO").
func (f osFile) WriteAtSync(p []byte, off int64) error {
	if size, err := f.Size(); err != nil {
		return err
	} else if off+int64(len(p)) > size {
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
		return f.Sync()
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	n := 0
	var res error
	err = conn.Control(func(fd uintptr) {
		for {
			if n, res = unix.Pwritev2(int(fd), [][]byte{p}, off, unix.RWF_DSYNC); res != unix.EINTR {
				return
			}
		}
	})
	switch {
	case err == nil && (res == unix.ENOSYS || res == unix.EOPNOTSUPP):
		n = 0
	case errors.Join(err, res) != nil:
		return &fs.PathError{Op: "pwritev2", Path: f.Name(), Err: errors.Join(err, res)}
	case n == len(p):
		return nil
	}
	if _, err := f.WriteAt(p[n:], off+int64(n)); err != nil {
		return err
	}
	return f.Sync()
}

// Remove is of FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// RemoveAll is of FS.
func (OS) RemoveAll(name string) error { return os.RemoveAll(name) }

// Rename is of FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Link is of FS.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// MkdirAll is of FS.
func (OS) MkdirAll(name string) error { return os.MkdirAll(name, 0o700) }

// Stat is of FS.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// List is of FS.
func (OS) List(name string) ([]string, error) {
	d, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// SyncDir is of FS.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Space is of FS.
func (OS) Space(name string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return Space{Free: int64(st.Bavail) * int64(st.Bsize), Total: int64(st.Blocks) * int64(st.Bsize)}, nil
}

// Lock is of FS. The file holds the number of the process, so that who comes second can say who was first.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		held, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: held by process %s: %w", name, strings.TrimSpace(string(held)), ErrLocked)
		}
		return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
