package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
	storelog "github.com/samotop/samotop/store/log"
)

// flags compares a single commit of one small row with one fdatasync of a 4 KiB append.
func flags(c config) error {
	var commits, syncs []float64
	for round := range c.rounds {
		settle()
		dir := filepath.Join(c.dir, fmt.Sprint("flag", round))
		e, err := storelog.Open(context.Background(), storelog.Options{Dir: dir})
		if err != nil {
			return err
		}
		f, err := disk.OS{}.Open(filepath.Join(dir, "plain"), disk.Write|disk.Create)
		if err != nil {
			return err
		}
		value := make([]byte, 60)
		var at int64
		for i := range 2000 {
			t := time.Now()
			binary.BigEndian.PutUint64(value, uint64(i))
			must(store.Commit(context.Background(), e, &store.Batch{Ops: []store.Op{store.Put([]byte("m/1/1"), value), store.Put([]byte("x/1"), value)}}))
			commits = append(commits, float64(time.Since(t).Microseconds()))
			t = time.Now()
			_, err := f.WriteAt(noise[:4096], at)
			must(err)
			must(f.Sync())
			at += 4096
			syncs = append(syncs, float64(time.Since(t).Microseconds()))
		}
		must(f.Close())
		must(e.Close())
		must(os.RemoveAll(dir))
	}
	fmt.Printf("flag: commit p50 %.0f us, append of 4 KiB with fdatasync p50 %.0f us\n", percentile(commits, 0.5), percentile(syncs, 0.5))
	return nil
}

// list scans 100k rows of 400 octets through the engine and through a bare Pebble, and times opening after a crash
// with a million rows.
func list(c config) error {
	dir := filepath.Join(c.dir, "list")
	e, err := storelog.Open(context.Background(), storelog.Options{Dir: filepath.Join(dir, "log")})
	if err != nil {
		return err
	}
	db, err := pebble.Open(filepath.Join(dir, "bare"), &pebble.Options{FormatMajorVersion: pebble.FormatValueSeparation, MemTableSize: 64 << 20,
		CacheSize: 32 << 20, Logger: quiet{}, DisableWAL: true})
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	a := &account{id: 1}
	for range 100 {
		b, pb := &store.Batch{}, db.NewBatch()
		for range 1000 {
			rows, _ := a.next(rng, 1)
			b.Ops = append(b.Ops, store.Put(rows[0][0], rows[0][1]))
			must(pb.Set(rows[0][0], rows[0][1], nil))
		}
		must(store.Commit(context.Background(), e, b))
		must(pb.Commit(pebble.NoSync))
	}
	must(db.Flush())
	must(e.Close())
	e, err = storelog.Open(context.Background(), storelog.Options{Dir: filepath.Join(dir, "log")})
	if err != nil {
		return err
	}
	var ours, bare []float64
	for range 15 {
		t := time.Now()
		n := 0
		must(e.View(context.Background(), func(r store.Reader) error {
			for kv, err := range r.Scan(context.Background(), []byte("m"), []byte("n"), false) {
				must(err)
				n += len(kv.Value)
			}
			return nil
		}))
		ours = append(ours, float64(time.Since(t).Microseconds())/1000)
		t = time.Now()
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte("m"), UpperBound: []byte("n")})
		must(err)
		for ok := it.First(); ok; ok = it.Next() {
			n -= len(it.Value())
		}
		must(it.Close())
		bare = append(bare, float64(time.Since(t).Microseconds())/1000)
		if n != 0 {
			return fmt.Errorf("scans differ by %d octets", n)
		}
	}
	fmt.Printf("list 100k rows: %.1f ms, bare Pebble %.1f ms\n", percentile(ours, 0.5), percentile(bare, 0.5))
	must(e.Close())
	must(db.Close())
	must(os.RemoveAll(dir))
	return nil
}
