package log

import (
	"errors"
	"fmt"
	"testing"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// TestOpensOnFullDisk: somebody fills the disk to the last octet, and the power is cut. The database opens, what is there
// can be read and deleted, and when there is room all goes on, and the next full disk is met the same way.
func TestOpensOnFullDisk(t *testing.T) {
	sim := disk.NewSim(1)
	e := mustOpen(t, small(Options{Dir: "/db", FS: sim}))
	for n := range 50 {
		mustCommit(t, e, put(fmt.Sprintf("k%02d", n), "value"))
	}
	for round := range 3 {
		sim.PowerOff()
		e.Close() //nolint:errcheck // no power
		sim = sim.Crash(disk.Strict)
		fill(t, sim)
		e = mustOpen(t, small(Options{Dir: "/db", FS: sim}))
		for n := round; n < 50; n++ {
			if v, err := read(e, fmt.Sprintf("k%02d", n)); err != nil || v != "value" {
				t.Fatalf("round %d: %q %v", round, v, err)
			}
		}
		if err := store.Commit(t.Context(), e, put("more", "1")); !errors.Is(err, store.ErrFull) {
			t.Errorf("round %d: put: %v", round, err)
		}
		b := &store.Batch{Deletes: true, Ops: []store.Op{store.Delete(fmt.Appendf(nil, "k%02d", round))}}
		if err := store.Commit(t.Context(), e, b); err != nil {
			t.Errorf("round %d: delete: %v", round, err)
		}
		sim.SetCapacity(1 << 40)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		e = mustOpen(t, small(Options{Dir: "/db", FS: sim})) // now there is room for a new ballast
		mustCommit(t, e, put("more", "1"))
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func fill(t *testing.T, sim *disk.Sim) {
	t.Helper()
	s, err := sim.Space("/")
	if err != nil {
		t.Fatal(err)
	}
	sim.SetCapacity(s.Total - s.Free)
}
