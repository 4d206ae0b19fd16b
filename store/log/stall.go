package log

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/store"
)

// stall is how those who wait learn that the index has kept the applier for too long, because it finds no room.
type stall struct {
	full  chan struct{} // of capacity 1: the index finds no room
	since atomic.Int64  // when the applier went into the index, unix nanoseconds; 0: it is not there
	on    atomic.Bool

	mu   sync.Mutex
	over atomic.Pointer[chan struct{}] // closed while on
}

func newStall() *stall {
	s := &stall{full: make(chan struct{}, 1)}
	s.renew()
	return s
}

func (s *stall) renew() {
	c := make(chan struct{})
	s.over.Store(&c)
}

func (s *stall) enter() { s.since.Store(time.Now().UnixNano()) }

func (s *stall) leave() {
	s.since.Store(0)
	if s.on.Load() {
		s.end()
	}
}

func (s *stall) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on.Swap(false) {
		s.renew()
	}
}

// look tells those who wait if the applier has been in the index for that long.
func (s *stall) look(limit time.Duration) {
	since := s.since.Load()
	if since == 0 || time.Now().UnixNano()-since < int64(limit) {
		return
	}
	s.mu.Lock()
	if !s.on.Swap(true) {
		close(*s.over.Load())
	}
	s.mu.Unlock()
	if s.since.Load() != since {
		s.end()
	}
}

// ended is closed while the applier is stuck.
func (s *stall) ended() <-chan struct{} { return *s.over.Load() }

// noRoom notes that the index waits for space. It takes no lock: the index calls it with its own lock held.
func (e *Engine) noRoom() {
	e.full.Store(true)
	e.fullAt.Store(time.Now().UnixNano())
	select {
	case e.stall.full <- struct{}{}:
	default:
	}
}

// isIndexFull tells whether a flush or compaction found no space and none found some since. A flush is tried again all the
// time; a compaction need not be, so that this does not hold for ever.
func (e *Engine) isIndexFull() bool {
	at := e.fullAt.Load()
	return at != 0 && time.Now().UnixNano()-at < 10*int64(e.o.fullPause)
}

// watchRoom is a goroutine.
func (e *Engine) watchRoom() {
	defer e.done.Done()
	for {
		select {
		case <-e.stopKeep:
			return
		case <-e.fenced:
			return
		case <-e.stall.full:
		}
		for e.isIndexFull() || e.stall.since.Load() != 0 {
			e.stall.look(e.o.StallTime)
			select {
			case <-e.stopKeep:
				return
			case <-e.fenced:
				return
			case <-time.After(max(e.o.StallTime/8, time.Millisecond)):
			}
		}
	}
}

// unseen is the error of a batch that is durable, or may be, and waits for an index without room.
func (e *Engine) unseen() error {
	return fmt.Errorf("commit: the index has found no room for %v: %w", e.o.StallTime, store.ErrUnknown)
}

// stuck is the error of what was not taken because of that.
func (e *Engine) stuck() error {
	return fmt.Errorf("the index has found no room for %v: %w", e.o.StallTime, store.ErrFull)
}
