package qm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

func TestSuppress(t *testing.T) {
	in(t, func(w *world, q *QM) {
		ctx := context.Background()
		w.site("far.test").down = true
		w.send(q, "a@home.test", "gone@far.test")
		w.send(q, "b@gone.test", "gone@far.test")
		time.Sleep(time.Second)
		synctest.Wait()
		for _, bad := range []string{"", "@", "nobody", "@a b", "x@"} {
			if _, err := q.Suppress(ctx, bad, ""); !errors.Is(err, ErrSuppressAddress) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		for _, what := range []string{"Gone@FAR.test", "@gone.test"} {
			if _, err := q.Suppress(ctx, what, "asked to be left alone"); err != nil {
				t.Fatal(err)
			}
		}
		for to, refused := range map[string]bool{"gone@far.test": true, "GONE@far.TEST": true, "x@Gone.test": true, "x@sub.gone.test": false, "gone@live.test": false} {
			_, err := submit(ctx, q, mail.Sender{Address: addr("a@home.test")}, letter, mail.Recipient{Address: addr(to)})
			if r := mail.AsReply(err); (r != nil) != refused || refused && (r.Code != 550 || r.Enhanced != mail.Enhanced{5, 7, 1} || !strings.Contains(r.Text, "asked to be left alone")) {
				t.Errorf("%s: %v", to, err)
			}
		}
		if _, err := q.Suppress(ctx, "far@list.test", ""); err != nil {
			t.Fatal(err)
		}
		w.send(q, "a@home.test", "alias@home.test") // one of two is left out
		w.mu.Lock()
		w.sites["far.test"].down = false
		w.mu.Unlock()
		time.Sleep(6 * time.Hour) // what was queued before is reported, but not to whom nothing is written
		synctest.Wait()
		if n := len(w.box("a@home.test")); n != 2 {
			t.Errorf("%d messages, not the report and what came by the alias", n)
		}
		for _, to := range []string{"gone@far.test", "far@list.test", "b@gone.test"} {
			if n := len(w.got(to)); n != 0 {
				t.Errorf("%s was written to", to)
			}
		}
		list, next, err := q.Suppressed(ctx, "")
		if err != nil || next != "" || len(list) != 3 || list[0].Address != "@gone.test" || list[2].Address != "gone@far.test" || list[2].Why == "" || list[2].Automatic {
			t.Errorf("%+v, %q, %v", list, next, err)
		}
		if err := q.Unsuppress(ctx, "gone@far.test"); err != nil {
			t.Error(err)
		}
		if err := q.Unsuppress(ctx, "gone@far.test"); !errors.Is(err, ErrNotSuppressed) {
			t.Error(err)
		}
		w.send(q, "a@home.test", "gone@far.test")
		synctest.Wait()
		if n := len(w.got("gone@far.test")); n != 1 {
			t.Errorf("%d messages after the end of suppression", n)
		}
		w.empty(q)
	})
}

// TestSuppressStays: the next process knows of it.
func TestSuppressStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q, stop := w.start(w.config(mem.New(mem.Options{})))
		if _, err := q.Suppress(context.Background(), "x@far.test", ""); err != nil {
			t.Fatal(err)
		}
		stop()
		q2 := w.open(w.config(q.cfg.Engine))
		if r, err := q2.suppressed(context.Background(), addr("x@far.test")); r == nil || err != nil {
			t.Error(r, err)
		}
	})
}

// TestSuppressAfter: who refuses for good, again and again, is not asked any more; any success begins the count anew.
func TestSuppressAfter(t *testing.T) {
	inWith(t, func(c *Config) { c.SuppressAfter = 2 }, func(w *world, q *QM) {
		ctx := context.Background()
		reply := mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 1, 1}, Text: "no such user"}
		w.site("far.test").rcpt = func(mail.Address) mail.Reply { return reply }
		say := func(r mail.Reply) {
			t.Helper()
			w.mu.Lock()
			reply = r
			w.mu.Unlock()
			w.send(q, "a@home.test", "x@far.test")
			synctest.Wait()
		}
		gone, spam := reply, mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 7, 1}, Text: "we do not like you"}
		for _, r := range []mail.Reply{gone, mail.OK(), gone, spam, spam} { // these say nothing about the address, or begin anew
			say(r)
		}
		if list, _, err := q.Suppressed(ctx, ""); err != nil || len(list) != 0 {
			t.Fatal(list, err)
		}
		say(gone)
		list, _, err := q.Suppressed(ctx, "")
		if err != nil || len(list) != 1 || list[0].Address != "x@far.test" || !list[0].Automatic || !strings.Contains(list[0].Why, "no such user") {
			t.Fatal(list, err)
		}
		if _, err := submit(ctx, q, mail.Sender{Address: addr("a@home.test")}, letter, mail.Recipient{Address: addr("x@far.test")}); err == nil {
			t.Error("still written to")
		}
		if n := len(w.box("a@home.test")); n != 5 {
			t.Errorf("%d reports of 5 failures", n)
		}
		w.empty(q)
	})
}

