package accounts

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/samotop/samotop/store"
)

// Octets that a contact costs in the cache beside its key and row.
const contactOctets = 160

// contactCache remembers the rows of contacts: those used last, whole, and of all of them a filter, so that somebody whom
// nobody knows costs no disk read. The filter takes some three octets a contact.
type contactCache struct {
	mu     sync.Mutex
	rows   *lru[string, []byte] // by key; nil: there is none, although the filter thinks so
	epoch  uint64               // grows with every change, so that no reader puts back what was read before it
	seed   maphash.Seed
	filter growing
	loaded bool // the filter is complete
}

func (c *contactCache) init(maxOctets int64) {
	c.rows, c.seed = newLRU[string, []byte](maxOctets), maphash.MakeSeed()
}

// get returns a row from memory. Known says that it is what the disk has, or will have.
func (c *contactCache) get(key []byte) (row []byte, known bool, epoch uint64) {
	h := maphash.Bytes(c.seed, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if row, ok := c.rows.get(string(key)); ok {
		return row, true, c.epoch
	}
	return nil, c.loaded && !c.filter.has(h), c.epoch
}

func (c *contactCache) put(key, row []byte, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		c.rows.put(string(key), row, int64(contactOctets+len(key)+len(row)))
	}
}

// expect makes contacts possible before the batch that makes them is submitted.
func (c *contactCache) expect(key []byte) {
	h := maphash.Bytes(c.seed, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filter.add(h)
}

// changed forgets what was remembered of a contact.
func (c *contactCache) changed(keys [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for _, k := range keys {
		c.rows.remove(string(k))
	}
}

// changes returns the contacts that a batch writes or removes; those it writes are expected from now on.
func (c *contactCache) changes(b *store.Batch) (keys [][]byte) {
	for _, op := range b.Ops {
		if op.Kind == store.OpDeleteRange || !strings.HasPrefix(string(op.Key[:min(len(op.Key), len(tagContact))]), tagContact) {
			continue // a range is that of an account that goes, whose number nobody gets again
		}
		if op.Kind == store.OpPut {
			c.expect(op.Key)
		}
		keys = append(keys, op.Key)
	}
	return keys
}

// commitCached makes a batch durable and forgets what it changed, whatever came of it.
func (a *Accounts) commitCached(ctx context.Context, b *store.Batch) error {
	keys := a.contacts.cache.changes(b)
	err := store.Commit(ctx, a.c.Engine, b)
	a.contacts.cache.changed(keys)
	return err
}

// contactRow reads the row of a contact; nil if there is none. It must not be changed.
func (a *Accounts) contactRow(ctx context.Context, id uint64, name string) ([]byte, error) {
	key := contactKey(id, name)
	row, known, epoch := a.contacts.cache.get(key)
	if known {
		return row, nil
	}
	a.reads.Add(1)
	row, err := a.get(ctx, key)
	if err == nil {
		a.contacts.cache.put(key, row, epoch)
	}
	return row, err
}

// loadContacts fills the filter, in pages, so that opening does not wait for it.
func (a *Accounts) loadContacts(ctx context.Context) error {
	c := &a.contacts.cache
	err := a.scan(ctx, []byte(tagContact), func(kv store.KV) error {
		c.expect(kv.Key)
		return nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.loaded = true
	c.mu.Unlock()
	return nil
}

// growing is a Bloom filter that gets another, twice as large, when it is full: 12 bits and 6 probes for each key, which is
// wrong about one in some hundred keys.
type growing struct{ parts []bloom }

type bloom struct {
	bits     []uint64
	n, limit int
}

const (
	bloomFirst  = 1 << 14 // keys of the first part
	bloomBits   = 12      // for each key
	bloomProbes = 6
)

func (g *growing) add(h uint64) {
	if n := len(g.parts); n == 0 || g.parts[n-1].n >= g.parts[n-1].limit {
		limit := bloomFirst
		if n > 0 {
			limit = 2 * g.parts[n-1].limit
		}
		g.parts = append(g.parts, bloom{bits: make([]uint64, limit*bloomBits/64), limit: limit})
	}
	p := &g.parts[len(g.parts)-1]
	p.n++
	p.each(h, func(at uint64) bool { p.bits[at/64] |= 1 << (at % 64); return true })
}

func (g *growing) has(h uint64) bool {
	for i := range g.parts {
		p := &g.parts[i]
		if p.each(h, func(at uint64) bool { return p.bits[at/64]&(1<<(at%64)) != 0 }) {
			return true
		}
	}
	return false
}

// each calls fn for each place of a key until it says no.
func (p *bloom) each(h uint64, fn func(at uint64) bool) bool {
	size, step := uint64(len(p.bits))*64, h>>17|1
	for range bloomProbes {
		if !fn(h % size) {
			return false
		}
		h += step
		h ^= h << 13 // so that two keys that meet once go on apart
	}
	return true
}
