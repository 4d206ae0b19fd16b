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
	"syscall"
	"testing"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

// A history is a seeded run of operations against an engine and a model of what must be there. The model is a map from
// key to what stands in front of the body; a body follows from that text, so that the text is all there is to compare.
type history struct {
	*testing.T
	seed  uint64
	rng   *rand.Rand
	sim   *disk.Sim
	o     Options
	e     *Engine
	acked map[string]string
	sent  []sent
	steps []string
	did   map[string]int
	full  bool
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
	h.o.Direct = Direct(h.rng.IntN(2)) // auto or off
	h.sim.NoDirect = h.rng.IntN(4) == 0
	return h
}

func (h *history) step(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	h.steps = append(h.steps, s)
	if h.did != nil {
		h.did[strings.Fields(s)[0]]++
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

func (h *history) key(kind string) []byte { return fmt.Appendf(nil, "%s%02d", kind, h.rng.IntN(25)) }

func bodyOf(own string) []byte {
	var seed uint64
	var n int
	fmt.Sscanf(own, "%d/%d", &seed, &n)
	rng := rand.New(rand.NewPCG(seed, 3))
	b := make([]byte, n)
	for i := range b {
		if i%64 == 0 {
			b[i] = byte(rng.Uint32())
		} else {
			b[i] = byte(i) ^ b[i-1]
		}
	}
	return b
}

func (h *history) stage(own string) (store.Staged, error) {
	w, err := h.e.Stage(context.Background())
	if err := h.check(err); err != nil {
		return nil, err
	}
	defer w.Discard()
	for b := bodyOf(own); len(b) > 0; {
		n := min(len(b), 1+h.rng.IntN(50000))
		if _, err := w.Write(b[:n]); err != nil {
			return nil, h.check(err)
		}
		b = b[n:]
	}
	s, err := w.Close()
	return s, h.check(err)
}

// raw is a row's value as it is now; everything must have been waited for.
func (h *history) raw(k []byte) (v []byte, err error) {
	err = h.e.View(context.Background(), func(r store.Reader) error {
		got, err := r.Get(context.Background(), k)
		v = bytes.Clone(got)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return v, h.check(err)
}

func (h *history) opPut() error {
	k := h.key("p")
	v := fmt.Sprint(h.rng.Uint32(), strings.Repeat("x", h.rng.IntN(3000)))
	old, there := h.now()[string(k)]
	h.step("put %s", k)
	return h.submit(&store.Batch{Asserts: []store.Assert{{Key: k, Value: []byte(old), Absent: !there}},
		Ops: []store.Op{store.Put(k, []byte(v))}}, func(m map[string]string) { m[string(k)] = v })
}

func (h *history) opConflict() error {
	k := h.key("p")
	h.step("conflict %s", k)
	_, err := h.e.Submit(context.Background(), &store.Batch{Asserts: []store.Assert{{Key: k, Value: []byte("never")}},
		Ops: []store.Op{store.Put(k, []byte("wrong"))}})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	if err == nil {
		h.die("a false assertion held")
	}
	return h.check(err)
}

func (h *history) size() int {
	switch h.rng.IntN(10) {
	case 0:
		return 0
	case 1:
		return h.rng.IntN(400 << 10)
	case 2:
		return 64<<10 + h.rng.IntN(3) - 1
	}
	return h.rng.IntN(9000)
}

func (h *history) opBody() error {
	k, k2 := h.key("b"), h.key("b")
	own := fmt.Sprintf("%d/%d", h.rng.Uint32(), h.size())
	h.step("body %s %s %s", k, k2, own)
	s, err := h.stage(own)
	if err != nil {
		return err
	}
	err = h.submit(&store.Batch{Blobs: []store.Staged{s},
		Ops: []store.Op{store.PutBlob(k, []byte(own), 0), store.PutBlob(k2, []byte(own), 0)}},
		func(m map[string]string) { m[string(k)], m[string(k2)] = own, own })
	return err
}

// opAgain rewrites or deletes a row with a body, asserting it.
func (h *history) opAgain() error {
	k := h.key("b")
	if err := h.ack(); err != nil {
		return err
	}
	v, err := h.raw(k)
	if err != nil || v == nil {
		return err
	}
	own, ref, err := store.SplitRef(v)
	if err != nil {
		h.die("row %s: %v", k, err)
	}
	b := &store.Batch{Asserts: []store.Assert{{Key: k, Value: v}}}
	if h.rng.IntN(2) == 0 {
		h.step("rewrite %s", k)
		text, _, _ := strings.Cut(string(own), " ")
		text += " " + fmt.Sprint(h.rng.IntN(100))
		b.Ops = []store.Op{store.PutRef(k, []byte(text), ref)}
		return h.submit(b, func(m map[string]string) { m[string(k)] = text })
	}
	h.step("expunge %s", k)
	b.Ops, b.Deletes = []store.Op{store.Delete(k)}, true
	return h.submit(b, func(m map[string]string) { delete(m, string(k)) })
}

func (h *history) opDelete() error {
	k := h.key([]string{"p", "b"}[h.rng.IntN(2)])
	h.step("delete %s", k)
	return h.submit(&store.Batch{Ops: []store.Op{store.Delete(k)}, Deletes: true}, func(m map[string]string) { delete(m, string(k)) })
}

func (h *history) opDeleteRange() error {
	lo, hi := h.key("b"), h.key("b")
	if bytes.Compare(lo, hi) > 0 {
		lo, hi = hi, lo
	}
	h.step("deleterange %s %s", lo, hi)
	return h.submit(&store.Batch{Ops: []store.Op{store.DeleteRange(lo, hi)}, Deletes: true}, func(m map[string]string) {
		maps.DeleteFunc(m, func(k, _ string) bool { return k >= string(lo) && k < string(hi) })
	})
}

func (h *history) opCollect() error {
	h.step("collect")
	c, err := h.e.Collect(context.Background(), int64(h.rng.IntN(300000)))
	h.did["collected"] += c.Segments
	if c.MovedOctets > 0 {
		h.did["moved"]++
	}
	return h.check(err)
}

func (h *history) opFlush() error {
	h.step("flush")
	return h.check(h.e.flushIndex())
}

func (h *history) opAck() error {
	h.step("wait")
	return h.ack()
}

func (h *history) opDiscard() error {
	h.step("discard")
	s, err := h.stage(fmt.Sprintf("1/%d", h.rng.IntN(200000)))
	if err == nil {
		s.Discard()
	}
	return err
}

func (h *history) opCheckpoint() error {
	h.step("checkpoint")
	if err := h.check(h.e.Checkpoint(context.Background(), "/copy")); err != nil {
		return err
	}
	if err := h.ack(); err != nil || h.rng.IntN(3) > 0 {
		return err
	}
	if err := h.check(h.e.Checkpoint(context.Background(), "/copy")); err != nil {
		return err
	}
	o := h.o
	o.Dir = "/copy"
	c, err := Open(context.Background(), o)
	if err := h.check(err); err != nil {
		return err
	}
	here := h.e
	h.e = c
	got, err := h.state()
	h.e = here
	if err := errors.Join(err, h.check(c.Close())); err != nil {
		return errBroken
	}
	if !maps.Equal(got, h.acked) {
		h.die("the checkpoint differs: %s", diff(got, h.acked))
	}
	return nil
}

func (h *history) opReopen() error {
	h.step("reopen")
	if err := h.ack(); err != nil {
		return err
	}
	if err := h.check(h.e.Close()); err != nil {
		return err
	}
	return h.open()
}

func (h *history) opSpace() error {
	h.full = !h.full
	h.step("space %v", h.full)
	var room int64 = 1 << 40
	if h.full {
		s, err := h.sim.Space("/")
		if err != nil {
			return errBroken
		}
		room = s.Total - s.Free + int64(h.rng.IntN(600<<10))
	}
	h.sim.SetCapacity(room)
	h.e.checkSpace(true)
	return nil
}

func (h *history) opVerify() error {
	h.step("verify")
	faults, err := h.e.Verify(context.Background(), nil)
	if err := h.check(err); err != nil {
		return err
	}
	if len(faults) > 0 && !h.broken() {
		h.die("verify: %+v", faults[:min(3, len(faults))])
	}
	return nil
}

func (h *history) broken() bool {
	_, err := h.sim.Stat("/")
	return err != nil
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

func (h *history) open() error {
	e, err := Open(context.Background(), h.o)
	if err := h.check(err); err != nil {
		return err
	}
	h.e = e
	return nil
}

// reborn crashes and opens again, maybe crashing on the way, and compares.
func (h *history) reborn(loss disk.Loss) {
	h.sim.PowerOff()
	if h.e != nil {
		h.e.Close() // reports the fence
	}
	h.full = false
	for try := 0; ; try++ {
		h.step("crash %d, opening", loss)
		h.sim = h.sim.Crash(loss)
		h.sim.CapacityOctets = 0
		h.o.FS = h.sim
		if try < 2 && h.rng.IntN(3) == 0 {
			h.arm(1 + h.rng.IntN(60))
		}
		if h.open() == nil {
			break
		}
		h.did["crash-in-recovery"]++
	}
	h.sim.SetFaults(nil)
	if h.broken() || h.e.isFenced() != nil {
		h.reborn(loss)
		return
	}
	h.compare()
}

// compare finds which of the batches that were sent and not acknowledged are there: some first ones.
func (h *history) compare() {
	got, err := h.state()
	if err != nil {
		h.die("after opening: %v", err)
	}
	m := maps.Clone(h.acked)
	for i := 0; ; i++ {
		if maps.Equal(got, m) {
			h.acked, h.sent = got, nil
			break
		}
		if i == len(h.sent) {
			h.die("what is there is no state that was ever reached, with %d not acknowledged: %s", len(h.sent), diff(got, h.acked))
		}
		h.sent[i].apply(m)
	}
	if err := h.opVerify(); err != nil {
		h.die("verify after opening: %v", err)
	}
}

// arm makes the n-th changing call from now on fail in one way or another.
func (h *history) arm(n int) {
	at := h.sim.Calls() + int64(n)
	how := h.rng.IntN(4)
	h.step("arm %d: %d", n, how)
	h.sim.SetFaults(func(c disk.Call) disk.Fault {
		if c.N != at {
			return disk.Fault{}
		}
		switch {
		case how == 0:
			return disk.Fault{Err: disk.ErrIO}
		case how == 1 && c.Op == disk.OpWrite:
			return disk.Fault{Err: disk.ErrIO, Short: true}
		}
		return disk.Fault{Off: true}
	})
}

func (h *history) run(n int) {
	if err := h.open(); err != nil {
		h.die("open: %v", err)
	}
	ops := []func() error{h.opPut, h.opPut, h.opPut, h.opPut, h.opBody, h.opBody, h.opBody, h.opAgain, h.opAgain, h.opDelete,
		h.opDeleteRange, h.opConflict, h.opCollect, h.opAck, h.opAck, h.opDiscard, h.opFlush, h.opCheckpoint, h.opReopen, h.opVerify, h.opSpace}
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

// number reads a number from the environment.
func number(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

// TestHistories runs seeded random histories with crashes: SAMOTOP_HISTORIES says how many (nightly 100000), and
// SAMOTOP_SEED replays one.
func TestHistories(t *testing.T) {
	count := number("SAMOTOP_HISTORIES", 25)
	first := uint64(1)
	if s := os.Getenv("SAMOTOP_SEED"); s != "" {
		first, count = uint64(number("SAMOTOP_SEED", 1)), 1
	}
	did := map[string]int{}
	for i := range count {
		newHistory(t, first+uint64(i), did).run(120)
	}
	t.Log(did)
}

func putBody(k, own string, s store.Staged) *store.Batch {
	return &store.Batch{Blobs: []store.Staged{s}, Ops: []store.Op{store.PutBlob([]byte(k), []byte(own), 0)}}
}
