package sasl

import (
	"testing"
	"unicode"

	"github.com/xdg-go/stringprep"
)

func TestPrepare(t *testing.T) {
	for _, c := range []struct {
		in, want string
		bad      bool
	}{ // RFC 4013 section 3, and more
		{"I\u00adX", "IX", false}, {"user", "user", false}, {"USER", "USER", false}, {"\u00aa", "a", false},
		{"\u2168", "IX", false}, {"\u0007", "", true}, {"\u0627\u0031", "", true}, {"\u0627\u0031\u0628", "\u0627\u0031\u0628", false},
		{"a\u00a0b", "a b", false}, {"e\u0301", "é", false}, {"\u007f", "", true}, {"\ue000", "", true}, {"\U000e0041", "", true},
		{"a\u200bb", "ab", false}, {"\u0627a\u0628", "", true}, {"\xff", "", true}, {"", "", false}, {"😀", "😀", false},
	} {
		got, err := Prepare(c.in)
		if (err != nil) != c.bad || err == nil && got != c.want {
			t.Errorf("%q: %q, %v", c.in, got, err)
		}
	}
	if PreparePassword("\ue000") != "\ue000" || PreparePassword("e\u0301") != "é" {
		t.Error("PreparePassword")
	}
}

// TestEachCodePoint compares with the tables of RFC 3454 in xdg-go/stringprep, for each code point that Unicode 3.2
// knew, alone and between letters. That library's table B.1 lacks U+1806, which RFC 3454 has.
func TestEachCodePoint(t *testing.T) {
	unassigned := stringprep.TableA1
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r >= 0x3400 && r < 0xd700 || r >= 0x20000 && r < 0xe0000 || r > 0xe1000 { // the great uniform ranges
			r += 96
		}
		if r >= 0xd800 && r < 0xe000 || unassigned.Contains(r) || r == 0x1806 {
			continue
		}
		for _, s := range []string{string(r), "a" + string(r) + "b"} {
			want, werr := stringprep.SASLprep.Prepare(s)
			got, err := Prepare(s)
			if (err != nil) != (werr != nil) || err == nil && got != want {
				t.Errorf("%U %q: got %q %v, want %q %v", r, s, got, err, want, werr)
			}
		}
	}
}

func FuzzPrepare(f *testing.F) {
	for _, s := range []string{"", "pencil", "I\u00adX", "\u0627\u0031", "e\u0301", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Prepare(s)
		if err != nil {
			return
		}
		if again, err := Prepare(p); err == nil && again != p {
			t.Errorf("%q gives %q gives %q", s, p, again)
		}
	})
}
