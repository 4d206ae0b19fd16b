package sasl

import (
	"context"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
)

// Limiter slows the guessing of passwords. Failures are counted per account, per network and per both, and fade. Each
// attempt waits as its counts say, never longer than MaxDelay, so nobody is locked out, and one whose outcome is open counts as
// a failure until it is known; an account that has logged in from
// a network lately waits there only for its own failures, whatever others do elsewhere. Only a network that already has
// MaxWaiting attempts waiting is sent away.
//
// Peers on a loopback address or a Unix socket (a webmail, say) speak for many people and are not counted as a
// network. The zero Limiter is usable; one may serve several Authenticators. It is safe for concurrent use; set its
// fields before the first use.
type Limiter struct {
	Free       int           // failures that cost nothing; 0: 5
	Step       time.Duration // the first delay, doubled by each further failure; 0: 250 ms
	MaxDelay   time.Duration // 0: 8 s
	HalfLife   time.Duration // after it a failure counts half; 0: 5 minutes
	GoodFor    time.Duration // how long a login makes its network known to the account; 0: 30 days
	MaxWaiting int           // attempts of one network waiting at once; 0: 8
	MaxKeys    int           // counted accounts, networks and pairs, each; the oldest are forgotten; 0: 32768
	IPv4Bits   int           // of a network; 0: 32
	IPv6Bits   int           // of a network; 0: 64

	Clock func() time.Time // nil: time.Now

	mu       sync.Mutex
	accounts table[string]
	networks table[netip.Prefix]
	pairs    table[pair]
	waiting  map[netip.Prefix]int
	turns    map[turnKey]*turns // of attempts under way
}

type pair struct {
	account string
	network netip.Prefix // zero: local
}

// count is a number of failures that fades.
type count struct {
	failures float64
	at       time.Time
	good     time.Time // of a pair: the last login
}

var replySlow = mail.Reply{Code: 454, Enhanced: mail.Enhanced{4, 7, 0}, Text: "Too many failed logins from your network, please try again later"}

// Wait waits as long as the failures of the account and the network ask for. It gives a *mail.Reply (454 4.7.0) if too
// many attempts of the network are waiting already, and the context's error if that ends. The attempt is under way until
// end is called, after Failed or Succeeded; end is never nil. Until then it counts as if it failed: of attempts that come all at
// once only as many are under way as are free, and the others wait for their outcome.
func (l *Limiter) Wait(ctx context.Context, account string, from net.Addr) (end func(), err error) {
	delay, network, taken, err := l.begin(ctx, account, from)
	switch {
	case err != nil:
		return func() {}, err
	case delay <= 0:
		return func() { l.give(taken) }, ctx.Err()
	}
	defer l.end(network)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return func() {}, nil
	case <-ctx.Done():
		return func() {}, ctx.Err()
	}
}

// Delay returns how long an attempt would wait now.
func (l *Limiter) Delay(account string, from net.Addr) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	return l.delay(account, l.network(from))
}

func (l *Limiter) begin(ctx context.Context, account string, from net.Addr) (time.Duration, netip.Prefix, []turnKey, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	network := l.network(from)
	delay, taken, err := l.take(ctx, account, network)
	if delay > 0 && network.IsValid() {
		if l.waiting[network] >= or(l.MaxWaiting, 8) {
			return 0, network, nil, &replySlow
		}
		l.waiting[network]++
	}
	return delay, network, taken, err
}

func (l *Limiter) end(network netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting[network]--; l.waiting[network] <= 0 {
		delete(l.waiting, network)
	}
}

func (l *Limiter) delay(account string, network netip.Prefix) time.Duration {
	now := l.now()
	if p, ok := l.pairs.get(pair{account, network}); ok && l.knows(p, now) {
		return l.cost(p, now)
	}
	a, _ := l.accounts.get(account)
	n, _ := l.networks.get(network)
	return max(l.cost(a, now), l.cost(n, now))
}

// knows reports whether the account of a pair has logged in from its network lately.
func (l *Limiter) knows(p count, now time.Time) bool {
	return !p.good.IsZero() && now.Sub(p.good) < or(l.GoodFor, 30*24*time.Hour)
}

// cost is the delay for a count of failures.
func (l *Limiter) cost(c count, now time.Time) time.Duration {
	over := l.faded(c, now) - float64(or(l.Free, 5))
	if over < 0 {
		return 0
	}
	most := or(l.MaxDelay, 8*time.Second)
	d := float64(or(l.Step, 250*time.Millisecond)) * math.Exp2(min(over, 32))
	return time.Duration(min(d, float64(most)))
}

func (l *Limiter) faded(c count, now time.Time) float64 {
	if c.failures == 0 {
		return 0
	}
	return c.failures * math.Exp2(-float64(now.Sub(c.at))/float64(or(l.HalfLife, 5*time.Minute)))
}

// Failed counts a failure. It reports whether from now on an attempt at the account, from where it is not known, waits for the
// longest time: somebody guesses.
func (l *Limiter) Failed(account string, from net.Addr) (guessed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	network, now := l.network(from), l.now()
	p, _ := l.pairs.get(pair{account, network})
	if l.knows(p, now) {
		p.failures, p.at = l.faded(p, now)+1, now
		l.pairs.put(pair{account, network}, p)
	} else if account != "" { // a token or certificate need not say whose it is
		a, _ := l.accounts.get(account)
		more := count{failures: l.faded(a, now) + 1, at: now}
		l.accounts.put(account, more)
		longest := or(l.MaxDelay, 8*time.Second)
		guessed = l.cost(a, now) < longest && l.cost(more, now) >= longest
	}
	if network.IsValid() {
		n, _ := l.networks.get(network)
		l.networks.put(network, count{failures: l.faded(n, now) + 1, at: now})
	}
	return guessed
}

// Succeeded notes a login: its network is known to the account from now on. What the network did to other accounts
// stays counted.
func (l *Limiter) Succeeded(account string, from net.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	l.pairs.put(pair{account, l.network(from)}, count{good: l.now()})
}

func (l *Limiter) init() {
	if l.waiting == nil {
		l.waiting, l.turns = make(map[netip.Prefix]int), make(map[turnKey]*turns)
		half := max(or(l.MaxKeys, 32768)/2, 1)
		l.accounts.half, l.networks.half, l.pairs.half = half, half, half
	}
}

func (l *Limiter) now() time.Time {
	if l.Clock != nil {
		return l.Clock()
	}
	return time.Now()
}

// network is what is counted of an address; the zero Prefix for local peers.
func (l *Limiter) network(from net.Addr) netip.Prefix {
	if from == nil {
		return netip.Prefix{}
	}
	ip, ok := mail.IPOf(from)
	if !ok || ip.IsLoopback() {
		return netip.Prefix{}
	}
	bits := or(l.IPv4Bits, 32)
	if ip.Is6() {
		bits = or(l.IPv6Bits, 64)
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		p, _ = ip.WithZone("").Prefix(ip.BitLen())
	}
	return p
}

func or[T int | time.Duration](v, zero T) T {
	if v <= 0 {
		return zero
	}
	return v
}

// table keeps counts in two generations, so that the ones not seen for longest go when there are too many.
type table[K comparable] struct {
	half     int
	now, old map[K]count
}

func (t *table[K]) get(k K) (count, bool) {
	c, ok := t.now[k]
	if !ok {
		c, ok = t.old[k]
	}
	return c, ok
}

func (t *table[K]) put(k K, c count) {
	if t.now == nil || len(t.now) >= t.half {
		t.old, t.now = t.now, make(map[K]count)
	}
	t.now[k] = c
}
