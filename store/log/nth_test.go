package log

import (
	"context"
	"errors"
	"fmt"
	"testing"

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
// every n, or with SAMOTOP_NTH=k for every k-th.
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
	for how := range 3 {
		for n := 1 + how*every/3; n <= calls; n += every {
			failNth(t, int64(n), how)
		}
	}
}

func failNth(t *testing.T, n int64, how int) {
	h := newNth(t, map[string]int{})
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
