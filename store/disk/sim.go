package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrOff is what every call gives after the power was cut.
var ErrOff = errors.New("disk: the power is off")

// ErrIO is the error of a device that fails.
var ErrIO error = syscall.EIO

// Op is what a call to a Sim does, as its faults see it.
type Op string

const (
	OpOpen     Op = "open"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpTruncate Op = "truncate"
	OpRemove   Op = "remove"
	OpRename   Op = "rename"
	OpLink     Op = "link"
	OpMkdir    Op = "mkdir"
	OpSyncDir  Op = "syncdir"
	OpReserve  Op = "reserve"
)

// Changes tells whether the operation can change the disk.
func (o Op) Changes() bool { return o != OpRead && o != OpOpen }

// Call is one call to a Sim.
type Call struct {
	N    int64 // 1, 2, ... of this Sim, counting only calls that may change the disk (0 for others)
	Op   Op
	Name string
}

// Fault is what goes wrong in a call; the zero Fault is nothing.
type Fault struct {
	Err   error // the call fails with it and does nothing
	Short bool  // of a write: a seeded part of it is done, then Err (default ErrIO)
	Off   bool  // the power is cut before the call
}

// Sim is a file system in memory with seeded faults. It keeps what is synced apart from what is only written.
type Sim struct {
	// Faults decides about each call; nil: nothing fails. It is called with the Sim locked. Change it with
	// SetFaults when in use.
	Faults func(Call) Fault
	// NoDirect makes opening with Direct fail, as some file systems do. Set it before use.
	NoDirect bool
	// CapacityOctets is the size of the disk; 0: 1 TiB. Change it with SetCapacity when in use.
	CapacityOctets int64

	mu    sync.Mutex
	rng   *rand.Rand
	calls int64
	used  int64
	off   bool
	dirs  map[string]*simDir
	locks map[string]bool
}

type simDir struct {
	now    map[string]*inode // nil for a directory, whose content is under its own name
	stable map[string]*inode
	log    []dirChange // what now has and stable has not, in order
}

type dirChange struct {
	name string
	ino  *inode
	gone bool
}

type inode struct {
	dir    bool
	data   []byte
	stable []byte
	dirty  map[int64]struct{} // pages that differ, maybe
	links  int
	kept   int64 // octets for which room is kept
}

// takes is the room that it takes on the disk.
func (i *inode) takes() int64 { return max(int64(len(i.data)), i.kept) }

// NewSim returns an empty disk; the seed decides what random faults do.
func NewSim(seed uint64) *Sim {
	s := &Sim{rng: rand.New(rand.NewPCG(seed, 0x5eed)), dirs: map[string]*simDir{}, locks: map[string]bool{}}
	s.dirs["/"] = newSimDir()
	return s
}

func newSimDir() *simDir {
	return &simDir{now: map[string]*inode{}, stable: map[string]*inode{}}
}

// Calls returns how many calls were made that may change the disk.
func (s *Sim) Calls() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// SetFaults changes Faults.
func (s *Sim) SetFaults(f func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Faults = f
}

// SetCapacity changes the size of the disk.
func (s *Sim) SetCapacity(octets int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.CapacityOctets = octets
}

// PowerOff makes every call from now on fail with ErrOff.
func (s *Sim) PowerOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = true
}

func (s *Sim) capacity() int64 {
	if s.CapacityOctets == 0 {
		return 1 << 40
	}
	return s.CapacityOctets
}

// enter counts a call and asks for its fault. It needs the lock.
func (s *Sim) enter(op Op, name string) (Fault, error) {
	if s.off {
		return Fault{}, &fs.PathError{Op: string(op), Path: name, Err: ErrOff}
	}
	c := Call{Op: op, Name: name}
	if op.Changes() {
		s.calls++
		c.N = s.calls
	}
	if s.Faults == nil {
		return Fault{}, nil
	}
	f := s.Faults(c)
	if f.Off {
		s.off = true
		return f, &fs.PathError{Op: string(op), Path: name, Err: ErrOff}
	}
	if f.Err != nil && !f.Short {
		return f, &fs.PathError{Op: string(op), Path: name, Err: f.Err}
	}
	return f, nil
}

