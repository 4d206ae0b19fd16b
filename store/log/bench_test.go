package log

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/samotop/samotop/store"
)

// BenchmarkGet reads rows of a database whose index has settled, present ones and missing ones between them.
func BenchmarkGet(b *testing.B) {
	ctx := context.Background()
	e, err := Open(ctx, Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	const rows = 300_000
	key := func(dst []byte, n int) []byte {
		return binary.BigEndian.AppendUint64(append(dst, 'k'), uint64(n)*0x9e3779b97f4a7c15)
	}
	for i := 0; i < rows; i += 1000 {
		batch := &store.Batch{}
		for j := range 1000 {
			batch.Ops = append(batch.Ops, store.Put(key(nil, 2*(i+j)), make([]byte, 60)))
		}
		if err := store.Commit(ctx, e, batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(e.flushIndex(), e.db.Compact(ctx, []byte{0}, []byte{255}, false)); err != nil {
		b.Fatal(err)
	}
	for _, gets := range []int{1, 10} {
		for what, odd := range map[string]int{"present": 0, "missing": 1} {
			b.Run(fmt.Sprintf("%s-%d", what, gets), func(b *testing.B) {
				b.ReportAllocs()
				var buf []byte
				before := cpuTime()
				for b.Loop() {
					err := e.View(ctx, func(r store.Reader) error {
						for range gets {
							buf = key(buf[:0], 2*rand.IntN(rows)+odd)
							if _, err := r.Get(ctx, buf); errors.Is(err, store.ErrNotFound) != (odd == 1) {
								return err
							}
						}
						return nil
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuTime()-before)/float64(b.N*gets), "cpu-ns/get")
			})
		}
	}
}

// cpuTime is what the process has used, in nanoseconds: steadier than time where other work goes on.
func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
