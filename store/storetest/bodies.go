package storetest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/samotop/samotop/store"
)

const k64 = 64 << 10

func testBodies(x *h) {
	sizes := []int{0, 1, 4096, k64 - 1, k64, k64 + 1, 3*k64 + 5, 256 << 10, 256<<10 + 1, 1<<20 + 7, 3 << 20}
	for i, n := range sizes {
		x.putBody(fmt.Sprint("b", n), "own", noise(uint64(i), n))
	}
	check := func() {
		for i, n := range sizes {
			data := noise(uint64(i), n)
			k := fmt.Sprint("b", n)
			x.wantBody(k, "own", data)
			for _, off := range []int{0, 1, k64 - 1, k64, 2*k64 - 10, n / 2, n - 1, n, n + 5} {
				for _, l := range []int{0, 1, 20, k64, 200 << 10} {
					if off < 0 {
						continue
					}
					want := data[min(off, n):min(off+l, n)]
					if got := x.body(k, "own", int64(off), int64(l)); !bytes.Equal(got, want) {
						x.Fatalf("body of %d: %d from %d gives %d octets, want %d", n, l, off, len(got), len(want))
					}
				}
			}
		}
	}
	check()
	x.reopen()
	check()
}

// testBodyRows has one body in two rows, rewrites one and deletes the other.
func testBodyRows(x *h) {
	data := noise(1, 5000)
	x.commit(&store.Batch{Blobs: []store.Staged{x.stage(data), x.stage([]byte("second"))}, Ops: []store.Op{
		store.PutBlob([]byte("a"), []byte("1"), 0), store.PutBlob([]byte("b"), []byte("2"), 0), store.PutBlob([]byte("c"), nil, 1)}})
	x.wantBody("a", "1", data)
	x.wantBody("b", "2", data)
	x.wantBody("c", "", []byte("second"))
	v, _ := x.get("a")
	_, ref, err := store.SplitRef(v)
	x.no(err)
	x.commit(&store.Batch{Asserts: []store.Assert{{Key: []byte("a"), Value: v}},
		Ops: []store.Op{store.PutRef([]byte("a"), []byte("longer"), ref), store.Delete([]byte("b"))}})
	x.wantBody("a", "longer", data)
	// A reference under another key, or not asserted, is refused.
	v, _ = x.get("a")
	_, err = x.e.Submit(x.ctx, &store.Batch{Asserts: []store.Assert{{Key: []byte("a"), Value: v}},
		Ops: []store.Op{store.PutRef([]byte("z"), nil, ref)}})
	x.is(err, store.ErrInvalid)
	x.reopen()
	x.wantBody("a", "longer", data)
	x.wantNone("b")
}

func testStaged(x *h) {
	w, err := x.e.Stage(x.ctx)
	x.no(err)
	_, err = w.Write(noise(1, 600<<10))
	x.no(err)
	w.Discard()
	w.Discard()
	if _, err := w.Write([]byte("x")); err == nil {
		x.Error("write after Discard")
	}
	if _, err := w.Close(); err == nil {
		x.Error("Close after Discard")
	}
	s := x.stage(noise(2, 600<<10))
	s.Discard()
	_, err = x.e.Submit(x.ctx, &store.Batch{Blobs: []store.Staged{s}, Ops: []store.Op{store.PutBlob([]byte("a"), nil, 0)}})
	x.is(err, store.ErrInvalid)
	// A refused batch leaves its bodies good for another try; a taken one does not.
	s = x.stage([]byte("body"))
	b := swap("a", "nothing of the kind", "x")
	b.Blobs, b.Ops = []store.Staged{s}, []store.Op{store.PutBlob([]byte("a"), nil, 0)}
	_, err = x.e.Submit(x.ctx, b)
	x.is(err, store.ErrConflict)
	b.Asserts = nil
	x.commit(b)
	_, err = x.e.Submit(x.ctx, b)
	x.is(err, store.ErrInvalid)
	_, err = x.e.Submit(x.ctx, &store.Batch{Blobs: []store.Staged{foreign{}}})
	x.is(err, store.ErrInvalid)
	x.wantBody("a", "", []byte("body"))
}

type foreign struct{}

func (foreign) Size() int64 { return 0 }
func (foreign) Discard()    {}

