package log

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// Prefixes of the keys in the index.
const (
	keyRow     = 'u' // + key: a row
	keyBody    = 's' // + segment, key: identity and octets there of the body that the row may have in the segment
	keySegment = 'g' // + segment: octets alive, at most
	keyCopied  = 'c' // written to have something to flush
	keyApplied = 'L' // position and place up to which the index knows the log
)

func rowKey(dst, key []byte) []byte { return append(append(dst, keyRow), key...) }

func segmentKey(prefix byte, seg uint32) []byte {
	return []byte{prefix, byte(seg >> 24), byte(seg >> 16), byte(seg >> 8), byte(seg)}
}

func bodyKey(seg uint32, key []byte) []byte { return append(segmentKey(keyBody, seg), key...) }

// applied is the value of keyApplied.
type applied struct {
	pos    store.Pos
	end    place // of the last group
	number uint64
}

func (a applied) encode() []byte {
	b := le.AppendUint64(nil, uint64(a.pos))
	b = le.AppendUint32(b, a.end.seg)
	b = le.AppendUint32(b, a.end.off)
	return le.AppendUint64(b, a.number)
}

func parseApplied(b []byte) (applied, error) {
	if len(b) != 24 {
		return applied{}, fmt.Errorf("position in the index: %w", store.ErrCorrupt)
	}
	return applied{pos: store.Pos(le.Uint64(b)), end: place{le.Uint32(b[8:]), le.Uint32(b[12:])}, number: le.Uint64(b[16:])}, nil
}

// indexOptions is the one place where Pebble's options are made.
func (e *Engine) indexOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          gateFS{vfs.Default, e},
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatValueSeparation,
		MemTableSize:                uint64(e.o.MemtableOctets),
		MemTableStopWritesThreshold: 4,
		Cache:                       e.blocks.cache,
		MaxOpenFiles:                1000,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               64 << 20,
		Logger:                      indexLogger{e},
		EventListener: &pebble.EventListener{
			BackgroundError: e.indexError,
			FlushEnd:        e.flushEnded,
			CompactionEnd:   e.compactionEnded,
		},
		CompactionConcurrencyRange: func() (int, int) { return 1, max(1, runtime.GOMAXPROCS(0)/2) },
	}
	if _, real := e.o.FS.(disk.OS); !real {
		o.FS = gateFS{indexFS{e.o.FS}, e}
	}
	o.Experimental.CompactionScheduler = e.compact
	for i := range o.Levels {
		o.Levels[i].BlockSize = 8 << 10
		o.Levels[i].IndexBlockSize = 64 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].FilterType = pebble.TableFilter
	}
	return o
}

// openedIndex is what Pebble's Open gave.
type openedIndex struct {
	db  *pebble.DB
	err error
}

func (e *Engine) openIndex() error {
	opened := make(chan openedIndex, 1)
	e.blocks = newBlockCache(e.o.CacheOctets, int64(e.o.MemtableOctets))
	go func() {
		defer e.blocks.cache.Unref() // Pebble has a reference of its own
		db, err := pebble.Open(path.Join(e.o.Dir, "index"), e.indexOptions())
		if err != nil {
			e.compact.Unregister() // which Pebble leaves to us
		}
		opened <- openedIndex{db, err}
	}()
	select {
	case r := <-opened:
		e.db = r.db
		if err := e.cause(); err != nil {
			return err // a part of what Pebble did went nowhere
		}
		if r.err != nil {
			return fmt.Errorf("index: %w", corrupt(r.err))
		}
		e.indexOpen.Store(true)
		e.compact.start()
		return nil
	case <-e.fenced:
		// abandon waits for it, but not for ever.
		e.opened = opened
		return e.cause()
	}
}

// dropIndex closes the index of an engine that does not open, or that is still being opened; the channel is closed when
// nothing of it is left.
func (e *Engine) dropIndex() <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		db := e.db
		if e.opened != nil {
			db = (<-e.opened).db
		}
		if db != nil {
			db.Close() //nolint:errcheck // why Open failed is told already
		}
	}()
	return gone
}

