package filter

import (
	"math/bits"
	"sync"

	"github.com/samotop/samotop/junk"
)

// wordCache holds the words last asked for, those too that are not in the table. It has a fixed size, and two places for
// each word.
type wordCache struct {
	mu   sync.RWMutex
	of   []cached
	mask uint64
	turn bool
}

type cached struct {
	owner uint64 // one more than the owner; 0: the place is free
	hash  uint64
	junk.Counts
}

func newWordCache(entries int) wordCache {
	n := uint64(2)
	if entries > 2 {
		n = 1 << (bits.Len(uint(entries)) - 1)
	}
	return wordCache{of: make([]cached, n), mask: n - 1}
}

func (c *wordCache) place(owner, hash uint64) uint64 {
	return (hash ^ owner*0x9e3779b97f4a7c15) & c.mask
}

// get is to be called with the lock held for reading.
func (c *wordCache) get(owner, hash uint64) (junk.Counts, bool) {
	at := c.place(owner, hash)
	for range 2 {
		if e := &c.of[at]; e.owner == owner+1 && e.hash == hash {
			return e.Counts, true
		}
		at ^= 1
	}
	return junk.Counts{}, false
}

// put is to be called with the lock held.
func (c *wordCache) put(owner, hash uint64, n junk.Counts) {
	at := c.place(owner, hash)
	switch a, b := &c.of[at], &c.of[at^1]; {
	case a.owner == owner+1 && a.hash == hash, a.owner == 0:
	case b.owner == owner+1 && b.hash == hash, b.owner == 0, c.turn:
		at ^= 1
	}
	c.turn = !c.turn
	c.of[at] = cached{owner + 1, hash, n}
}

// forget takes out all of an owner.
func (c *wordCache) forget(owner uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.of {
		if c.of[i].owner == owner+1 {
			c.of[i] = cached{}
		}
	}
}

// maxSums is how many accounts' sums are in memory.
const maxSums = 100_000

// sumCache holds the sums of tables.
type sumCache struct {
	mu sync.Mutex
	of map[uint64]sums
}

func (c *sumCache) get(owner uint64) (sums, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.of[owner]
	return s, ok
}

func (c *sumCache) put(owner uint64, s sums) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.of) >= maxSums {
		clear(c.of)
	}
	c.of[owner] = s
}
