package log

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

func sieveOptions() Options {
	o := small(Options{Dir: "/db", FS: disk.NewSim(1)})
	o.SieveKinds = []byte("p")
	return o
}

// awaitSieve asks for a row until there is a table.
func awaitSieve(t *testing.T, e *Engine) {
	t.Helper()
	for range 5000 {
		if _, err := read(e, "p-none"); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		if e.sieve.table.Load() != nil && e.sieve.next.Load() == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no table is made")
}

// remake makes a new table, as when twice as many keys came.
func remake(t *testing.T, e *Engine) {
	t.Helper()
	before := e.sieve.table.Load()
	e.sieve.make(sieveLeast)
	for range 5000 {
		if e.sieve.table.Load() != before && e.sieve.next.Load() == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no new table is made")
}

// wantAll: every row is found, by itself, among others, and by an assertion that it is not there.
func wantAll(t *testing.T, e *Engine, n int) {
	t.Helper()
	ctx := t.Context()
	var keys [][]byte
	for i := range n {
		keys = append(keys, fmt.Appendf(nil, "p%05d", i))
	}
	err := e.View(ctx, func(r store.Reader) error {
		rows, err := r.GetMulti(ctx, keys)
		for i, v := range rows {
			if v == nil {
				return fmt.Errorf("row %d of %d is not among many: %v", i, n, err)
			}
			if _, err := r.Get(ctx, keys[i]); err != nil {
				return fmt.Errorf("row %d: %w", i, err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 7 {
		_, err := e.Submit(ctx, &store.Batch{Asserts: []store.Assert{{Key: keys[i], Absent: true}}, Ops: []store.Op{store.Put(keys[i], nil)}})
		if !errors.Is(err, store.ErrConflict) {
			t.Fatalf("row %d is there, and an assertion that it is not holds: %v", i, err)
		}
	}
}

// TestSieveForgetsNothing: what is there is found with the filter in use: rows that came before it, while it was made, and
// after it; made again; after opening, a power cut, a checkpoint, a rescue, a collection that moved bodies.
func TestSieveForgetsNothing(t *testing.T) {
	ctx := t.Context()
	o := sieveOptions()
	e := mustOpen(t, o)
	n := 0
	add := func(many int) {
		for range many {
			w, err := e.Stage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_, werr := w.Write(make([]byte, 3000))
			s, err := w.Close()
			if err := errors.Join(err, werr); err != nil {
				t.Fatal(err)
			}
			mustCommit(t, e, &store.Batch{Blobs: []store.Staged{s},
				Ops: []store.Op{store.PutBlob(fmt.Appendf(nil, "p%05d", n), nil, 0), store.PutBlob(fmt.Appendf(nil, "z%05d", n), nil, 0)}})
			n++
		}
	}
	again := func(o Options) {
		e = mustOpen(t, o)
		awaitSieve(t, e)
		wantAll(t, e, n)
		add(20)
		wantAll(t, e, n)
	}
	add(100)
	awaitSieve(t, e)
	wantAll(t, e, n)
	add(300)
	remake(t, e)
	wantAll(t, e, n)
	mustCommit(t, e, &store.Batch{Ops: []store.Op{store.DeleteRange([]byte("z"), []byte("zz"))}, Deletes: true})
	if err := e.flushIndex(); err != nil {
		t.Fatal(err)
	}
	moved := int64(0)
	for range 8 {
		c, err := e.Collect(ctx, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		moved += c.MovedOctets
	}
	wantAll(t, e, n)
	if err := e.Checkpoint(ctx, "/copy"); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again(o)
	sim := o.FS.(*disk.Sim)
	sim.PowerOff()
	e.Close() //nolint:errcheck // no power
	o.FS = sim.Crash(disk.Strict)
	again(o)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Rescue(ctx, o); err != nil {
		t.Fatal(err)
	}
	again(o)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	n = 400 // when the copy was made
	o.Dir = "/copy"
	again(o)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSieveOfAView: a row that a View sees stays there for it, though the row is deleted and the filter made anew meanwhile.
func TestSieveOfAView(t *testing.T) {
	for _, made := range []bool{false, true} {
		e := mustOpen(t, sieveOptions())
		mustCommit(t, e, put("p1", "1"))
		if made {
			awaitSieve(t, e)
		}
		err := e.View(t.Context(), func(r store.Reader) error {
			mustCommit(t, e, &store.Batch{Ops: []store.Op{store.Delete([]byte("p1"))}})
			if made {
				remake(t, e)
			} else {
				awaitSieve(t, e)
			}
			rows, err := r.GetMulti(t.Context(), [][]byte{[]byte("p1")})
			if err != nil || rows[0] == nil {
				t.Errorf("made before %v: not among others: %v", made, err)
			}
			_, err = r.Get(t.Context(), []byte("p1"))
			return err
		})
		if err != nil {
			t.Errorf("made before %v: %v", made, err)
		}
		if _, err := read(e, "p1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after it: %v", err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSieveUnderLoad: writers put rows and look for what they put, while the filter is made again and again.
func TestSieveUnderLoad(t *testing.T) {
	ctx := context.Background()
	o := Options{Dir: filepath.Join(t.TempDir(), "db"), SieveKinds: []byte("p")}
	e := mustOpen(t, o)
	awaitSieve(t, e)
	var wg sync.WaitGroup
	var stop atomic.Bool
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for n := range 150 {
				k := fmt.Appendf(nil, "p%d/%d", g, n)
				b := &store.Batch{Asserts: []store.Assert{{Key: k, Absent: true}}, Ops: []store.Op{store.Put(k, nil)}}
				p, err := e.Submit(ctx, b)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := e.Submit(ctx, b); !errors.Is(err, store.ErrConflict) {
					t.Errorf("%s was submitted: %v", k, err)
				}
				if err := p.Wait(ctx); err != nil {
					t.Error(err)
				}
				for _, m := range []int{n, rng.IntN(n + 1)} {
					if _, err := read(e, fmt.Sprintf("p%d/%d", g, m)); err != nil {
						t.Errorf("%s: row %d: %v", k, m, err)
					}
				}
			}
		})
	}
	var again sync.WaitGroup
	again.Go(func() {
		for !stop.Load() {
			e.sieve.make(sieveLeast)
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
	stop.Store(true)
	again.Wait()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
