package log

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
	"github.com/samotop/samotop/store/storetest"
)

// small makes everything happen often: segments roll, the index flushes, large bodies are staged.
func small(o Options) Options {
	o.SegmentOctets = 1 << 20
	o.InlineOctets = 64 << 10
	o.FlushLogOctets = 2 << 20
	o.MemtableOctets = 256 << 10
	o.CacheOctets = 1 << 20
	o.ReserveOctets = 1 << 20
	o.MaxOpenSegments = 4
	o.AheadOctets = 32 << 10
	return o
}

type opener struct {
	o    Options
	last *Engine
	sim  *disk.Sim
	loss disk.Loss
}

func (o *opener) Open(t *testing.T) store.Engine {
	t.Helper()
	e, err := Open(context.Background(), o.o)
	if err != nil {
		t.Fatal(err)
	}
	o.last = e
	return e
}

func (o *opener) OpenCopy(t *testing.T, dir string) store.Engine {
	t.Helper()
	opts := o.o
	opts.Dir = dir
	e, err := Open(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// simOpener can crash.
type simOpener struct{ *opener }

func (o simOpener) Crash(t *testing.T) store.Engine {
	t.Helper()
	o.sim.PowerOff()
	o.last.Close() // reports the fence, or nothing was going on
	o.sim = o.sim.Crash(o.loss)
	o.o.FS = o.sim
	return o.Open(t)
}

func TestSuite(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"Direct", small(Options{})},
		{"Buffered", small(Options{Direct: DirectOff})},
		{"Default", Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Opener {
				o := c.o
				o.Dir = filepath.Join(t.TempDir(), "db")
				return &opener{o: o}
			})
		})
	}
	for name, loss := range map[string]disk.Loss{"SimStrict": disk.Strict, "SimRandom": disk.Random, "SimKilled": disk.Nothing} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Opener {
				sim := disk.NewSim(1)
				return simOpener{&opener{o: small(Options{Dir: "/db", FS: sim}), sim: sim, loss: loss}}
			})
		})
	}
}
