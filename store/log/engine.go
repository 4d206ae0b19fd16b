package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
	"github.com/samotop/samotop/store/internal/watch"
)

// Engine is one open database; safe for concurrent use.
//
// Four goroutines serve it, all of them asleep when nothing happens: the writer puts groups together, writes and
// syncs them; the applier brings them into the index and wakes those who wait; the keeper frees space after a flush; a
// fourth watches how long an index without room keeps others waiting.
type Engine struct {
	o      Options
	log    *slog.Logger
	lock   io.Closer
	db     *pebble.DB
	blocks *blockCache
	segs   *segments
	hub    *watch.Hub

	id      uint64 // of the database
	session uint64 // of this opening

	mu      sync.Mutex // order of submission
	closing bool
	pos     store.Pos
	overlay overlay
	sieve   *sieve
	queue   []*item
	queued  int64
	room    chan struct{} // closed when the queue has room again; nil while it has
	work    chan struct{} // of capacity 1: the queue is not empty, or closing

	fencing  sync.Once
	fenceErr error // set before fenced is closed: see cause
	fenced   chan struct{}
	serving  atomic.Bool // Open succeeded

	full       atomic.Bool
	spaceAt    atomic.Int64 // unix nanoseconds of the last look at the free space
	w          writer
	zeros      []byte // of the writer
	groups     chan *group
	applied    atomic.Pointer[applied]
	flushed    atomic.Pointer[applied] // what of it survives a crash
	flushing   atomic.Bool
	pokes      chan struct{}
	stopKeep   chan struct{}
	closeIndex chan struct{} // closed by endIndex before the index is: see gateFS
	ending     sync.Once
	indexOpen  atomic.Bool
	opened     chan openedIndex // what openIndex did not wait for
	givenUp    atomic.Bool      // Close did not wait for its end, or it found no room at the end
	fullAt     atomic.Int64     // when a flush or compaction found no space, unix nanoseconds; 0: the last one did
	stall      *stall
	manifest   manifest
	compact    *scheduler
	done       sync.WaitGroup // the four goroutines and flushes
	collectMu  sync.Mutex
	copyErr    atomic.Pointer[error] // of a directory of a checkpoint; see gateFS
	recounted  uint32                // where Collect is in its round; collectMu guards it
	buffers    sync.Pool             // *[]byte, for bodies
	skipped    []store.Fault         // by a rescue
	ballast    bool                  // kept; of Open, then of the keeper
}

// Open opens the database in o.Dir, or makes one. It gives ErrLocked with the number of the process that has it,
// ErrFormat if a newer version wrote it, ErrCorrupt with file and offset if the log is damaged.
func Open(ctx context.Context, o Options) (*Engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{o: o, log: o.Logger, fenced: make(chan struct{}), work: make(chan struct{}, 1),
		groups: make(chan *group, 2), pokes: make(chan struct{}, 1), stopKeep: make(chan struct{}),
		closeIndex: make(chan struct{}), compact: newScheduler(), stall: newStall()}
	e.sieve = newSieve(e)
	if err := e.open(ctx); err != nil {
		e.abandon()
		return nil, fmt.Errorf("open %s: %w", o.Dir, err)
	}
	e.serving.Store(true)
	e.done.Add(4)
	go e.write()
	go e.apply()
	go e.keep()
	go e.watchRoom()
	return e, nil
}

func (e *Engine) open(ctx context.Context) error {
	if err := e.prepareDir(); err != nil {
		return err
	}
	e.dropBallast()
	if err := e.openIndex(); err != nil {
		return err
	}
	if err := e.recover(ctx); err != nil {
		return err
	}
	e.hub = watch.New(watch.Options{}, e.pos)
	e.checkSpace(true)
	e.keepBallast()
	return nil
}

// abandon undoes a half-done open.
func (e *Engine) abandon() {
	e.endIndex()
	select {
	case <-e.dropIndex():
	case <-time.After(e.o.closeTime): // it hangs on a dead disk
	}
	if e.segs != nil {
		e.segs.close()
	}
	if e.w.file != nil {
		e.w.file.Close()
	}
	if e.lock != nil {
		e.lock.Close()
	}
}

// fence stops the engine for good after a failed write. It takes no lock that is held while the index is asked: the
// index calls it with its own lock held.
func (e *Engine) fence(cause error) {
	e.fencing.Do(func() {
		e.fenceErr = fmt.Errorf("%w: %w", store.ErrFenced, cause)
		close(e.fenced)
		e.log.Error("store stopped after a failed write; restart when the disk is sound", "dir", e.o.Dir, "err", cause)
		e.signal()
		if e.o.OnFence != nil && e.serving.Load() {
			go e.o.OnFence(e.fenceErr)
		}
	})
}

// cause is why the engine is fenced, or nil.
func (e *Engine) cause() error {
	select {
	case <-e.fenced:
		return e.fenceErr
	default:
		return nil
	}
}

// Fenced is closed when the engine fences itself; Status says why. A server should exit.
func (e *Engine) Fenced() <-chan struct{} { return e.fenced }

// enterBackground is for what runs until it ends by itself; false when the engine is closing. Who gets true calls
// e.done.Done.
func (e *Engine) enterBackground() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped() != nil {
		return false
	}
	e.done.Add(1)
	return true
}

