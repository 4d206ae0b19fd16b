package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"

	"github.com/samotop/samotop/store"
)

// The operations that a history is made of.

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

// opPipelined submits batches that build on each other without waiting, and one that builds on what is no more.
func (h *history) opPipelined() error {
	k := h.key("p")
	h.step("pipelined %s", k)
	old, there := h.now()[string(k)]
	first := store.Assert{Key: k, Value: []byte(old), Absent: !there}
	set := func(assert store.Assert, v string) error {
		return h.submit(&store.Batch{Asserts: []store.Assert{assert}, Ops: []store.Op{store.Put(k, []byte(v))}},
			func(m map[string]string) { m[string(k)] = v })
	}
	one, two := fmt.Sprint(h.rng.Uint32(), "one"), fmt.Sprint(h.rng.Uint32(), "two")
	refused := h.refused
	if err := set(first, one); err != nil {
		return err
	}
	_, err := h.e.Submit(context.Background(), &store.Batch{Asserts: []store.Assert{first}, Ops: []store.Op{store.Put(k, []byte("wrong"))}})
	switch {
	case err == nil:
		h.die("two batches built on the same row")
	case errors.Is(err, store.ErrConflict):
		h.did["overtaken"]++
	default:
		if err := h.check(err); err != nil {
			return err
		}
	}
	if h.refused > refused {
		return nil
	}
	return set(store.Assert{Key: k, Value: []byte(one)}, two)
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
	h.flushes += h.e.db.Metrics().Flush.Count
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
