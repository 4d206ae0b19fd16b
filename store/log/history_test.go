package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// A history is a seeded run of operations against an engine and a model of what must be there. The model is a map from
// key to what stands in front of the body; a body follows from that text, so that the text is all there is to compare.
type history struct {
	*testing.T
	seed    uint64
	rng     *rand.Rand
	sim     *disk.Sim
	o       Options
	e       *Engine
	acked   map[string]string
	sent    []sent
	steps   []string
	did     map[string]int
	full    bool
	last    uint32 // segment that was seen
	flushes int64  // of the index, before the last reopening
	// refused counts batches that found no space.
	refused int
}

// sent is a batch that was submitted and not waited for.
type sent struct {
	p     store.Pending
	apply func(map[string]string)
}

var errBroken = errors.New("the disk failed as it was told to")

func newHistory(t *testing.T, seed uint64, did map[string]int) *history {
	h := &history{T: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 99)), acked: map[string]string{}, did: did}
	h.sim = disk.NewSim(seed)
	h.o = small(Options{Dir: "/db", FS: h.sim})
	h.o.SegmentOctets = 64 << 10
	h.o.FlushLogOctets = 128 << 10
	h.o.ReserveOctets = 256 << 10
	h.o.AheadOctets = 4096 << (seed % 4)
	h.o.StallTime, h.o.fullPause, h.o.closeTime = 300*time.Millisecond, 5*time.Millisecond, time.Second
	h.o.ViewTime = time.Hour           // a process of idle priority may stand still for longer than the default
	h.o.Direct = Direct(h.rng.IntN(2)) // auto or off
	h.sim.NoDirect = h.rng.IntN(4) == 0
	return h
}

// drop lets go of what a history that failed leaves open.
func (h *history) drop() {
	if h.e != nil {
		h.sim.PowerOff()
		h.e.Close() //nolint:errcheck // closed before, or fenced
	}
}

func (h *history) step(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	h.steps = append(h.steps, s)
	h.did[strings.Fields(s)[0]]++
	h.count()
}

// count notes what the engine did by itself.
func (h *history) count() {
	if h.e == nil {
		return
	}
	if list := h.e.segs.list(); len(list) > 0 {
		if last := list[len(list)-1]; last > h.last {
			h.did["roll"] += int(last - max(h.last, 1))
			h.last = last
		}
	}
}

func (h *history) die(format string, args ...any) {
	h.Helper()
	n := len(h.steps)
	h.Fatalf("%s\nlast steps:\n  %s\nreplay: SAMOTOP_SEED=%d go test -run 'TestHistories' ./store/log",
		fmt.Sprintf(format, args...), strings.Join(h.steps[max(0, n-25):], "\n  "), h.seed)
}

// now is the model with everything that was sent.
func (h *history) now() map[string]string {
	m := maps.Clone(h.acked)
	for _, s := range h.sent {
		s.apply(m)
	}
	return m
}

// check sorts errors: nil goes on, a failing disk is errBroken, all else ends the test.
func (h *history) check(err error) error {
	h.Helper()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrFull) && h.did["space"] > 0:
		h.did["refused"]++
		h.refused++
		return store.ErrFull
	case errors.Is(err, store.ErrUnknown) && h.did["space"] > 0:
		h.did["stalled"]++
		return errBroken
	case errors.Is(err, store.ErrFenced), errors.Is(err, disk.ErrOff), errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENOSPC):
		return errBroken
	}
	h.die("unexpected: %v", err)
	return err
}

func (h *history) submit(b *store.Batch, apply func(map[string]string)) error {
	h.Helper()
	p, err := h.e.Submit(context.Background(), b)
	if errors.Is(err, store.ErrConflict) && len(h.sent) > 0 {
		// Right only if something it built on found no space.
		before := h.refused
		if err2 := h.ack(); err2 != nil || h.refused > before {
			return err2
		}
	}
	if err := h.check(err); err != nil {
		return err
	}
	h.sent = append(h.sent, sent{p, apply})
	return nil
}

// ack waits for everything.
func (h *history) ack() error {
	h.Helper()
	for len(h.sent) > 0 {
		err := h.check(h.sent[0].p.Wait(context.Background()))
		if errors.Is(err, errBroken) {
			return err
		}
		if err == nil {
			h.sent[0].apply(h.acked)
		}
		h.sent = h.sent[1:]
	}
	return nil
}

