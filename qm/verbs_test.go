package qm

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestVerbs(t *testing.T) {
	in(t, func(w *world, q *QM) {
		ctx := context.Background()
		s := w.site("far.test")
		s.down = true
		id := w.send(q, "a@home.test", "x@far.test", "y@other.test")
		kept := w.send(q, "b@home.test", "x@far.test")
		synctest.Wait()
		page, err := q.List(ctx, Filter{Limit: 1})
		if err != nil || len(page.Entries) != 1 || page.Entries[0].ID != id || page.Next != id {
			t.Fatalf("%+v, %v", page, err)
		}
		if page, err = q.List(ctx, Filter{After: page.Next}); err != nil || len(page.Entries) != 1 || page.Entries[0].ID != kept || page.Next != "" {
			t.Fatalf("%+v, %v", page, err)
		}
		for f, want := range map[Filter]int{{Sender: "A@home.test"}: 1, {Sender: "@home.test"}: 2, {Recipient: "x@FAR.test"}: 2, {Recipient: "y@other.test"}: 0,
			{Destination: "far.test"}: 2, {State: StateDeferred}: 2, {State: StateHeld}: 0, {OlderThan: time.Hour}: 0, {Sender: "<>"}: 0} {
			if page, err := q.List(ctx, f); err != nil || len(page.Entries) != want {
				t.Errorf("%+v: %d entries, %v", f, len(page.Entries), err)
			}
		}
		if err := q.Hold(ctx, kept); err != nil {
			t.Error(err)
		}
		st, err := q.Stats(ctx, Filter{})
		if err != nil || st.Messages != 2 || st.Recipients != 2 || st.Held != 1 || st.Deferred != 1 || len(st.Destinations) != 1 ||
			st.Destinations[0].LastError == "" || !st.Oldest.Equal(time.UnixMilli(time.Now().UnixMilli())) {
			t.Errorf("%+v, %v", st, err)
		}
		for f, want := range map[Filter][3]int{{Sender: "a@home.test"}: {1, 1, 0}, {Destination: "far.test", State: StateHeld}: {1, 1, 1}, {State: StateDeferred}: {1, 1, 0},
			{Recipient: "@far.test"}: {2, 2, 1}, {OlderThan: time.Hour}: {}} {
			if st, err := q.Stats(ctx, f); err != nil || [3]int{st.Messages, st.Recipients, st.Held} != want || len(st.Destinations) != min(1, want[0]) ||
				want[0] > 0 && (st.Destinations[0].Destination != "far.test" || st.Destinations[0].LastError == "") {
				t.Errorf("%+v: %+v, %v", f, st, err)
			}
		}
		w.mu.Lock()
		s.down = false
		w.mu.Unlock()
		if err := q.Retry(ctx, id); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(w.got("x@far.test")) != 1 {
			t.Error("Retry does not retry at once")
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if len(w.got("x@far.test")) != 1 {
			t.Error("what is held was sent")
		}
		if err := q.Release(ctx, kept); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(w.got("x@far.test")) != 2 {
			t.Error("what was released is not sent")
		}
		w.empty(q)
		for _, err := range []error{q.Retry(ctx, id), q.Hold(ctx, id), q.Remove(ctx, id, true), q.Release(ctx, kept)} {
			if !errors.Is(err, ErrNoMessage) {
				t.Errorf("a message that is gone: %v", err)
			}
		}
		if _, err := q.Show(ctx, id); !errors.Is(err, ErrNoMessage) {
			t.Errorf("Show: %v", err)
		}
	})
}

func TestRemove(t *testing.T) {
	in(t, func(w *world, q *QM) {
		ctx := context.Background()
		w.site("far.test").down = true
		for i, bounce := range []bool{true, false} {
			id := w.send(q, "a@home.test", "x@far.test", "y@far.test")
			synctest.Wait()
			if err := q.Remove(ctx, id, bounce); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			w.empty(q)
			if n := len(w.box("a@home.test")); n != 1 {
				t.Errorf("round %d: %d reports", i, n)
			}
		}
	})
}

func TestHoldWaitsForTheWire(t *testing.T) {
	in(t, func(w *world, q *QM) {
		w.site("far.test").delay = time.Minute
		id := w.send(q, "a@home.test", "x@far.test")
		synctest.Wait()
		if e, err := q.Show(context.Background(), id); err != nil || e.Recipients[0].State != StateActive {
			t.Errorf("%+v, %v", e, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := q.Hold(ctx, id); !errors.Is(err, ErrBusy) {
			t.Errorf("%v", err)
		}
		if err := q.Hold(context.Background(), id); !errors.Is(err, ErrNoMessage) {
			t.Errorf("it was delivered meanwhile: %v", err)
		}
		if len(w.got("x@far.test")) != 1 {
			t.Error("not delivered once")
		}
		w.empty(q)
	})
}

func TestPause(t *testing.T) {
	in(t, func(w *world, q *QM) {
		if err := q.Pause(context.Background(), "far.test"); err != nil {
			t.Fatal(err)
		}
		w.send(q, "a@home.test", "x@far.test")
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(w.got("x@far.test")) != 0 {
			t.Error("a paused destination is tried")
		}
		if err := q.Resume(context.Background(), "far.test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(w.got("x@far.test")) != 1 {
			t.Error("not resumed")
		}
	})
}
