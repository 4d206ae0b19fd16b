package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/samotop/samotop/store"
)

func testRows(x *h) {
	x.commit(put("a", "1"))
	x.want("a", "1")
	x.commit(put("a", ""))
	x.want("a", "")
	x.commit(&store.Batch{Ops: []store.Op{store.Put([]byte("a"), []byte("2")), store.Put([]byte("b"), []byte("3")),
		store.Delete([]byte("a")), store.Delete([]byte("none"))}})
	x.wantNone("a")
	x.commit(&store.Batch{Ops: []store.Op{store.Put([]byte("b1"), nil), store.DeleteRange([]byte("b"), []byte("c")),
		store.Put([]byte("b2"), []byte("after"))}})
	if got := x.rows("", "", false); !slices.Equal(got, []string{"b2=after"}) {
		x.Fatalf("rows %q", got)
	}
	x.commit(put("empty", ""))
	x.no(x.e.View(x.ctx, func(r store.Reader) error {
		vs, err := r.GetMulti(x.ctx, [][]byte{[]byte("b2"), []byte("b"), []byte("empty")})
		if err != nil || string(vs[0]) != "after" || vs[1] != nil || vs[2] == nil || len(vs[2]) != 0 {
			x.Errorf("GetMulti: %q, %v", vs, err)
		}
		return nil
	}))
	k, v := strings.Repeat("k", store.MaxKeyOctets), strings.Repeat("v", 1<<20)
	x.commit(put(k, v))
	x.want(k, v)
}

func testScan(x *h) {
	b := &store.Batch{}
	for i := range 500 {
		b.Ops = append(b.Ops, store.Put(fmt.Appendf(nil, "k%03d", i), fmt.Append(nil, i)))
	}
	x.commit(b)
	got := x.rows("k100", "k103", false)
	if !slices.Equal(got, []string{"k100=100", "k101=101", "k102=102"}) {
		x.Errorf("forward %q", got)
	}
	got = x.rows("k100", "k103", true)
	if !slices.Equal(got, []string{"k102=102", "k101=101", "k100=100"}) {
		x.Errorf("backward %q", got)
	}
	if n := len(x.rows("", "", false)); n != 500 {
		x.Errorf("%d rows in all", n)
	}
	if got := x.rows("k498", "", true); !slices.Equal(got, []string{"k499=499", "k498=498"}) {
		x.Errorf("to the end %q", got)
	}
	if got := x.rows("z", "a", false); got != nil {
		x.Errorf("an empty range has %q", got)
	}
	x.no(x.e.View(x.ctx, func(r store.Reader) error {
		for range r.Scan(x.ctx, nil, nil, false) {
			break
		}
		return nil
	}))
}

func testAssert(x *h) {
	x.commit(swap("a", "", "1"))
	x.is(store.Commit(x.ctx, x.e, swap("a", "", "2")), store.ErrConflict)
	x.is(store.Commit(x.ctx, x.e, swap("a", "2", "3")), store.ErrConflict)
	x.is(store.Commit(x.ctx, x.e, swap("none", "2", "3")), store.ErrConflict)
	x.commit(swap("a", "1", "2"))
	b := swap("a", "2", "3")
	b.Asserts = append(b.Asserts, store.Assert{Key: []byte("b"), Value: []byte("x")})
	b.Ops = append(b.Ops, store.Put([]byte("c"), []byte("x")))
	x.is(store.Commit(x.ctx, x.e, b), store.ErrConflict)
	x.want("a", "2")
	x.wantNone("c")
	b = put("e", "")
	b.Asserts = []store.Assert{{Key: []byte("a"), Value: []byte("2")}}
	x.commit(b)
	x.commit(&store.Batch{Asserts: []store.Assert{{Key: []byte("e"), Value: nil}}})
}

func testPipeline(x *h) {
	const n = 300
	var ps []store.Pending
	last := ""
	for i := range n {
		v := fmt.Sprint(i)
		ps = append(ps, x.submit(swap("hot", last, v)))
		last = v
	}
	for i, p := range ps {
		if i > 0 && p.Pos() <= ps[i-1].Pos() {
			x.Fatalf("position %d after %d", p.Pos(), ps[i-1].Pos())
		}
	}
	x.no(ps[n-1].Wait(x.ctx))
	x.want("hot", last)
	for _, p := range ps {
		x.no(p.Wait(x.ctx))
	}
	x.no(x.e.View(x.ctx, func(r store.Reader) error {
		if r.Pos() < ps[n-1].Pos() {
			x.Errorf("view at %d after waiting for %d", r.Pos(), ps[n-1].Pos())
		}
		return nil
	}))
}

func testPipelineConflict(x *h) {
	p1 := x.submit(put("r/1", "a"))
	p2 := x.submit(&store.Batch{Ops: []store.Op{store.DeleteRange([]byte("r/"), []byte("r0"))}})
	_, err := x.e.Submit(x.ctx, swap("r/1", "a", "b"))
	x.is(err, store.ErrConflict)
	p3 := x.submit(swap("r/1", "", "c"))
	_, err = x.e.Submit(x.ctx, swap("r/1", "", "d"))
	x.is(err, store.ErrConflict)
	p4 := x.submit(&store.Batch{Asserts: []store.Assert{{Key: []byte("r/1"), Value: []byte("c")}}, Ops: []store.Op{store.Delete([]byte("r/1"))}})
	p5 := x.submit(swap("r/1", "", "e"))
	for _, p := range []store.Pending{p5, p4, p3, p2, p1} {
		x.no(p.Wait(x.ctx))
	}
	x.want("r/1", "e")
}

