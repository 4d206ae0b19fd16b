package qm

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/log"
)

// BenchmarkManyQueued measures a start on SAMOTOP_QUEUED recipients (default 20,000) of dead destinations: time until Run takes
// mail, until a new message has left, and memory then. With SAMOTOP_QUEUED_DIR the first run fills the queue there and the second
// measures it, so that memory is that of a process that has just started. Dead is a thousand destinations that refuse connections, with a
// thousand recipients in a message; and 50 times as many that never answer, with a message for each recipient.
func BenchmarkManyQueued(b *testing.B) {
	for name, c := range map[string]dead{"refuse": {domains: 1000, recipients: 1000}, "silent": {domains: 50_000, recipients: 1, silent: true}} {
		b.Run(name, func(b *testing.B) { manyQueued(b, c) })
	}
}

// dead is what is queued for whom.
type dead struct {
	domains, recipients int // recipients of one message
	silent              bool
}

func fromEnv(name string, n int) int {
	if v, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return v
	}
	return n
}

func manyQueued(b *testing.B, c dead) {
	n := fromEnv("SAMOTOP_QUEUED", 20000)
	dir, kept := b.TempDir(), os.Getenv("SAMOTOP_QUEUED_DIR")
	if kept != "" {
		dir = filepath.Join(kept, b.Name())
	}
	_, err := os.Stat(dir)
	filled := kept != "" && err == nil
	for range b.N {
		w := newWorld(b)
		if !filled {
			fill(b, w, dir, n, c)
		}
		if kept != "" && !filled {
			return
		}
		for i := range c.domains {
			w.site("dead" + itoa(i) + ".test").down = true
		}
		if c.silent {
			w.silent = true
		}
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
		reportLive(b, w, q)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if status, err := os.ReadFile("/proc/self/status"); err == nil {
			if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
				kib, _ := strconv.Atoi(strings.Fields(rest)[0])
				b.ReportMetric(float64(kib>>10), "MiB-peak")
			}
		}
		b.ReportMetric(float64(m.HeapAlloc>>20), "MiB-heap")
		w.release()
		if err := q.Drain(context.Background()); err != nil {
			b.Error(err)
		}
		<-done
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	}
}

// reportLive sends a message to a new live destination each quarter of a second for 12 s, while the scan is at work, and reports how
// long it took until the queue had it on disk, and until it had left.
func reportLive(b *testing.B, w *world, q *QM) {
	var accepted, live []time.Duration
	for i := range 48 {
		time.Sleep(250 * time.Millisecond)
		to := "x@live" + itoa(i) + ".test"
		sent := time.Now()
		w.send(q, "a@home.test", to)
		accepted = append(accepted, time.Since(sent))
		eventually(b, "new mail waits for the old", func() bool { return len(w.got(to)) == 1 })
		live = append(live, time.Since(sent))
	}
	for name, ds := range map[string][]time.Duration{"accepted": accepted, "live": live} {
		slices.Sort(ds)
		b.ReportMetric(float64(ds[len(ds)/2].Milliseconds()), name+"-p50-ms")
		b.ReportMetric(float64(ds[len(ds)-1].Milliseconds()), name+"-max-ms")
	}
}

// fill queues n recipients and closes the engine.
func fill(b *testing.B, w *world, dir string, n int, c dead) {
	e, err := log.Open(context.Background(), log.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	q := w.open(w.config(e))
	q.cfg.Log = slog.New(slog.DiscardHandler)
	q.cfg.Journal = mail.NoJournal
	const writers = 64
	var wg sync.WaitGroup
	var next atomic.Int64
	for range writers {
		wg.Go(func() {
			for {
				i := int(next.Add(int64(c.recipients))) - c.recipients
				if i >= n {
					return
				}
				to := make([]mail.Recipient, c.recipients)
				for j := range to {
					to[j].Address = addr("u" + itoa(i+j) + "@dead" + itoa((i+j)%c.domains) + ".test")
				}
				if _, err := submit(context.Background(), q, mail.Sender{}, letter, to...); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
}
