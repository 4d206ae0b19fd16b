package qm

import "time"

// waits reports whether a line may not send yet, by the rate of its route, and sees to it that it is asked again.
func (q *QM) waits(l *line) bool {
	if l.hop.interval <= 0 || l.len() == 0 {
		return false
	}
	d := l.slot.Sub(q.now())
	if d <= 0 {
		return false
	}
	if !l.waiting {
		l.waiting = true
		time.AfterFunc(min(d, time.Hour), func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			l.waiting = false
			q.makeReady(l)
			q.dispatch()
		})
	}
	return true
}

// sending takes the next slot of a line with a rate.
func (l *line) sending(now time.Time) {
	if l.hop.interval > 0 {
		l.slot = now.Add(l.hop.interval)
	}
}