func clean(name string) string { return path.Clean("/" + strings.TrimPrefix(name, "/")) }

func (s *Sim) parent(name string) (*simDir, string, error) {
	d := s.dirs[path.Dir(name)]
	if d == nil {
		return nil, "", &fs.PathError{Op: "lookup", Path: name, Err: fs.ErrNotExist}
	}
	return d, path.Base(name), nil
}

func (d *simDir) set(name string, ino *inode) {
	d.now[name] = ino
	d.log = append(d.log, dirChange{name: name, ino: ino})
}

func (d *simDir) unset(name string) {
	delete(d.now, name)
	d.log = append(d.log, dirChange{name: name, gone: true})
}

func (d *simDir) settle(n int) {
	for _, c := range d.log[:n] {
		if c.gone {
			delete(d.stable, c.name)
		} else {
			d.stable[c.name] = c.ino
		}
	}
	d.log = d.log[n:]
}

// Open is of FS.
func (s *Sim) Open(name string, how Flags) (File, error) {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off {
		return nil, &fs.PathError{Op: string(OpOpen), Path: name, Err: ErrOff}
	}
	d, base, err := s.parent(name)
	if err != nil {
		return nil, err
	}
	ino := d.now[base]
	op := OpOpen
	if (ino == nil && how&Create != 0) || how&Truncate != 0 {
		op = OpTruncate
	}
	if _, err := s.enter(op, name); err != nil {
		return nil, err
	}
	switch {
	case how&Direct != 0 && s.NoDirect:
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EINVAL}
	case ino == nil && how&Create == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case ino != nil && ino.dir:
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
	case ino == nil:
		ino = &inode{dirty: map[int64]struct{}{}, links: 1}
		d.set(base, ino)
	case how&Truncate != 0:
		s.resize(ino, 0)
	}
	return &simFile{s: s, ino: ino, name: name, how: how}, nil
}

func (s *Sim) unlink(ino *inode) {
	if ino.links--; ino.links == 0 {
		s.used -= ino.takes()
	}
}

// Remove is of FS.
func (s *Sim) Remove(name string) error {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(name)
}

func (s *Sim) remove(name string) error {
	if _, err := s.enter(OpRemove, name); err != nil {
		return err
	}
	d, base, err := s.parent(name)
	if err != nil {
		return err
	}
	ino := d.now[base]
	switch {
	case ino == nil:
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	case ino.dir && len(s.dirs[name].now) > 0:
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	case ino.dir:
		delete(s.dirs, name)
	default:
		s.unlink(ino)
	}
	d.unset(base)
	return nil
}

// RemoveAll is of FS.
func (s *Sim) RemoveAll(name string) error {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removeAll(name)
}

