package disk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"unsafe"
)

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f FS, name, text string, sync bool) {
	t.Helper()
	file, err := f.Open(name, Write|Create)
	no(t, err)
	_, err = file.WriteAt([]byte(text), 0)
	no(t, err)
	if sync {
		no(t, file.Sync())
	}
	no(t, file.Close())
}

func content(f FS, name string) string {
	file, err := f.Open(name, 0)
	if err != nil {
		return "-"
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestSame does the same to the real file system and to the simulated one.
func TestSame(t *testing.T) {
	for name, c := range map[string]struct {
		fs  FS
		dir string
	}{"OS": {OS{}, t.TempDir()}, "Sim": {NewSim(1), "/"}} {
		t.Run(name, func(t *testing.T) {
			f, at := c.fs, func(n string) string { return filepath.Join(c.dir, n) }
			no(t, f.MkdirAll(at("a/b")))
			no(t, f.MkdirAll(at("a/b")))
			write(t, f, at("a/one"), "one", true)
			no(t, f.Link(at("a/one"), at("a/b/two")))
			if err := f.Link(at("a/one"), at("a/b/two")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("link again: %v", err)
			}
			no(t, f.Rename(at("a/one"), at("a/three")))
			no(t, f.SyncDir(at("a")))
			if got := content(f, at("a/b/two")) + content(f, at("a/three")) + content(f, at("a/one")); got != "oneone-" {
				t.Errorf("content %q", got)
			}
			names, err := f.List(at("a"))
			no(t, err)
			if slices.Sort(names); !slices.Equal(names, []string{"b", "three"}) {
				t.Errorf("list %q", names)
			}
			st, err := f.Stat(at("a/three"))
			if err != nil || st.Size() != 3 || st.IsDir() {
				t.Errorf("stat %+v, %v", st, err)
			}
			if err := f.Remove(at("a/b")); err == nil {
				t.Error("removed a directory that is not empty")
			}
			file, err := f.Open(at("a/three"), Write)
			no(t, err)
			no(t, file.Truncate(5))
			if n, err := file.Size(); n != 5 || err != nil {
				t.Errorf("size %d, %v", n, err)
			}
			no(t, file.Close())
			if got := content(f, at("a/b/two")); got != "one\x00\x00" {
				t.Errorf("content %q", got)
			}
			lock, err := f.Lock(at("LOCK"))
			no(t, err)
			if _, err := f.Lock(at("LOCK")); !errors.Is(err, ErrLocked) {
				t.Errorf("second lock: %v", err)
			}
			no(t, lock.Close())
			lock, err = f.Lock(at("LOCK"))
			no(t, err)
			no(t, lock.Close())
			no(t, f.RemoveAll(at("a")))
			no(t, f.RemoveAll(at("a")))
			if _, err := f.Stat(at("a")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("stat: %v", err)
			}
			if s, err := f.Space(c.dir); err != nil || s.Free <= 0 || s.Total < s.Free {
				t.Errorf("space %+v, %v", s, err)
			}
		})
	}
}

func TestStrictCrash(t *testing.T) {
	s := NewSim(1)
	no(t, s.MkdirAll("/d"))
	no(t, s.SyncDir("/"))
	write(t, s, "/d/entry-lost", "x", true)
	write(t, s, "/d/kept", "old", true)
	no(t, s.SyncDir("/d"))
	write(t, s, "/d/late", "x", true)
	write(t, s, "/d/kept", "new", false)
	no(t, s.Rename("/d/entry-lost", "/d/renamed"))
	n := s.Crash(Strict)
	got := []string{content(n, "/d/kept"), content(n, "/d/late"), content(n, "/d/renamed"), content(n, "/d/entry-lost")}
	if !slices.Equal(got, []string{"old", "-", "-", "x"}) {
		t.Errorf("after the crash %q", got)
	}
	if _, err := s.Stat("/d"); !errors.Is(err, ErrOff) {
		t.Errorf("the old disk says %v", err)
	}
}

func TestKilledKeepsAll(t *testing.T) {
	s := NewSim(1)
	write(t, s, "/late", "x", false)
	if got := content(s.Crash(Nothing), "/late"); got != "x" {
		t.Errorf("content %q", got)
	}
}

// TestRandomCrash: every page is the old or the new one, or torn at a sector; over many seeds each happens.
func TestRandomCrash(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		s := NewSim(seed)
		old, fresh := bytes.Repeat([]byte("o"), 4*page), bytes.Repeat([]byte("n"), 6*page)
		write(t, s, "/f", string(old), true)
		no(t, s.SyncDir("/"))
		write(t, s, "/f", string(fresh), false)
		got := []byte(content(s.Crash(Random), "/f"))
		seen["short"] = seen["short"] || len(got) < 6*page
		seen["long"] = seen["long"] || len(got) == 6*page
		for i := 0; i+page <= len(got); i += page {
			p := got[i : i+page]
			n := bytes.Count(p, []byte("n"))
			switch {
			case n == page:
				seen["new"] = true
			case n == 0:
				seen["old"] = true
			case n%sector == 0 && bytes.Count(p[:n], []byte("n")) == n:
				seen["torn"] = true
			default:
				t.Fatalf("seed %d: page %d mixes", seed, i/page)
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("seen only %v", seen)
	}
}

func TestFaults(t *testing.T) {
	s := NewSim(3)
	var fault Fault
	s.Faults = func(c Call) Fault {
		if c.Op == OpWrite {
			return fault
		}
		return Fault{}
	}
	f, err := s.Open("/f", Write|Create)
	no(t, err)
	fault = Fault{Err: ErrIO}
	if n, err := f.WriteAt(make([]byte, 100), 0); n != 0 || !errors.Is(err, ErrIO) {
		t.Errorf("%d, %v", n, err)
	}
	fault = Fault{Short: true}
	if n, err := f.WriteAt(make([]byte, 100), 0); n > 100 || !errors.Is(err, ErrIO) {
		t.Errorf("%d, %v", n, err)
	}
	fault = Fault{}
	s.SetCapacity(150)
	if n, err := f.WriteAt(make([]byte, 200), 0); n != 150 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d, %v", n, err)
	}
	no(t, f.Truncate(0))
	_, err = f.WriteAt(make([]byte, 150), 0)
	no(t, err)
	d, err := s.Open("/d", Write|Create|Direct)
	no(t, err)
	if _, err := d.WriteAt(make([]byte, 100), 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("unaligned: %v", err)
	}
	fault = Fault{Off: true}
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, ErrOff) {
		t.Errorf("%v", err)
	}
	if err := f.Sync(); !errors.Is(err, ErrOff) {
		t.Errorf("%v", err)
	}
}

// TestWriteAtSync: what it wrote is there after a power cut, with the length it gave; what was written before and not
// synced need not be.
func TestWriteAtSync(t *testing.T) {
	sim := NewSim(1)
	file, err := sim.Open("/a", Write|Create)
	no(t, err)
	no(t, sim.SyncDir("/"))
	_, err = file.WriteAt(bytes.Repeat([]byte("1"), 2*page), 0)
	no(t, err)
	no(t, file.WriteAtSync(bytes.Repeat([]byte("2"), page), 2*page))
	if got, want := content(sim.Crash(Strict), "/a"), string(make([]byte, 2*page))+string(bytes.Repeat([]byte("2"), page)); got != want {
		t.Errorf("%d octets, not what was synced", len(got))
	}
	for _, how := range []Flags{0, Direct} {
		name := filepath.Join(t.TempDir(), "a")
		real, err := OS{}.Open(name, Write|Create|how)
		if how == Direct && errors.Is(err, syscall.EINVAL) {
			continue // the file system has no such thing
		}
		no(t, err)
		p := alignedPage('3')
		no(t, real.WriteAtSync(p, 0))
		no(t, real.WriteAtSync(p, page))
		no(t, real.Close())
		if got := content(OS{}, name); got != string(p)+string(p) {
			t.Errorf("%d octets were written", len(got))
		}
	}
}

// alignedPage is memory as Direct wants it.
func alignedPage(c byte) []byte {
	b := make([]byte, 2*Align)
	for uintptr(unsafe.Pointer(&b[0]))%Align != 0 {
		b = b[1:]
	}
	b = b[:Align:Align]
	for i := range b {
		b[i] = c
	}
	return b
}

// TestReserve: who reserved finds room where others find none, and the length of the file does not change.
func TestReserve(t *testing.T) {
	s := NewSim(1)
	s.SetCapacity(3000)
	f, err := s.Open("/f", Write|Create)
	no(t, err)
	no(t, f.Reserve(2000))
	if size, err := f.Size(); err != nil || size != 0 {
		t.Errorf("size %d, %v", size, err)
	}
	g, err := s.Open("/g", Write|Create)
	no(t, err)
	if n, err := g.WriteAt(make([]byte, 1500), 0); n != 1000 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("another file: %d, %v", n, err)
	}
	if err := g.Reserve(2000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("another file: %v", err)
	}
	if n, err := f.WriteAt(make([]byte, 2000), 0); n != 2000 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	no(t, s.Remove("/f"))
	if sp, err := s.Space("/"); err != nil || sp.Free != 2000 {
		t.Errorf("%+v, %v", sp, err)
	}
	name := filepath.Join(t.TempDir(), "a")
	real, err := OS{}.Open(name, Write|Create)
	no(t, err)
	if err := real.Reserve(1 << 20); err != nil && !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Error(err)
	}
	if size, err := real.Size(); err != nil || size != 0 {
		t.Errorf("size %d, %v", size, err)
	}
	no(t, real.Close())
}
