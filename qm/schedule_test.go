package qm

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/mail"
)

func TestIntervals(t *testing.T) {
	s := Schedule{}.withDefaults()
	for n, want := range map[int]time.Duration{0: time.Minute, 1: time.Minute, 2: 2 * time.Minute, 5: 16 * time.Minute, 9: 4 * time.Hour, 1000: 4 * time.Hour} {
		if got := s.interval(n, 0.5); got != want {
			t.Errorf("after attempt %d: %v, want %v", n, got, want)
		}
		if lo, hi := s.interval(n, 0), s.interval(n, 0.999); lo < want*79/100 || hi > want*121/100 || lo >= hi {
			t.Errorf("after attempt %d: jitter from %v to %v", n, lo, hi)
		}
	}
}

func TestDecide(t *testing.T) {
	s := Schedule{}.withDefaults()
	start := time.UnixMilli(1700000000000)
	later, no := mail.Reply{Code: 451, Text: "later"}, mail.Reply{Code: 550, Text: "no"}
	by := func(d time.Duration, ret bool) terms {
		return terms{arrival: start, deliverBy: mail.DeliverBy{Deadline: start.Add(d), Return: ret}}
	}
	plain := terms{arrival: start}
	for name, c := range map[string]struct {
		terms  terms
		warned bool
		reply  mail.Reply
		rest   time.Duration
		at     time.Duration
		want   action
		due    time.Duration
		warn   bool
	}{
		"delivered":             {plain, false, mail.OK(), 0, time.Hour, finish, 0, false},
		"refused":               {plain, false, no, 0, time.Hour, fail, 0, false},
		"first failure":         {plain, false, later, 0, 0, retry, time.Minute, false},
		"destination rests":     {plain, false, later, time.Hour, 0, retry, time.Hour, false},
		"late":                  {plain, false, later, 0, 4 * time.Hour, retry, 4*time.Hour + time.Minute, true},
		"late, was told":        {plain, true, later, 0, 5 * time.Hour, retry, 5*time.Hour + time.Minute, false},
		"the last attempt":      {plain, true, later, time.Hour * 200, 119*time.Hour + 59*time.Minute + 59*time.Second, retry, 120 * time.Hour, false},
		"expired":               {plain, true, later, 0, 120 * time.Hour, fail, 0, false},
		"deliver by, return":    {by(time.Hour, true), false, later, 0, time.Hour, fail, 0, false},
		"deliver by, not yet":   {by(time.Hour, true), false, later, 0, 59*time.Minute + 30*time.Second, retry, time.Hour, false},
		"deliver by, notify":    {by(time.Hour, false), false, later, 0, time.Hour, retry, time.Hour + time.Minute, true},
		"deliver by beyond end": {by(1000*time.Hour, true), true, later, 0, 121 * time.Hour, fail, 0, false},
	} {
		d := s.decide(c.terms, 1, c.warned, c.reply, start.Add(c.rest), start.Add(c.at), 0.5)
		if d.action != c.want || d.warn != c.warn || c.want == retry && !d.due.Equal(start.Add(c.due)) {
			t.Errorf("%s: %+v, due after %v", name, d, d.due.Sub(start))
		}
		if d.action == fail && !d.reply.Permanent() {
			t.Errorf("%s: failed with %v", name, d.reply)
		}
	}
}

// TestDecideEnds: whatever happens, a recipient that is always deferred ends in bounded time and attempts.
func TestDecideEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Schedule{First: time.Duration(rapid.Int64Range(-5, int64(time.Hour)).Draw(t, "first")),
			Factor: rapid.Float64Range(-1, 10).Draw(t, "factor"), Jitter: rapid.Float64Range(-1, 3).Draw(t, "jitter")}.withDefaults()
		s.First = max(s.First, 10*time.Second)
		now := time.UnixMilli(1700000000000)
		m := terms{arrival: now}
		for n := 1; ; n++ {
			d := s.decide(m, n, true, mail.Reply{Code: 450}, now.Add(time.Duration(rapid.Int64Range(0, int64(6*time.Hour)).Draw(t, "rest"))), now,
				rapid.Float64Range(0, 0.9999).Draw(t, "rnd"))
			if d.action == fail {
				if now.Sub(m.arrival) < s.Expire {
					t.Fatalf("given up after %v", now.Sub(m.arrival))
				}
				return
			}
			if !d.due.After(now) || d.due.Sub(m.arrival) > s.Expire {
				t.Fatalf("due %v after %v", d.due.Sub(now), now.Sub(m.arrival))
			}
			now = d.due
		}
	})
}

func TestLineSteps(t *testing.T) {
	s := Schedule{}.withDefaults()
	now := time.UnixMilli(1700000000000)
	l := lineState{window: initialWindow}
	for range 50 {
		l.step(reached, 20, s, Attempt{}, now, 0.5)
	}
	if l.window != 20 {
		t.Errorf("window %d after much success", l.window)
	}
	l.step(troubled, 20, s, Attempt{}, now, 0.5)
	if l.window != 10 || !l.until.IsZero() {
		t.Errorf("%+v after trouble", l)
	}
	for range 5 { // five connections tell the same
		l.step(unreachable, 20, s, Attempt{Host: "mx"}, now, 0.5)
	}
	if l.window != 1 || l.fails != 1 || !l.until.Equal(now.Add(time.Minute)) || l.reason.Host != "mx" {
		t.Errorf("%+v when it is not reached", l)
	}
	l.step(unreachable, 20, s, Attempt{}, l.until, 0.5)
	if l.fails != 2 || !l.until.Equal(now.Add(3*time.Minute)) {
		t.Errorf("%+v when it is not reached again", l)
	}
	l.step(reached, 20, s, Attempt{}, l.until, 0.5)
	if l.fails != 0 || !l.until.IsZero() || l.window != 2 {
		t.Errorf("%+v when it is back", l)
	}
}
