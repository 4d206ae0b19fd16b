package qm

import (
	"time"
)

// batch is what a worker gets to do at once.
type batch struct {
	es    []*entry  // of one message, for one transaction; of any while the line rests
	until time.Time // the line rests until then: they are put off; zero if it does not
	why   Attempt
}

// maxPutOff is how many recipients are put off at once.
const maxPutOff = maxRecord

// take returns what a worker does next; without entries it has to end. One that has delivered makes way for other lines. connected
// says that the worker has a connection, on which it may go on however the line does.
func (q *QM) take(l *line, again, delivered, connected bool) batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waits(l) || l.len() == 0 || l.paused || q.draining || q.stop != nil || l.workers > q.window(l) || q.othersWait(l, again, delivered) {
		q.leaves(l, again)
		return batch{}
	}
	now := q.now()
	b := batch{}
	if !l.local && !connected && now.Before(l.state.until) {
		b.until, b.why = l.state.until, l.state.reason
	}
	b.es = q.next(l, !b.until.IsZero())
	if len(b.es) == 0 { // it may be tried though the line rests
		b.until = time.Time{}
		b.es = l.queue.pop(q.cfg.Limits.MaxSendRecipients)
	}
	if b.until.IsZero() {
		l.sending(now)
	}
	for _, e := range b.es {
		e.taken = true
		e.msg.busy++
	}
	if l.len() <= q.cfg.Limits.MaxLineEntries/4 {
		q.wantLoad(l)
	}
	return b
}

// othersWait reports whether a worker that has delivered makes way: every destination gets its turn.
func (q *QM) othersWait(l *line, again, delivered bool) bool {
	limit := q.cfg.Limits.MaxConnections
	return delivered && !l.local && (len(q.fresh.ls) > 0 && q.workers.all >= limit ||
		again && len(q.again.ls) > 0 && q.workers.again >= max(limit/2, 1))
}

// next takes entries out of a line: those of one message, or while it rests as many as are put off at once. What goes without
// the policies because of which a line may rest is not put off with the others.
func (q *QM) next(l *line, rests bool) []*entry {
	limit := q.cfg.Limits.MaxSendRecipients
	if !rests {
		return l.queue.pop(limit)
	}
	var es []*entry
	for l.len() > 0 && len(es) < maxPutOff && l.queue.first().msg.row.wish() != anyhow {
		es = append(es, l.queue.pop(limit)...)
	}
	return es
}

// leaves counts a worker out.
func (q *QM) leaves(l *line, again bool) {
	l.workers--
	if l.local {
		q.workers.local--
	} else {
		q.workers.all--
		if again {
			q.workers.again--
		}
	}
	q.makeReady(l)
	q.wantLoad(l)
	q.dispatch()
	q.checkQuiet()
}