// state reads everything there is, each body byte for byte.
func (h *history) state() (map[string]string, error) {
	ctx := context.Background()
	m := map[string]string{}
	err := h.e.View(ctx, func(r store.Reader) error {
		for kv, err := range r.Scan(ctx, nil, nil, false) {
			if err != nil {
				return err
			}
			if kv.Key[0] != 'b' {
				m[string(kv.Key)] = string(kv.Value)
				continue
			}
			own, ref, err := store.SplitRef(kv.Value)
			if err != nil {
				return err
			}
			want := bodyOf(string(own))
			got, err := r.Blob(ctx, nil, ref, 0, 1<<30)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				h.die("body of %s (%s) is wrong: %d octets, want %d", kv.Key, own, len(got), len(want))
			}
			m[string(kv.Key)] = string(own)
		}
		return nil
	})
	return m, h.check(err)
}

func diff(got, want map[string]string) string {
	var out []string
	for k, v := range want {
		if got[k] != v {
			out = append(out, fmt.Sprintf("%s: %.30q want %.30q", k, got[k], v))
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			out = append(out, fmt.Sprintf("%s: not wanted", k))
		}
	}
	slices.Sort(out)
	return strings.Join(out[:min(8, len(out))], "; ")
}

func (h *history) run(n int) {
	if err := h.open(); err != nil {
		h.die("open: %v", err)
	}
	ops := []func() error{h.opPut, h.opPut, h.opPut, h.opPut, h.opBody, h.opBody, h.opBody, h.opAgain, h.opAgain, h.opDelete,
		h.opDeleteRange, h.opConflict, h.opPipelined, h.opCollect, h.opAck, h.opAck, h.opDiscard, h.opFlush, h.opCheckpoint, h.opReopen, h.opVerify, h.opSpace}
	for range n {
		if h.rng.IntN(12) == 0 {
			h.arm(1 + h.rng.IntN(80))
		}
		err := ops[h.rng.IntN(len(ops))]()
		if errors.Is(err, errBroken) || h.rng.IntN(40) == 0 {
			h.reborn(disk.Loss(h.rng.IntN(3)))
		}
	}
	h.sim.SetFaults(nil)
	if h.broken() || h.ack() != nil {
		h.reborn(disk.Strict)
	}
	h.compare()
	if err := h.e.Close(); err != nil && !errors.Is(err, store.ErrFenced) {
		h.die("close: %v", err)
	}
}

// count is how often something is done: what the environment says, else many times with SAMOTOP_NIGHTLY, else few.
func count(name string, few, many int) int {
	if os.Getenv("SAMOTOP_NIGHTLY") != "" {
		few = many
	}
	return number(name, few)
}

// number reads a number from the environment.
func number(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

// TestHistories runs seeded random histories with crashes: SAMOTOP_HISTORIES says how many (nightly 100000),
// SAMOTOP_FIRST with which seed to begin, and SAMOTOP_SEED replays one. It goes on after a seed that fails and reports
// them all. CI runs 1000.
func TestHistories(t *testing.T) {
	histories := count("SAMOTOP_HISTORIES", 25, 100000)
	first := uint64(number("SAMOTOP_FIRST", 1))
	if s := os.Getenv("SAMOTOP_SEED"); s != "" {
		first, histories = uint64(number("SAMOTOP_SEED", 1)), 1
	}
	var mu sync.Mutex
	all := map[string]int{}
	t.Run("seed", func(t *testing.T) {
		for i := range histories {
			seed := first + uint64(i)
			// A test of its own, so that the next seed is tried after one that fails.
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				h := newHistory(t, seed, map[string]int{})
				defer h.drop()
				h.run(120)
				mu.Lock()
				defer mu.Unlock()
				for what, n := range h.did {
					all[what] += n
				}
			})
		}
	})
	t.Log(all)
}

func putBody(k, own string, s store.Staged) *store.Batch {
	return &store.Batch{Blobs: []store.Staged{s}, Ops: []store.Op{store.PutBlob([]byte(k), []byte(own), 0)}}
}
