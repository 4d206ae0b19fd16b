package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/store"
	storelog "github.com/samotop/samotop/store/log"
)

// grow fills one database with small messages and then lets an empty one and it take the same load in turn, as a twentieth of the
// messages is, at most half a million. What is filled stays with -dir, and the next run goes on with it: so filling may go on beside
// other work, and the comparison wait for a quiet machine. Ten million take a quarter of an hour and about 16 GiB.
func grow(c config) error {
	if c.messages == 0 {
		return nil
	}
	fmt.Println("| grow | msg/s | CPU us/msg | resident MiB |\n|---|---|---|---|")
	grown, empty := filepath.Join(c.dir, "grown"), filepath.Join(c.dir, "empty")
	if err := fill(grown, c.messages); err != nil {
		return err
	}
	n := min(c.messages/20, 500_000)
	for round := range c.rounds {
		if err := os.RemoveAll(empty); err != nil {
			return err
		}
		for _, dir := range []string{empty, grown} {
			if err := more(dir, n, uint64(1000+round)); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(empty)
}

// fill delivers what is missing of the messages.
func fill(dir string, messages int) error {
	e, accounts, have, err := openGrown(dir)
	if err != nil {
		return err
	}
	for part := max(messages/20, 1); err == nil && have < messages; {
		n := min(part, messages-have)
		begin, start := usage(), time.Now()
		if err = some(e, accounts, n, uint64(have)+1); err == nil {
			have += n
			fmt.Printf("| filled to %d | %s |\n", have, spentFor(begin, start, n))
		}
	}
	return errors.Join(err, e.Close())
}

// more delivers n messages to the database of a directory and prints what it took.
func more(dir string, n int, seed uint64) error {
	settle()
	e, accounts, have, err := openGrown(dir)
	if err != nil {
		return err
	}
	begin, start := usage(), time.Now()
	if err = some(e, accounts, n, seed); err == nil {
		fmt.Printf("| %d into one of %d | %s |\n", n, have, spentFor(begin, start, n))
	}
	return errors.Join(err, e.Close())
}

func spentFor(begin spent, start time.Time, n int) string {
	used := usage()
	return fmt.Sprintf("%.0f | %.1f | %d", float64(n)/time.Since(start).Seconds(), (used.cpu-begin.cpu)*1e6/float64(n), used.rss)
}

// openGrown opens a database with the numbers of its accounts and tells how many messages it has.
func openGrown(dir string) (e *storelog.Engine, accounts []*account, have int, err error) {
	if e, err = storelog.Open(context.Background(), storelog.Options{Dir: dir}); err != nil {
		return nil, nil, 0, err
	}
	err = e.View(context.Background(), func(r store.Reader) error {
		for i := range 1000 {
			a := &account{id: uint32(i + 1)}
			state, err := r.Get(context.Background(), binary.BigEndian.AppendUint32([]byte{'x'}, a.id))
			if err == nil {
				a.state, a.uid = bytes.Clone(state), binary.BigEndian.Uint32(state[48:])
			} else if !errors.Is(err, store.ErrNotFound) {
				return err
			}
			have += int(a.uid)
			accounts = append(accounts, a)
		}
		return nil
	})
	if err != nil {
		return nil, nil, 0, errors.Join(err, e.Close())
	}
	return e, accounts, have, nil
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