// TestSweep: what has expired is deleted, the rest stays, however much there is.
func TestSweep(t *testing.T) {
	in(t, func(w *world, q *QM) {
		ctx := context.Background()
		now := q.now()
		for i := range 2*sweepRows + 10 {
			age := time.Hour
			if i%2 == 0 {
				age = 10 * 24 * time.Hour
			}
			c := &mtasts.Cached{Fetched: now.Add(-age), Policy: mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.x.test"}, MaxAge: 7 * 24 * time.Hour}}
			if err := (stsStore{q}).KeepPolicy(ctx, fmt.Sprintf("d%05d.test", i), c); err != nil {
				t.Fatal(err)
			}
		}
		for name, row := range map[string]*suppressRow{"old@far.test": {since: now.Add(-forgetRefusals - time.Hour), refusals: 1},
			"new@far.test": {since: now, refusals: 1}, "kept@far.test": {since: now.Add(-2 * forgetRefusals), active: true}} {
			if err := q.commit(ctx, &store.Batch{Ops: []store.Op{store.Put(suppressKey(name), row.encode())}}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(sweepInterval + time.Minute)
		synctest.Wait()
		var left []string
		err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
			for _, tag := range []byte{'n', 's'} {
				for kv, err := range r.Scan(ctx, []byte{tag}, []byte{tag + 1}, false) {
					if err != nil {
						return err
					}
					left = append(left, string(kv.Key))
				}
			}
			return nil
		})
		if err != nil || len(left) != sweepRows+5+2 || left[0] != "nkept@far.test" || left[1] != "nnew@far.test" || left[2] != "sd00001.test" {
			t.Errorf("%d left, %q: %v", len(left), left[:min(len(left), 4)], err)
		}
	})
}

// TestReportCopy: who wants copies hears of every failure once, with the header of the message only.
func TestReportCopy(t *testing.T) {
	inWith(t, func(c *Config) { c.ReportCopy = addr("postmaster@home.test") }, func(w *world, q *QM) {
		ctx := context.Background()
		no := mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 1, 1}, Text: "no such user"}
		w.site("far.test").rcpt = func(mail.Address) mail.Reply { return no }
		w.send(q, "a@home.test", "x@far.test", "y@far.test")
		w.send(q, "", "x@far.test") // nobody else hears of this one
		if _, err := submit(ctx, q, mail.Sender{Address: addr("a@home.test")}, letter, mail.Recipient{Address: addr("z@far.test"), Notify: mail.NotifyNever}); err != nil {
			t.Fatal(err)
		}
		w.send(q, "gone@far.test", "x@far.test") // its report fails too: told once
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(w.box("a@home.test")); n != 1 {
			t.Errorf("%d reports", n)
		}
		copies := w.box("postmaster@home.test")
		if len(copies) != 4 {
			t.Fatalf("%d copies", len(copies))
		}
		for _, c := range copies {
			if !strings.Contains(c, "Auto-Submitted: auto-replied") || !strings.Contains(c, "Action: failed") || strings.Contains(c, "\r\nbody\r\n") || !strings.Contains(c, "Subject: hello") {
				t.Error(c)
			}
		}
		w.empty(q)
	})
}

// TestExpanded: who asked about success, and wrote to an address that stands for several, hears that (RFC 3461 section 5.2.7.2).
func TestExpanded(t *testing.T) {
	in(t, func(w *world, q *QM) {
		ctx := context.Background()
		for _, r := range []mail.Recipient{
			{Notify: mail.NotifySuccess | mail.NotifyFailure, Original: "rfc822;alias@home.test"}, {Notify: mail.NotifyFailure}, {},
		} {
			r.Address = addr("alias@home.test")
			if _, err := submit(ctx, q, mail.Sender{Address: addr("b@home.test"), EnvelopeID: "e1"}, letter, r); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := submit(ctx, q, mail.Sender{}, letter, mail.Recipient{Address: addr("alias@home.test"), Notify: mail.NotifySuccess}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got := w.box("b@home.test")
		if len(got) != 1 {
			t.Fatalf("%d reports", len(got))
		}
		for _, want := range []string{"Action: expanded", "Final-Recipient: rfc822; alias@home.test", "Original-Recipient: rfc822; alias@home.test", "Original-Envelope-Id: e1", "Status: 2.1.5"} {
			if !strings.Contains(strings.ReplaceAll(got[0], "rfc822;a", "rfc822; a"), want) {
				t.Errorf("no %q in\n%s", want, got[0])
			}
		}
		if n := len(w.got("far@list.test")); n != 4 {
			t.Errorf("%d of 4 went on", n)
		}
		if n := len(w.box("a@home.test")); n != 4 {
			t.Errorf("%d of 4 stayed", n)
		}
		w.empty(q)
	})
}
