package qm

import (
	"time"

	"github.com/samotop/samotop/mail"
)

// messageRow is what is kept of a message beside its body. It never changes.
type messageRow struct {
	arrival time.Time
	sender  mail.Sender
	origin  origin
	trace   []mail.Field // in the order they were added: the last is on top
	total   int          // recipient rows it began with
	size    int64        // octets of the body
	msgID   string       // its Message-ID, "" if it has none
	report  bool         // made by us
	anyhow  bool         // TLS-Required: No (RFC 8689 section 5)
	blank   bool         // the body begins with white space, and would continue the last field put in front of it
}

// origin says where the message came from, for the local door and the log.
type origin struct {
	session    string
	service    string
	account    string
	remoteAddr string
	remoteName string
	hello      string
	facts      []mail.Fact
}

const (
	flagUTF8 = 1 << iota
	flagRequireTLS
	flagByReturn
	flagByTrace
	flagReport
	flagBlank
	flagAnyhow
)

func (m *messageRow) encode() []byte {
	w := make(writer, 0, 512)
	s := &m.sender
	w.byte(version)
	w.byte(flag(s.UTF8, flagUTF8) | flag(s.RequireTLS, flagRequireTLS) | flag(s.DeliverBy.Return, flagByReturn) |
		flag(s.DeliverBy.Trace, flagByTrace) | flag(m.report, flagReport) | flag(m.blank, flagBlank) | flag(m.anyhow, flagAnyhow))
	w.time(m.arrival)
	w.address(s.Address)
	w.int(s.Size)
	w.byte(byte(s.Body))
	w.byte(byte(s.Ret))
	w.string(s.EnvelopeID)
	w.string(s.Auth)
	w.int(int64(s.Priority))
	w.time(s.HoldUntil)
	w.time(s.DeliverBy.Deadline)
	w.params(s.Params)
	o := &m.origin
	for _, v := range []string{o.session, o.service, o.account, o.remoteAddr, o.remoteName, o.hello} {
		w.string(v)
	}
	w.uint(uint64(len(o.facts)))
	for _, f := range o.facts {
		w.string(f.Name)
		w.string(f.Value)
	}
	w.uint(uint64(len(m.trace)))
	for _, f := range m.trace {
		w.string(f.Name)
		w.string(f.Value)
	}
	w.uint(uint64(m.total))
	w.int(m.size)
	w.string(m.msgID)
	return w
}

func decodeMessage(b []byte) (*messageRow, error) {
	r := readerOf(b)
	if r.Byte() != version {
		return nil, errRow
	}
	flags := r.Byte()
	m := &messageRow{arrival: r.time(), report: flags&flagReport != 0, blank: flags&flagBlank != 0, anyhow: flags&flagAnyhow != 0}
	s := &m.sender
	s.Address, s.Size, s.Body, s.Ret = r.address(), r.Int(), mail.Body(r.Byte()), mail.Ret(r.Byte())
	s.EnvelopeID, s.Auth, s.Priority = r.Text(), r.Text(), int8(r.Int())
	s.HoldUntil, s.DeliverBy.Deadline, s.Params = r.time(), r.time(), r.params()
	s.UTF8, s.RequireTLS = flags&flagUTF8 != 0, flags&flagRequireTLS != 0
	s.DeliverBy.Return, s.DeliverBy.Trace = flags&flagByReturn != 0, flags&flagByTrace != 0
	o := &m.origin
	for _, p := range []*string{&o.session, &o.service, &o.account, &o.remoteAddr, &o.remoteName, &o.hello} {
		*p = r.Text()
	}
	for range r.Count(2) {
		o.facts = append(o.facts, mail.Fact{Name: r.Text(), Value: r.Text()})
	}
	for range r.Count(2) {
		m.trace = append(m.trace, mail.Field{Name: r.Text(), Value: r.Text()})
	}
	m.total, m.size, m.msgID = int(r.Uint()&(1<<31-1)), r.Int(), r.Text()
	return m, r.end()
}

// recipientRow is one delivery that is owed: a recipient, or one of the targets it stands for.
type recipientRow struct {
	rcpt     mail.Recipient // as it came, without Targets
	target   mail.Target
	dest     string // line it stands in
	due      uint64 // milliseconds; of the next attempt
	priority int8   // of its message (RFC 6710)
	held     bool
	warned   bool // the sender was told of the delay
	expanded bool // one of several targets: what happens to it is no delivery of the recipient (RFC 3461 section 5.2.7.2)
	final    bool // last is the answer for good: it is only to be reported
	attempts int
	last     Attempt
}

const (
	flagRemote = 1 << iota
	flagHeld
	flagWarned
	flagExpanded
	flagFinal
	flagDelivery // the recipient came with a delivery id
	flagPriority // it has one
)

func (m *recipientRow) encode() []byte {
	w := make(writer, 0, 160)
	w.byte(version)
	w.byte(flag(m.target.Remote, flagRemote) | flag(m.held, flagHeld) | flag(m.warned, flagWarned) |
		flag(m.expanded, flagExpanded) | flag(m.final, flagFinal) | flag(m.rcpt.DeliveryID != "", flagDelivery) |
		flag(m.priority != 0, flagPriority))
	w.address(m.rcpt.Address)
	w.byte(byte(m.rcpt.Notify))
	w.string(m.rcpt.Original)
	w.time(m.rcpt.RRVS)
	w.params(m.rcpt.Params)
	if m.rcpt.DeliveryID != "" {
		w.string(m.rcpt.DeliveryID)
	}
	if m.priority != 0 {
		w.byte(byte(m.priority))
	}
	w.address(m.target.Address)
	w.string(m.target.Folder)
	w.string(m.dest)
	w.uint(m.due)
	w.uint(uint64(m.attempts))
	w.time(m.last.Time)
	w.string(m.last.Host)
	w.string(m.last.TLS)
	w.reply(m.last.Reply)
	return w
}

func decodeRecipient(b []byte) (*recipientRow, error) {
	r := readerOf(b)
	if r.Byte() != version {
		return nil, errRow
	}
	flags := r.Byte()
	m := &recipientRow{held: flags&flagHeld != 0, warned: flags&flagWarned != 0, expanded: flags&flagExpanded != 0, final: flags&flagFinal != 0}
	m.rcpt.Address, m.rcpt.Notify, m.rcpt.Original = r.address(), mail.Notify(r.Byte()), r.Text()
	m.rcpt.RRVS, m.rcpt.Params = r.time(), r.params()
	if flags&flagDelivery != 0 {
		m.rcpt.DeliveryID = r.Text()
	}
	if flags&flagPriority != 0 {
		m.priority = int8(r.Byte())
	}
	m.target = mail.Target{Address: r.address(), Folder: r.Text(), Remote: flags&flagRemote != 0}
	m.dest, m.due, m.attempts = r.Text(), r.Uint(), int(r.Uint()&(1<<31-1))
	m.last = Attempt{Time: r.time(), Host: r.Text(), TLS: r.Text(), Reply: r.reply()}
	return m, r.end()
}

func (m *recipientRow) place(id ID, n uint32) place {
	return place{due: m.due, id: id, n: n, dest: m.dest, priority: m.priority}
}

func millis(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 1)) }
