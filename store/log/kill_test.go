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

// killed is message n of writer g in a round.
type killed struct{ round, g, n int }

func (k killed) body() []byte {
	return bodyOf(fmt.Sprintf("%d/%d", k.round<<40|k.g<<20|k.n, 200+(k.g*7919+k.n*104729)%90000))
}

func (k killed) key() []byte { return fmt.Appendf(nil, "b%d/%d/%d", k.round, k.g, k.n) }

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
	say := func(what string, k killed) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf("%s %d %d %d\n", what, k.round, k.g, k.n)
	}
	for n := 0; ; n++ {
		w, err := e.Stage(ctx)
		if err != nil {
			return
		}
		k := killed{round, g, n}
		_, werr := w.Write(k.body())
		s, err := w.Close()
		if errors.Join(err, werr) != nil {
			return
		}
		if store.Commit(ctx, e, putBody(string(k.key()), "x", s)) != nil {
			return
		}
		say("have", k)
		if n%2 == 1 {
			k.n--
			say("going", k)
			if store.Commit(ctx, e, &store.Batch{Ops: []store.Op{store.Delete(k.key())}}) != nil {
				return
			}
		}
	}
}

// TestKilledProcess kills a process under 64-way load with collection going on; SAMOTOP_KILLS says how often. Each message
// that was acknowledged is read back after the round it came in, after each tenth round, and at the end.
func TestKilledProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	acked := map[killed]bool{}
	rounds, read := count("SAMOTOP_KILLS", 2, 200), 0
	for round := range rounds {
		killOnce(t, dir, round, acked)
		e, err := Open(t.Context(), killOptions(dir))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		faults, err := e.Verify(t.Context(), nil)
		if err != nil || len(faults) > 0 {
			t.Fatalf("round %d: verify: %v %+v", round, err, faults)
		}
		for k := range acked {
			if k.round == round || round%10 == 9 || round == rounds-1 {
				killRead(t, e, k)
				read++
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d times killed, %d messages kept, %d times one was read", rounds, len(acked), read)
}

// killOnce adds to acked what the child said it has, and takes away what it was about to delete.
func killOnce(t *testing.T, dir string, round int, acked map[killed]bool) {
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
		var k killed
		if _, err := fmt.Sscan(sc.Text(), &what, &k.round, &k.g, &k.n); err != nil {
			t.Fatalf("the child says %q", sc.Text())
		}
		if what == "have" {
			acked[k] = true
		} else {
			delete(acked, k)
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

func killRead(t *testing.T, e *Engine, k killed) {
	t.Helper()
	ctx := t.Context()
	err := e.View(ctx, func(r store.Reader) error {
		v, err := r.Get(ctx, k.key())
		if err != nil {
			return err
		}
		_, ref, err := store.SplitRef(v)
		if err != nil {
			return err
		}
		got, err := r.Blob(ctx, nil, ref, 0, 1<<30)
		if err == nil && !bytes.Equal(got, k.body()) {
			err = errors.New("another body")
		}
		return err
	})
	if err != nil {
		t.Fatalf("acknowledged message %s: %v", k.key(), err)
	}
}
