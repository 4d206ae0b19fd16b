package log

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/samotop/samotop/store"
)

// TestCacheBesideMemtables: blocks that were read stay in memory, also when the memtables, which Pebble takes out of the size of its
// cache, have grown beyond CacheOctets.
func TestCacheBesideMemtables(t *testing.T) {
	e, err := Open(context.Background(), Options{Dir: t.TempDir(), MemtableOctets: 4 << 20, CacheOctets: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	value := make([]byte, 8<<10)
	for i := 0; i < 3000; i += 100 { // 24 MiB: they have grown to their full size
		b := &store.Batch{}
		for j := range 100 {
			b.Ops = append(b.Ops, store.Put(fmt.Appendf(nil, "%05d", i+j), value))
		}
		if err := store.Commit(context.Background(), e, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.flushIndex(); err != nil {
		t.Fatal(err)
	}
	misses := func() int64 { // of fifty reads of one row
		before := e.db.Metrics().BlockCache.Misses
		for range 50 {
			err := e.View(context.Background(), func(r store.Reader) error {
				_, err := r.Get(context.Background(), []byte("00100"))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return e.db.Metrics().BlockCache.Misses - before
	}
	for end := time.Now().Add(20 * time.Second); misses() > 0; time.Sleep(20 * time.Millisecond) { // a compaction may be at work
		if time.Now().After(end) {
			t.Fatal("a row that is read again and again is read from the disk each time")
		}
	}
}