// isEnding reports whether background work should end.
func (e *Engine) isEnding() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped() != nil
}

// stopped needs the lock.
func (e *Engine) stopped() error {
	if err := e.cause(); err != nil {
		return err
	}
	if e.closing {
		return store.ErrClosed
	}
	return nil
}

// lost is the error of a batch whose outcome is not known.
func (e *Engine) lost() error {
	return fmt.Errorf("commit: %w (%w)", e.cause(), store.ErrUnknown)
}

func (e *Engine) signal() {
	select {
	case e.work <- struct{}{}:
	default:
	}
}

// poke wakes the keeper.
func (e *Engine) poke() {
	select {
	case e.pokes <- struct{}{}:
	default:
	}
}

// Watch is of store.Engine.
func (e *Engine) Watch(ctx context.Context, prefix []byte, after store.Pos) iter.Seq2[store.Event, error] {
	return e.hub.Watch(ctx, prefix, after)
}

// Close makes durable what was submitted, flushes the index so that the next Open has nothing to read, and ends the
// engine. After a fence it gives the cause.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return fmt.Errorf("close %s: %w", e.o.Dir, store.ErrClosed)
	}
	e.closing = true
	e.signal()
	e.mu.Unlock()
	close(e.stopKeep)
	ended := make(chan struct{})
	go func() {
		e.done.Wait()
		close(ended)
	}()
	if err := e.awaitEnd(ended); err != nil {
		go func() {
			e.givenUp.Store(true)
			e.endIndex()
			<-ended
			e.end() //nolint:errcheck // told already
		}()
		return err
	}
	return e.end()
}

// endIndex lets go what waits at the gate.
func (e *Engine) endIndex() { e.ending.Do(func() { close(e.closeIndex) }) }

// end closes everything when nobody uses it any more.
func (e *Engine) end() error {
	e.hub.Close(store.ErrClosed)
	e.collectMu.Lock()
	defer e.collectMu.Unlock()
	var err error
	if e.isFenced() == nil && *e.applied.Load() != *e.flushed.Load() {
		err = e.flushIndex()
		if errors.Is(err, store.ErrFull) {
			err = nil // the next Open reads the log instead
			e.givenUp.Store(true)
		}
	}
	if _, _, e2 := e.segs.sweep(); e2 != nil && e.isFenced() == nil {
		err = errors.Join(err, e2)
	}
	e.endIndex()
	e.done.Wait() // a flush that was asked for and given up must not meet a closed index
	err = errors.Join(err, e.closeDB())
	e.segs.close()
	err = errors.Join(err, e.cutZeros(), e.w.file.Close(), e.lock.Close())
	if cause := e.cause(); cause != nil {
		return fmt.Errorf("close %s: %w", e.o.Dir, cause)
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", e.o.Dir, err)
	}
	return nil
}

// closeDB closes the index. What it could not write for lack of space it reads from the log at the next Open.
func (e *Engine) closeDB() error {
	err := e.db.Close()
	if errors.Is(err, syscall.ENOSPC) {
		e.log.Warn("index: no space while closing", "dir", e.o.Dir, "err", err)
		return nil
	}
	return err
}

// errNoRoom is why Close gives up. It is not ErrFull, which says of a batch that it was not taken.
var errNoRoom = errors.New("index: no space to flush")

func (e *Engine) awaitEnd(ended chan struct{}) error {
	for waiting := true; waiting; {
		select {
		case <-ended:
			return nil
		case <-e.fenced:
			waiting = false
		case <-time.After(e.o.closeTime):
			if e.isIndexFull() {
				e.fence(errNoRoom) // what is durable is in the log, and the index may wait for space for ever
			}
		}
	}
	select {
	case <-ended:
		return nil
	case <-time.After(e.o.closeTime):
		// The process is expected to exit; else the lock goes when the index has ended.
		e.hub.Close(store.ErrFenced)
		return fmt.Errorf("close %s: the index does not end: %w", e.o.Dir, e.cause())
	}
}

// checkSpace looks whether the disk is below the reserve, at most a few times a second unless now.
func (e *Engine) checkSpace(now bool) {
	t := time.Now().UnixNano()
	last := e.spaceAt.Load()
	if !now && (t-last < int64(200*time.Millisecond) || !e.spaceAt.CompareAndSwap(last, t)) {
		return
	}
	e.spaceAt.Store(t)
	s, err := e.o.FS.Space(e.o.Dir)
	if err != nil {
		return // no answer is no reason to stop
	}
	if was := e.full.Swap(s.Free < e.o.ReserveOctets); was != (s.Free < e.o.ReserveOctets) {
		e.log.Warn("store: free space crossed the reserve", "dir", e.o.Dir, "free", s.Free, "reserve", e.o.ReserveOctets, "full", !was)
		e.poke() // the keeper makes a new ballast when there is room
	}
}

// prepareDir makes the directory what it must be, takes the lock and reads the format.
func (e *Engine) prepareDir() error {
	fsys, dir := e.o.FS, e.o.Dir
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	lock, err := fsys.Lock(dir + "/LOCK")
	if errors.Is(err, disk.ErrLocked) {
		return fmt.Errorf("%w: %w", store.ErrLocked, err)
	}
	if err != nil {
		return err
	}
	e.lock = lock
	return e.readFormat()
}
