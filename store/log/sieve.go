package log

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// sieve knows of most keys that are not in the database that they are not: a Bloom filter in memory over the rows whose
// keys begin with certain octets (Options.SieveKinds). Such a row is asked for at each delivery and is hardly ever there,
// and the index would look for it in every table of its lowest level, whose own filters a Get does not use.
//
// It is made in the background when it is first asked, from what the index has; keys submitted meanwhile are entered as
// they come, so that a finished table holds a superset of what there is, and of what a View sees that began while it was in use. Keys that went stay in it until it is
// made again, which is when twice as many have been entered as it was made for.
type sieve struct {
	e     *Engine
	kinds [256]bool
	seed  maphash.Seed
	table atomic.Pointer[sieveTable] // finished; nil: nothing is known
	next  atomic.Pointer[sieveTable] // being made; entered into as well

	mu     sync.Mutex
	making bool
	failed bool // the index could not be read: no more tries
}

// sieveTable is a Bloom filter of blocks of one cache line: a key sets sieveBits bits of one block.
type sieveTable struct {
	blocks [][8]atomic.Uint64
	n      atomic.Int64 // keys entered
	room   int64        // for which it was made
}

const (
	sieveBits     = 7
	bitsForKey    = 12      // with 7 bits in a block of 512: about 1 in 200 absent keys is not known to be absent
	sieveLeast    = 1 << 16 // keys for which it is made at least: 96 KiB
	sievePatience = 1 << 10 // rows between two looks whether the engine is closing
)

func newSieve(e *Engine) *sieve {
	s := &sieve{e: e, seed: maphash.MakeSeed()}
	for _, k := range e.o.SieveKinds {
		s.kinds[k] = true
	}
	return s
}

// newTable makes room for that many keys, within Options.SieveOctets.
func (s *sieve) newTable(keys int64) *sieveTable {
	keys = max(keys, sieveLeast)
	blocks := min(keys*bitsForKey/512+1, max(s.e.o.SieveOctets/64, 1))
	return &sieveTable{blocks: make([][8]atomic.Uint64, blocks), room: keys}
}

// place is the block of a key and the bits in it.
func (t *sieveTable) place(h uint64) (*[8]atomic.Uint64, uint64) {
	i, _ := bits.Mul64(h, uint64(len(t.blocks)))
	return &t.blocks[i], h * 0x9e3779b97f4a7c15
}

func (t *sieveTable) enter(h uint64) {
	b, bitsOf := t.place(h)
	for range sieveBits {
		mask := uint64(1) << (bitsOf & 63)
		if w := &b[bitsOf>>6&7]; w.Load()&mask == 0 {
			w.Or(mask)
		}
		bitsOf = bits.RotateLeft64(bitsOf, -9)
	}
	t.n.Add(1)
}

func (t *sieveTable) has(h uint64) bool {
	b, bitsOf := t.place(h)
	for range sieveBits {
		if b[bitsOf>>6&7].Load()&(1<<(bitsOf&63)) == 0 {
			return false
		}
		bitsOf = bits.RotateLeft64(bitsOf, -9)
	}
	return true
}

// absent reports whether the row of key is known to be neither in the index nor submitted. It needs the engine's lock; a
// View asks the table that it began with.
func (s *sieve) absent(key []byte) bool {
	t := s.table.Load()
	if t == nil {
		s.want(key)
		return false
	}
	return s.missing(t, key)
}

// want begins to make a table if it would be of use for a key.
func (s *sieve) want(key []byte) {
	if len(key) > 0 && s.kinds[key[0]] && s.table.Load() == nil {
		s.make(sieveLeast)
	}
}

func (s *sieve) missing(t *sieveTable, key []byte) bool {
	return len(key) > 0 && s.kinds[key[0]] && !t.has(maphash.Bytes(s.seed, key))
}

// enter takes note of a row that is being submitted. It needs the engine's lock.
func (s *sieve) enter(key []byte) {
	if len(key) == 0 || !s.kinds[key[0]] {
		return
	}
	t, next := s.table.Load(), s.next.Load()
	if t == nil && next == nil {
		return
	}
	h := maphash.Bytes(s.seed, key)
	if next != nil {
		next.enter(h)
	}
	if t == nil {
		return
	}
	if t.enter(h); t.n.Load() > t.room && next == nil {
		s.make(2 * t.n.Load())
	}
}

// make begins to make a table for at least that many keys, unless one is being made.
func (s *sieve) make(keys int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.making || s.failed || (s.table.Load() != nil && keys*bitsForKey/512 > 2*s.e.o.SieveOctets/64) {
		return
	}
	s.making = true
	go s.fill(keys)
}

// fill reads the index. It counts the keys first, so that the table has the right size.
func (s *sieve) fill(keys int64) {
	if !s.e.enterBackground() {
		return
	}
	defer s.e.done.Done()
	err := func() error {
		if s.table.Load() == nil {
			n, err := s.scan(func([]byte) {})
			if err != nil {
				return err
			}
			keys = max(keys, 2*n)
		}
		t := s.newTable(keys)
		s.e.mu.Lock()
		s.next.Store(t)
		for k := range s.e.overlay.rows {
			if s.kinds[k[0]] {
				t.enter(maphash.String(s.seed, k))
			}
		}
		s.e.mu.Unlock()
		_, err := s.scan(func(key []byte) { t.enter(maphash.Bytes(s.seed, key)) })
		if err == nil {
			s.e.mu.Lock()
			s.table.Store(t)
			s.e.mu.Unlock()
		}
		return err
	}()
	s.next.Store(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.making, s.failed = false, err != nil
}

// scan gives all keys of the kinds, and how many there are.
func (s *sieve) scan(use func(key []byte)) (n int64, err error) {
	for k, wanted := range s.kinds {
		if !wanted {
			continue
		}
		lo := []byte{keyRow, byte(k)}
		hi := []byte{keyRow, byte(k) + 1}
		if k == 255 {
			hi = []byte{keyRow + 1}
		}
		m, err := s.scanRange(lo, hi, use)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *sieve) scanRange(lo, hi []byte, use func(key []byte)) (n int64, err error) {
	it, err := s.e.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return 0, fmt.Errorf("sieve: %w", err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		use(bytes.TrimPrefix(it.Key(), lo[:1]))
		if n++; n%sievePatience == 0 && s.e.isEnding() {
			return n, context.Canceled
		}
	}
	return n, it.Error()
}
