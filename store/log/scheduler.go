package log

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler lets the index compact. Pebble's own wakes up ten times a second for ever, and begins to compact while
// Open may still fail; this one sleeps until something happens, and waits for start.
type scheduler struct {
	db   pebble.DBForCompaction
	poke chan struct{}
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	runs    bool // registered
	started bool
	ended   bool
	running int
}

var (
	_ pebble.CompactionScheduler   = (*scheduler)(nil)
	_ pebble.CompactionGrantHandle = (*scheduler)(nil)
)

func newScheduler() *scheduler {
	return &scheduler{poke: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

func (s *scheduler) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// start is called when the index is open.
func (s *scheduler) start() {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	s.wake()
}

// Register is of pebble.CompactionScheduler.
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) {
	s.mu.Lock()
	s.db, s.runs = db, true
	s.mu.Unlock()
	go s.run()
}

func (s *scheduler) run() {
	defer close(s.done)
	for {
		select {
		case <-s.stop:
			return
		case <-s.poke:
		}
		for s.reserve() {
			if waiting, _ := s.db.GetWaitingCompaction(); !waiting || !s.db.Schedule(s) {
				s.giveBack()
				break
			}
		}
	}
}

func (s *scheduler) reserve() bool {
	allowed := s.db.GetAllowedWithoutPermission()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started || s.ended || s.running >= allowed {
		return false
	}
	s.running++
	return true
}

func (s *scheduler) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

// Unregister is of pebble.CompactionScheduler. It does nothing for a database that never came to Register.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	ends := s.runs && !s.ended
	s.ended = true
	s.mu.Unlock()
	if ends {
		close(s.stop)
		<-s.done
	}
}

// TrySchedule is of pebble.CompactionScheduler.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) { return s.reserve(), s }

// UpdateGetAllowedWithoutPermission is of pebble.CompactionScheduler.
func (s *scheduler) UpdateGetAllowedWithoutPermission() { s.wake() }

// Started is of pebble.CompactionGrantHandle.
func (s *scheduler) Started() {}

// MeasureCPU is of pebble.CompactionGrantHandle.
func (s *scheduler) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats is of pebble.CompactionGrantHandle.
func (s *scheduler) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done is of pebble.CompactionGrantHandle.
func (s *scheduler) Done() {
	s.giveBack()
	s.wake()
}
