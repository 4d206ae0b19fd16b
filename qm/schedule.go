package qm

import "time"

// Schedule is when things are tried again. Zero means the default.
type Schedule struct {
	First  time.Duration // after the first failure; default 1 min
	Factor float64       // each interval to the one before; default 2
	Max    time.Duration // longest interval; default 4 h
	Jitter float64       // share of an interval, both ways; default 0.2
	Warn   time.Duration // after which the sender is told of a delay; default 4 h; negative: never
	Expire time.Duration // after which a recipient fails; default 5 days (RFC 5321 section 4.5.4.1)
}
