package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/samotop/samotop/store"
	storelog "github.com/samotop/samotop/store/log"
)

// collecting is deliveries of which each second one is expunged soon after, with collection going on: the octets written for
// each octet of a body, once the log holds several segments that are half dead.
func collecting(c config) error {
	dir := filepath.Join(c.dir, "collect")
	var ratios, rates []float64
	for range c.rounds {
		settle()
		e, err := storelog.Open(context.Background(), storelog.Options{Dir: dir, SegmentOctets: 32 << 20})
		if err != nil {
			return err
		}
		r, err := churn(e, 4*c.seconds)
		if err := errors.Join(err, e.Close(), os.RemoveAll(dir)); err != nil {
			return err
		}
		ratios, rates = append(ratios, r.written), append(rates, r.rate)
	}
	fmt.Printf("collect, 50%% expunged: %.2f octets written for each of a body, %.0f msg/s\n", median(ratios), median(rates))
	return nil
}

func churn(e *storelog.Engine, length time.Duration) (result, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var failed error
	var moved, freed int64
	wg.Go(func() {
		for ctx.Err() == nil {
			done, err := e.Collect(ctx, 64<<20)
			moved, freed = moved+done.MovedOctets, freed+done.FreedOctets
			if err != nil && ctx.Err() == nil {
				failed = err
				return
			}
			if done.Segments == 0 && !done.MoreToDo {
				time.Sleep(50 * time.Millisecond)
			}
		}
	})
	r, err := load(&expunger{logEngine: logEngine{e}, seen: map[*account]int{}}, cell{writers: 64, accounts: 100, size: (*sizes).mix}, length)
	cancel()
	wg.Wait()
	fmt.Printf("collect: %d MiB moved, %d MiB freed\n", moved>>20, freed>>20)
	return r, errors.Join(err, failed)
}

// expunger deletes the row of each second message after the next delivery to its account.
type expunger struct {
	logEngine
	mu   sync.Mutex
	seen map[*account]int
}

func (x *expunger) deliver(ctx context.Context, a *account, rng *rand.Rand, body []byte) error {
	if err := x.logEngine.deliver(ctx, a, rng, body); err != nil {
		return err
	}
	x.mu.Lock()
	x.seen[a]++
	n := x.seen[a]
	x.mu.Unlock()
	if n%2 == 1 {
		return nil
	}
	// The row that has the body is the one by the identity of the message; its key is found by the row before it.
	key := appendKey('c', a.id, uint32(n-1))
	var row, value []byte
	err := x.e.View(ctx, func(r store.Reader) error {
		id, err := r.Get(ctx, key)
		if err != nil {
			return err
		}
		row = append(row, id...)
		v, err := r.Get(ctx, id)
		value = append(value, v...)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil // not there yet: another writer is at it
	}
	if err != nil {
		return err
	}
	err = store.Commit(ctx, x.e, &store.Batch{Asserts: []store.Assert{{Key: row, Value: value}}, Ops: []store.Op{store.Delete(row), store.Delete(key)}, Deletes: true})
	if errors.Is(err, store.ErrConflict) {
		return nil // it was moved just now
	}
	return err
}
