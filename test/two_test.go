package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// front is a second process of rooms that have no database, with a directory and ports of its own, in front of the rooms of
// another house, which it reaches by their sockets.
type front struct {
	*house
	rooms []string
}

// newFront makes the directory: the certificate and the settings are its own; nothing else is in it.
func newFront(s *split, rooms ...string) *front {
	s.t.Helper()
	f := &front{newHouse(s.t, s.domain), rooms}
	var links strings.Builder
	links.WriteString("[links]\n")
	for room, socket := range map[string]string{"mailbox": "lmtp", "qm": "qm", "guard": "guard", "rules": "rules", "accounts": "accounts",
		"events": "events", "evidence": "evidence"} {
		fmt.Fprintf(&links, "%s = %q\n", room, "unix:"+filepath.Join(s.dir, "run", socket+".sock"))
	}
	f.dropIn("links", links.String())
	return f
}

func (f *front) up() {
	f.t.Helper()
	p, err := f.serve(f.rooms...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.process = p
}

// TestTwoOfEach: two of each room that has no database of its own, mta and msa, work in front of the same guard, mailbox, accounts and
// queue, people and strangers at both; any process is killed under load.
func TestTwoOfEach(t *testing.T) {
	kills := len(rooms) + 2
	if os.Getenv("SAMOTOP_NIGHTLY") != "" {
		kills = killsNightly
	}
	if n, err := strconv.Atoi(os.Getenv("SAMOTOP_KILLS")); err == nil {
		kills = n
	}
	s := newSplit(t, "a.test", "u0", "u1", "u2")
	second := newFront(s, "mta", "msa")
	second.up()
	for i, h := range []*house{s.house, second.house} { // before anything is killed: in at both, out at both
		if err := h.send("x@x.example", []string{"u0@a.test"}, letter("x@x.example", "u0@a.test", "in", "hello")); err != nil {
			t.Fatalf("front %d: %v\n%s", i, err, h.log)
		}
		if err := h.submit("u1@a.test", []string{"u0@a.test"}, letter("u1@a.test", "u0@a.test", "by us", "hello")); err != nil {
			t.Fatalf("front %d: %v\n%s", i, err, h.log)
		}
		if err := h.send("x@x.example", []string{"nobody@a.test"}, letter("x@x.example", "nobody@a.test", "in", "hello")); err == nil || !strings.Contains(err.Error(), "5.1.1") {
			t.Errorf("front %d: unknown user: %v", i, err)
		}
	}
	s.await("u0@a.test", 4)

	ctx, stop := context.WithCancel(t.Context())
	one := &load{h: s.house, acked: map[string]bool{}, lost: map[string]int{}}
	two := &load{h: second.house, acked: map[string]bool{}, lost: map[string]int{}}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() { one.run(ctx, w) })
		wg.Go(func() { two.run(ctx, 100+w) })
	}
	for i := range kills {
		time.Sleep(time.Duration(50+rand.IntN(300)) * time.Millisecond)
		if at := i % (len(rooms) + 2); at >= len(rooms) {
			if err := second.house.stop(syscall.SIGKILL); err == nil {
				t.Fatal("the second front ended by itself\n", second.log)
			}
			second.up()
		} else {
			s.kill(rooms[at], syscall.SIGKILL)
			s.startRoom(rooms[at])
		}
	}
	time.Sleep(200 * time.Millisecond)
	stop()
	wg.Wait()
	s.settle()
	for id := range two.acked { // what both know is looked for in one house
		one.acked[id] = true
	}
	for id, n := range two.lost {
		one.lost[id] += n
	}
	one.check(t, kills)
	if out, err := s.try("", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if t.Failed() {
		for r, p := range s.procs {
			t.Logf("%s:\n%s", r, p.log)
		}
		t.Logf("second front:\n%s", second.log)
	}
}
