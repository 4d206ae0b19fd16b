package log

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/samotop/samotop/store/disk"
)

// script is a history that contains each kind of operation once or more, always the same.
func (h *history) script() error {
	var steps []func() error
	add := func(n int, fs ...func() error) {
		for range n {
			steps = append(steps, fs...)
		}
	}
	add(4, h.opPut, h.opBody, h.opConflict, h.opPipelined)
	add(1, h.opFlush, h.opBigBody, h.opAck, h.opDiscard)
	add(4, h.opBody, h.opPut, h.opAgain)
	add(1, h.opDeleteRange, h.opDelete, h.opAck, h.opCheckpoint, h.opFlush)
	add(6, h.opBody, h.opDelete)
	add(1, h.opAck, h.opFlush, h.opCollect, h.opCollectAll, h.opCheckpoint, h.opVerify)
	add(3, h.opPut)
	add(1, h.opReopen, h.opPut, h.opAck)
	for _, f := range steps {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) opBigBody() error {
	own := fmt.Sprintf("77/%d", 2<<20)
	h.step("bigbody")
	s, err := h.stage(own)
	if err != nil {
		return err
	}
	return h.submit(putBody("b99", own, s), func(m map[string]string) { m["b99"] = own })
}

func newNth(t *testing.T, did map[string]int) *history {
	h := newHistory(t, 4, did)
	h.o.CollectBelowPercent = 99 // so that there is something to move
	return h
}

func (h *history) opCollectAll() error {
	h.step("collectall")
	c, err := h.e.Collect(context.Background(), 1<<30)
	h.did["moved"] += int(c.MovedOctets)
	return h.check(err)
}

// TestFailTheNth runs the script and makes the n-th call that may change the disk fail, or cuts the power there, for
// every n, or with SAMOTOP_NTH=k for every k-th, from SAMOTOP_NTH_FIRST to SAMOTOP_NTH_LAST. It goes on after an n that
// fails and reports them all.
func TestFailTheNth(t *testing.T) {
	did := map[string]int{}
	h := newNth(t, did)
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	if err := h.script(); err != nil {
		t.Fatal(err)
	}
	did["forcedflush"] = int(h.flushes) - did["flush"]
	calls := int(h.sim.Calls())
	h.e.Close()
	t.Log(calls, "calls:", did)
	for _, kind := range []string{"bigbody", "body", "put", "checkpoint", "collect", "conflict", "delete", "deleterange", "discard", "flush", "forcedflush", "reopen", "roll",
		"collected", "moved", "pipelined", "overtaken"} {
		if did[kind] == 0 {
			t.Errorf("the script has no %s", kind)
		}
	}
	every := count("SAMOTOP_NTH", 71, 1)
	first, last := number("SAMOTOP_NTH_FIRST", 1), min(calls, number("SAMOTOP_NTH_LAST", calls))
	running := runtime.NumGoroutine()
	for how := range 3 {
		for n := first + how*every/3; n <= last; n += every {
			t.Run(fmt.Sprintf("%d/%d", n, how), func(t *testing.T) { failNth(t, int64(n), how) })
		}
	}
	nothingRuns(t, running)
}

// TestOpenLeavesNothing makes each call fail that opening a new and an old database makes: nothing must stay behind of an
// engine that does not open.
func TestOpenLeavesNothing(t *testing.T) {
	running := runtime.NumGoroutine()
	for again := range 2 {
		opened := false
		for n := int64(1); !opened; n++ {
			h := newNth(t, map[string]int{})
			if again == 1 {
				if err := h.open(); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(h.opPut(), h.opAck(), h.e.Close()); err != nil {
					t.Fatal(err)
				}
			}
			before := h.sim.Calls()
			h.sim.SetFaults(func(c disk.Call) disk.Fault {
				if c.N < before+n {
					return disk.Fault{}
				}
				return disk.Fault{Err: disk.ErrIO}
			})
			opened = h.open() == nil
			h.drop()
		}
	}
	nothingRuns(t, running)
}

// nothingRuns waits until what was started has ended: an engine that fails, or does not open, must not stay.
func nothingRuns(t *testing.T, running int) {
	var now int
	for range 200 {
		if now = runtime.NumGoroutine(); now <= running {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	stacks := make([]byte, 64<<10)
	t.Errorf("%d goroutines more than before:\n%s", now-running, stacks[:runtime.Stack(stacks, true)])
}

func failNth(t *testing.T, n int64, how int) {
	h := newNth(t, map[string]int{})
	defer h.drop()
	h.sim.SetFaults(func(c disk.Call) disk.Fault {
		switch {
		case c.N != n:
			return disk.Fault{}
		case how == 0:
			return disk.Fault{Off: true}
		default:
			return disk.Fault{Err: disk.ErrIO, Short: how == 2 && c.Op == disk.OpWrite}
		}
	})
	h.step("fail %d: %d", n, how)
	err := h.open()
	if err == nil {
		err = h.script()
	}
	if err != nil && !errors.Is(err, errBroken) {
		t.Fatalf("call %d: %v", n, err)
	}
	h.reborn(disk.Loss(int(n) % 3))
	if err := h.script(); err != nil {
		t.Fatalf("call %d: after opening: %v", n, err)
	}
	if err := h.e.Close(); err != nil {
		t.Fatalf("call %d: %v", n, err)
	}
}
