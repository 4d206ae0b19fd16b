package qm

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/store/mem"
)

// TestPauseRouted: who names a domain whose mail goes elsewhere hears where; a route to its own servers with options is found.
func TestPauseRouted(t *testing.T) {
	routes := func(c *Config) {
		c.Routes = []Route{{Domain: "routed.test", To: "smtp://192.0.2.7:25"}, {Domain: "slow.test", To: "mx", MaxConnections: 1}}
	}
	inWith(t, routes, func(w *world, q *QM) {
		ctx := context.Background()
		var routed *RoutedError
		if err := q.Pause(ctx, "Routed.test"); !errors.As(err, &routed) || routed.Hop != "smtp://192.0.2.7:25" {
			t.Errorf("%v", err)
		}
		if err := q.Pause(ctx, "slow.test"); err != nil {
			t.Fatal(err)
		}
		w.send(q, "a@home.test", "x@slow.test")
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(w.got("x@slow.test")) != 0 {
			t.Error("a paused destination is tried")
		}
		if err := q.Resume(ctx, "slow.test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(w.got("x@slow.test")) != 1 {
			t.Error("not resumed")
		}
		if err := q.Pause(ctx, "smtp://192.0.2.7:25"); err != nil {
			t.Error(err)
		}
	})
}

// TestPauseSurvives: a destination stays paused through a restart, and others go on.
func TestPauseSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newWorld(t), mem.New(mem.Options{})
		ctx := context.Background()
		q, stop := w.start(w.config(e))
		for _, bad := range []string{"", "a b", "x@far.test", "smtp://nowhere:25"} {
			if err := q.Pause(ctx, bad); err == nil {
				t.Errorf("%q is paused", bad)
			}
		}
		if err := q.Pause(ctx, "FAR.test."); err != nil {
			t.Fatal(err)
		}
		stop()
		q, stop = w.start(w.config(e))
		w.send(q, "a@home.test", "x@far.test", "y@other.test")
		synctest.Wait()
		if got := q.Paused(); !slices.Equal(got, []string{"far.test"}) {
			t.Errorf("paused after a restart: %q", got)
		}
		if n, m := len(w.got("x@far.test")), len(w.got("y@other.test")); n != 0 || m != 1 {
			t.Errorf("%d to what is paused, %d to the other", n, m)
		}
		if err := q.Resume(ctx, "far.test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(w.got("x@far.test")); n != 1 {
			t.Errorf("%d after resume", n)
		}
		stop()
		q = w.open(w.config(e))
		if got := q.Paused(); len(got) != 0 {
			t.Errorf("paused after resume and a restart: %q", got)
		}
		w.empty(q)
	})
}
