package qm

import (
	"context"
	"sync"
	"time"
)

// Metrics are numbers of one process since it began, and a recent count of the queue.
type Metrics struct {
	Queue    Stats     // counted at Counted, so that asking often costs little
	Counted  time.Time // when
	Attempts [attemptKinds]int64
	TLS      []TLSSessions
}

// TLSSessions is how often TLS went in a way.
type TLSSessions struct {
	Policy string // sts, tlsa or no-policy-found (RFC 8460 section 4.2)
	Result string // "" for success, else a result type of RFC 8460 section 4.3
	Count  int64
}

// Kinds of attempts, indexes of Metrics.Attempts.
const (
	AttemptTaken      = iota // 2yz
	AttemptPutOff            // the server said 4yz
	AttemptRefused           // the server said 5yz
	AttemptUnanswered        // no server answered, or we found a reason not to ask it
	attemptKinds
)

// AttemptKinds names the kinds, in their order.
func AttemptKinds() [attemptKinds]string {
	return [attemptKinds]string{"taken", "put-off", "refused", "unanswered"}
}

// counted is the last count of the queue.
type countedQueue struct {
	mu    sync.Mutex
	stats *Stats
	at    time.Time
	cost  time.Duration
}

const (
	minCountAge = 10 * time.Second // a count is used again for so long at least
	countShare  = 50               // counting takes at most this part of the time: one in 50
)

// Metrics returns the numbers.
func (q *QM) Metrics(ctx context.Context) (Metrics, error) {
	var m Metrics
	q.metrics.mu.Lock()
	defer q.metrics.mu.Unlock()
	c := &q.metrics
	if c.stats == nil || q.now().Sub(c.at) > max(minCountAge, countShare*c.cost) {
		begin := q.now()
		s, err := q.Stats(ctx, Filter{})
		if err != nil {
			return m, err
		}
		c.stats, c.at = s, q.now()
		c.cost = c.at.Sub(begin)
	}
	m.Queue, m.Counted = *c.stats, c.at
	m.Attempts, m.TLS = q.Counts()
	return m, nil
}

// Counts returns what is counted as it happens: attempts by kind, and how TLS went.
func (q *QM) Counts() (attempts [attemptKinds]int64, sessions []TLSSessions) {
	for i := range attempts {
		attempts[i] = q.attempts[i].Load()
	}
	q.tls.mu.Lock()
	defer q.tls.mu.Unlock()
	for k, n := range q.tls.sessions {
		sessions = append(sessions, TLSSessions{Policy: k.policy, Result: string(k.result), Count: n})
	}
	return attempts, sessions
}

// countAttempt counts an outcome.
func (q *QM) countAttempt(o *outcome) {
	kind := AttemptUnanswered
	switch {
	case o.reply.Positive():
		kind = AttemptTaken
	case o.own:
	case o.reply.Temporary():
		kind = AttemptPutOff
	case o.reply.Permanent():
		kind = AttemptRefused
	}
	q.attempts[kind].Add(1)
}
