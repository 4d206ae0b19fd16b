package imap

import (
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// TestFoldIsDecomposition: each character alone folds to the decomposition of its title case.
func TestFoldIsDecomposition(t *testing.T) {
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if r >= 0xd800 && r < 0xe000 {
			continue
		}
		want := norm.NFKD.String(string(unicode.ToTitle(r)))
		if got := Fold(string(r)); got != want {
			t.Fatalf("%U: %+q, want %+q", r, got, want)
		}
	}
	if Fold("Grüße") != Fold("GRU\u0308ßE") {
		t.Error("composed and decomposed text differ")
	}
}

// TestFolderFindsAcrossPieces: text is found wherever the stream is cut.
func TestFolderFindsAcrossPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-dä-ü ]{0,200}`).Draw(t, "text")
		needle := rapid.StringMatching(`[a-dA-DÄ-Ü]{1,4}`).Draw(t, "needle")
		f := newFolder([]string{Fold(needle)}, &textBuffers{})
		if err := f.readAll(iotest.OneByteReader(strings.NewReader(text))); err != nil {
			t.Fatal(err)
		}
		if want := strings.Contains(Fold(text), Fold(needle)); f.found[0] != want {
			t.Fatalf("%q in %q: %v", needle, text, f.found[0])
		}
	})
}

// TestUIDSets: the operations agree with those on maps.
func TestUIDSets(t *testing.T) {
	draw := func(t *rapid.T, name string) (UIDSet, map[UID]bool) {
		var s UIDSet
		m := map[UID]bool{}
		for _, u := range rapid.SliceOfN(rapid.Uint32Range(1, 40), 0, 30).Draw(t, name) {
			s.Add(UID(u))
			m[UID(u)] = true
		}
		return s, m
	}
	rapid.Check(t, func(t *rapid.T) {
		a, am := draw(t, "a")
		b, bm := draw(t, "b")
		check := func(name string, got UIDSet, in func(UID) bool) {
			n := 0
			for u := UID(1); u <= 41; u++ {
				if got.Contains(u) != in(u) {
					t.Fatalf("%s of %v and %v is %v, wrong at %d", name, a, b, got, u)
				}
				if in(u) {
					n++
					if got.At(n) != u || got.Rank(u) != n {
						t.Fatalf("%v: At(%d) %d, Rank(%d) %d", got, n, got.At(n), u, got.Rank(u))
					}
				}
			}
			for i := 1; i < len(got); i++ {
				if got[i].Start <= got[i-1].Stop+1 {
					t.Fatalf("%s is not in canonical form: %v", name, got)
				}
			}
			if got.Len() != n {
				t.Fatalf("%v: Len %d, want %d", got, got.Len(), n)
			}
		}
		check("union", a.Union(b), func(u UID) bool { return am[u] || bm[u] })
		check("intersection", a.Intersect(b), func(u UID) bool { return am[u] && bm[u] })
		check("difference", a.Subtract(b), func(u UID) bool { return am[u] && !bm[u] })
	})
}
