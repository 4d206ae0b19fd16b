package log

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// blockCache is the index's cache of blocks, of Options.CacheOctets. Pebble takes the memory of its memtables out of the size of its
// cache: with memtables as large as the cache nothing would ever be found there. So the cache is made larger by what memtables
// can take, one that is filled and one that is flushed or kept for the next; and what they do not take yet, for Pebble
// begins with small ones and doubles them, is held back, so that blocks do not take it either.
type blockCache struct {
	cache *pebble.Cache

	mu       sync.Mutex
	memtable int64 // octets of the one that is filled now
	largest  int64
	release  func()
}

// firstMemtable is how large Pebble makes the first one.
const firstMemtable = 256 << 10

func newBlockCache(blocks, memtable int64) *blockCache {
	c := &blockCache{cache: pebble.NewCache(blocks + 2*memtable), memtable: min(firstMemtable, memtable), largest: memtable}
	c.release = c.cache.Reserve(int(2 * (c.largest - c.memtable)))
	return c
}

// flushed is told how many memtables were flushed: each was followed by one of twice its size.
func (c *blockCache) flushed(memtables int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.memtable == c.largest {
		return
	}
	for range memtables {
		c.memtable = min(2*c.memtable, c.largest)
	}
	c.release()
	c.release = c.cache.Reserve(int(2 * (c.largest - c.memtable)))
}
