package qm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

// in runs a test in a bubble, with a world and a running queue.
func in(t *testing.T, f func(w *world, q *QM)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, stop := w.start(w.config(mem.New(mem.Options{})))
		f(w, q)
		stop()
		if t.Failed() {
			t.Log(w.logs.String())
		}
	})
}

// inWith is in with another configuration.
func inWith(t *testing.T, change func(*Config), f func(w *world, q *QM)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cfg := w.config(mem.New(mem.Options{}))
		change(&cfg)
		q, stop := w.start(cfg)
		f(w, q)
		stop()
		if t.Failed() {
			t.Log(w.logs.String())
		}
	})
}

func TestDelivery(t *testing.T) {
	in(t, func(w *world, q *QM) {
		w.send(q, "a@home.test", "b@home.test", "x@far.test", "y@far.test", "z@other.test")
		synctest.Wait()
		want := "Received: from here\r\n" + letter
		for _, to := range []string{"x@far.test", "y@far.test", "z@other.test"} {
			if got := w.got(to); len(got) != 1 || got[0] != want {
				t.Errorf("%s got %q", to, got)
			}
		}
		if got := w.box("b@home.test"); len(got) != 1 || got[0] != want {
			t.Errorf("local: %q", got)
		}
		if n := w.site("far.test").txs; n != 1 {
			t.Errorf("%d transactions for two recipients of one domain", n)
		}
		w.empty(q)
	})
}

