package qm

import (
	"context"
	"time"

	"github.com/samotop/samotop/store"
)

// scanRows is how many rows of an index are looked at in one view.
const scanRows = 2000

// scanner brings into memory what has become due, until ctx ends. It works a third of the time at most, so that a long queue leaves
// the machine to the mail that comes in.
func (q *QM) scanner(ctx context.Context) {
	for ctx.Err() == nil {
		begin := time.Now()
		more, err := q.scanOnce(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			q.cfg.Log.Error("read the queue", "err", err)
			q.check(err)
			if !pause(ctx, 5*time.Second) {
				return
			}
		}
		if more {
			pause(ctx, min(2*time.Since(begin), time.Second))
			continue
		}
		q.mu.Lock()
		d := max(time.UnixMilli(int64(min(q.nextDue, 1<<52))).Sub(q.now()), time.Millisecond)
		if q.rescan { // there are too many destinations: some will be done soon
			d = time.Second
		}
		q.mu.Unlock()
		timer := time.NewTimer(min(d, time.Hour)) // an hour: clocks jump
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-q.scanWake:
		}
		timer.Stop()
	}
}

// scanOnce loads one line's backlog or one piece of the due index. It returns true if there is more to do now.
func (q *QM) scanOnce(ctx context.Context) (more bool, err error) {
	q.mu.Lock()
	var l *line
	if len(q.loads) > 0 {
		l = q.loads[0]
		q.loads = q.loads[1:]
		l.backlog = false // whoever finds more from now on sets it again
	}
	now := millis(q.now())
	if now < q.cursor { // the clock was set back: what is put off from now on would lie before the cursor
		q.clockBack()
	}
	if q.rescan && q.makeRoom() {
		q.rescan, q.cursor, q.nextDue = false, 0, 0
	}
	from := q.cursor
	stalled := q.rescan
	q.mu.Unlock()
	if l != nil {
		return true, q.loadLine(ctx, l, now)
	}
	if stalled || now <= from {
		return false, nil
	}
	return q.scanDue(ctx, from, now)
}

// clockBack takes in that the clock has gone back: everything is read anew, and no destination rests longer than it would by
// the new time.
func (q *QM) clockBack() {
	now := q.now()
	q.cfg.Log.Warn("the clock has gone back", "by", time.UnixMilli(int64(q.cursor)).Sub(now).Round(time.Second))
	q.rescan, q.cursor = true, millis(now)
	longest := now.Add(q.cfg.Schedule.interval(maxIntervals, 1))
	for _, l := range q.lines {
		if l.state.until.After(longest) {
			l.state.until = time.Time{}
		}
		if l.slot.After(now.Add(l.hop.interval)) {
			l.slot = now
		}
	}
}

// maxIntervals is a number of attempts after which intervals grow no more.
const maxIntervals = 1000

