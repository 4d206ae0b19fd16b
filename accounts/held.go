package accounts

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/samotop/samotop/store"
)

// held is what is held whole in memory: the domains, and the admins who are enabled.
type held struct {
	mu      sync.RWMutex
	domains map[string]Domain
	keepers []Account // admins, the oldest first; replaced, never changed
}

func (h *held) domain(name string) (Domain, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	d, ok := h.domains[name]
	return d, ok
}

// real returns the domain whose addresses a domain of ours has: itself, or the one it is another name of.
func (h *held) real(name string) (Domain, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	d, ok := h.domains[name]
	if ok && d.AliasOf != "" {
		d, ok = h.domains[d.AliasOf]
	}
	return d, ok
}

// named returns a domain that is another name of one; "": there is none.
func (h *held) named(name string) string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, d := range h.domains {
		if d.AliasOf == name {
			return d.Name
		}
	}
	return ""
}

// rules counts those of all domains.
func (h *held) rules() (n int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, d := range h.domains {
		n += len(d.Rules)
	}
	return n
}

func (h *held) count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.domains)
}

func (h *held) all() []Domain {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Collect(maps.Values(h.domains))
}

func (h *held) admins() []Account {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.keepers
}

// setAdmin puts an account among the admins or takes it out.
func (h *held) setAdmin(acc Account) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(h.keepers), func(k Account) bool { return k.ID == acc.ID })
	if acc.Admin && acc.Enabled {
		i, _ := slices.BinarySearchFunc(next, acc, func(x, y Account) int { return cmp.Compare(x.ID, y.ID) })
		next = slices.Insert(next, i, acc)
	}
	h.keepers = next
}

// adminID is the ID of an account if it is an admin, else 0.
func adminID(acc Account) uint64 {
	if acc.Admin {
		return acc.ID
	}
	return 0
}

// readHeld reads all of it.
func (a *Accounts) readHeld(ctx context.Context) error {
	domains := map[string]Domain{}
	err := a.scan(ctx, []byte(tagDomain), func(kv store.KV) error {
		d, err := decodeDomain(string(kv.Key[len(tagDomain):]), kv.Value)
		domains[d.Name] = d
		return err
	})
	if err != nil {
		return err
	}
	a.held.mu.Lock()
	a.held.domains = domains
	a.held.mu.Unlock()
	return a.scan(ctx, []byte(tagAdmin), func(kv store.KV) error {
		if len(kv.Key) != len(tagAdmin)+8 {
			return fmt.Errorf("row of an admin: %w", store.ErrCorrupt)
		}
		return a.readAdmin(ctx, binary.BigEndian.Uint64(kv.Key[len(tagAdmin):]))
	})
}

// readDomain takes over what the disk says of one domain.
func (a *Accounts) readDomain(ctx context.Context, name string) error {
	row, err := a.get(ctx, keyDomain(name))
	if err != nil {
		return err
	}
	var d Domain
	if row != nil {
		if d, err = decodeDomain(name, row); err != nil {
			return err
		}
	}
	a.held.mu.Lock()
	defer a.held.mu.Unlock()
	if row == nil {
		delete(a.held.domains, name)
	} else {
		a.held.domains[name] = d
	}
	return nil
}

// readAdmin takes over what the disk says of one account that is or was an admin.
func (a *Accounts) readAdmin(ctx context.Context, id uint64) error {
	acc, err := a.AccountByID(ctx, id)
	if errors.Is(err, ErrUnknown) {
		acc, err = Account{ID: id}, nil
	}
	if err == nil {
		a.held.setAdmin(acc)
	}
	return err
}
