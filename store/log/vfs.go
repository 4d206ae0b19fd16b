package log

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/samotop/samotop/store/disk"
)

// indexFS shows a disk.FS to Pebble.
type indexFS struct{ fs disk.FS }

var _ vfs.FS = indexFS{}

type indexFile struct {
	disk.File
	fs  disk.FS
	dir string // of a directory, which has no File
}

type indexInfo struct{ fs.FileInfo }

func (indexInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

func (f *indexFS) open(name string, how disk.Flags) (vfs.File, error) {
	file, err := f.fs.Open(name, how)
	if err != nil {
		return nil, err
	}
	return &indexFile{File: file, fs: f.fs, dir: ""}, nil
}

func (f indexFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	// A file that is there may be linked into a checkpoint: it is replaced, not emptied.
	if err := f.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return f.open(name, disk.Write|disk.Create|disk.Truncate)
}

func (f indexFS) Link(from, to string) error { return f.fs.Link(from, to) }

func (f indexFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open(name, 0)
}

func (f indexFS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open(name, disk.Write|disk.Create)
}

func (f indexFS) OpenDir(name string) (vfs.File, error) {
	if _, err := f.fs.Stat(name); err != nil {
		return nil, err
	}
	return &indexFile{fs: f.fs, dir: name}, nil
}

func (f indexFS) Remove(name string) error                  { return f.fs.Remove(name) }
func (f indexFS) RemoveAll(name string) error               { return f.fs.RemoveAll(name) }
func (f indexFS) Rename(from, to string) error              { return f.fs.Rename(from, to) }
func (f indexFS) MkdirAll(name string, _ os.FileMode) error { return f.fs.MkdirAll(name) }
func (f indexFS) Lock(name string) (io.Closer, error)       { return f.fs.Lock(name) }
func (f indexFS) List(name string) ([]string, error)        { return f.fs.List(name) }
func (f indexFS) PathBase(name string) string               { return path.Base(name) }
func (f indexFS) PathJoin(elem ...string) string            { return path.Join(elem...) }
func (f indexFS) PathDir(name string) string                { return path.Dir(name) }
func (f indexFS) Unwrap() vfs.FS                            { return nil }

func (f indexFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.fs.Rename(from, to); err != nil {
		return nil, err
	}
	return f.OpenReadWrite(to, c)
}

func (f indexFS) Stat(name string) (vfs.FileInfo, error) {
	st, err := f.fs.Stat(name)
	if err != nil {
		return nil, err
	}
	return indexInfo{st}, nil
}

func (f indexFS) GetDiskUsage(name string) (vfs.DiskUsage, error) {
	s, err := f.fs.Space(name)
	if err != nil {
		return vfs.DiskUsage{}, err
	}
	return vfs.DiskUsage{AvailBytes: uint64(s.Free), TotalBytes: uint64(s.Total), UsedBytes: uint64(s.Total - s.Free)}, nil
}

func (f *indexFile) Close() error {
	if f.File == nil {
		return nil
	}
	return f.File.Close()
}

func (f *indexFile) Sync() error {
	if f.File == nil {
		return f.fs.SyncDir(f.dir)
	}
	return f.File.Sync()
}

func (f *indexFile) SyncData() error                 { return f.Sync() }
func (f *indexFile) SyncTo(int64) (bool, error)      { return true, f.Sync() }
func (f *indexFile) Preallocate(off, n int64) error  { return f.Reserve(off + n) }
func (f *indexFile) Prefetch(_ int64, _ int64) error { return nil }
func (f *indexFile) Fd() uintptr                     { return vfs.InvalidFd }

type sizeInfo struct {
	fs.FileInfo
	size int64
}

func (s sizeInfo) Size() int64 { return s.size }

func (f *indexFile) Stat() (vfs.FileInfo, error) {
	if f.File == nil {
		return indexFS{f.fs}.Stat(f.dir)
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return indexInfo{sizeInfo{plainInfo{}, size}}, nil
}

// plainInfo is of a file whose name does not matter.
type plainInfo struct{ fs.FileInfo }

func (plainInfo) Name() string      { return "" }
func (plainInfo) Mode() fs.FileMode { return 0o600 }
func (plainInfo) IsDir() bool       { return false }
func (plainInfo) Sys() any          { return nil }