func TestConnectionReuse(t *testing.T) {
	in(t, func(w *world, q *QM) {
		for range 5 {
			w.send(q, "a@home.test", "x@far.test")
			synctest.Wait()
		}
		if s := w.site("far.test"); s.conns != 1 || s.txs != 5 {
			t.Errorf("%d connections for %d messages", s.conns, s.txs)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := w.site("far.test"); s.open != 0 {
			t.Errorf("%d connections left open", s.open)
		}
	})
}

func TestRefusedAtTheDoor(t *testing.T) {
	in(t, func(w *world, q *QM) {
		_, err := submit(context.Background(), q, mail.Sender{}, letter, mail.Recipient{Address: addr("none@home.test")})
		if r := mail.AsReply(err); r == nil || r.Code != 550 {
			t.Errorf("unknown user: %v", err)
		}
		_, err = submit(context.Background(), q, mail.Sender{Size: 1 << 40}, letter, mail.Recipient{Address: addr("a@home.test")})
		if r := mail.AsReply(err); r == nil || r.Code != 552 {
			t.Errorf("too large: %v", err)
		}
		loop := strings.Repeat("received: x\r\n", 51) + letter
		_, err = submit(context.Background(), q, mail.Sender{}, loop, mail.Recipient{Address: addr("a@home.test")})
		if r := mail.AsReply(err); r == nil || r.Code != 554 || r.Enhanced != (mail.Enhanced{5, 4, 6}) {
			t.Errorf("loop: %v", err)
		}
		w.empty(q)
	})
}

func TestRetryThenDelivered(t *testing.T) {
	in(t, func(w *world, q *QM) {
		s := w.site("far.test")
		s.down = true
		w.send(q, "a@home.test", "x@far.test")
		w.send(q, "a@home.test", "z@live.test")
		synctest.Wait()
		if len(w.got("z@live.test")) != 1 {
			t.Error("a dead destination delays another")
		}
		time.Sleep(30 * time.Minute)
		w.mu.Lock()
		s.down = false
		w.mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := w.got("x@far.test"); len(got) != 1 {
			t.Errorf("%d copies", len(got))
		}
		if len(w.box("a@home.test")) != 0 {
			t.Error("a report, though all went well")
		}
		w.empty(q)
	})
}

func TestGreylisted(t *testing.T) {
	in(t, func(w *world, q *QM) {
		tries := 0
		w.site("far.test").rcpt = func(a mail.Address) mail.Reply {
			if a.Local == "x" {
				if tries++; tries < 3 {
					return mail.Reply{Code: 450, Enhanced: mail.Enhanced{4, 2, 0}, Text: "greylisted"}
				}
			}
			return mail.OK()
		}
		id := w.send(q, "a@home.test", "x@far.test", "y@far.test")
		synctest.Wait()
		e, err := q.Show(context.Background(), id)
		if err != nil || e.Open != 1 || len(e.Recipients) != 1 || e.Recipients[0].Address.Local != "x" {
			t.Fatalf("%+v, %v", e, err)
		}
		if r := e.Recipients[0]; r.State != StateDeferred || r.Attempts != 1 || r.Last.Reply.Text != "greylisted" ||
			r.Last.Host != "mx.far.test [192.0.2.1:25]" || r.Next.Before(time.Now()) {
			t.Errorf("%+v", r)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(w.got("x@far.test")) != 1 || len(w.got("y@far.test")) != 1 || tries != 3 {
			t.Errorf("%d tries, %d, %d", tries, len(w.got("x@far.test")), len(w.got("y@far.test")))
		}
		w.empty(q)
	})
}

func TestExpiry(t *testing.T) {
	in(t, func(w *world, q *QM) {
		w.site("far.test").down = true
		w.send(q, "a@home.test", "x@far.test")
		w.send(q, "", "x@far.test")
		time.Sleep(3 * time.Hour)
		if n := len(w.box("a@home.test")); n != 0 {
			t.Fatalf("%d reports within three hours", n)
		}
		time.Sleep(6 * time.Hour)
		if n := len(w.box("a@home.test")); n != 1 {
			t.Fatalf("%d reports within nine hours: one delay warning was due", n)
		}
		time.Sleep(5 * 24 * time.Hour)
		synctest.Wait()
		box := w.box("a@home.test")
		if len(box) != 2 {
			t.Fatalf("%d reports at the end", len(box))
		}
		w.empty(q)
		for i, want := range []string{"Action: delayed", "Action: failed"} {
			if !strings.Contains(box[i], want) || !strings.Contains(box[i], "x@far.test") {
				t.Errorf("report %d has no %q:\n%s", i, want, box[i])
			}
		}
	})
}

func TestFailure(t *testing.T) {
	in(t, func(w *world, q *QM) {
		w.site("far.test").rcpt = func(a mail.Address) mail.Reply {
			return mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 1, 1}, Text: "who is " + a.Local}
		}
		w.send(q, "a@home.test", "x@far.test", "y@far.test")
		w.send(q, "", "x@far.test")
		ctx := context.Background()
		if _, err := submit(ctx, q, mail.Sender{Address: addr("a@home.test")}, letter,
			mail.Recipient{Address: addr("q@far.test"), Notify: mail.NotifyNever}); err != nil {
			t.Error(err)
		}
		if _, err := submit(ctx, q, mail.Sender{Address: addr("none@home.test")}, letter, mail.Recipient{Address: addr("v@far.test")}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		box := w.box("a@home.test")
		if len(box) != 1 {
			t.Fatalf("%d reports", len(box))
		}
		for _, want := range []string{"who is x", "who is y", "Action: failed", "mx.far.test"} {
			if !strings.Contains(box[0], want) {
				t.Errorf("the report has no %q:\n%s", want, box[0])
			}
		}
		w.empty(q)
	})
}

func TestHandedToBeReported(t *testing.T) {
	in(t, func(w *world, q *QM) {
		failed := mail.NewReply(552, mail.Enhanced{5, 2, 2}, "over quota")
		for _, from := range []string{"a@home.test", ""} {
			_, err := submit(context.Background(), q, mail.Sender{Address: addr(from)}, letter,
				mail.Recipient{Address: addr("full@home.test"), Failed: failed}, mail.Recipient{Address: addr("b@home.test")})
			if err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if box := w.box("a@home.test"); len(box) != 1 || !strings.Contains(box[0], "over quota") {
			t.Errorf("%q", box)
		}
		if len(w.box("b@home.test")) != 2 || len(w.box("full@home.test")) != 0 {
			t.Error("the rest was not delivered")
		}
		w.empty(q)
	})
}

func TestSuccessReports(t *testing.T) {
	in(t, func(w *world, q *QM) {
		_, err := submit(context.Background(), q, mail.Sender{Address: addr("a@home.test"), EnvelopeID: "env-7", Ret: mail.RetHeaders}, letter,
			mail.Recipient{Address: addr("b@home.test"), Notify: mail.NotifySuccess, Original: "rfc822;B@home.test"},
			mail.Recipient{Address: addr("x@far.test"), Notify: mail.NotifySuccess})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all := strings.Join(w.box("a@home.test"), "\n")
		for _, want := range []string{"Action: delivered", "Action: relayed", "env-7", "B@home.test"} {
			if !strings.Contains(all, want) {
				t.Errorf("no %q in the reports:\n%s", want, all)
			}
		}
	})
}

func TestAliasDeliversOnce(t *testing.T) {
	in(t, func(w *world, q *QM) {
		w.send(q, "s@home.test", "alias@home.test", "a@home.test")
		synctest.Wait()
		if len(w.box("a@home.test")) != 1 || len(w.got("far@list.test")) != 1 {
			t.Errorf("%d, %d", len(w.box("a@home.test")), len(w.got("far@list.test")))
		}
	})
}

func TestLocalTrouble(t *testing.T) {
	in(t, func(w *world, q *QM) {
		w.refuse["b@home.test"] = mail.Reply{Code: 452, Enhanced: mail.Enhanced{4, 2, 2}, Text: "over quota"}
		w.refuse["c@home.test"] = mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 2, 1}, Text: "closed"}
		w.send(q, "a@home.test", "b@home.test", "c@home.test", "d@home.test")
		synctest.Wait()
		if len(w.box("d@home.test")) != 1 || len(w.box("a@home.test")) != 1 {
			t.Error("the others suffer")
		}
		w.mu.Lock()
		delete(w.refuse, "b@home.test")
		w.mu.Unlock()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(w.box("b@home.test")) != 1 || len(w.box("d@home.test")) != 1 {
			t.Error("not retried, or all over again")
		}
		w.empty(q)
	})
}