func (x *h) maintainer() store.Maintainer {
	m, ok := x.e.(store.Maintainer)
	if !ok {
		x.Fatal("the engine is no store.Maintainer")
	}
	return m
}

func (x *h) clean() {
	x.Helper()
	faults, err := x.maintainer().Verify(x.ctx, func(done, total int64) {})
	x.no(err)
	for _, f := range faults {
		x.Errorf("verify: %s offset %d: %s", f.File, f.Offset, f.What)
	}
}

// deleteRow deletes a row with a body, asserting it or not.
func (x *h) deleteRow(k string, assert bool) {
	b := &store.Batch{Ops: []store.Op{store.Delete([]byte(k))}, Deletes: true}
	if assert {
		v, _ := x.get(k)
		b.Asserts = []store.Assert{{Key: []byte(k), Value: v}}
	}
	x.commit(b)
}

func testCollect(x *h) {
	m := x.maintainer()
	const n = 60
	body := func(i int) []byte { return noise(uint64(i), 1000+i*7919%150000) }
	for i := range n {
		x.putBody(fmt.Sprintf("b%02d", i), "own", body(i))
	}
	for i := range n {
		if i%5 != 0 {
			x.deleteRow(fmt.Sprintf("b%02d", i), i%2 == 0)
		}
	}
	for round := 0; ; round++ {
		c, err := m.Collect(x.ctx, 50_000)
		x.no(err)
		x.clean()
		if !c.MoreToDo {
			break
		}
		if round > 1000 {
			x.Fatal("Collect does not end")
		}
	}
	check := func() {
		x.clean()
		for i := 0; i < n; i += 5 {
			x.wantBody(fmt.Sprintf("b%02d", i), "own", body(i))
		}
	}
	check()
	st, err := m.Status(x.ctx)
	x.no(err)
	if st.LiveOctets == 0 || st.Pos == 0 {
		x.Errorf("status %+v", st)
	}
	x.reopen()
	m = x.maintainer()
	check()
}

func testCollectUnderView(x *h) {
	m := x.maintainer()
	const n = 40
	for i := range n {
		x.putBody(fmt.Sprintf("b%02d", i), "own", noise(uint64(i), 50000))
	}
	x.no(x.e.View(x.ctx, func(r store.Reader) error {
		for i := range n {
			if i > 2 {
				x.deleteRow(fmt.Sprintf("b%02d", i), true)
			}
		}
		for range 3 {
			_, err := m.Collect(x.ctx, 1<<30)
			x.no(err)
		}
		for i := range n {
			v, err := r.Get(x.ctx, fmt.Appendf(nil, "b%02d", i))
			if err != nil {
				return err
			}
			_, ref, err := store.SplitRef(v)
			if err != nil {
				return err
			}
			got, err := r.Blob(x.ctx, nil, ref, 0, 50000)
			if err != nil || !bytes.Equal(got, noise(uint64(i), 50000)) {
				return errors.Join(err, fmt.Errorf("body %d is lost to the view", i))
			}
		}
		return nil
	}))
	_, err := m.Collect(x.ctx, 1<<30)
	x.no(err)
	x.clean()
	for i := range 3 {
		x.wantBody(fmt.Sprintf("b%02d", i), "own", noise(uint64(i), 50000))
	}
}

func testCheckpoint(x *h) {
	m := x.maintainer()
	c, ok := x.o.(Copier)
	if !ok {
		x.Fatal("the opener cannot open copies")
	}
	dir := x.TempDir() + "/copy"
	for round := range 3 {
		for i := range 20 {
			x.putBody(fmt.Sprintf("r%d-%02d", round, i), "own", noise(uint64(round*100+i), 30000))
		}
		x.commit(put("round", fmt.Sprint(round)))
		x.no(m.Checkpoint(x.ctx, dir))
		x.commit(put("round", "later"))
		here := x.e
		x.e = c.OpenCopy(x.T, dir)
		x.want("round", fmt.Sprint(round))
		x.clean()
		for r := range round + 1 {
			for i := range 20 {
				x.wantBody(fmt.Sprintf("r%d-%02d", r, i), "own", noise(uint64(r*100+i), 30000))
			}
		}
		x.no(x.e.Close())
		x.e = here
		_, err := x.maintainer().Collect(x.ctx, 1<<20)
		x.no(err)
	}
	x.clean()
}
