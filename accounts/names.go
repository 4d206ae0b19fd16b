package accounts

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// name is what an address of ours is: an account, an alias or a list. It is never changed once made.
type name struct {
	account *Account
	alias   *Alias
	list    *List
	targets []mail.Target // of an account: itself; shared with callers, who must not change it
	ids     []uint64
}

// Octets that a name costs in the cache beside its strings: the item, the map's slot, the structs.
const nameOctets = 400

func (n *name) cost(key mail.Address) int64 {
	c := nameOctets + 2*(len(key.Domain)+len(key.Local))
	for _, t := range n.leads() {
		c += len(t.Domain) + len(t.Local) + 32
	}
	if n.list != nil {
		for _, t := range n.list.Posters {
			c += len(t.Domain) + len(t.Local) + 32
		}
	}
	return int64(c)
}

// leads lists the addresses that a name leads to.
func (n *name) leads() []mail.Address {
	switch {
	case n == nil || n.account != nil:
		return nil
	case n.list != nil:
		return append(append(make([]mail.Address, 0, len(n.list.Owners)+len(n.list.Members)), n.list.Owners...), n.list.Members...)
	}
	return n.alias.Targets
}

// what says it for people.
func (n *name) what(addr mail.Address) string {
	switch {
	case n.account != nil:
		return "account " + addr.String()
	case n.list != nil:
		return "list " + addr.String()
	}
	return "alias " + ShowAlias(addr)
}

func nameOfAccount(a Account) *name {
	return &name{account: &a, targets: []mail.Target{{Address: a.Address}}, ids: []uint64{a.ID}}
}

// names is what the room remembers of its names: those used last, whole, and of all of them a hash, so that an
// address nobody has costs no disk read. The hashes take some 30 octets a name.
type names struct {
	mu     sync.Mutex
	cache  *lru[mail.Address, *name]
	epoch  uint64 // grows with every change, so that no reader puts back what was read before it
	seed   maphash.Seed
	known  map[uint64]uint32 // hash: how many names have it, or more
	loaded bool              // known is complete: a hash not in it is of no name
}

func (n *names) hash(a mail.Address) uint64 { return maphash.Comparable(n.seed, a) }

// get returns a name from memory; absent says for sure that there is none.
func (n *names) get(a mail.Address) (found *name, absent bool, epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if v, ok := n.cache.get(a); ok {
		return v, false, n.epoch
	}
	if n.loaded {
		_, maybe := n.known[n.hash(a)]
		absent = !maybe
	}
	return nil, absent, n.epoch
}

func (n *names) put(a mail.Address, v *name, epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.epoch == epoch {
		n.cache.put(a, v, v.cost(a))
	}
}

// expect makes a name possible before the batch that makes it is submitted.
func (n *names) expect(a mail.Address) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[n.hash(a)]++
}

// changed forgets what was remembered of a name; gone says that it is no more.
func (n *names) changed(a mail.Address, gone bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.epoch++
	n.cache.remove(a)
	// While loading, a name that shares the hash may not have been counted yet, so the hash stays.
	if h := n.hash(a); gone && n.loaded {
		if n.known[h]--; n.known[h] == 0 {
			delete(n.known, h)
		}
	}
}

// pageRows is how many rows one View reads in a long scan.
const pageRows = 1000

// load counts all names, in pages, so that opening does not wait for it.
func (a *Accounts) load(ctx context.Context) error {
	err := a.scan(ctx, []byte(tagName), func(kv store.KV) error {
		if name, ok := parseName(kv.Key[len(tagName):]); ok {
			a.names.expect(name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.names.mu.Lock()
	a.names.loaded = true
	a.names.mu.Unlock()
	return nil
}

// scan calls fn for each row with the prefix, outside any View, in pages: rows that change meanwhile are seen as
// they were or as they are.
func (a *Accounts) scan(ctx context.Context, prefix []byte, fn func(store.KV) error) error {
	return a.scanRange(ctx, append([]byte(nil), prefix...), after(prefix), fn)
}

// scanRange is scan for the rows of [lo, hi).
func (a *Accounts) scanRange(ctx context.Context, lo, hi []byte, fn func(store.KV) error) error {
	page := make([]store.KV, 0, pageRows)
	for {
		page = page[:0]
		err := a.c.Engine.View(ctx, func(r store.Reader) error {
			for kv, err := range r.Scan(ctx, lo, hi, false) {
				if err != nil {
					return err
				}
				page = append(page, store.KV{Key: append([]byte(nil), kv.Key...), Value: append([]byte(nil), kv.Value...)})
				if len(page) == pageRows {
					break
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, kv := range page {
			if err := fn(kv); err != nil {
				return err
			}
		}
		if len(page) < pageRows {
			return nil
		}
		lo = append(page[len(page)-1].Key, 0)
	}
}

// parseName reads domain NUL local.
func parseName(key []byte) (mail.Address, bool) {
	for i, c := range key {
		if c == 0 {
			return mail.Address{Domain: string(key[:i]), Local: string(key[i+1:])}, i > 0 && i+1 < len(key)
		}
	}
	return mail.Address{}, false
}

// find returns what a canonical address is, nil if there is no such name.
func (a *Accounts) find(ctx context.Context, addr mail.Address) (*name, error) {
	n, absent, epoch := a.names.get(addr)
	if n != nil || absent {
		return n, nil
	}
	n, err := a.read(ctx, addr)
	if err == nil && n != nil {
		a.names.put(addr, n, epoch)
	}
	return n, err
}

func (a *Accounts) read(ctx context.Context, addr mail.Address) (n *name, err error) {
	a.reads.Add(1)
	err = a.c.Engine.View(ctx, func(r store.Reader) error {
		row, err := r.Get(ctx, keyName(addr))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		id, other, err := decodeName(addr, row)
		if err != nil {
			return err
		}
		if id == 0 {
			n = other
			return nil
		}
		acc, err := readAccount(ctx, r, id)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("accounts: name %s leads to account %d, which is not there: %w", addr, id, store.ErrCorrupt)
		}
		if err != nil {
			return err
		}
		n = nameOfAccount(acc)
		return nil
	})
	return n, err
}

func readAccount(ctx context.Context, r store.Reader, id uint64) (Account, error) {
	row, err := r.Get(ctx, keyID(tagAccount, id))
	if err != nil {
		return Account{}, err
	}
	return decodeAccount(id, row)
}
