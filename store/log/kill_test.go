package log

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/store"
)

const killDir = "SAMOTOP_KILL_DIR"

// killOptions of the child and of who reads after it.
func killOptions(dir string) Options {
	o := small(Options{Dir: dir})
	o.SegmentOctets = 4 << 20
	return o
}

// killBody is the body of message n of writer g in a round.
func killBody(round, g, n int) []byte {
	return bodyOf(fmt.Sprintf("%d/%d", round<<40|g<<20|n, 200+(g*7919+n*104729)%90000))
}

func killKey(round, g, n int) []byte { return fmt.Appendf(nil, "b%d/%d/%d", round, g, n) }

// TestKillChild is the process that is killed; it tells on standard output what was acknowledged.
func TestKillChild(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		return // only TestKilledProcess runs it
	}
	e, err := Open(t.Context(), killOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out sync.Mutex
	round := number("SAMOTOP_KILL_ROUND", 0)
	for g := range 64 {
		go killWriter(e, round, g, &out)
	}
	for {
		if _, err := e.Collect(t.Context(), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
}

// killWriter delivers, and deletes each second of its own messages, so that there is something to collect.
func killWriter(e *Engine, round, g int, out *sync.Mutex) {
	ctx := context.Background()
	say := func(what string, n int) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf("%s %d %d %d\n", what, round, g, n)
	}
	for n := 0; ; n++ {
		w, err := e.Stage(ctx)
		if err != nil {
			return
		}
		_, werr := w.Write(killBody(round, g, n))
		s, err := w.Close()
		if errors.Join(err, werr) != nil {
			return
		}
		if store.Commit(ctx, e, putBody(string(killKey(round, g, n)), "x", s)) != nil {
			return
		}
		say("have", n)
		if n%2 == 1 {
			say("going", n-1)
			if store.Commit(ctx, e, &store.Batch{Ops: []store.Op{store.Delete(killKey(round, g, n-1))}}) != nil {
				return
			}
		}
	}
}

// TestKilledProcess kills a process under 64-way load with collection going on; SAMOTOP_KILLS says how often.
func TestKilledProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	acked, gone := map[string][]byte{}, map[string]bool{}
	for round := range count("SAMOTOP_KILLS", 2, 200) {
		killOnce(t, dir, round, acked, gone)
		e, err := Open(t.Context(), killOptions(dir))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		faults, err := e.Verify(t.Context(), nil)
		if err != nil || len(faults) > 0 {
			t.Fatalf("round %d: verify: %v %+v", round, err, faults)
		}
		for k, body := range acked {
			if gone[k] {
				delete(acked, k)
				continue
			}
			killRead(t, e, k, body)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func killOnce(t *testing.T, dir string, round int, acked map[string][]byte, gone map[string]bool) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, fmt.Sprint("SAMOTOP_KILL_ROUND=", round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(out)
	lines, stop := 0, 50+rand.IntN(800)
	for sc.Scan() {
		var what string
		var r, g, n int
		if _, err := fmt.Sscan(sc.Text(), &what, &r, &g, &n); err != nil {
			t.Fatalf("the child says %q", sc.Text())
		}
		k := string(killKey(r, g, n))
		if what == "have" {
			acked[k] = killBody(r, g, n)
		} else {
			gone[k] = true
		}
		if lines++; lines == stop {
			time.AfterFunc(time.Duration(rand.IntN(20))*time.Millisecond, func() { cmd.Process.Kill() })
		}
	}
	if lines < stop {
		t.Fatalf("the child ended by itself after %d lines", lines)
	}
	cmd.Wait() // killed
}

func killRead(t *testing.T, e *Engine, k string, body []byte) {
	ctx := t.Context()
	err := e.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, []byte(k))
		if err != nil {
			return err
		}
		_, ref, err := store.SplitRef(v)
		if err != nil {
			return err
		}
		got, err := r.Blob(ctx, nil, ref, 0, 1<<30)
		if err == nil && !bytes.Equal(got, body) {
			err = errors.New("another body")
		}
		return err
	})
	if err != nil {
		t.Fatalf("acknowledged message %s: %v", k, err)
	}
}
