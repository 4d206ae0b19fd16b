package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

func segmentName(n uint32) string { return fmt.Sprintf("%08d.log", n) }

// segmentNumber is the inverse of segmentName.
func segmentNumber(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && segmentName(uint32(n)) == name
}

// segment is one file of the log. Its fields are guarded by segments.mu.
type segment struct {
	n     uint32
	size  int64
	live  int64               // octets of bodies that rows refer to, at most; recounted by Collect
	pins  map[uint64]struct{} // staged bodies that are not committed
	file  disk.File
	users int // reads under way
	used  int64
	gone  bool // no longer part of the database; the file waits for old views
}

// segments is the set of files of the log, and the views that keep removed ones.
type segments struct {
	fs  disk.FS
	dir string
	max int

	mu        sync.Mutex
	set       map[uint32]*segment
	open      int
	clock     int64
	views     map[*reader]struct{}
	condemned []condemned
}

type condemned struct {
	s     *segment
	views []*reader // those that may still read it
}

func newSegments(fsys disk.FS, dir string, maxOpen int) *segments {
	return &segments{fs: fsys, dir: dir, max: maxOpen, set: map[uint32]*segment{}, views: map[*reader]struct{}{}}
}

func (ss *segments) path(n uint32) string { return path.Join(ss.dir, segmentName(n)) }

// load finds the files that are there, in order.
func (ss *segments) load() ([]uint32, error) {
	names, err := ss.fs.List(ss.dir)
	if err != nil {
		return nil, err
	}
	var found []uint32
	for _, name := range names {
		n, ok := segmentNumber(name)
		if !ok {
			continue
		}
		st, err := ss.fs.Stat(path.Join(ss.dir, name))
		if err != nil {
			return nil, err
		}
		ss.set[n] = &segment{n: n, size: st.Size()}
		found = append(found, n)
	}
	slices.Sort(found)
	return found, nil
}

// list is the numbers of the segments, ascending.
func (ss *segments) list() []uint32 {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	out := make([]uint32, 0, len(ss.set))
	for n := range ss.set {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func (ss *segments) add(n uint32) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.set[n] = &segment{n: n}
}

func (ss *segments) grow(n uint32, size int64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.set[n].size = size
}

func (ss *segments) addLive(n uint32, octets int64) (live int64, ok bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.set[n]
	if s == nil {
		return 0, false
	}
	s.live = max(0, s.live+octets)
	return s.live, true
}

func (ss *segments) pin(n uint32, body uint64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.set[n]
	if s.pins == nil {
		s.pins = map[uint64]struct{}{}
	}
	s.pins[body] = struct{}{}
}

// unpin tells whether nothing pins the segment any more, and it has ended.
func (ss *segments) unpin(n uint32, body uint64) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.set[n]
	if s == nil {
		return false
	}
	delete(s.pins, body)
	return len(s.pins) == 0 && ss.set[n+1] != nil
}

// find needs the lock.
func (ss *segments) find(n uint32) *segment {
	if s := ss.set[n]; s != nil {
		return s
	}
	for _, c := range ss.condemned {
		if c.s.n == n {
			return c.s
		}
	}
	return nil
}

// acquire opens a segment for reading; release must follow.
func (ss *segments) acquire(n uint32) (*segment, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.find(n)
	if s == nil {
		return nil, fmt.Errorf("%s: is not there: %w", ss.path(n), store.ErrCorrupt)
	}
	if s.file == nil {
		f, err := ss.fs.Open(ss.path(n), 0)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = errors.Join(store.ErrCorrupt, err)
			}
			return nil, err
		}
		s.file = f
		ss.open++
	}
	s.users++
	ss.clock++
	s.used = ss.clock
	ss.shrink()
	return s, nil
}

func (ss *segments) release(s *segment) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if s.users--; s.users == 0 && s.gone {
		ss.shut(s)
	}
}

// shrink closes the files that were not read for the longest time. It needs the lock.
func (ss *segments) shrink() {
	for ss.open > ss.max {
		var oldest *segment
		for _, s := range ss.set {
			if s.file != nil && s.users == 0 && (oldest == nil || s.used < oldest.used) {
				oldest = s
			}
		}
		if oldest == nil {
			return
		}
		ss.shut(oldest)
	}
}

func (ss *segments) shut(s *segment) {
	if s.file != nil {
		s.file.Close() // opened for reading: nothing to lose
		s.file = nil
		ss.open--
	}
}

// readAt reads from a segment, as far as it goes.
func (ss *segments) readAt(n uint32, p []byte, off int64) (int, error) {
	s, err := ss.acquire(n)
	if err != nil {
		return 0, err
	}
	defer ss.release(s)
	got, err := s.file.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return got, err
}

// condemn takes a segment out of the database. Its file goes when no view that may read it is left.
func (ss *segments) condemn(n uint32) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.set[n]
	if s == nil {
		return
	}
	delete(ss.set, n)
	c := condemned{s: s}
	for r := range ss.views {
		c.views = append(c.views, r)
	}
	ss.condemned = append(ss.condemned, c)
}

// sweep removes the files of condemned segments that nobody reads any more, and says how many and how large.
func (ss *segments) sweep() (n int, octets int64, err error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if len(ss.condemned) == 0 {
		return 0, 0, nil
	}
	now := time.Now()
	var keep []condemned
	for _, c := range ss.condemned {
		if err != nil || slices.ContainsFunc(c.views, func(r *reader) bool { return ss.reading(r, now) }) {
			keep = append(keep, c)
			continue
		}
		if e := ss.fs.Remove(ss.path(c.s.n)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = e
			keep = append(keep, c)
			continue
		}
		c.s.gone = true
		if c.s.users == 0 {
			ss.shut(c.s)
		}
		n++
		octets += c.s.size
	}
	ss.condemned = keep
	return n, octets, err
}

// reading tells whether a view is open and has time left.
func (ss *segments) reading(r *reader, now time.Time) bool {
	_, open := ss.views[r]
	return open && now.Before(r.over)
}

func (ss *segments) enter(r *reader) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.views[r] = struct{}{}
}

// leave tells whether segments wait for a sweep.
func (ss *segments) leave(r *reader) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.views, r)
	return len(ss.condemned) > 0
}

func (ss *segments) close() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, s := range ss.set {
		ss.shut(s)
	}
	for _, c := range ss.condemned {
		ss.shut(c.s)
	}
}

func (ss *segments) has(n uint32) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.set[n] != nil
}

func (ss *segments) pinned(n uint32) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.set[n] != nil && len(ss.set[n].pins) > 0
}

// octetsFrom is the size of the segment of a place and of those after it.
func (ss *segments) octetsFrom(p place) int64 {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var sum int64
	for n, s := range ss.set {
		if n >= p.seg {
			sum += s.size
		}
	}
	return sum
}
