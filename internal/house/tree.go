package house

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/samotop/samotop/store/disk"
)

// tree copies the directory of a database. Files that never change once they are written, which are tables of the index
// and ended segments of the log, are linked where that can be done: to those of like, or of from.
type tree struct {
	from, to string
	like     string // an earlier copy, or ""
	fresh    bool   // link nothing
	progress func(done, total int64)

	octets         int64
	shared, copied int
}

func (t *tree) copy(ctx context.Context) error {
	type file struct {
		rel  string
		size int64
	}
	var files []file
	var total int64
	err := filepath.WalkDir(t.from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(t.from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(t.to, rel), 0o700)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.Name() == "LOCK" {
			return nil
		}
		files = append(files, file{rel, info.Size()})
		total += info.Size()
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.file(f.rel, f.size); err != nil {
			return err
		}
		t.octets += f.size
		if t.progress != nil {
			t.progress(t.octets, total)
		}
	}
	return nil
}

// file links or copies one file. The last segment of a copy is empty, and the one that will be written to.
func (t *tree) file(rel string, size int64) error {
	from, to := filepath.Join(t.from, rel), filepath.Join(t.to, rel)
	if !t.fresh && size > 0 && (strings.HasSuffix(rel, ".sst") || strings.HasSuffix(rel, ".blob") || filepath.Dir(rel) == "log") {
		if t.like != "" {
			like := filepath.Join(t.like, rel)
			if same(from, like) && os.Link(like, to) == nil {
				t.shared++
				return nil
			}
		}
		if os.Link(from, to) == nil {
			t.shared++
			return nil
		}
	}
	t.copied++
	return copyFile(from, to, 0o600)
}

// endOctets is how much of the end of a file is looked at first. It holds checksums, and numbers that are drawn at random
// for each opening.
const endOctets = 64 << 10

// same tells whether two files are equal: of a segment of the log, which only grew while it was written, the ends are
// compared; of a table of the index, which is small, all.
func same(a, b string) bool {
	x, errA := end(a)
	y, errB := end(b)
	if errA != nil || errB != nil || !bytes.Equal(x, y) {
		return false
	}
	return filepath.Ext(a) == ".log" || sameAll(a, b)
}

func sameAll(a, b string) bool {
	f, errA := os.Open(a)
	g, errB := os.Open(b)
	if errA != nil || errB != nil {
		return false
	}
	defer f.Close()
	defer g.Close()
	x, y := make([]byte, endOctets), make([]byte, endOctets)
	for {
		n, errA := io.ReadFull(f, x)
		m, errB := io.ReadFull(g, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return errA == errB && (errA == io.EOF || errA == io.ErrUnexpectedEOF)
		}
	}
}

// end is the end of a file, and its length.
func end(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(info.Size(), endOctets), endOctets+8)
	if _, err := f.ReadAt(b, info.Size()-int64(len(b))); err != nil {
		return nil, err
	}
	for s := info.Size(); s > 0; s >>= 8 {
		b = append(b, byte(s))
	}
	return b, nil
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

func writeFile(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncTree makes the entries of a directory and those below it durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return disk.OS{}.SyncDir(path)
	})
}
