package filter

import (
	"testing"

	"github.com/samotop/samotop/junk"
)

// FuzzRows: a row is damaged, or says the same when it is written again.
func FuzzRows(f *testing.F) {
	f.Add((&sums{Ham: 1, Spam: 2, Words: 300, Learned: 4, GivenHam: 5, GivenSpam: 6, Day: 20000, Swept: 8}).encode())
	f.Add((&word{Counts: junk.Counts{Ham: 1, Spam: 70000}, day: 20000}).encode(nil))
	f.Add((&learned{kind: Spam, version: 3, given: true, day: 20000}).encode())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, row []byte) {
		if s, err := decodeSums(row); err == nil {
			if again, err := decodeSums(s.encode()); err != nil || again != s {
				t.Errorf("%+v is kept as %+v, %v", s, again, err)
			}
		}
		if w, err := decodeWord(row); err == nil {
			if again, err := decodeWord(w.encode(nil)); err != nil || again != w {
				t.Errorf("%+v is kept as %+v, %v", w, again, err)
			}
		}
		if l, err := decodeLearned(row); err == nil {
			if again, err := decodeLearned(l.encode()); err != nil || again != l {
				t.Errorf("%+v is kept as %+v, %v", l, again, err)
			}
		}
	})
}
