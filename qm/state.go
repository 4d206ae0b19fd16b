package qm

import (
	"strings"
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
	queue   lineQueue
	backlog bool // there is more on disk that is due
	loading bool
	ready   bool // stands in a ready list
	workers int
	idle    []*idleConn
	paused  bool
	waiting bool      // for its rate
	slot    time.Time // before which no more is sent
}

// domain is whose mail stands in a line that goes by MX, "" in others.
func (l *line) domain() string {
	name, ok := strings.CutPrefix(l.name, "mx:")
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(name, "#")
	return name
}

func (l *line) len() int { return l.queue.len() }

// fresh reports whether what stands first has just come in.
func (l *line) fresh() bool { return l.len() > 0 && l.queue.first().fresh }

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
	command string    // what reply answers; "" if it is ours
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
