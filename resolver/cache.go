package resolver

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// cache remembers answers, and forgets the one unused for longest when it is full.
type cache struct {
	max int

	mu    sync.Mutex
	m     map[question]*list.Element // of *cached
	order list.List                  // most recently used first
}

type cached struct {
	q question
	f found
}

func newCache(limit int) *cache { return &cache{max: limit, m: map[question]*list.Element{}} }

func (c *cache) get(q question, now time.Time) (found, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[q]
	if e == nil {
		return found{}, false
	}
	it := e.Value.(*cached)
	if !now.Before(it.f.until) {
		c.order.Remove(e)
		delete(c.m, q)
		return found{}, false
	}
	c.order.MoveToFront(e)
	return it.f, true
}

func (c *cache) put(q question, f found) {
	if c.max < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.m[q]; e != nil {
		e.Value.(*cached).f = f
		c.order.MoveToFront(e)
		return
	}
	for c.order.Len() >= c.max {
		last := c.order.Back()
		delete(c.m, last.Value.(*cached).q)
		c.order.Remove(last)
	}
	c.m[q] = c.order.PushFront(&cached{q, f})
}

// flights lets one question be asked once, however many wait for the answer.
type flights struct {
	mu sync.Mutex
	m  map[question]*flight
}

type flight struct {
	done chan struct{}
	f    found
}

func (fs *flights) do(ctx context.Context, q question, fn func() found) (found, error) {
	fs.mu.Lock()
	fl := fs.m[q]
	if fl == nil {
		fl = &flight{done: make(chan struct{})}
		fs.m[q] = fl
		go func() {
			fl.f = fn()
			fs.mu.Lock()
			delete(fs.m, q)
			fs.mu.Unlock()
			close(fl.done)
		}()
	}
	fs.mu.Unlock()
	select {
	case <-fl.done:
		return fl.f, nil
	case <-ctx.Done():
		return found{}, ctx.Err()
	}
}
