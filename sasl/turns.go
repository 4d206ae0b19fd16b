package sasl

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// turnKey is what attempts are counted of while their credentials are verified: an account, a network, or both where the
// account is known there.
type turnKey struct {
	account string
	network netip.Prefix
	known   bool
}

// turns are the attempts of a key that are under way, and those that wait for one of them to end.
type turns struct {
	trying int
	queue  []chan struct{}
}

// keys returns what an attempt counts for.
func (l *Limiter) keys(account string, network netip.Prefix) []turnKey {
	if p, ok := l.pairs.get(pair{account, network}); ok && l.knows(p, l.now()) {
		return []turnKey{{account, network, true}}
	}
	keys := make([]turnKey, 0, 2)
	if account != "" {
		keys = append(keys, turnKey{account: account})
	}
	if network.IsValid() {
		keys = append(keys, turnKey{network: network})
	}
	return keys
}

// full returns a key of which so many attempts are under way that, if all of them fail, the next one is not free.
func (l *Limiter) full(keys []turnKey) (turnKey, bool) {
	for _, k := range keys {
		t := l.turns[k]
		if t != nil && t.trying > 0 && l.faded(l.countOf(k), l.now())+float64(t.trying) >= float64(or(l.Free, 5)) {
			return k, true
		}
	}
	return turnKey{}, false
}

func (l *Limiter) countOf(k turnKey) (c count) {
	switch {
	case k.known:
		c, _ = l.pairs.get(pair{k.account, k.network})
	case k.network.IsValid():
		c, _ = l.networks.get(k.network)
	default:
		c, _ = l.accounts.get(k.account)
	}
	return c
}

// take waits until the attempt may be made at once, and counts it for what it returns, or until it has to be delayed. It is called
// with mu held, and returns so.
func (l *Limiter) take(ctx context.Context, account string, network netip.Prefix) (time.Duration, []turnKey, error) {
	for {
		if delay := l.delay(account, network); delay > 0 {
			return delay, nil, nil
		}
		keys := l.keys(account, network)
		k, full := l.full(keys)
		if !full {
			for _, k := range keys {
				if l.turns[k] == nil {
					l.turns[k] = &turns{}
				}
				l.turns[k].trying++
			}
			return 0, keys, nil
		}
		if err := l.queue(ctx, k); err != nil {
			return 0, nil, err
		}
		defer l.next(k) // at the end: what this attempt did not take may be the next one's
	}
}

// queue waits until an attempt of the key ends.
func (l *Limiter) queue(ctx context.Context, k turnKey) error {
	t, woken := l.turns[k], make(chan struct{})
	t.queue = append(t.queue, woken)
	l.mu.Unlock()
	var err error
	select {
	case <-woken:
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.mu.Lock()
	if err == nil {
		return nil
	}
	if i := slices.Index(t.queue, woken); i >= 0 {
		t.queue = slices.Delete(t.queue, i, i+1)
	} else { // its turn has come meanwhile
		l.next(k)
	}
	return err
}

// next lets the first one in the queue of a key look again, if there is room.
func (l *Limiter) next(k turnKey) {
	t := l.turns[k]
	if t == nil {
		return
	}
	if len(t.queue) > 0 {
		if _, full := l.full([]turnKey{k}); !full {
			close(t.queue[0])
			t.queue = t.queue[1:]
		}
		return
	}
	if t.trying == 0 {
		delete(l.turns, k)
	}
}

// give ends an attempt that take has let in.
func (l *Limiter) give(keys []turnKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		l.turns[k].trying--
		l.next(k)
	}
}
