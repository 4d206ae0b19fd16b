package qm

// lineQueue is what waits in a line: the highest priority first (RFC 6710 section 4); within one the senders take turns,
// so that who sends much delays only himself; of one sender first come, first served. What was tried before comes after
// what waits when it comes back.
type lineQueue struct {
	n       int
	classes []*class // highest priority first; none is empty
}

// class holds what has one priority.
type class struct {
	priority int8
	turns    []*bucket // of the senders, the next one at turn
	turn     int
	byKey    map[string]*bucket // only if there are many
}

// bucket holds what one sender has in a class.
type bucket struct {
	key string
	es  []*entry
}

// manySenders is how many turns are searched one by one.
const manySenders = 16

func (q *lineQueue) len() int { return q.n }

// senderKey is whose turn an entry takes: an account, or who writes from outside.
func senderKey(m *message) string {
	if m.row.origin.account != "" {
		return m.row.origin.account
	}
	return m.row.sender.Address.String()
}

func (q *lineQueue) push(e *entry) {
	p := e.msg.row.sender.Priority
	i := 0
	for i < len(q.classes) && q.classes[i].priority > p {
		i++
	}
	if i == len(q.classes) || q.classes[i].priority != p {
		q.classes = append(q.classes, nil)
		copy(q.classes[i+1:], q.classes[i:])
		q.classes[i] = &class{priority: p}
	}
	q.classes[i].bucket(senderKey(e.msg)).insert(e)
	q.n++
}

// bucket returns the sender's, making it if need be; a new sender has his first turn when all others had one.
func (c *class) bucket(key string) *bucket {
	if c.byKey != nil {
		if b := c.byKey[key]; b != nil {
			return b
		}
	} else {
		for _, b := range c.turns {
			if b.key == key {
				return b
			}
		}
	}
	b := &bucket{key: key}
	c.turns = append(c.turns, nil)
	copy(c.turns[c.turn+1:], c.turns[c.turn:])
	c.turns[c.turn] = b
	if len(c.turns) > 1 {
		c.turn++
	}
	if c.turn >= len(c.turns) {
		c.turn = 0
	}
	switch {
	case c.byKey != nil:
		c.byKey[key] = b
	case len(c.turns) > manySenders:
		c.byKey = make(map[string]*bucket, 2*manySenders)
		for _, b := range c.turns {
			c.byKey[b.key] = b
		}
	}
	return b
}

// insert keeps the order of arrival among what was never tried, also for what comes late from the disk.
func (b *bucket) insert(e *entry) {
	i := len(b.es)
	if e.row.attempts == 0 {
		for i > 0 && b.es[i-1].row.attempts == 0 && later(b.es[i-1], e) {
			i--
		}
	}
	b.es = append(b.es, nil)
	copy(b.es[i+1:], b.es[i:])
	b.es[i] = e
}

func later(a, b *entry) bool {
	if a.msg.id != b.msg.id {
		return a.msg.id > b.msg.id
	}
	return a.n > b.n
}

// first returns what pop would, nil if there is nothing.
func (q *lineQueue) first() *entry {
	if q.n == 0 {
		return nil
	}
	c := q.classes[0]
	return c.turns[c.turn].es[0]
}

// pop takes the first entry with all others of its message in this line, at most limit, and gives the next sender his
// turn.
func (q *lineQueue) pop(limit int) []*entry {
	c := q.classes[0]
	b := c.turns[c.turn]
	n := 1
	for n < len(b.es) && n < limit && b.es[n].msg == b.es[0].msg {
		n++
	}
	es := append([]*entry(nil), b.es[:n]...)
	clear(b.es[:n])
	b.es = b.es[n:]
	q.n -= n
	if len(b.es) == 0 {
		q.leave(0, c.turn)
	} else if c.turn++; c.turn == len(c.turns) {
		c.turn = 0
	}
	return es
}

// leave takes a sender without entries out of a class, and the class if it was the last.
func (q *lineQueue) leave(ci, bi int) {
	c := q.classes[ci]
	if c.byKey != nil {
		delete(c.byKey, c.turns[bi].key)
	}
	copy(c.turns[bi:], c.turns[bi+1:])
	c.turns[len(c.turns)-1] = nil
	c.turns = c.turns[:len(c.turns)-1]
	if c.turn > bi {
		c.turn--
	}
	if c.turn >= len(c.turns) {
		c.turn = 0
	}
	if len(c.turns) == 0 {
		q.classes = append(q.classes[:ci], q.classes[ci+1:]...)
	}
}

// drop takes out all entries of a message.
func (q *lineQueue) drop(m *message) {
	key := senderKey(m)
	for ci, c := range q.classes {
		if c.priority != m.row.sender.Priority {
			continue
		}
		for bi, b := range c.turns {
			if b.key != key {
				continue
			}
			kept := b.es[:0]
			for _, e := range b.es {
				if e.msg != m {
					kept = append(kept, e)
				}
			}
			q.n -= len(b.es) - len(kept)
			clear(b.es[len(kept):])
			if b.es = kept; len(kept) == 0 {
				q.leave(ci, bi)
			}
			return
		}
		return
	}
}

// under reports whether something of lower priority than p waits.
func (q *lineQueue) under(p int8) bool {
	return len(q.classes) > 0 && q.classes[len(q.classes)-1].priority < p
}

// yield takes out the last entry of lower priority than p, to make room; nil if there is none.
func (q *lineQueue) yield(p int8) *entry {
	if q.n == 0 {
		return nil
	}
	ci := len(q.classes) - 1
	c := q.classes[ci]
	if c.priority >= p {
		return nil
	}
	bi := 0
	for i, b := range c.turns { // who has most
		if len(b.es) > len(c.turns[bi].es) {
			bi = i
		}
	}
	b := c.turns[bi]
	e := b.es[len(b.es)-1]
	b.es[len(b.es)-1] = nil
	b.es = b.es[:len(b.es)-1]
	q.n--
	if len(b.es) == 0 {
		q.leave(ci, bi)
	}
	return e
}
