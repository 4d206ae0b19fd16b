package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/samotop/samotop/store"
)

// patience bounds waiting for what must come.
const patience = time.Minute

func testWatch(x *h) {
	x.commit(put("a/0", "before"))
	p := x.submit(put("a/1", "x"))
	x.no(p.Wait(x.ctx))
	ctx, cancel := context.WithTimeout(x.ctx, patience)
	defer cancel()
	step := 0
	for ev, err := range x.e.Watch(ctx, []byte("a/"), p.Pos()-1) {
		x.no(err)
		if ev.Overflow {
			x.Fatal("overflow")
		}
		step++
		switch step {
		case 1:
			if ev.Pos != p.Pos() || len(ev.Keys) != 1 || string(ev.Keys[0]) != "a/1" {
				x.Fatalf("event %+v", ev)
			}
			x.commit(put("b/1", "not watched"))
			x.commit(&store.Batch{Ops: []store.Op{store.Put([]byte("b/2"), nil), store.Delete([]byte("a/1")), store.Put([]byte("a/2"), nil)}})
		case 2:
			if len(ev.Keys) != 2 || string(ev.Keys[0]) != "a/1" || string(ev.Keys[1]) != "a/2" {
				x.Fatalf("event %q", ev.Keys)
			}
			x.wantNone("a/1") // durable and visible when the event comes
			x.commit(&store.Batch{Ops: []store.Op{store.DeleteRange([]byte("a/2"), []byte("z"))}})
		case 3:
			if len(ev.Ranges) != 1 || string(ev.Ranges[0][0]) != "a/2" || string(ev.Ranges[0][1]) != "z" {
				x.Fatalf("event %q", ev.Ranges)
			}
			return
		}
	}
	x.Fatal("the watch ended early")
}

func testWatchOverflow(x *h) {
	ctx, cancel := context.WithTimeout(x.ctx, patience)
	defer cancel()
	var last store.Pending
	fill := func() {
		for i := range 6000 {
			last = x.submit(put(fmt.Sprint("k", i), "v"))
		}
		x.no(last.Wait(x.ctx))
	}
	x.commit(put("k", "first"))
	first := true
	for ev, err := range x.e.Watch(ctx, []byte("k"), 0) {
		x.no(err)
		if first {
			first = false
			fill()
			continue
		}
		if !ev.Overflow {
			continue // what came before it
		}
		if ev.Pos > last.Pos() {
			x.Errorf("overflow at %d, last commit at %d", ev.Pos, last.Pos())
		}
		break
	}
	// From a position too long ago.
	for ev, err := range x.e.Watch(ctx, []byte("k"), 1) {
		x.no(err)
		if !ev.Overflow {
			x.Errorf("no overflow: %+v", ev)
		}
		return
	}
	x.Error("no event")
}

func testWatchEnds(x *h) {
	ctx, cancel := context.WithCancel(x.ctx)
	time.AfterFunc(10*time.Millisecond, cancel)
	for _, err := range x.e.Watch(ctx, nil, 0) {
		x.no(err)
	}
	e := x.e
	ended := make(chan error, 1)
	go func() {
		var last error
		for _, err := range e.Watch(context.Background(), []byte("x"), 0) {
			last = err
		}
		ended <- last
	}()
	x.e = nil
	x.no(e.Close())
	x.is(<-ended, store.ErrClosed)
}

func testReopen(x *h) {
	var last store.Pos
	for round := range 5 {
		for i := range 50 {
			p := x.submit(put(fmt.Sprintf("r%d-%d", round, i), fmt.Sprint(i)))
			if p.Pos() <= last {
				x.Fatalf("position %d after %d", p.Pos(), last)
			}
			last = p.Pos()
		}
		x.putBody(fmt.Sprint("body", round), "own", noise(uint64(round), 100000))
		x.reopen()
		for r := range round + 1 {
			x.wantBody(fmt.Sprint("body", r), "own", noise(uint64(r), 100000))
			for i := range 50 {
				x.want(fmt.Sprintf("r%d-%d", r, i), fmt.Sprint(i))
			}
		}
	}
	x.clean()
}

// testCrash cuts the power: what was waited for is there, and of the rest a first part, each batch whole.
func testCrash(x *h) {
	c, ok := x.o.(Crasher)
	if !ok {
		return // a real disk: its power cannot be cut here
	}
	for round := range 5 {
		name := func(i int) string { return fmt.Sprintf("r%d-%02d", round, i) }
		sure := 10 + round
		var p store.Pending
		for i := range 30 {
			p = x.submit(&store.Batch{Blobs: []store.Staged{x.stage(noise(uint64(i), 10000*i))},
				Ops: []store.Op{store.PutBlob([]byte(name(i)), []byte("own"), 0), store.Put([]byte(name(i)+"+"), []byte("too"))}})
			if i == sure {
				x.no(p.Wait(x.ctx))
			}
		}
		x.e = c.Crash(x.T)
		ended := false
		for i := range 30 {
			_, ok := x.get(name(i))
			_, too := x.get(name(i) + "+")
			if ok != too || ok && ended || !ok && i <= sure {
				x.Fatalf("round %d: batch %d of %d sure: %v and %v", round, i, sure, ok, too)
			}
			if ended = !ok; ok {
				x.wantBody(name(i), "own", noise(uint64(i), 10000*i))
			}
		}
		x.clean()
	}
}
