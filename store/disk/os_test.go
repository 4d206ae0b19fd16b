package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// aligned returns octets that a direct write takes.
func aligned(n int, fill byte) []byte {
	b := make([]byte, n+Align)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (Align - 1))
	b = b[skip : skip+n : skip+n]
	for i := range b {
		b[i] = fill
	}
	return b
}

// direct makes a file of n blocks; on a file system without direct writes an ordinary one.
func direct(t *testing.T, name string, n int) (f File, isDirect bool) {
	t.Helper()
	f, err := OS{}.Open(name, Write|Create|Direct)
	isDirect = !errors.Is(err, unix.EINVAL)
	if !isDirect {
		f, err = OS{}.Open(name, Write|Create)
	}
	no(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.WriteAt(aligned(n*Align, 'z'), 0)
	no(t, err)
	no(t, f.Sync())
	return f, isDirect
}

// TestSyncedWrites writes in place, by many at once, and over the end.
func TestSyncedWrites(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, _ := direct(t, name, 8)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				if err := f.WriteAtSync(aligned(Align, 'a'+byte(i)), int64(i)*Align); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	no(t, f.WriteAtSync(aligned(2*Align, 'x'), 7*Align)) // one block in place, one that makes the file longer
	no(t, f.Sync())
	got, err := os.ReadFile(name)
	no(t, err)
	want := bytes.Repeat([]byte{'x'}, 9*Align)
	for i := range 7 {
		copy(want[i*Align:], bytes.Repeat([]byte{'a' + byte(i)}, Align))
	}
	if !bytes.Equal(got, want) {
		t.Error("the file holds something else")
	}
}

// TestSyncedWriteFails: the error of a write is told, and the next one is not harmed by it.
func TestSyncedWriteFails(t *testing.T) {
	f, isDirect := direct(t, filepath.Join(t.TempDir(), "f"), 2)
	if isDirect {
		if err := f.WriteAtSync(aligned(Align, 'q')[:100], 0); !errors.Is(err, unix.EINVAL) {
			t.Errorf("a piece of a block: %v", err)
		}
	}
	no(t, f.WriteAtSync(aligned(Align, 'b'), Align))
	no(t, f.Close())
	if err := f.WriteAtSync(aligned(Align, 'c'), 0); err == nil {
		t.Error("a write after Close is taken")
	}
	if err := f.Sync(); err == nil {
		t.Error("a sync after Close is taken")
	}
}

// TestShorter: a file that was made shorter is made longer again by a synced write, length and all.
func TestShorter(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, _ := direct(t, name, 4)
	no(t, f.WriteAtSync(aligned(Align, 'e'), 3*Align))
	no(t, f.Truncate(Align))
	no(t, f.WriteAtSync(aligned(Align, 'f'), Align))
	if n, err := f.Size(); err != nil || n != 2*Align {
		t.Errorf("length %d, %v", n, err)
	}
}
