package disk

import (
	"math/rand/v2"
	"path"
	"sort"
)

// Loss is what a power cut takes.
type Loss int

const (
	// Strict drops every octet and every entry that was not synced.
	Strict Loss = iota
	// Random keeps, by the seed of the Sim, some of the pages that were not synced, in any order, some of them torn at
	// a sector; each file's length is the synced one, the written one or one between; of the changes of each
	// directory some first ones are kept.
	Random
	// Nothing keeps all that was written: the process died, the machine lives.
	Nothing
)

const sector = 512

// Crash cuts the power of s and returns the disk as it is found afterwards. s itself gives only ErrOff from then on,
// and its content is let go, because who used it may hold on to its files.
func (s *Sim) Crash(loss Loss) *Sim {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = true
	n := NewSim(s.rng.Uint64())
	n.NoDirect, n.CapacityOctets = s.NoDirect, s.CapacityOctets
	inodes := map[*inode]*inode{}
	if root := s.dirs["/"]; root != nil {
		s.copyDir(n, "/", loss, inodes)
	}
	for _, ino := range inodes {
		n.used += int64(len(ino.data))
	}
	s.empty()
	return n
}

// empty needs the lock.
func (s *Sim) empty() {
	for _, d := range s.dirs {
		for _, m := range []map[string]*inode{d.now, d.stable} {
			for _, ino := range m {
				ino.data, ino.stable, ino.dirty = nil, nil, nil
			}
		}
	}
	s.dirs, s.Faults = map[string]*simDir{"/": newSimDir()}, nil
}

func (s *Sim) copyDir(n *Sim, name string, loss Loss, inodes map[*inode]*inode) {
	from := s.dirs[name]
	switch loss {
	case Nothing:
		from.settle(len(from.log))
	case Random:
		from.settle(s.rng.IntN(len(from.log) + 1))
	}
	to := newSimDir()
	n.dirs[name] = to
	for _, base := range sortedNames(from.stable) {
		ino := from.stable[base]
		copied := inodes[ino]
		if ino.dir {
			if s.dirs[path.Join(name, base)] == nil {
				continue // its removal was not synced; that it was emptied before is lost with it
			}
			copied = &inode{dir: true, links: 1}
			s.copyDir(n, path.Join(name, base), loss, inodes)
		} else if copied == nil {
			copied = ino.afterCrash(loss, s.rng)
			inodes[ino] = copied
		} else {
			copied.links++
		}
		to.now[base], to.stable[base] = copied, copied
	}
}

func (i *inode) afterCrash(loss Loss, rng *rand.Rand) *inode {
	var data []byte
	switch loss {
	case Nothing:
		data = append(data, i.data...)
	case Strict:
		data = append(data, i.stable...)
	case Random:
		data = i.survivors(rng)
	}
	return &inode{data: data, stable: append([]byte(nil), data...), dirty: map[int64]struct{}{}, links: 1}
}

func (i *inode) survivors(rng *rand.Rand) []byte {
	size := len(i.stable)
	if d := len(i.data) - size; d != 0 {
		switch rng.IntN(3) {
		case 0:
			size = len(i.data)
		case 1:
			size = min(size, len(i.data)) + rng.IntN(max(d, -d)+1)
		}
	}
	data := make([]byte, size)
	copy(data, i.stable)
	pages := make([]int64, 0, len(i.dirty))
	for pg := range i.dirty {
		pages = append(pages, pg)
	}
	sort.Slice(pages, func(a, b int) bool { return pages[a] < pages[b] })
	keep := rng.IntN(4) // of 3: how many of the pages had reached the disk
	for _, pg := range pages {
		switch {
		case rng.IntN(3) >= keep:
		case rng.IntN(8) == 0:
			i.copyPage(data, pg, sector*rng.IntN(page/sector))
		default:
			i.copyPage(data, pg, page)
		}
	}
	return data
}
