// Package watch hands durable commits to those who watch a prefix, for the engines of package store.
//
//	h := watch.New(watch.Options{}, pos)
//	h.Publish(pos+1, keys, nil)           // never blocks
//	for ev, err := range h.Watch(ctx, prefix, after) { ... }
//
// A publication costs a map lookup per key and distinct prefix length, however many watch. A watcher that does not
// keep up loses its queue and gets one event with Overflow.
package watch

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/samotop/samotop/store"
)

// Options are the limits of a Hub; zero means the default.
type Options struct {
	// RecentCommits is how many past commits are kept for a Watch that starts in the past; default 1024.
	RecentCommits int
	// RecentOctets bounds the keys of those commits; default 1 MiB.
	RecentOctets int
	// QueueKeys is how many keys and ranges wait for one watcher before it overflows; default 4096.
	QueueKeys int
}

// Hub is safe for concurrent use.
type Hub struct {
	o Options

	mu       sync.Mutex
	last     store.Pos
	lost     store.Pos // commits up to here are no longer in recent
	recent   []commit
	octets   int
	lengths  []int // distinct lengths of the watched prefixes
	watchers map[string]map[*watcher]struct{}
	closed   error
}

type commit struct {
	pos    store.Pos
	keys   [][]byte
	ranges [][2][]byte
	octets int
}

type watcher struct {
	prefix   []byte
	queue    []store.Event
	keys     int
	overflow bool
	at       store.Pos
	signal   chan struct{} // of capacity 1: something is in the queue, or the hub closed
}

// New returns a Hub whose history begins at pos.
func New(o Options, pos store.Pos) *Hub {
	if o.RecentCommits <= 0 {
		o.RecentCommits = 1024
	}
	if o.RecentOctets <= 0 {
		o.RecentOctets = 1 << 20
	}
	if o.QueueKeys <= 0 {
		o.QueueKeys = 4096
	}
	return &Hub{o: o, last: pos, lost: pos, watchers: map[string]map[*watcher]struct{}{}}
}

// Publish tells that the commit at pos is durable and visible. The slices must not be changed afterwards. Positions
// come in ascending order.
func (h *Hub) Publish(pos store.Pos, keys [][]byte, ranges [][2][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		return
	}
	h.last = pos
	h.remember(commit{pos: pos, keys: keys, ranges: ranges})
	if len(h.watchers) == 0 {
		return
	}
	for _, k := range keys {
		for _, n := range h.lengths {
			if n > len(k) {
				continue
			}
			for w := range h.watchers[string(k[:n])] {
				h.add(w, pos, k, nil)
			}
		}
	}
	for i := range ranges {
		for _, ws := range h.watchers {
			for w := range ws {
				if touches(w.prefix, ranges[i]) {
					h.add(w, pos, nil, &ranges[i])
				}
			}
		}
	}
}

func (h *Hub) remember(c commit) {
	for _, k := range c.keys {
		c.octets += len(k)
	}
	for _, r := range c.ranges {
		c.octets += len(r[0]) + len(r[1])
	}
	h.recent = append(h.recent, c)
	h.octets += c.octets
	drop := 0
	for n := len(h.recent); drop < n && (n-drop > h.o.RecentCommits || h.octets > h.o.RecentOctets); drop++ {
		h.octets -= h.recent[drop].octets
		h.lost = h.recent[drop].pos
		h.recent[drop] = commit{}
	}
	h.recent = h.recent[drop:]
}

func (h *Hub) add(w *watcher, pos store.Pos, key []byte, rng *[2][]byte) {
	w.at = pos
	if !w.overflow && w.keys >= h.o.QueueKeys {
		w.overflow, w.queue, w.keys = true, nil, 0
	}
	if !w.overflow {
		if n := len(w.queue); n == 0 || w.queue[n-1].Pos != pos {
			w.queue = append(w.queue, store.Event{Pos: pos})
		}
		ev := &w.queue[len(w.queue)-1]
		if rng != nil {
			ev.Ranges = append(ev.Ranges, *rng)
		} else {
			ev.Keys = append(ev.Keys, key)
		}
		w.keys++
	}
	w.wake()
}

func (w *watcher) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// touches tells whether [r0, r1) holds a key with the prefix.
func touches(prefix []byte, r [2][]byte) bool {
	if bytes.HasPrefix(r[0], prefix) {
		return true
	}
	return bytes.Compare(r[0], prefix) <= 0 && bytes.Compare(prefix, r[1]) < 0
}

// Watch is the Watch of package store's Engine.
func (h *Hub) Watch(ctx context.Context, prefix []byte, after store.Pos) iter.Seq2[store.Event, error] {
	prefix = bytes.Clone(prefix)
	return func(yield func(store.Event, error) bool) {
		w, err := h.join(prefix, after)
		if err != nil {
			yield(store.Event{}, err)
			return
		}
		defer h.leave(w)
		for {
			for _, ev := range h.take(w) {
				if !yield(ev, nil) {
					return
				}
			}
			if err := h.ended(w); err != nil {
				yield(store.Event{}, err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-w.signal:
			}
		}
	}
}

func (h *Hub) join(prefix []byte, after store.Pos) (*watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		return nil, h.closed
	}
	w := &watcher{prefix: prefix, signal: make(chan struct{}, 1)}
	if after < h.lost {
		w.overflow, w.at = true, h.last
	} else {
		h.catchUp(w, after)
	}
	p := string(prefix)
	if h.watchers[p] == nil {
		h.watchers[p] = map[*watcher]struct{}{}
		if !slices.Contains(h.lengths, len(p)) {
			h.lengths = append(h.lengths, len(p))
		}
	}
	h.watchers[p][w] = struct{}{}
	return w, nil
}

func (h *Hub) catchUp(w *watcher, after store.Pos) {
	for _, c := range h.recent {
		if c.pos <= after {
			continue
		}
		for _, k := range c.keys {
			if bytes.HasPrefix(k, w.prefix) {
				h.add(w, c.pos, k, nil)
			}
		}
		for i := range c.ranges {
			if touches(w.prefix, c.ranges[i]) {
				h.add(w, c.pos, nil, &c.ranges[i])
			}
		}
	}
}

func (h *Hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := string(w.prefix)
	delete(h.watchers[p], w)
	if len(h.watchers[p]) > 0 {
		return
	}
	delete(h.watchers, p)
	for other := range h.watchers {
		if len(other) == len(p) {
			return
		}
	}
	h.lengths = slices.DeleteFunc(h.lengths, func(n int) bool { return n == len(p) })
}

// take empties the watcher's queue.
func (h *Hub) take(w *watcher) []store.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.overflow {
		w.overflow = false
		return []store.Event{{Pos: w.at, Overflow: true}}
	}
	q := w.queue
	w.queue, w.keys = nil, 0
	return q
}

// ended tells why the hub closed, once the watcher has seen everything.
func (h *Hub) ended(w *watcher) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(w.queue) > 0 || w.overflow {
		return nil
	}
	return h.closed
}

// Close ends every Watch with err, after what is queued for it.
func (h *Hub) Close(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		return
	}
	h.closed = err
	for _, ws := range h.watchers {
		for w := range ws {
			w.wake()
		}
	}
}
