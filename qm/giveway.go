package qm

// maxVictims is how many lines are looked at to find one that can give way.
const maxVictims = 64

// giveWay lets go of a line from the disk, so that a message that has just come to another destination has a place: what
// stood in it stays on disk, and comes back when there is room.
func (q *QM) giveWay() {
	ring := q.again.ls
	for i := len(ring) - 1; i >= 0 && i >= len(ring)-maxVictims; i-- { // whose turn would come last
		if l := ring[i]; q.mayGiveWay(l) {
			copy(ring[i:], ring[i+1:])
			ring[len(ring)-1] = nil
			q.again.ls = ring[:len(ring)-1]
			l.ready = false
			q.unload(l)
			return
		}
	}
	n := 0
	for _, l := range q.lines {
		if !l.ready && q.mayGiveWay(l) {
			q.unload(l)
			return
		}
		if n++; n == maxVictims {
			return
		}
	}
}

func (q *QM) mayGiveWay(l *line) bool {
	return !l.local && l.workers == 0 && !l.loading && !l.paused && !l.waiting && len(l.idle) == 0 && !l.fresh() && q.lines[l.name] == l
}

// unload forgets a line and what stands in it.
func (q *QM) unload(l *line) {
	for l.len() > 0 {
		for _, e := range l.queue.pop(l.len()) {
			q.detach(e)
			q.settle(e.msg)
		}
		q.rescan = true
	}
	if l.backlog {
		q.rescan = true
	}
	delete(q.lines, l.name)
}
