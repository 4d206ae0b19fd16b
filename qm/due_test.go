package qm

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

// TestPriorityOnDisk: what has a higher priority leaves first also when far more is queued than memory holds, as after a start.
func TestPriorityOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newWorld(t), mem.New(mem.Options{})
		before := w.open(w.config(e)) // never runs: all is found on disk
		for i := range 300 {
			p := []int8{0, -3, 0, 5, 0, -9, 0, 9}[i%8]
			if i < 100 {
				p = []int8{0, -3}[i%2] // the oldest are not the first
			}
			from := mail.Sender{Address: addr("a@home.test"), Priority: p}
			if _, err := submit(context.Background(), before, from, letter, mail.Recipient{Address: addr("p" + itoa(int(p)) + "@far.test")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if faults, err := Verify(context.Background(), e, nil); err != nil || len(faults) > 0 {
			t.Errorf("%q, %v", faults, err)
		}
		var order []int
		w.site("far.test").rcpt = func(a mail.Address) mail.Reply {
			p, err := strconv.Atoi(strings.TrimPrefix(a.Local, "p"))
			if err != nil {
				t.Error(err)
			}
			order = append(order, p)
			return mail.OK()
		}
		cfg := w.config(e)
		cfg.Limits = Limits{MaxLineEntries: 8, MaxConnections: 1, MaxPerDestination: 1}
		q, stop := w.start(cfg)
		time.Sleep(time.Hour)
		synctest.Wait()
		// The queue is read in pieces: what it has seen so far goes before the rest is seen.
		const early = 32
		if len(order) != 300 || !slices.IsSortedFunc(order[early:], func(a, b int) int { return b - a }) {
			t.Errorf("sent in the order %d", order)
		}
		w.empty(q)
		stop()
	})
}

// TestLeftWhileRead: a message that leaves memory while another of its recipients is read is read again, so that it is counted right
// and goes when its last recipient is done.
func TestLeftWhileRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newWorld(t), mem.New(mem.Options{})
		ctx := context.Background()
		q, stop := w.start(w.config(e))
		defer stop()
		for _, d := range []string{"one.test", "two.test"} {
			if err := q.Pause(ctx, d); err != nil {
				t.Fatal(err)
			}
		}
		w.send(q, "a@home.test", "x@one.test", "y@two.test")
		synctest.Wait()
		q.mu.Lock()
		var second place
		for _, m := range q.msgs {
			for _, e := range m.entries {
				if e.row.dest == "mx:two.test" {
					second = place{due: e.row.due, id: m.id, n: e.n, dest: e.row.dest}
					q.line(e.row.dest).queue.drop(m)
					q.detach(e)
					break
				}
			}
		}
		q.mu.Unlock()
		wanted, _ := q.wanted([]place{second})
		entries, err := q.read(ctx, wanted)
		if err != nil || len(entries) != 1 {
			t.Fatal(entries, err)
		}
		if err := q.Resume(ctx, "one.test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(w.got("x@one.test")) != 1 {
			t.Fatal("the first recipient has no mail")
		}
		_, again, ok := q.seat(entries, q.verbs)
		if !ok || len(again) != 1 || again[0].id != second.id || again[0].n != second.n {
			t.Errorf("read again: %v", again)
		}
		if err := q.load(ctx, []place{second}); err != nil {
			t.Fatal(err)
		}
		if err := q.Resume(ctx, "two.test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(w.got("y@two.test")) != 1 {
			t.Error("the second recipient has no mail")
		}
		w.empty(q)
	})
}

// TestFormatOne: a queue as format 1 had it, without rows e, is read and emptied, and then has format 2.
func TestFormatOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newWorld(t), mem.New(mem.Options{})
		ctx := context.Background()
		q, stop := w.start(w.config(e))
		if err := q.Pause(ctx, "far.test"); err != nil {
			t.Fatal(err)
		}
		for _, p := range []int8{4, 0, -4} {
			from := mail.Sender{Address: addr("a@home.test"), Priority: p}
			if _, err := submit(ctx, q, from, letter, mail.Recipient{Address: addr("x@far.test")}, mail.Recipient{Address: addr("y@far.test")}); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		b := &store.Batch{Ops: []store.Op{store.Put(versionKey, []byte{1})}}
		err := e.View(ctx, func(r store.Reader) error {
			for kv, err := range r.Scan(ctx, []byte{0}, []byte{0xff}, false) {
				if err != nil {
					return err
				}
				b.Ops = append(b.Ops, asFormatOne(t, kv)...)
			}
			return nil
		})
		if err != nil || len(b.Ops) != 1+3*2*2+2*2*2 {
			t.Fatalf("%d changes, %v", len(b.Ops), err)
		}
		if err := store.Commit(ctx, e, b); err != nil {
			t.Fatal(err)
		}
		if faults, err := Verify(ctx, e, nil); err != nil || len(faults) > 0 {
			t.Errorf("%q, %v", faults, err)
		}
		q, stop = w.start(w.config(e))
		defer stop()
		if err := q.Resume(ctx, "far.test"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if x, y := len(w.got("x@far.test")), len(w.got("y@far.test")); x != 3 || y != 3 {
			t.Errorf("%d and %d copies", x, y)
		}
		w.empty(q)
		err = e.View(ctx, func(r store.Reader) error {
			v, err := r.Get(ctx, versionKey)
			if err == nil && !slices.Equal(v, []byte{formatVersion}) {
				t.Errorf("format %v", v)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// asFormatOne makes of a row what format 1 had in its place.
func asFormatOne(t *testing.T, kv store.KV) []store.Op {
	key := slices.Clone(kv.Key)
	switch {
	case key[0] == 't':
		p, _ := parsePlace(key)
		p.parseLine(kv.Value)
		return []store.Op{store.Put(key, []byte(p.dest))}
	case key[0] == 'e':
		p, ok := parsePlace(key)
		if !ok {
			t.Fatalf("row %q", key)
		}
		return []store.Op{store.Delete(key), store.Put(destKey(key[1], p.dest, 0, p.due, p.id, p.n), nil)}
	case key[0] == 'm' && len(key) > 10 && key[10] == 'r':
		row, err := decodeRecipient(kv.Value)
		if err != nil {
			t.Fatal(err)
		}
		row.priority = 0
		return []store.Op{store.Put(key, row.encode())}
	}
	return nil
}
