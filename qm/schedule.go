package qm

import (
	"math"
	"time"

	"github.com/samotop/samotop/mail"
)

// Schedule is when things are tried again. Zero means the default.
type Schedule struct {
	First  time.Duration // after the first failure; default 1 min
	Factor float64       // each interval to the one before; default 2
	Max    time.Duration // longest interval; default 4 h
	Jitter float64       // share of an interval, both ways; default 0.2, at most 0.5
	Warn   time.Duration // after which the sender is told of a delay; default 4 h; negative: never
	Expire time.Duration // after which a recipient fails; default 5 days (RFC 5321 section 4.5.4.1)
}

func (s Schedule) withDefaults() Schedule {
	def(&s.First, time.Minute)
	def(&s.Max, 4*time.Hour)
	def(&s.Expire, 5*24*time.Hour)
	if s.Factor <= 1 {
		s.Factor = 2
	}
	if s.Jitter <= 0 {
		s.Jitter = 0.2
	}
	s.Jitter = min(s.Jitter, 0.5)
	if s.Warn == 0 {
		s.Warn = 4 * time.Hour
	}
	return s
}

func def[T ~int | ~int64](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

// interval is the time between attempt n (1 is the first) and the next. rnd is in [0, 1).
func (s Schedule) interval(n int, rnd float64) time.Duration {
	d := float64(s.First) * math.Pow(s.Factor, float64(min(max(n-1, 0), 64)))
	d = min(d, float64(s.Max))
	return time.Duration(d * (1 + s.Jitter*(2*rnd-1)))
}

// action is what is to be done with a recipient after an attempt.
type action uint8

const (
	retry  action = iota // at decision.due
	finish               // delivered, or taken by the next server
	fail                 // for good
)

type decision struct {
	action action
	due    time.Time
	warn   bool       // tell the sender of the delay
	reply  mail.Reply // what is recorded and reported
}

// terms are the times of a message that its sender may set.
type terms struct {
	arrival   time.Time
	deliverBy mail.DeliverBy
}

// expires returns when a recipient fails for want of time.
func (s Schedule) expires(t terms) time.Time {
	end := t.arrival.Add(s.Expire)
	if by := t.deliverBy; by.Return && !by.Deadline.IsZero() && by.Deadline.Before(end) { // RFC 2852 section 4.1.3
		return by.Deadline
	}
	return end
}

// decide is the schedule of one recipient: attempts counts those made, this one included; notBefore is when its
// destination may be tried again at the earliest.
func (s Schedule) decide(t terms, attempts int, warned bool, reply mail.Reply, notBefore, now time.Time, rnd float64) decision {
	switch {
	case reply.Positive():
		return decision{action: finish, reply: reply}
	case reply.Permanent():
		return decision{action: fail, reply: reply}
	}
	end := s.expires(t)
	if !now.Before(end) {
		expired := mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 4, 7}, // RFC 3463: delivery time expired
			Text: "Gave up after trying for " + span(now.Sub(t.arrival)) + "; the last answer was: " + reply.String()}
		return decision{action: fail, reply: expired}
	}
	due := now.Add(s.interval(attempts, rnd))
	if due.Before(notBefore) {
		due = notBefore
	}
	if due.After(end) { // one last attempt
		due = end
	}
	return decision{action: retry, due: due, reply: reply, warn: !warned && s.late(t, now)}
}

// late reports whether the sender should be told of the delay.
func (s Schedule) late(t terms, now time.Time) bool {
	by := t.deliverBy
	if !by.Return && !by.Deadline.IsZero() && !now.Before(by.Deadline) { // RFC 2852 section 4.1.4: by-mode N
		return true
	}
	return s.Warn > 0 && !now.Before(t.arrival.Add(s.Warn))
}

func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return itoa(int(d/(24*time.Hour))) + " days"
	case d >= 2*time.Hour:
		return itoa(int(d/time.Hour)) + " hours"
	}
	return itoa(int(d/time.Minute)) + " minutes"
}

// lineState is what is known of a destination as a whole; step is its schedule.
type lineState struct {
	window int       // connections allowed at once
	fails  int       // times in a row that it could not be reached
	until  time.Time // not tried before
	reason Attempt   // why
}

type lineEvent uint8

const (
	reached     lineEvent = iota // it took part in a transaction
	troubled                     // it broke off, or said 421
	unreachable                  // no connection, greeting or route
)

// step takes in what happened. The window opens by one with each success and halves on trouble; a destination that
// is not reached is left alone for the interval of its failures, then tried by one connection.
func (l *lineState) step(e lineEvent, limit int, s Schedule, why Attempt, now time.Time, rnd float64) {
	switch e {
	case reached:
		l.fails, l.until, l.reason = 0, time.Time{}, Attempt{}
		l.window = min(l.window+1, limit)
	case troubled:
		l.window = max(l.window/2, 1)
		l.reason = why
	case unreachable:
		if now.Before(l.until) {
			return // another connection told us already
		}
		l.fails++
		l.window = 1
		l.until = now.Add(s.interval(l.fails, rnd))
		l.reason = why
	}
}
