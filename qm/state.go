package qm

import (
	"time"

	"github.com/samotop/samotop/mail"
)

// message is a message of which some recipients are in memory. Of its fields only entries, open, busy and frozen
// change; QM.mu guards them.
type message struct {
	id      ID
	row     *messageRow
	body    []byte // whole, if it is small and fresh; else it is read from the engine
	open    int    // recipients not yet done, on disk and in memory
	entries []*entry
	busy    int // entries that are being tried, or whose outcome is not yet on disk
	// frozen: a verb of the management works on it; its entries are not tried, and waits for busy to be 0.
	frozen chan struct{}
}

func (m *message) terms() terms {
	return terms{arrival: m.row.arrival, deliverBy: m.row.sender.DeliverBy}
}

// entry is one recipient row in memory.
type entry struct {
	msg   *message
	n     uint32
	row   *recipientRow
	taken bool // by a worker
	fresh bool // has just come in
	// suspect: it may have been on the wire when we crashed.
	suspect bool
}

// line is a destination: what waits for it and how it does.
type line struct {
	name    string
	hop     hop
	local   bool
	state   lineState
	queue   []*entry // from head on
	head    int
	backlog bool // there is more on disk that is due
	loading bool
	ready   bool // stands in a ready list
	workers int
	idle    []*idleConn
	paused  bool
}

func (l *line) len() int { return len(l.queue) - l.head }

// push puts an entry at the end, but before those of lower priority (RFC 6710 section 4).
func (l *line) push(e *entry) {
	i, p := len(l.queue), e.msg.row.sender.Priority
	for i > l.head && l.queue[i-1].msg.row.sender.Priority < p {
		i--
	}
	l.queue = append(l.queue, nil)
	copy(l.queue[i+1:], l.queue[i:])
	l.queue[i] = e
}

func (l *line) pop() *entry {
	e := l.queue[l.head]
	l.queue[l.head] = nil
	l.head++
	switch {
	case l.head == len(l.queue):
		l.queue, l.head = l.queue[:0], 0
	case l.head > 64 && l.head > len(l.queue)/2:
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
	return e
}

// drop takes out all entries of a message.
func (l *line) drop(m *message) {
	kept := l.queue[l.head:l.head]
	for _, e := range l.queue[l.head:] {
		if e.msg != m {
			kept = append(kept, e)
		}
	}
	clear(l.queue[l.head+len(kept):])
	l.queue = l.queue[:l.head+len(kept)]
	if l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
	}
}

// fresh reports whether what stands first has just come in.
func (l *line) fresh() bool { return l.len() > 0 && l.queue[l.head].fresh }

// outcome is what came of trying an entry.
type outcome struct {
	e       *entry
	reply   mail.Reply
	host    string
	tls     string
	at      time.Time
	not     bool      // it was not tried: nothing is recorded
	before  time.Time // not to be tried earlier
	own     bool      // reply is ours, not what host said
	relayed bool      // taken by a server that does not report success itself
}

func (o *outcome) attempt() Attempt {
	r := o.reply
	r.Cause = nil
	if len(r.Text) > maxReplyOctets {
		r.Text = r.Text[:maxReplyOctets]
	}
	return Attempt{Time: o.at, Host: o.host, TLS: o.tls, Reply: r}
}

// maxReplyOctets of an answer are kept.
const maxReplyOctets = 1024
