// Package storetest is the suite that every engine of package store must pass.
//
//	func TestEngine(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Opener { return opener{dir: t.TempDir()} })
//	}
package storetest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/samotop/samotop/store"
)

// Opener opens one database, and again after Close.
type Opener interface {
	Open(t *testing.T) store.Engine
}

// Crasher is an Opener that can cut the power: it returns the database as it is found afterwards. What was not waited
// for may be lost.
type Crasher interface {
	Opener
	Crash(t *testing.T) store.Engine
}

// Copier is an Opener that can open a checkpoint; the caller closes it.
type Copier interface {
	Opener
	OpenCopy(t *testing.T, dir string) store.Engine
}

// Run runs the suite; each test has a new database.
func Run(t *testing.T, open func(t *testing.T) Opener) {
	for _, c := range []struct {
		name string
		fn   func(*h)
	}{
		{"Rows", testRows}, {"Scan", testScan}, {"Assert", testAssert}, {"Pipeline", testPipeline},
		{"PipelineConflict", testPipelineConflict}, {"Counter", testCounter}, {"Snapshot", testSnapshot},
		{"ViewEnds", testViewEnds}, {"Bodies", testBodies}, {"BodyRows", testBodyRows}, {"Staged", testStaged},
		{"Invalid", testInvalid}, {"Watch", testWatch}, {"WatchOverflow", testWatchOverflow}, {"WatchEnds", testWatchEnds},
		{"WaitCancelled", testWaitCancelled}, {"Closed", testClosed}, {"Reopen", testReopen}, {"Crash", testCrash},
		{"Collect", testCollect}, {"CollectUnderView", testCollectUnderView}, {"Checkpoint", testCheckpoint},
		{"PairsNeverTorn", testPairs},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := open(t)
			x := &h{T: t, o: o, e: o.Open(t), ctx: t.Context()}
			defer func() {
				if x.e != nil {
					x.no(x.e.Close())
				}
			}()
			c.fn(x)
		})
	}
}

// h is a test with its engine.
type h struct {
	*testing.T
	o   Opener
	e   store.Engine
	ctx context.Context
}

func (x *h) no(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *h) is(err, want error) {
	x.Helper()
	if !errors.Is(err, want) {
		x.Fatalf("got %v, want %v", err, want)
	}
}

func (x *h) commit(b *store.Batch) {
	x.Helper()
	x.no(store.Commit(x.ctx, x.e, b))
}

func (x *h) submit(b *store.Batch) store.Pending {
	x.Helper()
	p, err := x.e.Submit(x.ctx, b)
	x.no(err)
	return p
}

func (x *h) reopen() {
	x.Helper()
	x.no(x.e.Close())
	x.e = nil
	x.e = x.o.Open(x.T)
}

func put(k, v string) *store.Batch {
	return &store.Batch{Ops: []store.Op{store.Put([]byte(k), []byte(v))}}
}

func swap(k, old, v string) *store.Batch {
	b := put(k, v)
	b.Asserts = []store.Assert{{Key: []byte(k), Value: []byte(old), Absent: old == ""}}
	return b
}

func (x *h) get(k string) (v []byte, ok bool) {
	x.Helper()
	x.no(x.e.View(x.ctx, func(r store.Reader) error {
		got, err := r.Get(x.ctx, []byte(k))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		v, ok = bytes.Clone(got), err == nil
		return err
	}))
	return v, ok
}

func (x *h) want(k, v string) {
	x.Helper()
	got, ok := x.get(k)
	if !ok || string(got) != v {
		x.Fatalf("row %q is %.80q (there: %v), want %q", k, got, ok, v)
	}
}

func (x *h) wantNone(k string) {
	x.Helper()
	if got, ok := x.get(k); ok {
		x.Fatalf("row %q is there: %.80q", k, got)
	}
}

// rows is all rows of [lo, hi) as k=v.
func (x *h) rows(lo, hi string, reverse bool) (out []string) {
	x.Helper()
	var end []byte
	if hi != "" {
		end = []byte(hi)
	}
	x.no(x.e.View(x.ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(x.ctx, []byte(lo), end, reverse) {
			if err != nil {
				return err
			}
			out = append(out, string(kv.Key)+"="+string(kv.Value))
		}
		return nil
	}))
	return out
}

func (x *h) stage(data []byte) store.Staged {
	x.Helper()
	w, err := x.e.Stage(x.ctx)
	x.no(err)
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 30011)
		_, err := w.Write(rest[:n])
		x.no(err)
		rest = rest[n:]
	}
	s, err := w.Close()
	x.no(err)
	w.Discard() // does nothing now
	if s.Size() != int64(len(data)) {
		x.Fatalf("staged %d octets, want %d", s.Size(), len(data))
	}
	return s
}

func (x *h) putBody(k, own string, data []byte) {
	x.Helper()
	x.commit(&store.Batch{Ops: []store.Op{store.PutBlob([]byte(k), []byte(own), 0)}, Blobs: []store.Staged{x.stage(data)}})
}

// body reads the row k, which must have own in front, and a range of its body.
func (x *h) body(k, own string, off, n int64) (data []byte) {
	x.Helper()
	x.no(x.e.View(x.ctx, func(r store.Reader) error {
		v, err := r.Get(x.ctx, []byte(k))
		if err != nil {
			return err
		}
		o, ref, err := store.SplitRef(v)
		if err != nil {
			return err
		}
		if string(o) != own {
			x.Fatalf("row %q has %q in front, want %q", k, o, own)
		}
		data, err = r.Blob(x.ctx, nil, ref, off, n)
		return err
	}))
	return data
}

func (x *h) wantBody(k, own string, data []byte) {
	x.Helper()
	if got := x.body(k, own, 0, int64(len(data))+1); !bytes.Equal(got, data) {
		x.Fatalf("body of %q: %d octets, want %d, equal: %v", k, len(got), len(data), bytes.Equal(got, data))
	}
}

// noise is n octets that do not repeat.
func noise(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		v := rng.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b[:n]
}
