package log

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/samotop/samotop/store"
)

// gateFS stands between Pebble and the disk, for when the disk fails. Pebble would try a failed flush again at once,
// and again, while reading is still to go on: a fenced engine keeps it waiting until it is told to close. Pebble
// panics where a directory cannot be synced: here that fences the engine, and as a fenced engine
// writes, syncs and removes nothing, what the last synced directory says is still there and whole at the next start.
//
// Pebble's own Open does not come to an end on a disk that fails: it tries a flush until it succeeds, and leaves behind
// what it started. So while the index is being opened a failure fences the engine, and from then on all that Pebble does
// seems to succeed and goes nowhere: it ends, and is closed. So it is with an index for whose end Close did not wait.
type gateFS struct {
	vfs.FS
	e *Engine
}

func (g gateFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if g.e.vital(name) {
		return g.createVital(name, c), nil
	}
	if err := g.e.isFenced(); err != nil {
		if !g.e.pretends() && g.e.ownIndex(name) {
			<-g.e.closeIndex
		}
		if g.e.pretends() {
			return gateFile{nowhere{}, g.e, false}, nil
		}
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	if g.e.isIndexFull() && g.e.ownIndex(name) {
		// No space: Pebble would try again at once.
		select {
		case <-g.e.fenced:
		case <-g.e.closeIndex:
		case <-time.After(g.e.o.fullPause):
		}
	}
	if g.e.ownIndex(name) && g.e.indexOpen.Load() {
		if err := g.e.manifest.room(); err != nil {
			return nil, fmt.Errorf("create %s: %w", name, err)
		}
	}
	f, err := g.FS.Create(name, c)
	if g.e.failsToOpen(err) {
		f, err = nowhere{}, nil
	}
	if err != nil {
		return nil, err
	}
	return gateFile{f, g.e, false}, nil
}

// failsToOpen fences the engine if a change fails while the index is being opened; then it is to seem done.
func (e *Engine) failsToOpen(err error) bool {
	if err == nil || e.indexOpen.Load() {
		return false
	}
	e.fence(fmt.Errorf("index: %w", err))
	return true
}

// pretends tells whether what Pebble does goes nowhere: what it cannot do it would try again, and keep Close waiting.
func (e *Engine) pretends() bool {
	if e.givenUp.Load() {
		return true
	}
	if e.isFenced() == nil {
		return false
	}
	select {
	case <-e.closeIndex:
		return true
	default:
		return !e.indexOpen.Load()
	}
}

func (g gateFS) Remove(name string) error {
	if g.e.pretends() {
		return nil
	}
	if err := g.e.isFenced(); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	err := g.FS.Remove(name)
	if !errors.Is(err, fs.ErrNotExist) && g.e.failsToOpen(err) {
		return nil
	}
	return err
}

func (g gateFS) Rename(from, to string) error {
	if g.e.pretends() {
		return nil
	}
	err := g.FS.Rename(from, to)
	if g.e.failsToOpen(err) {
		return nil
	}
	return err
}

func (g gateFS) List(name string) ([]string, error) {
	names, err := g.FS.List(name)
	if err != nil && g.e.pretends() {
		return nil, nil
	}
	return names, err
}

func (e *Engine) isFenced() error {
	select {
	case <-e.fenced:
		return store.ErrFenced
	default:
		return nil
	}
}

// gateFile is a file that is being written.
type gateFile struct {
	vfs.File
	e     *Engine
	vital bool
}

func (f gateFile) Write(p []byte) (int, error) {
	if f.e.pretends() {
		return len(p), nil
	}
	if f.vital {
		rest := p
		f.e.insist(func() error {
			n, err := f.File.Write(rest)
			rest = rest[n:]
			return err
		})
		return len(p), nil
	}
	if err := f.e.isFenced(); err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	if f.e.failsToOpen(err) {
		return len(p), nil
	}
	return n, err
}

func (f gateFile) Sync() error { return f.sync(f.File.Sync) }

func (f gateFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f gateFile) sync(how func() error) error {
	if f.e.pretends() {
		return nil
	}
	if f.vital {
		if f.e.isFenced() != nil {
			return nil
		}
		if err := how(); err != nil {
			f.e.fence(fmt.Errorf("index: %w", err)) // whatever the cause: what was written before may be lost
		}
		return nil
	}
	err := how()
	if f.e.failsToOpen(err) {
		return nil
	}
	return errors.Join(f.e.isFenced(), err)
}

func (f gateFile) SyncTo(length int64) (bool, error) {
	full := true
	err := f.sync(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// nowhere is a file that gateFile only pretends to write.
type nowhere struct{ vfs.File }

func (nowhere) Close() error                           { return nil }
func (nowhere) Read([]byte) (int, error)               { return 0, store.ErrFenced }
func (nowhere) ReadAt([]byte, int64) (int, error)      { return 0, store.ErrFenced }
func (nowhere) Sync() error                            { return nil }
func (nowhere) SyncData() error                        { return nil }
func (nowhere) SyncTo(int64) (bool, error)             { return true, nil }
func (nowhere) Write(p []byte) (int, error)            { return len(p), nil }
func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) Stat() (vfs.FileInfo, error)            { return indexInfo{sizeInfo{plainInfo{}, 0}}, nil }
func (nowhere) Preallocate(_, _ int64) error           { return nil }
func (nowhere) Prefetch(_ int64, _ int64) error        { return nil }
func (nowhere) Fd() uintptr                            { return vfs.InvalidFd }

func (g gateFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil && g.e.pretends() {
		return gateFile{nowhere{}, g.e, false}, nil
	}
	if err != nil {
		return nil, err
	}
	return gateDir{f, g.e, name}, nil
}

func (g gateFS) Unwrap() vfs.FS { return g.FS }

type gateDir struct {
	vfs.File
	e    *Engine
	name string
}

func (d gateDir) Sync() error {
	err := d.File.Sync()
	if err == nil {
		return nil
	}
	if d.e.ownIndex(d.name) {
		d.e.fence(fmt.Errorf("index: %w", err))
		return nil
	}
	d.e.copyErr.CompareAndSwap(nil, &err) // of a checkpoint, which looks at it
	return nil
}

// ownIndex tells the index from a copy that Checkpoint makes.
func (e *Engine) ownIndex(name string) bool {
	own := path.Join(e.o.Dir, "index")
	return name == own || strings.HasPrefix(name, own+"/")
}