func (e *Engine) flushEnded(info pebble.FlushInfo) {
	if info.Err == nil {
		e.blocks.flushed(info.Input)
	}
	if errors.Is(info.Err, syscall.ENOSPC) {
		e.noRoom()
	} else {
		e.fullAt.Store(0)
	}
	e.poke()
}

func (e *Engine) compactionEnded(info pebble.CompactionInfo) {
	if info.Err == nil {
		e.fullAt.Store(0) // there was room; if there is none for a flush, it says so again
	}
}

// flushIndex is Flush, but ends when the engine is fenced or there is no space, which Flush does not.
func (e *Engine) flushIndex() error {
	if e.isIndexFull() {
		// A flush is being tried already, and asking for another may wait until that succeeds.
		return fmt.Errorf("flush of the index: %w", store.ErrFull)
	}
	// Already asking may take until there is room.
	asked := make(chan error, 1)
	flushed := make(chan struct{})
	e.done.Add(1)
	go func() {
		defer e.done.Done()
		done, err := e.db.AsyncFlush()
		if asked <- err; err != nil {
			return
		}
		select {
		case <-done:
			close(flushed)
		case <-e.fenced:
		case <-e.closeIndex:
		}
	}()
	look := time.NewTicker(retryPause)
	defer look.Stop()
	for {
		select {
		case err := <-asked:
			if err != nil {
				return corrupt(err)
			}
		case <-flushed:
			return nil
		case <-e.fenced:
			return e.cause()
		case <-look.C:
			if e.isIndexFull() {
				return fmt.Errorf("flush of the index: %w", store.ErrFull)
			}
		}
	}
}

// corrupt translates what Pebble says about damage.
func corrupt(err error) error {
	if err != nil && pebble.IsCorruptionError(err) && !errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return err
}

// indexError hears of a flush or compaction that failed. Pebble tries again in a new file, which is right for a full
// disk; after anything else the device is not to be trusted.
func (e *Engine) indexError(err error) {
	switch {
	case errors.Is(err, pebble.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, pebble.ErrCancelledCompaction):
	case errors.Is(err, syscall.ENOSPC) && e.indexOpen.Load():
		e.noRoom() // also of a compaction, without which flushes have to wait in the end
		e.log.Warn("index: no space", "dir", e.o.Dir, "err", err)
	default:
		e.fence(fmt.Errorf("index: %w", err))
	}
	if e.isFenced() == nil {
		return
	}
	if e.pretends() {
		time.Sleep(retryPause) // who is at work has not heard yet that all succeeds
		return
	}
	select {
	case <-e.closeIndex:
	case <-time.After(retryPause):
	}
}

// retryPause is between two tries of Pebble to flush on a disk that failed, until it is closed.
const retryPause = 20 * time.Millisecond

// indexLogger keeps Pebble from ending the process.
type indexLogger struct{ e *Engine }

func (l indexLogger) Infof(string, ...any) {}

func (l indexLogger) Errorf(format string, args ...any) {
	l.e.log.Warn("index: "+fmt.Sprintf(format, args...), "dir", l.e.o.Dir)
}

func (l indexLogger) Fatalf(format string, args ...any) {
	l.e.fence(fmt.Errorf("index: "+format, args...))
}

// get returns a copy of a row's value.
func (e *Engine) get(r pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, corrupt(err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// durableApplied is what the index would know after a crash. It must look at the fence last: a fenced engine lets the index
// believe that it wrote what it did not (see gateFS), and who asks is about to remove what the index knows.
func (e *Engine) durableApplied() (applied, error) {
	it, err := e.db.NewIter(&pebble.IterOptions{OnlyReadGuaranteedDurable: true,
		LowerBound: []byte{keyApplied}, UpperBound: []byte{keyApplied + 1}})
	if err != nil {
		return applied{}, corrupt(err)
	}
	defer it.Close()
	if !it.First() {
		return applied{}, errors.Join(corrupt(it.Error()), e.cause())
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return applied{}, corrupt(err)
	}
	if cause := e.cause(); cause != nil {
		return applied{}, cause
	}
	return parseApplied(v)
}

func isNotFound(err error) bool { return errors.Is(err, pebble.ErrNotFound) }