func (s *Sim) removeAll(name string) error {
	if sub := s.dirs[name]; sub != nil {
		for _, n := range sortedNames(sub.now) {
			if err := s.removeAll(path.Join(name, n)); err != nil {
				return err
			}
		}
	}
	if err := s.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Rename is of FS.
func (s *Sim) Rename(from, to string) error {
	from, to = clean(from), clean(to)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.enter(OpRename, from); err != nil {
		return err
	}
	df, bf, err := s.parent(from)
	if err != nil {
		return err
	}
	dt, bt, err := s.parent(to)
	if err != nil {
		return err
	}
	ino := df.now[bf]
	if ino == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if old := dt.now[bt]; old != nil && !old.dir {
		s.unlink(old)
	}
	if ino.dir {
		s.moveDirs(from, to)
	}
	df.unset(bf)
	dt.set(bt, ino)
	return nil
}

// moveDirs renames a directory and all below it. What a crash does to a renamed directory is simplified: the
// directory's content goes with the name that survives.
func (s *Sim) moveDirs(from, to string) {
	for name, d := range s.dirs {
		if name == from || strings.HasPrefix(name, from+"/") {
			s.dirs[to+name[len(from):]] = d
			delete(s.dirs, name)
		}
	}
}

// Link is of FS.
func (s *Sim) Link(from, to string) error {
	from, to = clean(from), clean(to)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.enter(OpLink, to); err != nil {
		return err
	}
	df, bf, err := s.parent(from)
	if err != nil {
		return err
	}
	dt, bt, err := s.parent(to)
	if err != nil {
		return err
	}
	ino := df.now[bf]
	if ino == nil || ino.dir {
		return &fs.PathError{Op: "link", Path: from, Err: fs.ErrNotExist}
	}
	if dt.now[bt] != nil {
		return &fs.PathError{Op: "link", Path: to, Err: fs.ErrExist}
	}
	ino.links++
	dt.set(bt, ino)
	return nil
}

// MkdirAll is of FS.
func (s *Sim) MkdirAll(name string) error {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mkdirAll(name)
}

func (s *Sim) mkdirAll(name string) error {
	if s.dirs[name] != nil {
		return nil
	}
	if err := s.mkdirAll(path.Dir(name)); err != nil {
		return err
	}
	if _, err := s.enter(OpMkdir, name); err != nil {
		return err
	}
	d, base, err := s.parent(name)
	if err != nil {
		return err
	}
	if d.now[base] != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	d.set(base, &inode{dir: true, links: 1})
	s.dirs[name] = newSimDir()
	return nil
}

func sortedNames(m map[string]*inode) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// List is of FS.
func (s *Sim) List(name string) ([]string, error) {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.enter(OpOpen, name); err != nil {
		return nil, err
	}
	d := s.dirs[name]
	if d == nil {
		return nil, &fs.PathError{Op: "list", Path: name, Err: fs.ErrNotExist}
	}
	return sortedNames(d.now), nil
}

// Stat is of FS.
func (s *Sim) Stat(name string) (fs.FileInfo, error) {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.enter(OpOpen, name); err != nil {
		return nil, err
	}
	if name == "/" {
		return simInfo{name: "/", dir: true}, nil
	}
	d, base, err := s.parent(name)
	if err != nil {
		return nil, err
	}
	ino := d.now[base]
	if ino == nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return simInfo{name: base, size: int64(len(ino.data)), dir: ino.dir}, nil
}

// SyncDir is of FS.
func (s *Sim) SyncDir(name string) error {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.enter(OpSyncDir, name); err != nil {
		return err
	}
	d := s.dirs[name]
	if d == nil {
		return &fs.PathError{Op: "syncdir", Path: name, Err: fs.ErrNotExist}
	}
	d.settle(len(d.log))
	return nil
}

// Space is of FS.
func (s *Sim) Space(name string) (Space, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.enter(OpOpen, name); err != nil {
		return Space{}, err
	}
	return Space{Free: max(0, s.capacity()-s.used), Total: s.capacity()}, nil
}

// Lock is of FS.
func (s *Sim) Lock(name string) (io.Closer, error) {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: ErrOff}
	}
	if s.locks[name] {
		return nil, fmt.Errorf("%s: held by process 1: %w", name, ErrLocked)
	}
	s.locks[name] = true
	return &simLock{s: s, name: name}, nil
}

type simLock struct {
	s    *Sim
	name string
}

func (l *simLock) Close() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	delete(l.s.locks, l.name)
	return nil
}

type simInfo struct {
	name string
	size int64
	dir  bool
}

func (i simInfo) Name() string       { return i.name }
func (i simInfo) Size() int64        { return i.size }
func (i simInfo) IsDir() bool        { return i.dir }
func (i simInfo) ModTime() time.Time { return time.Time{} }
func (i simInfo) Sys() any           { return nil }
func (i simInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
