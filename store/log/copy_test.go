package log

import (
	"path/filepath"
	"testing"

	"github.com/samotop/samotop/store/disk"
)

// TestCopyAndOriginalAreApart writes to a checkpoint that shares files with its database, and to the database.
func TestCopyAndOriginalAreApart(t *testing.T) {
	for name, fsys := range map[string]disk.FS{"real": disk.OS{}, "simulated": disk.NewSim(1)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if name == "simulated" {
				dir = "/db"
			}
			o := small(Options{Dir: filepath.Join(dir, "here"), FS: fsys})
			e := mustOpen(t, o)
			mustCommit(t, e, put("k", "both"))
			co := o
			co.Dir = filepath.Join(dir, "copy")
			if err := e.Checkpoint(t.Context(), co.Dir); err != nil {
				t.Fatal(err)
			}
			shared, err := fsys.Stat(filepath.Join(o.Dir, "log", segmentName(1)))
			if err != nil {
				t.Fatal(err)
			}
			size := shared.Size()
			for range 3 { // each Open goes on where the one before ended
				c := mustOpen(t, co)
				mustCommit(t, c, put("k", "copy"))
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if shared, err = fsys.Stat(filepath.Join(o.Dir, "log", segmentName(1))); err != nil || shared.Size() != size {
				t.Errorf("the copy wrote to a segment of the original: %v", err)
			}
			mustCommit(t, e, put("k", "here"))
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			for _, x := range []struct {
				o    Options
				want string
			}{{o, "here"}, {co, "copy"}} {
				e := mustOpen(t, x.o)
				if v, err := read(e, "k"); err != nil || v != x.want {
					t.Errorf("%s: %q, %v", x.o.Dir, v, err)
				}
				if faults, err := e.Verify(t.Context(), nil); err != nil || len(faults) > 0 {
					t.Errorf("%s: %v %v", x.o.Dir, faults, err)
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