func TestUncertainIsLogged(t *testing.T) {
	in(t, func(w *world, q *QM) {
		lost := false
		w.site("far.test").lose = func() bool { l := !lost; lost = true; return l }
		w.send(q, "a@home.test", "x@far.test")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(w.got("x@far.test")); n != 2 {
			t.Errorf("%d copies", n)
		}
		if strings.Count(w.logs.String(), "may be delivered twice") != 1 {
			t.Error("the log does not say so, or too often")
		}
	})
}

func TestRequireTLS(t *testing.T) {
	in(t, func(w *world, q *QM) {
		good := w.site("good.test")
		good.tlsOK, good.ext = true, smtp.Extensions{"REQUIRETLS": ""}
		w.site("half.test").tlsOK = true
		ctx, from := context.Background(), mail.Sender{Address: addr("a@home.test"), RequireTLS: true}
		for _, to := range []string{"x@good.test", "x@half.test", "x@bad.test"} {
			if _, err := submit(ctx, q, from, letter, mail.Recipient{Address: addr(to)}); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if len(w.got("x@good.test")) != 1 || len(w.got("x@half.test")) != 0 || len(w.got("x@bad.test")) != 0 {
			t.Error("REQUIRETLS is not honoured")
		}
		if box := w.box("a@home.test"); len(box) != 2 || !strings.Contains(box[0]+box[1], "5.7.30") {
			t.Errorf("%q", box)
		}
	})
}

func TestHoldUntil(t *testing.T) {
	in(t, func(w *world, q *QM) {
		from := mail.Sender{Address: addr("a@home.test"), HoldUntil: time.Now().Add(3 * time.Hour)}
		if _, err := submit(context.Background(), q, from, letter, mail.Recipient{Address: addr("x@far.test")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3*time.Hour - time.Minute)
		synctest.Wait()
		if len(w.got("x@far.test")) != 0 {
			t.Error("sent before its time")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(w.got("x@far.test")) != 1 {
			t.Error("not sent at its time")
		}
	})
}

func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cfg := w.config(mem.New(mem.Options{}))
		cfg.Limits = Limits{MaxLineEntries: 8, MaxConnections: 2, MaxMemoryBytes: 200, MaxDestinations: 3}
		q, stop := w.start(cfg)
		w.site("slow.test").delay = time.Second
		for range 100 {
			w.send(q, "a@home.test", "x@slow.test")
		}
		for i := range 10 {
			w.send(q, "a@home.test", "x@d"+itoa(i)+".test")
		}
		q.mu.Lock()
		if q.entries > 30 {
			t.Errorf("%d entries in memory", q.entries)
		}
		q.mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(w.got("x@slow.test")); n != 100 {
			t.Errorf("%d of 100", n)
		}
		for i := range 10 {
			if n := len(w.got("x@d" + itoa(i) + ".test")); n != 1 {
				t.Errorf("%d copies to destination %d", n, i)
			}
		}
		w.empty(q)
		stop()
		if t.Failed() {
			t.Log(w.logs.String())
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newWorld(t), mem.New(mem.Options{})
		q := w.open(w.config(e)) // never runs
		w.send(q, "a@home.test", "x@far.test", "b@home.test")
		if len(w.got("x@far.test")) != 0 {
			t.Fatal("sent without Run")
		}
		q2, stop := w.start(w.config(e))
		synctest.Wait()
		if len(w.got("x@far.test")) != 1 || len(w.box("b@home.test")) != 1 {
			t.Error("what was queued before is not delivered")
		}
		w.empty(q2)
		// The first manager was thought dead: it can change nothing any more.
		_, err := submit(context.Background(), q, mail.Sender{}, letter, mail.Recipient{Address: addr("b@home.test")})
		if !errors.Is(err, store.ErrConflict) || !errors.Is(q.stopped(), ErrLease) {
			t.Errorf("not fenced: %v, %v", err, q.stopped())
		}
		stop()
		if strings.Contains(w.logs.String(), "not closed in order") {
			t.Error("it was closed in order")
		}
	})
}

func TestRoutesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newWorld(t), mem.New(mem.Options{})
		w.site("far.test").down = true
		q, stop := w.start(w.config(e))
		w.send(q, "a@home.test", "x@far.test")
		synctest.Wait()
		stop()
		cfg := w.config(e)
		cfg.Routes = []Route{{Domain: "far.test", To: "smtp://relay.test:25"}}
		q, stop = w.start(cfg)
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := w.site("relay.test"); len(s.got["x@far.test"]) != 1 {
			t.Error("not sent by the new route")
		}
		w.empty(q)
		stop()
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newWorld(t), mem.New(mem.Options{})
		w.site("far.test").delay = time.Minute
		q, stop := w.start(w.config(e))
		w.send(q, "a@home.test", "x@far.test")
		synctest.Wait()
		stop()
		if len(w.got("x@far.test")) != 1 {
			t.Error("what was on the wire was not finished")
		}
		w.empty(q)
	})
}

func TestFencedEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newWorld(t), mem.New(mem.Options{})
		w.site("far.test").delay = time.Minute
		q := w.open(w.config(e))
		done := make(chan error, 1)
		go func() { done <- q.Run(context.Background()) }()
		synctest.Wait()
		w.send(q, "a@home.test", "x@far.test")
		e.Fence()
		if err := <-done; !errors.Is(err, store.ErrFenced) {
			t.Errorf("Run: %v", err)
		}
		if _, err := q.Door().Open(context.Background(), &mail.Session{}); mail.AsReply(err).Code != 421 {
			t.Errorf("the door is open: %v", err)
		}
	})
}

func TestPriority(t *testing.T) {
	one := func(c *Config) { c.Limits.MaxPerDestination = 1 } // over two connections the order of arrival is nobody's
	inWith(t, one, func(w *world, q *QM) {
		var order []string
		w.site("far.test").rcpt = func(a mail.Address) mail.Reply { order = append(order, a.Local); return mail.OK() }
		if err := q.Pause(context.Background(), "far.test"); err != nil {
			t.Fatal(err)
		}
		q.mu.Lock()
		q.line("mx:far.test").state.window = 1
		q.mu.Unlock()
		priorities := []int8{0, -3, 5, 0, 9, 5}
		for i, p := range priorities {
			from := mail.Sender{Address: addr("a@home.test"), Priority: p}
			if _, err := submit(context.Background(), q, from, letter, mail.Recipient{Address: addr("u" + itoa(i) + "@far.test")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Resume(context.Background(), "far.test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []string{"u4", "u2", "u5", "u0", "u3", "u1"}; !slices.Equal(order, want) {
			t.Errorf("sent in the order %s", order)
		}
	})
}

// TestFullDisk: what cannot be recorded is not tried again, and when there is room it is recorded.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := newWorld(t), mem.New(mem.Options{})
		full := &fullEngine{Engine: e}
		q, stop := w.start(w.config(full))
		w.site("far.test").rcpt = func(mail.Address) mail.Reply { return mail.Reply{Code: 450, Text: "later"} }
		w.site("far.test").delay = time.Second
		w.send(q, "a@home.test", "x@far.test")
		synctest.Wait()
		full.on.Store(true)
		time.Sleep(5 * time.Minute)
		if n := w.site("far.test").txs; n != 1 {
			t.Errorf("tried %d times while nothing could be recorded", n)
		}
		_, err := submit(context.Background(), q, mail.Sender{}, letter, mail.Recipient{Address: addr("b@home.test")})
		if r := mail.AsReply(err); r == nil || r.Code != 452 || r.Enhanced != (mail.Enhanced{4, 3, 1}) {
			t.Errorf("a full disk says %v", err)
		}
		full.on.Store(false)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := w.site("far.test").txs; n < 2 {
			t.Error("not tried again")
		}
		stop()
	})
}

type fullEngine struct {
	store.Engine
	on atomic.Bool
}

func (f *fullEngine) Submit(ctx context.Context, b *store.Batch) (store.Pending, error) {
	if f.on.Load() && !b.Deletes && len(b.Ops) > 1 {
		return nil, store.ErrFull
	}
	return f.Engine.Submit(ctx, b)
}

func TestBodyBeginsWithSpace(t *testing.T) {
	in(t, func(w *world, q *QM) {
		if _, err := submit(context.Background(), q, mail.Sender{}, "\tno header\r\n", mail.Recipient{Address: addr("x@far.test")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.got("x@far.test"); len(got) != 1 || got[0] != "Received: from here\r\n\r\n\tno header\r\n" {
			t.Errorf("%q", got)
		}
	})
}
