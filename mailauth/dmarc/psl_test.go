package dmarc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// TestPublicSuffixList runs the list's own tests through what orgDomain falls back to, which is given names in lower case
// with A-labels.
func TestPublicSuffixList(t *testing.T) {
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	b, err := os.ReadFile(filepath.Join(dir, "vectors", "psl", "tests.txt"))
	if err != nil {
		t.Skipf("test vectors of others are missing: %v (set SAMOTOP_SHARED)", err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 2 || strings.HasPrefix(f[0], "//") || f[0] == "null" {
			continue
		}
		n++
		in, err := idna.ToASCII(strings.ToLower(f[0]))
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if f[1] != "null" {
			if want, err = idna.ToASCII(f[1]); err != nil {
				t.Fatal(err)
			}
		}
		got, err := publicsuffix.EffectiveTLDPlusOne(in)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%s: %q, want %q", f[0], got, want)
		}
	}
	if n < 70 {
		t.Errorf("only %d tests were read", n)
	}
	t.Logf("%d tests", n)
}
