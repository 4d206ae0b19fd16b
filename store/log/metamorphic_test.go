package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
	"github.com/samotop/samotop/store/mem"
)

// contestant is one engine in the metamorphic test.
type contestant struct {
	name  string
	e     store.Engine
	open  func() (store.Engine, error)
	crash func() (store.Engine, error)
	copy  func(dir string) (store.Engine, error) // opens what Checkpoint wrote
	dir   string                                 // where backups go
}

func contestants(t *testing.T) []*contestant {
	ctx := context.Background()
	var memory *mem.Engine
	inMemory := func() (store.Engine, error) {
		if memory == nil {
			memory = mem.New(mem.Options{MoveBodies: true})
		} else {
			memory = memory.Crash()
		}
		return memory, nil
	}
	real := func(d Direct) func() (store.Engine, error) {
		o := small(Options{Dir: filepath.Join(t.TempDir(), "db"), Direct: d})
		return func() (store.Engine, error) { return Open(ctx, o) }
	}
	sim := disk.NewSim(7)
	var simulated *Engine
	o := small(Options{Dir: "/db", FS: sim})
	onSim := func() (store.Engine, error) {
		var err error
		simulated, err = Open(ctx, o)
		return simulated, err
	}
	cut := func() (store.Engine, error) {
		sim.PowerOff()
		simulated.Close() // reports the fence
		sim = sim.Crash(disk.Random)
		o.FS = sim
		return onSim()
	}
	realCopy := func(dir string) (store.Engine, error) { return Open(ctx, small(Options{Dir: dir})) }
	simCopy := func(dir string) (store.Engine, error) { return Open(ctx, small(Options{Dir: dir, FS: sim})) }
	memCopy := func(dir string) (store.Engine, error) { return mem.Load(dir, mem.Options{}) }
	direct, buffered, dir := real(DirectAuto), real(DirectOff), t.TempDir()
	return []*contestant{{"memory", nil, inMemory, inMemory, memCopy, dir + "/m"}, {"direct", nil, direct, nil, realCopy, dir + "/d"},
		{"buffered", nil, buffered, nil, realCopy, dir + "/b"}, {"simulated", nil, onSim, cut, simCopy, "/copy"}}
}

// backup makes a checkpoint, over the one before, and compares what is in it.
func (c *contestant) backup() error {
	ctx := context.Background()
	if err := c.e.(store.Maintainer).Checkpoint(ctx, c.dir); err != nil {
		return err
	}
	b, err := c.copy(c.dir)
	if err != nil {
		return fmt.Errorf("opening the backup: %w", err)
	}
	defer b.Close()
	got, err := rowsOf(b)
	if err != nil {
		return fmt.Errorf("reading the backup: %w", err)
	}
	want, err := rowsOf(c.e)
	if err == nil && !maps.Equal(got, want) {
		return errors.New("the backup differs")
	}
	return err
}

// rowsOf reads everything; the Refs differ between engines, what they refer to must not.
func rowsOf(e store.Engine) (map[string]string, error) {
	ctx := context.Background()
	m := map[string]string{}
	err := e.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, nil, nil, false) {
			if err != nil {
				return err
			}
			if kv.Key[0] != 'b' {
				m[string(kv.Key)] = string(kv.Value)
				continue
			}
			own, ref, err := store.SplitRef(kv.Value)
			if err != nil {
				return err
			}
			body, err := r.Blob(ctx, nil, ref, 0, 1<<30)
			if err != nil {
				return err
			}
			m[string(kv.Key)] = string(own) + "/" + string(body)
		}
		return nil
	})
	return m, err
}