func testCounter(x *h) {
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				old, _ := x.get("n")
				n := 0
				fmt.Sscan(string(old), &n)
				err := store.Commit(x.ctx, x.e, swap("n", string(old), fmt.Sprint(n+1)))
				if err == nil {
					done++
				} else if !errors.Is(err, store.ErrConflict) {
					x.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	x.want("n", fmt.Sprint(workers*each))
}

func testSnapshot(x *h) {
	x.commit(put("a", "1"))
	x.no(x.e.View(x.ctx, func(r store.Reader) error {
		pos := r.Pos()
		x.commit(put("a", "2"))
		v, err := r.Get(x.ctx, []byte("a"))
		if err != nil || string(v) != "1" || r.Pos() != pos {
			x.Errorf("the snapshot moved: %q %v", v, err)
		}
		return nil
	}))
	x.want("a", "2")
}

func testViewEnds(x *h) {
	var leaked store.Reader
	x.no(x.e.View(x.ctx, func(r store.Reader) error {
		leaked = r
		return nil
	}))
	_, err := leaked.Get(x.ctx, []byte("a"))
	x.is(err, store.ErrViewOver)
	want := errors.New("mine")
	x.is(x.e.View(x.ctx, func(store.Reader) error { return want }), want)
	gone, cancel := context.WithCancel(x.ctx)
	cancel()
	x.is(x.e.View(gone, func(store.Reader) error { return nil }), context.Canceled)
}

// testPairs writes two rows in each batch; no reader may see one without the other, nor time run backwards.
func testPairs(x *h) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			last := -1
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := x.e.View(x.ctx, func(r store.Reader) error {
					vs, err := r.GetMulti(x.ctx, [][]byte{[]byte("left"), []byte("right")})
					if err != nil {
						return err
					}
					if !bytes.Equal(vs[0], vs[1]) {
						return fmt.Errorf("torn: %q %q", vs[0], vs[1])
					}
					n := -1
					fmt.Sscan(string(vs[0]), &n)
					if n < last {
						return fmt.Errorf("%d after %d", n, last)
					}
					last = n
					return nil
				})
				if err != nil {
					x.Error(err)
					return
				}
			}
		})
	}
	for i := range 400 {
		b := put("left", fmt.Sprint(i))
		b.Ops = append(b.Ops, store.Put([]byte("right"), fmt.Append(nil, i)))
		p := x.submit(b)
		if i%7 == 0 {
			x.no(p.Wait(x.ctx))
		}
	}
	close(stop)
	wg.Wait()
}

func testInvalid(x *h) {
	big := make([]byte, store.MaxValueOctets+1)
	for _, c := range []struct {
		b    *store.Batch
		want error
	}{
		{put("", "v"), store.ErrInvalid},
		{put(strings.Repeat("k", store.MaxKeyOctets+1), "v"), store.ErrTooLarge},
		{&store.Batch{Ops: []store.Op{store.Put([]byte("k"), big)}}, store.ErrTooLarge},
		{&store.Batch{Ops: []store.Op{store.PutBlob([]byte("k"), nil, 0)}}, store.ErrInvalid},
		{&store.Batch{Ops: []store.Op{store.PutRef([]byte("k"), nil, store.Ref("x"))}}, store.ErrInvalid},
		{&store.Batch{Ops: []store.Op{{Kind: 9, Key: []byte("k")}}}, store.ErrInvalid},
		{&store.Batch{Ops: []store.Op{store.DeleteRange([]byte("z"), []byte("a"))}}, store.ErrInvalid},
	} {
		_, err := x.e.Submit(x.ctx, c.b)
		x.is(err, c.want)
	}
	x.wantNone("k")
	x.commit(&store.Batch{})
}

func testWaitCancelled(x *h) {
	gone, cancel := context.WithCancel(x.ctx)
	p := x.submit(put("a", "1"))
	cancel()
	if err := p.Wait(gone); err != nil {
		x.is(err, context.Canceled)
	}
	x.no(p.Wait(x.ctx))
	x.want("a", "1")
	_, err := x.e.Submit(gone, put("a", "2"))
	x.is(err, context.Canceled)
}

func testClosed(x *h) {
	e := x.e
	p := x.submit(put("a", "1"))
	x.no(e.Close())
	x.e = nil
	x.no(p.Wait(x.ctx))
	_, err := e.Submit(x.ctx, put("a", "2"))
	x.is(err, store.ErrClosed)
	_, err = e.Stage(x.ctx)
	x.is(err, store.ErrClosed)
	x.is(e.View(x.ctx, func(store.Reader) error { return nil }), store.ErrClosed)
	for _, err := range e.Watch(x.ctx, nil, 0) {
		x.is(err, store.ErrClosed)
	}
	x.e = x.o.Open(x.T)
	x.want("a", "1")
}
