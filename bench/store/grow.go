package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	storelog "github.com/samotop/samotop/store/log"
)

// grow delivers many small messages to one database and compares the rate of the last twentieth with that of the first, and
// the CPU of each. It is for a night: ten million take some minutes and about 20 GiB.
func grow(c config) error {
	if c.messages == 0 {
		return nil
	}
	dir := filepath.Join(c.dir, "grow")
	e, err := storelog.Open(context.Background(), storelog.Options{Dir: dir})
	if err != nil {
		return err
	}
	accounts := make([]*account, 1000)
	for i := range accounts {
		accounts[i] = &account{id: uint32(i + 1)}
	}
	const parts = 20
	for part := range parts {
		begin, start := usage(), time.Now()
		if err := some(e, accounts, c.messages/parts, uint64(part)); err != nil {
			return err
		}
		took, used, n := time.Since(start).Seconds(), usage(), float64(c.messages/parts)
		fmt.Printf("grow: %d messages: %.0f msg/s, %.1f us CPU each, %d MiB resident\n", (part+1)*(c.messages/parts), n/took, (used.cpu-begin.cpu)*1e6/n, used.rss)
	}
	return errors.Join(e.Close(), os.RemoveAll(dir))
}

func some(e *storelog.Engine, accounts []*account, n int, seed uint64) error {
	var wg sync.WaitGroup
	var left atomic.Int64
	var failed atomic.Pointer[error]
	left.Store(int64(n))
	for g := range 64 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), seed))
			for left.Add(-1) >= 0 && failed.Load() == nil {
				if err := (logEngine{e}).deliver(context.Background(), accounts[rng.IntN(len(accounts))], rng, noise[:1000]); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
