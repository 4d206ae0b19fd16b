package imap

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRanks: the index agrees with the plain methods of UIDSet.
func TestRanks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s UIDSet
		for _, u := range rapid.SliceOfN(rapid.Uint32Range(1, 60), 1, 40).Draw(t, "uids") {
			s.Add(UID(u))
		}
		r := newRanks(s)
		n := s.Len()
		lo := rapid.IntRange(1, n).Draw(t, "lo")
		hi := rapid.IntRange(lo, n).Draw(t, "hi")
		var want UIDSet
		for i := lo; i <= hi; i++ {
			want.Add(s.At(i))
		}
		if got := r.add(nil, lo, hi); !got.Equal(want) || r.len() != n {
			t.Fatalf("%d to %d of %v: %v, want %v", lo, hi, s, got, want)
		}
		for u := UID(1); u <= 61; u++ {
			seq := 0
			if s.Contains(u) {
				seq = s.Rank(u)
			}
			if r.of(u) != seq {
				t.Fatalf("%d in %v: %d, want %d", u, s, r.of(u), seq)
			}
		}
	})
}