// scanDue reads the due index from after from up to now.
func (q *QM) scanDue(ctx context.Context, from, now uint64) (more bool, err error) {
	lane := q.cfg.Lane
	next, upto := never, now
	var found []place
	err = q.cfg.Engine.View(ctx, func(r store.Reader) error {
		lo := dueKey(lane, from+1, 0, 0)
		for kv, err := range r.Scan(ctx, lo, after([]byte{'t', lane}), false) {
			if err != nil {
				return err
			}
			p, ok := parsePlace(kv.Key)
			if !ok {
				continue
			}
			if p.due > now {
				next = p.due
				break
			}
			if len(found) >= scanRows && p.due != found[len(found)-1].due {
				upto = found[len(found)-1].due
				break
			}
			p.parseLine(kv.Value)
			found = append(found, p)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	q.mu.Lock()
	q.cursor = upto
	if upto == now {
		q.nextDue = next
	}
	q.mu.Unlock()
	return upto < now, q.load(ctx, found)
}

// loadLine reads what a line has on disk that is due.
func (q *QM) loadLine(ctx context.Context, l *line, now uint64) error {
	q.mu.Lock()
	room := q.lineLimit() - l.len()
	q.mu.Unlock()
	var found []place
	whole := true
	err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
		return eachDue(ctx, r, q.cfg.Lane, l.name, now, func(p place) bool {
			if q.known(p) {
				return true
			}
			if room--; room < 0 {
				whole = false
				return false
			}
			found = append(found, p)
			return true
		})
	})
	if err == nil {
		err = q.load(ctx, found)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l.loading = false
	if !whole || err != nil {
		l.backlog = true
		// The line may have run empty meanwhile, also if it was full when this began and so nothing was found: who
		// emptied it could not ask for more, because of loading.
		if l.len() == 0 && err == nil {
			q.wantLoad(l)
		}
	}
	return err
}

// known reports whether the recipient is in memory, or a verb works on its message.
func (q *QM) known(p place) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.knownLocked(p)
}

func (q *QM) knownLocked(p place) bool {
	if q.frozen[p.id] {
		return true
	}
	if m := q.msgs[p.id]; m != nil {
		for _, e := range m.entries {
			if e.n == p.n {
				return true
			}
		}
	}
	return false
}

// load brings recipients into memory as far as there is room for them.
func (q *QM) load(ctx context.Context, ps []place) error {
	for len(ps) > 0 {
		n := min(len(ps), 256)
		if err := q.loadSome(ctx, ps[:n]); err != nil {
			q.mu.Lock()
			q.rescan = true // nothing may be forgotten
			q.left = nil
			q.mu.Unlock()
			return err
		}
		ps = ps[n:]
	}
	return nil
}

func (q *QM) loadSome(ctx context.Context, ps []place) error {
	for {
		wanted, verbs := q.wanted(ps)
		if len(wanted) == 0 {
			return nil
		}
		entries, err := q.read(ctx, wanted)
		if err != nil {
			return err
		}
		moved, again, ok := q.seat(entries, verbs)
		if !ok {
			continue // a verb changed something meanwhile
		}
		if err = q.move(ctx, moved); err != nil || len(again) == 0 {
			return err
		}
		ps = again
	}
}

// wanted leaves out what is known and what there is no room for. From here to seat, what leaves memory is noted in q.left.
func (q *QM) wanted(ps []place) (wanted []place, verbs uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	coming := map[string]int{}
	for _, p := range ps {
		if q.knownLocked(p) {
			continue
		}
		l := q.line(p.dest)
		switch {
		case l == nil:
			q.rescan = true
		case l.len()+coming[p.dest] >= q.lineLimit() && !l.queue.under(p.priority):
			l.backlog = true
			if l.len() == 0 && coming[p.dest] == 0 {
				q.wantLoad(l)
			}
		default:
			coming[p.dest]++
			wanted = append(wanted, p)
		}
	}
	if len(wanted) > 0 {
		q.left = map[ID]bool{}
	}
	return wanted, q.verbs
}

// read reads the rows of recipients and of their messages.
func (q *QM) read(ctx context.Context, ps []place) ([]*entry, error) {
	entries := make([]*entry, 0, len(ps))
	msgs := map[ID]*message{}
	err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
		keys := make([][]byte, len(ps))
		for i, p := range ps {
			keys[i] = recipientKey(p.id, p.n)
		}
		rows, err := r.GetMulti(ctx, keys)
		if err != nil {
			return err
		}
		for i, p := range ps {
			if rows[i] == nil {
				continue
			}
			row, err := decodeRecipient(rows[i])
			if err != nil {
				q.cfg.Log.Error("a recipient in the queue cannot be read", "id", p.id.String(), "number", p.n)
				continue
			}
			if row.due != p.due || row.held {
				continue
			}
			m := msgs[p.id]
			if m == nil {
				if m, err = q.readMessage(ctx, r, p.id); err != nil {
					q.cfg.Log.Error("a message in the queue cannot be read", "id", p.id.String(), "err", err)
					continue
				}
				msgs[p.id] = m
			}
			suspect := q.crashed > 0 && row.due <= q.crashed && row.target.Remote && !row.final
			entries = append(entries, &entry{msg: m, n: p.n, row: row, suspect: suspect})
		}
		return nil
	})
	return entries, err
}

// readMessage reads a message's row and how many of its recipients are open.
func (q *QM) readMessage(ctx context.Context, r store.Reader, id ID) (*message, error) {
	v, err := r.Get(ctx, messageKey(id))
	if err != nil {
		return nil, err
	}
	own, _, err := store.SplitRef(v)
	if err != nil {
		return nil, err
	}
	row, err := decodeMessage(own)
	if err != nil {
		return nil, err
	}
	m := &message{id: id, row: row, open: 1}
	if row.total > 1 {
		c, err := r.Get(ctx, counterKey(id))
		if err != nil {
			return nil, err
		}
		rd := readerOf(c)
		if m.open = int(rd.Uint()); rd.Bad {
			return nil, errRow
		}
	}
	return m, nil
}

// seat puts what was read into its lines. What stands in a line that the routes no longer lead to is returned, and what is to be
// read again: of its message something left memory while it was read, so how many recipients are open, and even that this one
// is, may be out of date.
func (q *QM) seat(entries []*entry, verbs uint64) (moved []*entry, again []place, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.left
	q.left = nil
	if q.verbs != verbs {
		return nil, nil, false
	}
	for _, e := range entries {
		if q.knownLocked(place{id: e.msg.id, n: e.n}) {
			continue
		}
		if left[e.msg.id] {
			again = append(again, place{due: e.row.due, id: e.msg.id, n: e.n, dest: e.row.dest, priority: e.row.priority})
			continue
		}
		if m := q.msgs[e.msg.id]; m != nil {
			e.msg = m
		}
		if q.routes.line(e.row.target, e.msg.row) != e.row.dest {
			moved = append(moved, e)
			continue
		}
		q.admit(e)
	}
	q.dispatch()
	return moved, again, true
}

// move puts recipients into the lines that the routes of today give them.
func (q *QM) move(ctx context.Context, entries []*entry) error {
	if len(entries) == 0 {
		return nil
	}
	b := &store.Batch{}
	for _, e := range entries {
		b.Ops = unplace(b.Ops, e.msg.id, e.n, e.row)
		row := *e.row
		row.dest = q.routes.line(row.target, e.msg.row)
		e.row = &row
		b.Ops = q.putRecipient(b.Ops, e.msg.id, e.n, &row)
	}
	if err := q.commit(ctx, b); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		q.missed(e.row.dest, e.row.due)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
