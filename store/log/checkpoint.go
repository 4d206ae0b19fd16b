package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// Checkpoint is of store.Maintainer. The copy is a database that Open takes, and may write to: nothing that is shared
// ever changes. Ended segments are linked, or copied where
// the directory is on another file system; those that an earlier checkpoint has are left alone. While it is being
// written the copy has no FORMAT, and Open refuses it.
func (e *Engine) Checkpoint(ctx context.Context, dir string) error {
	e.collectMu.Lock() // nothing is removed meanwhile
	defer e.collectMu.Unlock()
	if err := e.checkpoint(ctx, dir); err != nil {
		return fmt.Errorf("checkpoint to %s: %w", dir, err)
	}
	return nil
}

func (e *Engine) checkpoint(ctx context.Context, dir string) error {
	if err := e.takesChanges(); err != nil {
		return err
	}
	fsys := e.o.FS
	text, err := e.openTarget(dir)
	if err != nil {
		return err
	}
	// The index first: the log then reaches at least as far as the index knows.
	if err := e.copyIndex(path.Join(dir, "index")); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	last, err := e.endSegment(ctx)
	if err != nil {
		return err
	}
	if err := e.copySegments(ctx, path.Join(dir, "log"), last); err != nil {
		return err
	}
	if err := e.cause(); err != nil {
		return err // a part of what the index said of itself may be nowhere: see gateFS
	}
	return writeSmall(fsys, path.Join(dir, "FORMAT"), text)
}

// copyTries is how often copyIndex tries.
const copyTries = 3

// copyIndex lets Pebble make its checkpoint and looks whether it opens. One made after Open and before the first flush
// has an empty MANIFEST (Pebble 2.1.7): then something is flushed first.
func (e *Engine) copyIndex(dir string) error {
	for try := 1; ; try++ {
		if err := e.o.FS.RemoveAll(dir); err != nil {
			return err
		}
		e.copyErr.Store(nil)
		err := e.db.Checkpoint(dir)
		if sync := e.copyErr.Load(); sync != nil {
			err = errors.Join(err, *sync)
		}
		if err != nil {
			return corrupt(err)
		}
		o := e.indexOptions()
		o.ReadOnly, o.EventListener, o.Experimental.CompactionScheduler = true, nil, newScheduler()
		db, err := pebble.Open(dir, o)
		if err == nil {
			return db.Close()
		}
		if try == copyTries || !pebble.IsCorruptionError(err) {
			return corrupt(err)
		}
		if err := e.db.Set([]byte{keyCopied}, nil, pebble.NoSync); err != nil {
			return corrupt(err)
		}
		if err := e.flushIndex(); err != nil {
			return err
		}
	}
}

// openTarget makes the directory ready: empty, or an earlier checkpoint of this database that loses its FORMAT until
// it is whole again. It returns what FORMAT will say.
func (e *Engine) openTarget(dir string) ([]byte, error) {
	fsys := e.o.FS
	text := fmt.Appendf(nil, formatLine, formatVersion, e.id)
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	if err := fsys.SyncDir(path.Dir(path.Clean(dir))); err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	owner := false
	for _, name := range []string{"FORMAT", "FORMAT.unfinished"} {
		old, err := readSmall(fsys, path.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(old, text) {
			return nil, fmt.Errorf("the directory holds another database: %w", store.ErrInvalid)
		}
		owner = true
		if name == "FORMAT" {
			if err := fsys.Rename(path.Join(dir, "FORMAT"), path.Join(dir, "FORMAT.unfinished")); err != nil {
				return nil, err
			}
		}
	}
	if !owner {
		names = slices.DeleteFunc(names, func(n string) bool { return n == "FORMAT.unfinished.new" })
		if len(names) > 0 {
			return nil, fmt.Errorf("the directory is neither empty nor a checkpoint: %w", store.ErrInvalid)
		}
		if err := writeSmall(fsys, path.Join(dir, "FORMAT.unfinished"), text); err != nil {
			return nil, err
		}
	}
	if err := fsys.MkdirAll(path.Join(dir, "log")); err != nil {
		return nil, err
	}
	return text, fsys.SyncDir(dir)
}

// endSegment makes the writer begin a new segment and returns the number of the one that ended.
func (e *Engine) endSegment(ctx context.Context) (uint32, error) {
	if err := e.lockWithRoom(ctx); err != nil {
		return 0, err
	}
	rolled := make(chan error, 1)
	e.push(&item{roll: rolled})
	e.mu.Unlock()
	select {
	case err := <-rolled:
		if err != nil {
			return 0, err
		}
	case <-e.stall.ended():
		return 0, e.stuck()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	list := e.segs.list()
	return list[len(list)-1] - 1, nil
}

func (e *Engine) copySegments(ctx context.Context, dir string, last uint32) error {
	fsys := e.o.FS
	have, err := fsys.List(dir)
	if err != nil {
		return err
	}
	want := map[string]uint32{}
	for _, n := range e.segs.list() {
		if n <= last {
			want[segmentName(n)] = n
		}
	}
	for _, name := range have {
		if n, ok := want[name]; ok && e.sameSegment(path.Join(dir, name), n) {
			delete(want, name)
			continue
		}
		if err := fsys.Remove(path.Join(dir, name)); err != nil {
			return err
		}
	}
	for name, n := range want {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := linkOrCopy(fsys, e.segs.path(n), path.Join(dir, name)); err != nil {
			return err
		}
	}
	return e.openEnd(dir, last+1)
}

// openEnd gives the copy an empty segment to go on in: whoever opens it must not write to one that is linked, which is
// this database's own.
func (e *Engine) openEnd(dir string, n uint32) error {
	f, err := e.o.FS.Open(path.Join(dir, segmentName(n)), disk.Write|disk.Create|disk.Truncate)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return e.o.FS.SyncDir(dir)
}

// sameSegment compares length and last block: an ended segment never changes, and the header of each group holds a
// number drawn at Open.
func (e *Engine) sameSegment(name string, n uint32) bool {
	a, errA := lastBlock(e.o.FS, name)
	b, errB := lastBlock(e.o.FS, e.segs.path(n))
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func lastBlock(fsys disk.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, 64<<10))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return le.AppendUint64(b, uint64(size)), nil
}

func linkOrCopy(fsys disk.FS, from, to string) error {
	if fsys.Link(from, to) == nil {
		return nil
	}
	in, err := fsys.Open(from, disk.Sequential)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := fsys.Open(to, disk.Write|disk.Create|disk.Truncate)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 1<<20))
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
