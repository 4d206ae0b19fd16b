package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
	storelog "github.com/samotop/samotop/store/log"
)

type candidate struct {
	name string
	run  func(dir string, cl cell, length time.Duration) (result, error)
}

var candidates = []candidate{
	{"limit", runLimit},
	{"inline", runInline},
	{"log", func(dir string, cl cell, l time.Duration) (result, error) {
		return runLog(dir, cl, l, storelog.DirectAuto)
	}},
	{"log buffered", func(dir string, cl cell, l time.Duration) (result, error) {
		return runLog(dir, cl, l, storelog.DirectOff)
	}},
}

// logEngine is the engine under test, used as a room uses it.
type logEngine struct{ e *storelog.Engine }

func runLog(dir string, cl cell, length time.Duration, direct storelog.Direct) (result, error) {
	settle()
	e, err := storelog.Open(context.Background(), storelog.Options{Dir: dir, Direct: direct})
	if err != nil {
		return result{}, err
	}
	r, err := load(logEngine{e}, cl, length)
	return r, errors.Join(err, e.Close())
}

func (l logEngine) deliver(ctx context.Context, a *account, rng *rand.Rand, body []byte) error {
	w, err := l.e.Stage(ctx)
	if err != nil {
		return err
	}
	defer w.Discard()
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 32<<10)
		if _, err := w.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	s, err := w.Close()
	if err != nil {
		return err
	}
	a.mu.Lock()
	rows, old := a.next(rng, len(body))
	b := &store.Batch{Blobs: []store.Staged{s}, Ops: make([]store.Op, 0, len(rows)+1)}
	b.Ops = append(b.Ops, store.PutBlob(rows[1][0], rows[1][1], 0))
	for i, r := range rows {
		if i != 1 {
			b.Ops = append(b.Ops, store.Put(r[0], r[1]))
		}
	}
	b.Asserts = []store.Assert{{Key: rows[3][0], Value: old, Absent: old == nil}}
	p, err := l.e.Submit(ctx, b)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return p.Wait(ctx)
}

// inline is Pebble with bodies under time-ordered keys.
type inline struct{ db *pebble.DB }

func runInline(dir string, cl cell, length time.Duration) (result, error) {
	settle()
	o := &pebble.Options{FormatMajorVersion: pebble.FormatValueSeparation, MemTableSize: 64 << 20, MemTableStopWritesThreshold: 4,
		CacheSize: 128 << 20, L0CompactionThreshold: 2, Logger: quiet{}}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return result{}, err
	}
	r, err := load(inline{db}, cl, length)
	return r, errors.Join(err, db.Close())
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(f string, a ...any) {
	panic(f)
}

func (in inline) deliver(_ context.Context, a *account, rng *rand.Rand, body []byte) error {
	b := in.db.NewBatch()
	a.mu.Lock()
	rows, _ := a.next(rng, len(body))
	err := b.Set(append([]byte{'b'}, rows[0][0]...), body, nil)
	for _, r := range rows {
		err = errors.Join(err, b.Set(r[0], r[1], nil))
	}
	if err == nil {
		err = in.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return errors.Join(b.SyncWait(), b.Close())
}

// limit appends the same octets past the page cache in groups, and does nothing else.
type limit struct {
	f     disk.File
	queue chan ask
}

type ask struct {
	body []byte
	done chan error
}

const limitGroup = 8 << 20

func runLimit(dir string, cl cell, length time.Duration) (result, error) {
	settle()
	must(os.MkdirAll(dir, 0o700))
	f, err := disk.OS{}.Open(filepath.Join(dir, "limit"), disk.Write|disk.Create|disk.Direct)
	if err != nil {
		return result{}, err
	}
	l := &limit{f: f, queue: make(chan ask, 1024)}
	var wg sync.WaitGroup
	wg.Go(l.write)
	r, err := load(l, cl, length)
	close(l.queue)
	wg.Wait()
	return r, errors.Join(err, f.Close())
}

// rowOctets is what the rows of a delivery add to its body.
const rowOctets = 600

func (l *limit) deliver(_ context.Context, _ *account, _ *rand.Rand, body []byte) error {
	a := ask{body: body, done: make(chan error, 1)}
	l.queue <- a
	return <-a.done
}

func (l *limit) write() {
	raw := make([]byte, limitGroup+(2<<20)+disk.Align)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) & (disk.Align - 1))
	buf := raw[skip : skip : skip+limitGroup+(2<<20)]
	var at int64
	var group []ask
	for first := range l.queue {
		group, buf = append(group[:0], first), append(append(buf[:0], first.body...), noise[:rowOctets]...)
	more:
		for len(buf) < limitGroup-(1<<20) {
			select {
			case a, ok := <-l.queue:
				if !ok {
					break more
				}
				group, buf = append(group, a), append(append(buf, a.body...), noise[:rowOctets]...)
			default:
				break more
			}
		}
		n := (len(buf) + disk.Align - 1) &^ (disk.Align - 1)
		_, err := l.f.WriteAt(buf[:n], at)
		if err == nil {
			err = l.f.Sync()
		}
		at += int64(n)
		for _, a := range group {
			a.done <- err
		}
	}
}
