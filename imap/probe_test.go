package imap

import (
	"testing"

	"pgregory.net/rapid"
)

// TestProbe: a table finds what was put into it, however many have the same hash.
func TestProbe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(rapid.Uint64Range(0, 500)).Draw(t, "keys")
		spread := rapid.SampledFrom([]uint64{0, 1 << 60, fibonacci}).Draw(t, "spread")
		var kept []uint64
		places := map[uint64]int{}
		p := newProbe(rapid.IntRange(0, 20).Draw(t, "room"))
		for _, k := range keys {
			slot, at := p.find(k*spread, func(at int) bool { return kept[at] == k })
			want, ok := places[k]
			if ok != (at >= 0) || ok && at != want {
				t.Fatalf("%d is at %d, not %d (%v)", k, at, want, ok)
			}
			if ok {
				continue
			}
			places[k] = len(kept)
			p.put(slot, len(kept))
			if kept = append(kept, k); p.full() {
				p.grow(func(at int) uint64 { return kept[at] * spread })
			}
		}
	})
}
