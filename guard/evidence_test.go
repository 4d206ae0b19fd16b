package guard

import (
	"errors"
	"testing"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

func TestOpenEvidence(t *testing.T) {
	e := mem.New(mem.Options{})
	for range 2 {
		if err := OpenEvidence(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		row  []byte
		want error
	}{{[]byte{0, 0, 0, evidenceFormat + 1}, store.ErrFormat}, {[]byte{1}, store.ErrCorrupt}} {
		if err := store.Commit(t.Context(), e, &store.Batch{Ops: []store.Op{store.Put([]byte{keyFormat}, x.row)}}); err != nil {
			t.Fatal(err)
		}
		if err := OpenEvidence(t.Context(), e); !errors.Is(err, x.want) {
			t.Errorf("%x: %v, want %v", x.row, err, x.want)
		}
	}
}
