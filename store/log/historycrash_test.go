package log

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/disk"
)

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
	// What found no space was taken back, between others that were written; its answer says so, though nobody asked yet.
	h.sent = slices.DeleteFunc(h.sent, func(s sent) bool { return errors.Is(s.p.Wait(context.Background()), store.ErrFull) })
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
