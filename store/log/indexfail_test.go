package log

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// manifestOptions make the index write a new MANIFEST often.
func manifestOptions(sim *disk.Sim) Options {
	o := small(Options{Dir: "/db", FS: sim})
	o.FlushLogOctets, o.SegmentOctets = 64<<10, 64<<10
	o.StallTime, o.fullPause, o.closeTime = 50*time.Millisecond, time.Millisecond, 50*time.Millisecond
	return o
}

// someRows commits rows until the engine stops, or n are there, and says how many are.
func someRows(e *Engine, from, n int) (int, error) {
	for i := from; i < n; i++ {
		if err := store.Commit(context.Background(), e, put(fmt.Sprintf("k%04d", i), strings.Repeat("x", 9000))); err != nil {
			return i, err
		}
	}
	return n, nil
}

func wantRows(t *testing.T, e *Engine, n int) {
	t.Helper()
	for i := range n {
		if _, err := read(e, fmt.Sprintf("k%04d", i)); err != nil {
			t.Fatalf("row %d of %d that were acknowledged: %v", i, n, err)
		}
	}
}

// TestFailingIndexLosesNothing makes the n-th call of a kind on a kind of file of the index fail. The engine stops, goes on
// reading, and what was acknowledged is there after a power cut: nothing of the log went because the index was believed.
func TestFailingIndexLosesNothing(t *testing.T) {
	hit := map[string]int{}
	for _, file := range []string{"MANIFEST-", "marker.", "/db/index", ".sst"} {
		for _, op := range []disk.Op{disk.OpWrite, disk.OpSync, disk.OpSyncDir, disk.OpTruncate} {
			for nth := range 4 {
				failIndex(t, file, op, nth, hit)
			}
		}
	}
	for _, what := range []string{"MANIFEST- write", "MANIFEST- sync", "/db/index syncdir", ".sst write", ".sst sync", ".sst truncate"} {
		if hit[what] == 0 {
			t.Errorf("nothing failed in %s: %v", what, hit)
		}
	}
}

func failIndex(t *testing.T, file string, op disk.Op, nth int, hit map[string]int) {
	sim := disk.NewSim(uint64(nth))
	e := mustOpen(t, manifestOptions(sim))
	var seen atomic.Int64
	sim.SetFaults(func(c disk.Call) disk.Fault {
		of := strings.HasPrefix(c.Name, "/db/index") && strings.Contains(c.Name, file)
		if c.Op == disk.OpSyncDir {
			of = c.Name == file
		}
		if of && c.Op == op && seen.Add(1) == int64(nth+1) {
			return disk.Fault{Err: disk.ErrIO}
		}
		return disk.Fault{}
	})
	n, err := someRows(e, 0, 100)
	if seen.Load() > int64(nth) {
		hit[file+" "+string(op)]++
		<-e.Fenced()
		if _, err := e.durableApplied(); !errors.Is(err, store.ErrFenced) {
			t.Errorf("a fenced engine believes its index: %v", err)
		}
	}
	if err != nil && !errors.Is(err, store.ErrFenced) {
		t.Errorf("%s %s %d: %v", file, op, nth, err)
	}
	wantRows(t, e, n)
	e.Close() //nolint:errcheck // fenced, or not
	o := manifestOptions(sim.Crash(disk.Strict))
	e = mustOpen(t, o)
	wantRows(t, e, n)
	if faults, err := e.Verify(t.Context(), nil); err != nil || len(faults) > 0 {
		t.Errorf("%s %s %d: verify: %v %+v", file, op, nth, err, faults)
	}
	if err := e.Close(); err != nil {
		t.Errorf("%s %s %d: %v", file, op, nth, err)
	}
}

// TestIndexWithoutRoom fills the disk at many moments, to the octet. The engine refuses, goes on reading, and goes on by
// itself when there is room: the index never finds the disk full where it could not go on, in its MANIFEST. Nothing is lost,
// neither by a power cut after that nor by one while the disk is full.
func TestIndexWithoutRoom(t *testing.T) {
	for seed := range uint64(8) {
		indexWithoutRoom(t, seed)
	}
}

