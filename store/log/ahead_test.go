package log

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// TestZerosAhead: small groups stand in zeros that were written before; they are cut off by Close, by opening after a crash,
// without a word, and where the segment ends; large groups get none.
func TestZerosAhead(t *testing.T) {
	var said strings.Builder
	sim := disk.NewSim(1)
	o := Options{Dir: "/db", FS: sim, SegmentOctets: 1 << 20, AheadOctets: 64 << 10, Logger: slog.New(slog.NewTextHandler(&said, nil))}
	e := mustOpen(t, o)
	size := func(n uint32) int64 {
		st, err := sim.Stat(e.segs.path(n))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	n := 0
	add := func(many, octets int) {
		for range many {
			mustCommit(t, e, put(fmt.Sprintf("k%04d", n), strings.Repeat("x", octets)))
			n++
		}
	}
	check := func() {
		t.Helper()
		wantRows(t, e, n)
		if faults, err := e.Verify(t.Context(), nil); err != nil || len(faults) > 0 {
			t.Errorf("verify: %v %+v", err, faults)
		}
	}
	longer := 0
	for range 40 {
		add(1, 100)
		if size(1) > e.segs.octetsFrom(place{1, 0}) {
			longer++
		}
	}
	if longer == 0 {
		t.Error("no zeros were written")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if got := size(1); got != 40*disk.Align {
		t.Errorf("%d octets after Close", got)
	}
	for _, loss := range []disk.Loss{disk.Strict, disk.Nothing, disk.Random} {
		e = mustOpen(t, o)
		check()
		add(40, 100)
		sim.PowerOff()
		e.Close() //nolint:errcheck // no power
		sim = sim.Crash(loss)
		o.FS = sim
		if faults, err := Inspect(t.Context(), o, nil); err != nil || len(faults) > 0 {
			t.Errorf("inspect: %v %+v", err, faults)
		}
		e = mustOpen(t, o)
		check()
		if got, want := size(1), e.segs.octetsFrom(place{1, 0}); got != want {
			t.Errorf("%d octets after opening, want %d", got, want)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(said.String(), "torn") {
		t.Errorf("the owner was told: %s", said.String())
	}
	e = mustOpen(t, o)
	add(3, 100)
	if _, err := e.endSegment(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := size(1), e.segs.octetsFrom(place{1, 0})-e.segs.octetsFrom(place{2, 0}); got != want {
		t.Errorf("%d octets of a segment that ended, want %d", got, want)
	}
	add(30, 100<<10)
	last := e.w.at.seg
	if got, want := size(last), e.segs.octetsFrom(place{last, 0}); got != want {
		t.Errorf("zeros behind large groups: %d octets, want %d", got, want)
	}
	add(2, 100)
	check()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamageBeforeZeros: damage in the middle is told from the end of the log though zeros follow, and zeros in the middle are
// damage.
func TestDamageBeforeZeros(t *testing.T) {
	for _, zeroed := range []bool{false, true} {
		sim := disk.NewSim(1)
		o := Options{Dir: "/db", FS: sim}
		e := mustOpen(t, o)
		for i := range 10 {
			mustCommit(t, e, put(fmt.Sprint("k", i), "v"))
		}
		sim.PowerOff()
		e.Close() //nolint:errcheck // no power
		sim = sim.Crash(disk.Nothing)
		o.FS = sim
		if st, err := sim.Stat("/db/log/00000001.log"); err != nil || st.Size() <= 10*disk.Align {
			t.Fatalf("no zeros: %v %v", st.Size(), err)
		}
		if zeroed {
			f, err := sim.Open("/db/log/00000001.log", disk.Write)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.WriteAtSync(make([]byte, disk.Align), 3*disk.Align); err != nil {
				t.Fatal(err)
			}
		} else {
			flip(t, sim, "/db/log/00000001.log", 3*disk.Align+20)
		}
		_, err := Open(t.Context(), o)
		if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "offset 12288") {
			t.Errorf("zeroed %v: %v", zeroed, err)
		}
		faults, err := Inspect(t.Context(), o, nil)
		if err != nil || len(faults) != 1 || faults[0].Offset != 3*disk.Align {
			t.Errorf("zeroed %v: inspect: %v %+v", zeroed, err, faults)
		}
	}
}
