package guard

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/store"
)

var day0 = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// TestTableFades: whatever comes when, a counter is the sum of what came, each faded by its age; nothing is below zero.
func TestTableFades(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tau := time.Duration(rapid.IntRange(1, 1_000_000).Draw(t, "tau")) * time.Second
		x := newTable(100, [16]byte{1}, 10_000*time.Hour, [counters]time.Duration{tau, 0})
		name := x.name('a', []byte("name"))
		now, want, all := day0, 0.0, 0.0
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			step := time.Duration(rapid.IntRange(0, 100_000).Draw(t, "step")) * time.Second
			d := float64(rapid.IntRange(-3, 10).Draw(t, "d"))
			now = now.Add(step)
			want = max(0, want*math.Exp(-step.Seconds()/tau.Seconds())+d)
			all = max(0, all+d)
			got := x.add(name, now, values{float32(d), float32(d)})
			if math.Abs(float64(got.values[0])-want) > 1e-3*max(1, want) || float64(got.values[1]) != all {
				t.Fatalf("%v, want %v and %v", got, want, all)
			}
		}
		if k := x.get(name, now.Add(9_000*time.Hour)); k.first.IsZero() {
			t.Fatal("forgotten too early")
		}
		if k := x.get(name, now.Add(10_001*time.Hour)); !k.first.IsZero() || k.values != (values{}) {
			t.Fatal("never forgotten", k)
		}
	})
}

// TestTableIsBounded: a flood of names takes no more memory than was made, and pushes out who was seen longest ago first.
func TestTableIsBounded(t *testing.T) {
	x := newTable(10*ways, [16]byte{}, time.Hour, [counters]time.Duration{})
	busy := x.name('a', []byte("busy"))
	now := day0
	for i := range 100_000 {
		now = now.Add(time.Second / 20)
		x.add(x.name('a', binary.BigEndian.AppendUint32(nil, uint32(i))), now, values{1})
		if i%10 == 0 {
			x.add(busy, now, values{1})
		}
	}
	if got := x.get(busy, now).values[0]; got != 10_000 {
		t.Errorf("who is seen all the time was pushed out: %v", got)
	}
	if k := x.get(x.name('a', make([]byte, 4)), now); !k.first.IsZero() {
		t.Error("the first of the flood is still there")
	}
	if k := x.get(x.name('a', binary.BigEndian.AppendUint32(nil, 99_999)), now); k.values[0] != 1 {
		t.Error("the last of the flood is not there")
	}
}

func TestTableSaved(t *testing.T) {
	x := newTable(1000, [16]byte{3}, time.Hour, [counters]time.Duration{time.Hour})
	for i := range 300 {
		x.add(x.name('a', fmt.Append(nil, i)), day0, values{float32(i), 1, 2, 3})
	}
	y := newTable(1000, [16]byte{3}, time.Hour, [counters]time.Duration{time.Hour})
	fine := func() error { return nil }
	rows := 0
	if err := x.saved(func(i int, row []byte) {
		rows++
		var ok bool
		if y.sets[i].slots, ok = readSet(row); !ok {
			t.Error("cannot be read")
		}
	}, fine); err != nil || rows == 0 {
		t.Fatal(rows, err)
	}
	for i := range 300 {
		n := x.name('a', fmt.Append(nil, i))
		if a, b := x.get(n, day0), y.get(n, day0); a != b || a.first.IsZero() {
			t.Fatal(i, a, b)
		}
	}
	count := func(commit func() error) (n int, err error) {
		err = x.saved(func(int, []byte) { n++ }, commit)
		return n, err
	}
	if n, err := count(fine); n != 0 || err != nil {
		t.Error("nothing had changed", n, err)
	}
	x.add(1, day0, values{})
	x.add(2, day0, values{})
	if n, err := count(func() error { return store.ErrClosed }); n != 2 || err == nil {
		t.Error(n, err)
	}
	if n, err := count(fine); n != 2 || err != nil {
		t.Error("what was not kept is not tried again", n, err)
	}
}

func FuzzSet(f *testing.F) {
	var s [ways]slot
	s[3] = slot{7, 8, 9, values{1, 2, 3, 4}}
	f.Add(appendSet(nil, &s))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := readSet(b)
		if ok && string(appendSet(nil, &s)) != string(b) {
			// -0 is read as it stands; anything else must come out as it went in
			t.Fatal("read and written, it is another row")
		}
	})
}

// The cost of a name is the same among ten and among a million.
func BenchmarkTable(b *testing.B) {
	for _, n := range []int{10, 1_000_000} {
		x := newTable(1<<20, [16]byte{1}, 10_000*time.Hour, [counters]time.Duration{time.Hour, time.Hour})
		names := make([]uint64, n)
		for i := range names {
			names[i] = x.name('a', binary.BigEndian.AppendUint32(nil, uint32(i)))
			x.add(names[i], day0, values{1, 1})
		}
		now := day0.Add(time.Minute)
		b.Run(fmt.Sprintf("add/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				x.add(names[i%n], now, values{1})
			}
		})
		b.Run(fmt.Sprintf("get/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				x.get(names[(i*7919)%n], now)
			}
		})
		b.Run(fmt.Sprintf("name/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.name('a', []byte("somebody@example.org"))
			}
		})
	}
}
