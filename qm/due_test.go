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
