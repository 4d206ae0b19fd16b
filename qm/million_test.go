package qm

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/log"
)

// BenchmarkManyQueued measures a start on SAMOTOP_QUEUED recipients (default 20,000) of a thousand dead
// destinations: time until Run takes mail, until a new message has left, and memory then.
func BenchmarkManyQueued(b *testing.B) {
	n := 20000
	if v, err := strconv.Atoi(os.Getenv("SAMOTOP_QUEUED")); err == nil {
		n = v
	}
	dir := b.TempDir()
	for range b.N {
		w := newWorld(b)
		fill(b, w, dir, n)
		start := time.Now()
		e, err := log.Open(context.Background(), log.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		cfg := w.config(e)
		cfg.Log = nil
		q := w.open(cfg)
		done := make(chan error, 1)
		go func() { done <- q.Run(context.Background()) }()
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "start-ms")
		time.Sleep(500 * time.Millisecond) // the scan is at work
		sent := time.Now()
		w.send(q, "a@home.test", "x@live.test")
		b.ReportMetric(float64(time.Since(sent).Milliseconds()), "accepted-ms")
		eventually(b, "new mail waits for the old", func() bool { return len(w.got("x@live.test")) == 1 })
		b.ReportMetric(float64(time.Since(sent).Milliseconds()), "live-ms")
		time.Sleep(3 * time.Second)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.Sys>>20), "MiB-sys")
		b.ReportMetric(float64(m.HeapAlloc>>20), "MiB-heap")
		if err := q.Drain(context.Background()); err != nil {
			b.Error(err)
		}
		<-done
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	}
}

// fill queues n recipients and closes the engine.
func fill(b *testing.B, w *world, dir string, n int) {
	e, err := log.Open(context.Background(), log.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	q := w.open(w.config(e))
	q.cfg.Log = slog.New(slog.DiscardHandler)
	for i := range 1000 {
		w.site("dead" + itoa(i) + ".test").down = true
	}
	for i := 0; i < n; i += 1000 {
		to := make([]mail.Recipient, 1000)
		for j := range to {
			to[j].Address = addr("u" + itoa(i+j) + "@dead" + itoa(j) + ".test")
		}
		if _, err := submit(context.Background(), q, mail.Sender{}, letter, to...); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
}
