package spool

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func TestBuffer(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int{0, 1, 10, 11, 12, 5000} {
		s := Buffer{MemoryOctets: 11, Dir: dir}
		want := strings.Repeat("0123456789", n/10+1)[:n]
		if _, err := io.Copy(&s, iotest.OneByteReader(strings.NewReader(want))); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var got strings.Builder
			if err := s.CopyTo(&got); err != nil || got.String() != want {
				t.Errorf("%d octets: copied %d, %v", n, got.Len(), err)
			}
			r, err := s.Reader()
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); err != nil || string(b) != want {
				t.Errorf("%d octets: read %d, %v", n, len(b), err)
			}
		}
		if inMemory := s.file == nil; inMemory != (n <= 11) {
			t.Errorf("%d octets in memory: %v", n, inMemory)
		}
		s.Close()
		if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
			t.Errorf("%d octets leave %v, %v", n, names, err)
		}
	}
}
