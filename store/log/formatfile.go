package log

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

const (
	formatLine = "samotop store/log, format %d, identity %016x\n"
	maxFormat  = 256
)

// readFormat reads DIR/FORMAT, or makes a new database where there is none.
func (e *Engine) readFormat() error {
	name := path.Join(e.o.Dir, "FORMAT")
	text, err := readSmall(e.o.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		return e.create(name)
	}
	if err != nil {
		return err
	}
	var version int
	if _, err := fmt.Sscanf(string(text), formatLine, &version, &e.id); err != nil && version <= formatVersion {
		return fmt.Errorf("%s: %q is not the format of a store: %w", name, firstLine(text), store.ErrFormat)
	}
	if version > formatVersion {
		return fmt.Errorf("%s: format %d, this program knows up to %d: %w", name, version, formatVersion, store.ErrFormat)
	}
	e.segs = newSegments(e.o.FS, path.Join(e.o.Dir, "log"), e.o.MaxOpenSegments)
	return nil
}

func firstLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return line
}

// create makes a database. FORMAT comes last, so that a half-made one is made again; it must then be empty.
func (e *Engine) create(format string) error {
	fsys, dir := e.o.FS, e.o.Dir
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		switch n {
		case "LOCK", "FORMAT.new", "lost+found":
		case "log", "index":
			if err := e.emptyRemains(n); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is neither a store nor empty: it has %s: %w", dir, n, store.ErrFormat)
		}
	}
	for _, sub := range []string{"log", "index"} {
		if err := fsys.MkdirAll(path.Join(dir, sub)); err != nil {
			return err
		}
	}
	e.id = rand.Uint64()
	text := fmt.Appendf(nil, formatLine, formatVersion, e.id)
	if err := writeSmall(fsys, format, text); err != nil {
		return err
	}
	if err := fsys.SyncDir(path.Dir(path.Clean(dir))); err != nil {
		return err
	}
	for up := path.Dir(path.Clean(dir)); up != path.Dir(up); up = path.Dir(up) {
		// Directories that MkdirAll may have made; those that are not ours to sync were there before.
		_ = fsys.SyncDir(path.Dir(up))
	}
	e.segs = newSegments(fsys, path.Join(dir, "log"), e.o.MaxOpenSegments)
	return nil
}

// emptyRemains takes away a subdirectory of a database that was never finished. One with a log is not such.
func (e *Engine) emptyRemains(sub string) error {
	name := path.Join(e.o.Dir, sub)
	names, err := e.o.FS.List(name)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%s is there and FORMAT is not: an unfinished copy, or FORMAT was lost: %w", name, store.ErrFormat)
	}
	return nil
}

func readSmall(fsys disk.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFormat))
}

// writeSmall writes a small file so that after a crash it is there whole or not at all.
func writeSmall(fsys disk.FS, name string, text []byte) error {
	f, err := fsys.Open(name+".new", disk.Write|disk.Create|disk.Truncate)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".new", name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}