// step is one change as every engine gets it; rewrite and expunge assert what the engine has.
func (c *contestant) step(kind int, k, k2 []byte, n int, seed uint64) error {
	ctx := context.Background()
	b := &store.Batch{}
	switch kind {
	case 0, 1, 2:
		b.Ops = []store.Op{store.Put(append([]byte("p"), k...), fmt.Append(nil, seed))}
	case 3, 4, 5:
		w, err := c.e.Stage(ctx)
		if err != nil {
			return err
		}
		defer w.Discard()
		if _, err := w.Write(bodyOf(fmt.Sprintf("%d/%d", seed, n))); err != nil {
			return err
		}
		s, err := w.Close()
		if err != nil {
			return err
		}
		b.Blobs = []store.Staged{s}
		b.Ops = []store.Op{store.PutBlob(append([]byte("b"), k...), fmt.Append(nil, seed), 0),
			store.PutBlob(append([]byte("b"), k2...), fmt.Append(nil, seed), 0)}
	case 6, 7:
		return c.again(append([]byte("b"), k...), kind == 6, seed)
	case 8:
		b.Asserts = []store.Assert{{Key: append([]byte("p"), k...), Absent: true}}
		b.Ops = []store.Op{store.Put(append([]byte("p"), k...), []byte("new")), store.Delete(append([]byte("b"), k2...))}
	case 9:
		if bytes.Compare(k, k2) < 0 {
			b.Ops = []store.Op{store.DeleteRange(append([]byte("b"), k...), append([]byte("b"), k2...))}
		}
	case 10:
		_, err := c.e.(store.Maintainer).Collect(ctx, int64(n))
		return err
	case 11:
		faults, err := c.e.(store.Maintainer).Verify(ctx, nil)
		if len(faults) > 0 {
			err = errors.Join(err, fmt.Errorf("%+v", faults[0]))
		}
		return err
	case 12:
		if err := c.e.Close(); err != nil {
			return err
		}
		return c.start(c.open)
	case 13:
		if c.crash == nil {
			return nil
		}
		return c.start(c.crash)
	case 14:
		return c.backup()
	}
	return store.Commit(ctx, c.e, b)
}

func (c *contestant) start(open func() (store.Engine, error)) (err error) {
	c.e, err = open()
	return err
}

func (c *contestant) again(k []byte, rewrite bool, seed uint64) error {
	ctx := context.Background()
	var v []byte
	err := c.e.View(ctx, func(r store.Reader) error {
		got, err := r.Get(ctx, k)
		v = bytes.Clone(got)
		return err
	})
	if err != nil {
		return err
	}
	_, ref, err := store.SplitRef(v)
	if err != nil {
		return err
	}
	b := &store.Batch{Asserts: []store.Assert{{Key: k, Value: v}}, Ops: []store.Op{store.Delete(k)}, Deletes: true}
	if rewrite {
		b.Ops = []store.Op{store.PutRef(k, fmt.Append(nil, seed), ref)}
	}
	return store.Commit(ctx, c.e, b)
}

// stepKinds names what contestant.step does.
var stepKinds = [...]string{"put", "put", "put", "deliver", "deliver", "deliver", "flag", "expunge", "move", "deleterange", "collect", "verify",
	"reopen", "crash", "backup"}

// TestMetamorphic plays one random history on every engine; they agree after every step, errors included.
func TestMetamorphic(t *testing.T) {
	seed := uint64(number("SAMOTOP_SEED", 1))
	rng := rand.New(rand.NewPCG(seed, 5))
	cs := contestants(t)
	for _, c := range cs {
		if err := c.start(c.open); err != nil {
			t.Fatal(err)
		}
	}
	key := func() []byte { return fmt.Appendf(nil, "%02d", rng.IntN(20)) }
	did := map[string]int{}
	for i := range count("SAMOTOP_STEPS", 400, 20000) {
		kind, k, k2, s := rng.IntN(len(stepKinds)), key(), key(), rng.Uint64()
		did[stepKinds[kind]]++
		n := rng.IntN(20000)
		if rng.IntN(10) == 0 {
			n = rng.IntN(400000)
		}
		var first error
		var want map[string]string
		for j, c := range cs {
			err := c.step(kind, k, k2, n, s)
			for _, expected := range []error{store.ErrConflict, store.ErrNotFound} {
				if errors.Is(err, expected) {
					err = expected
				}
			}
			got, rerr := rowsOf(c.e)
			if rerr != nil {
				t.Fatalf("seed %d step %d: %s: %v", seed, i, c.name, rerr)
			}
			if j == 0 {
				first, want = err, got
				continue
			}
			if err != first {
				t.Fatalf("seed %d step %d kind %d: %s says %v, %s says %v", seed, i, kind, c.name, err, cs[0].name, first)
			}
			if !maps.Equal(got, want) {
				t.Fatalf("seed %d step %d kind %d: %s and %s differ", seed, i, kind, c.name, cs[0].name)
			}
		}
	}
	t.Log(did)
	for _, kind := range stepKinds {
		if did[kind] == 0 {
			t.Errorf("the history has no %s", kind)
		}
	}
	for _, c := range cs {
		if err := c.e.Close(); err != nil {
			t.Error(err)
		}
	}
}
