package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/samotop/samotop/store"
	storelog "github.com/samotop/samotop/store/log"
)

// idle opens three small databases, as a house does, and measures opening, closing, and what they use when nothing
// happens.
func idle(c config) error {
	ctx := context.Background()
	var first, again, closing []float64
	for round := range 2 * c.rounds {
		dir := filepath.Join(c.dir, fmt.Sprint("small", round))
		for i := range 3 {
			t := time.Now()
			e, err := storelog.Open(ctx, storelog.Options{Dir: dir})
			if err != nil {
				return err
			}
			took := float64(time.Since(t).Microseconds()) / 1000
			if i == 0 {
				first = append(first, took)
			} else {
				again = append(again, took)
			}
			for j := range 100 {
				must(store.Commit(ctx, e, &store.Batch{Ops: []store.Op{store.Put(fmt.Appendf(nil, "k%d", j), noise[:400])}}))
			}
			t = time.Now()
			must(e.Close())
			closing = append(closing, float64(time.Since(t).Microseconds())/1000)
		}
	}
	var es []*storelog.Engine
	before := usage()
	for i := range 3 {
		e, err := storelog.Open(ctx, storelog.Options{Dir: filepath.Join(c.dir, fmt.Sprint("small", i))})
		if err != nil {
			return err
		}
		es = append(es, e)
	}
	opened := usage()
	time.Sleep(2 * time.Second)
	after := usage()
	fmt.Printf("small database: first open %.1f ms, open %.1f ms, close %.1f ms; three idle: %.2f ms CPU per s, %d MiB more\n",
		percentile(first, 0.5), percentile(again, 0.5), percentile(closing, 0.5), (after.cpu-opened.cpu)*500, opened.rss-before.rss)
	for _, e := range es {
		must(e.Close())
	}
	for round := range 2 * c.rounds {
		must(os.RemoveAll(filepath.Join(c.dir, fmt.Sprint("small", round))))
	}
	return nil
}

// killed has a child write a million rows and kill itself, and times the next Open.
func killed(c config) error {
	dir := filepath.Join(c.dir, "killed")
	var took []float64
	for range c.rounds {
		cmd := exec.Command(os.Args[0], "-die", dir)
		cmd.Stderr = os.Stderr
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			return fmt.Errorf("the child was not killed: %w", err)
		}
		t := time.Now()
		e, err := storelog.Open(context.Background(), storelog.Options{Dir: dir})
		if err != nil {
			return err
		}
		took = append(took, time.Since(t).Seconds())
		must(e.Close())
		must(os.RemoveAll(dir))
	}
	fmt.Printf("open after SIGKILL with a million rows: %.2f s\n", percentile(took, 0.5))
	return nil
}

// die is the child: a quarter of a million deliveries of four rows and a small body.
func die(dir string) error {
	e, err := storelog.Open(context.Background(), storelog.Options{Dir: dir})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			a := &account{id: uint32(g)}
			for range 250_000 / 64 {
				must(logEngine{e}.deliver(context.Background(), a, rng, noise[:1000]))
			}
		})
	}
	wg.Wait()
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}
