package log

import (
	"errors"
	"fmt"
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
type gateFS struct {
	vfs.FS
	e *Engine
}

// fullPause is between two tries to flush while there is no space.
const fullPause = 200 * time.Millisecond

func (g gateFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.e.isFenced(); err != nil {
		if g.e.ownIndex(name) {
			<-g.e.closeIndex
		}
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	if g.e.indexFull.Load() && g.e.ownIndex(name) {
		// No space: Pebble would try again at once.
		select {
		case <-g.e.fenced:
		case <-g.e.closeIndex:
		case <-time.After(fullPause):
		}
	}
	f, err := g.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return gateFile{f, g.e}, nil
}

func (g gateFS) Remove(name string) error {
	if err := g.e.isFenced(); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return g.FS.Remove(name)
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
	e *Engine
}

func (f gateFile) Write(p []byte) (int, error) {
	if err := f.e.isFenced(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f gateFile) Sync() error {
	return errors.Join(f.e.isFenced(), f.File.Sync())
}

func (f gateFile) SyncData() error {
	return errors.Join(f.e.isFenced(), f.File.SyncData())
}

func (f gateFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, errors.Join(f.e.isFenced(), err)
}

func (g gateFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
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
