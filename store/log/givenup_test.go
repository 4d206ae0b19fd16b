package log

import (
	"testing"
	"time"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// TestGivenUpBodies: bodies that no batch took, and nothing else, are written until the disk is below its reserve. What is
// under way then is refused, and when it is given up the room comes back, without any other change.
func TestGivenUpBodies(t *testing.T) {
	sim := disk.NewSim(1)
	o := small(Options{Dir: "/db", FS: sim})
	o.ReserveOctets = 4 << 20
	e := mustOpen(t, o)
	before, err := sim.Space("/db")
	if err != nil {
		t.Fatal(err)
	}
	sim.SetCapacity(before.Total - before.Free + o.ReserveOctets + 8<<20)
	block := make([]byte, 64<<10)
	var open []store.BlobWriter
	for refused := false; !refused; {
		w, err := e.Stage(t.Context())
		if err != nil {
			break
		}
		open = append(open, w)
		for range 16 {
			if _, err := w.Write(block); err != nil {
				refused = true
				break
			}
		}
		e.checkSpace(true) // a disk is not filled faster than it is looked at
	}
	if s, _ := sim.Space("/db"); s.Free < o.ReserveOctets/2 {
		t.Errorf("%d octets are free, the reserve is %d", s.Free, o.ReserveOctets)
	}
	if len(open) < 6 {
		t.Fatalf("only %d bodies", len(open))
	}
	for _, w := range open {
		w.Discard()
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		s, err := sim.Space("/db")
		if err != nil {
			t.Fatal(err)
		}
		if s.Free > o.ReserveOctets+4<<20 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d octets are free after all was given up", s.Free)
		}
	}
	e.checkSpace(true)
	mustCommit(t, e, put("k", "v"))
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
