package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// OS is the real file system.
type OS struct{}

var _ FS = OS{}

// osFile is an open file. What is known of its length saves asking for it before each synced write: it is at least that, as
// long as nobody else makes the file shorter.
type osFile struct {
	*os.File
	length atomic.Int64
}

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
	return &osFile{File: f}, nil
}

func (f *osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Reserve is of File.
func (f *osFile) Reserve(n int64) error {
	return f.call("fallocate", func(fd int) error {
		return retried(func() error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, n) })
	})
}

// Sync is of File.
func (f *osFile) Sync() error {
	return f.call("fdatasync", func(fd int) error {
		return retried(func() error { return unix.Fdatasync(fd) })
	})
}

// WriteAt is of File.
func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.reaches(off + int64(n))
	return n, err
}

// Truncate is of File.
func (f *osFile) Truncate(size int64) error {
	f.length.Store(0)
	return f.File.Truncate(size)
}

// reaches notes that the file is at least that long.
func (f *osFile) reaches(end int64) {
	for {
		if was := f.length.Load(); was >= end || f.length.CompareAndSwap(was, end) {
			return
		}
	}
}

// WriteAtSync is of File. Where the write makes the file longer it takes two calls: ext4 of Linux 5.5 to 6.6 does not sync the
// new length with a direct write that asks for it ("ext4: properly sync file size update after O_SYNC direct IO").
func (f *osFile) WriteAtSync(p []byte, off int64) error {
	end := off + int64(len(p))
	if end > f.length.Load() {
		size, err := f.Size()
		if err != nil {
			return err
		}
		f.reaches(size)
		if end > size {
			if _, err := f.WriteAt(p, off); err != nil {
				return err
			}
			return f.Sync()
		}
	}
	n := 0
	err := f.call("pwritev2", func(fd int) error {
		return retried(func() (err error) {
			n, err = unix.Pwritev2(fd, [][]byte{p}, off, unix.RWF_DSYNC)
			return err
		})
	})
	switch {
	case errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP):
		n = 0
	case err != nil:
		return err
	case n == len(p):
		return nil
	}
	if _, err := f.WriteAt(p[n:], off+int64(n)); err != nil {
		return err
	}
	return f.Sync()
}

// call makes a call of the system on the file.
func (f *osFile) call(op string, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var res error
	err = conn.Control(func(fd uintptr) { res = do(int(fd)) })
	if err = errors.Join(err, res); err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}

func retried(do func() error) error {
	for {
		if err := do(); err != unix.EINTR {
			return err
		}
	}
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
	// The number is for people. The block that it was in is written anew, not given back: the disk may be full.
	pid := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if _, err := f.WriteAt(pid, 0); err != nil && !errors.Is(err, unix.ENOSPC) {
		f.Close()
		return nil, err
	}
	if err := f.Truncate(int64(len(pid))); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