func indexWithoutRoom(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	sim := disk.NewSim(seed)
	e := mustOpen(t, manifestOptions(sim))
	known := map[string]bool{} // false: perhaps
	n, failed := 0, 0
	for range 30 {
		s, err := sim.Space("/")
		if err != nil {
			t.Fatal(err)
		}
		sim.SetCapacity(s.Total - s.Free + rng.Int64N(40<<10))
		for before := failed; failed < before+3; n++ {
			k := fmt.Sprintf("k%06d", n)
			b := put(k, strings.Repeat("x", 9000))
			b.Deletes = true // the reserve is for it
			switch err := store.Commit(t.Context(), e, b); {
			case err == nil:
				known[k] = true
			case errors.Is(err, store.ErrUnknown):
				known[k], failed = false, failed+1
			case errors.Is(err, store.ErrFull):
				failed++
			default:
				t.Fatalf("seed %d: %v", seed, err)
			}
			if failed > before {
				e.flushIndex() //nolint:errcheck // it finds room, or not
			}
		}
		if err := e.cause(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		wantKnown(t, e, known)
		if rng.IntN(5) == 0 {
			sim.PowerOff()
			e.Close() //nolint:errcheck // no power
			sim = sim.Crash(disk.Strict)
			sim.SetCapacity(1 << 40)
			e = mustOpen(t, manifestOptions(sim))
			wantKnown(t, e, known)
		}
		sim.SetCapacity(1 << 40)
	}
	for e.isIndexFull() && e.cause() == nil {
		time.Sleep(time.Millisecond)
	}
	e.checkSpace(true)
	for end := time.Now().Add(20 * time.Second); ; {
		err := store.Commit(t.Context(), e, put("again", "1"))
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrUnknown) && !errors.Is(err, store.ErrFull) || time.Now().After(end) {
			t.Fatalf("seed %d: with room again: %v", seed, err)
		}
	}
	wantKnown(t, e, known)
	if faults, err := e.Verify(t.Context(), nil); err != nil || len(faults) > 0 {
		t.Errorf("seed %d: verify: %v %+v", seed, err, faults)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func wantKnown(t *testing.T, e *Engine, known map[string]bool) {
	t.Helper()
	for k, sure := range known {
		if _, err := read(e, k); err != nil && (sure || !errors.Is(err, store.ErrNotFound)) {
			t.Fatalf("row %s: %v", k, err)
		}
	}
}

// TestWaitEnds: the index finds no room for longer than Options.StallTime. Who waits is told that the outcome is not known,
// who comes is refused, large bodies and backups too, and all goes on by itself when there is room.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := disk.NewSim(1)
		o := small(Options{Dir: "/db", FS: sim})
		e := mustOpen(t, o)
		var full atomic.Bool
		full.Store(true)
		sim.SetFaults(func(c disk.Call) disk.Fault {
			if full.Load() && c.Op == disk.OpWrite && strings.HasPrefix(c.Name, "/db/index/") {
				return disk.Fault{Err: syscall.ENOSPC}
			}
			return disk.Fault{}
		})
		row := func(n int) *store.Batch {
			b := put(fmt.Sprintf("k%06d", n), strings.Repeat("x", 60<<10))
			b.Deletes = true // the log has room
			return b
		}
		n, begun := 0, time.Now()
		for ; ; n++ {
			err := store.Commit(t.Context(), e, row(n))
			if errors.Is(err, store.ErrUnknown) && !errors.Is(err, store.ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took < 10*time.Second || took > 13*time.Second {
			t.Errorf("answered after %v", took)
		}
		// Those who come later do not wait again, and what is not taken says so.
		begun, later := time.Now(), n+1
		for ; ; later++ {
			err := store.Commit(t.Context(), e, row(later))
			if errors.Is(err, store.ErrFull) {
				break
			}
			if !errors.Is(err, store.ErrUnknown) || later > n+2000 {
				t.Fatalf("%d later: %v", later-n, err)
			}
		}
		if _, err := e.endSegment(t.Context()); !errors.Is(err, store.ErrFull) {
			t.Errorf("backup: %v", err)
		}
		e.full.Store(false)
		if w, err := e.newBody(t.Context(), 7); err != nil {
			t.Error(err)
		} else if _, err := w.Write(make([]byte, 1<<20)); !errors.Is(err, store.ErrFull) {
			t.Errorf("body: %v", err)
		} else {
			w.Discard()
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("those who came later waited for %v", took)
		}
		full.Store(false)
		time.Sleep(time.Second)
		mustCommit(t, e, put("again", "1"))
		for i := range later {
			if _, err := read(e, fmt.Sprintf("k%06d", i)); err != nil {
				t.Fatalf("row %d of %d: %v", i, later, err)
			}
		}
		if _, err := read(e, fmt.Sprintf("k%06d", later)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what was refused is there: %v", err)
		}
		for _, s := range e.segs.set {
			if len(s.pins) > 0 {
				t.Errorf("%s stays pinned", segmentName(s.n))
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}
