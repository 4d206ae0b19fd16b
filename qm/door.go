package qm

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

// Door takes messages: for local recipients and for remote ones.
func (q *QM) Door() mail.Door { return door{q} }

type door struct{ q *QM }

func (d door) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
	if err := d.q.stopped(); err != nil {
		return nil, mail.NewReply(421, mail.Enhanced{4, 3, 2}, "The queue is stopped").Because(err)
	}
	return d, nil
}

func (d door) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	if err := d.q.stopped(); err != nil {
		return nil, mail.NewReply(451, mail.Enhanced{4, 3, 2}, "The queue is stopped").Because(err)
	}
	if limit := d.q.cfg.Limits.MaxMessageBytes; from.Size > limit {
		return nil, mail.NewReply(552, mail.Enhanced{5, 3, 4}, "Message is larger than the %d octets allowed here", limit)
	}
	t := &transaction{q: d.q, row: messageRow{sender: from}}
	t.row.origin = origin{session: s.ID, service: s.Service, account: s.Login.Account, remoteName: s.RemoteName,
		hello: s.Hello, facts: append([]mail.Fact(nil), s.Facts...)}
	if s.RemoteAddr != nil {
		t.row.origin.remoteAddr = s.RemoteAddr.String()
	}
	return t, nil
}

// transaction is a message on its way into the queue.
type transaction struct {
	q     *QM
	row   messageRow
	rcpts []*recipientRow
	taken int                  // recipients accepted
	seen  map[mail.Target]bool // targets that are in rcpts

	header headerScan
	w      store.BlobWriter
	staged store.Staged
	body   []byte // the same, while it is small
	big    bool
	done   bool
}

var (
	errLoop = mail.NewReply(554, mail.Enhanced{5, 4, 6}, "Too many hops: the message goes round in circles")
	errOver = mail.NewReply(452, mail.Enhanced{4, 5, 3}, "Too many recipients")
)

func (t *transaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	if t.taken >= t.q.cfg.Limits.MaxRecipients {
		return errOver
	}
	if len(r.Targets) == 0 && r.Failed == nil {
		targets, err := t.q.cfg.Rules.Resolve(ctx, r.Address)
		if err != nil {
			return err
		}
		if len(targets) == 0 {
			return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "%s leads nowhere", r.Address.Path())
		}
		r.Targets = targets
	}
	targets, err := t.q.allowed(ctx, r)
	if err != nil {
		return err
	}
	if len(t.rcpts)+len(r.Targets) > t.q.cfg.Limits.MaxTargets {
		return errOver
	}
	t.taken++
	own := *r
	own.Targets, own.Failed = nil, nil
	if r.Failed != nil {
		t.owe(&recipientRow{rcpt: own, target: mail.Target{Address: r.Address, Remote: true}, final: true,
			attempts: 1, last: Attempt{Time: t.q.now(), Reply: *r.Failed}})
		return nil
	}
	if len(targets) > 1 && wantsExpanded(&own) {
		t.owe(&recipientRow{rcpt: own, target: mail.Target{Address: r.Address}, final: true, expanded: true, attempts: 1,
			last: Attempt{Time: t.q.now(), Reply: mail.Reply{Code: 250, Enhanced: mail.Enhanced{2, 1, 5}, Text: "Expanded to several recipients"}}})
	}
	for _, target := range targets {
		if target.Folder == "" && target.Address == r.Address {
			target.Folder = r.Folder
		}
		if t.seen == nil {
			t.seen = map[mail.Target]bool{}
		}
		if t.seen[target] { // one copy, by however many names he is called
			continue
		}
		t.seen[target] = true
		t.owe(&recipientRow{rcpt: own, target: target, expanded: len(r.Targets) > 1})
	}
	return nil
}

// wantsExpanded reports whether the sender is told that a recipient stands for several, which is the last that he hears of it
// if all goes well (RFC 3461 section 5.2.7.2).
func wantsExpanded(r *mail.Recipient) bool {
	return r.Notify&mail.NotifySuccess != 0 && r.Notify&mail.NotifyNever == 0
}

func (t *transaction) owe(r *recipientRow) {
	r.last.Reply.Cause = nil
	r.dest = t.q.routes.line(r.target, &t.row)
	t.rcpts = append(t.rcpts, r)
}

func (t *transaction) Trace(fields ...mail.Field) { t.row.trace = append(t.row.trace, fields...) }

var errOrder = errors.New("qm: the content has ended")

// stage begins the body.
func (t *transaction) stage() (err error) {
	if t.w != nil {
		return nil
	}
	if t.w, err = t.q.cfg.Engine.Stage(context.Background()); err != nil {
		return err
	}
	if n := t.row.sender.Size; n > 0 && n <= int64(t.q.cfg.Limits.MaxMemoryBodyBytes) {
		t.body = make([]byte, 0, n+n/8+512)
	}
	return nil
}

func (t *transaction) Write(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case t.done || t.staged != nil:
		return 0, errOrder
	}
	if err := t.stage(); err != nil {
		return 0, stored(err)
	}
	if t.row.size == 0 {
		t.row.blank = p[0] == ' ' || p[0] == '\t'
	}
	t.row.size += int64(len(p))
	if t.row.size > t.q.cfg.Limits.MaxMessageBytes {
		return 0, mail.NewReply(552, mail.Enhanced{5, 3, 4}, "Message is larger than the %d octets allowed here", t.q.cfg.Limits.MaxMessageBytes)
	}
	t.header.write(p)
	if t.header.received > t.q.cfg.Limits.MaxHops {
		return 0, errLoop
	}
	if !t.big {
		if t.row.size > int64(t.q.cfg.Limits.MaxMemoryBodyBytes) {
			t.big, t.body = true, nil
		} else {
			t.body = append(t.body, p...)
		}
	}
	n, err := t.w.Write(p)
	return n, stored(err)
}

// stored turns an error of the engine into what is answered to who hands a message over.
func stored(err error) error {
	switch {
	case errors.Is(err, store.ErrFull):
		return mail.NewReply(452, mail.Enhanced{4, 3, 1}, "No space in the queue, please try again later").Because(err)
	case errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrClosed):
		return mail.NewReply(421, mail.Enhanced{4, 3, 0}, "The queue has stopped").Because(err)
	}
	return err
}

// Prepare puts the whole body into the engine's hands.
func (t *transaction) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if err := t.prepare(); err != nil {
		return nil, stored(err)
	}
	return t.replies(mail.OK()), nil
}

func (t *transaction) prepare() (err error) {
	if t.done {
		return errOrder
	}
	if t.staged != nil {
		return nil
	}
	hops := t.header.received
	for _, f := range t.row.trace {
		if strings.EqualFold(f.Name, "Received") {
			hops++
		}
	}
	if hops > t.q.cfg.Limits.MaxHops+1 { // that of our own front door does not count
		return errLoop
	}
	if err := t.stage(); err != nil {
		return err
	}
	t.staged, err = t.w.Close()
	return err
}

// Commit makes the message ours: it returns when it is on disk.
func (t *transaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	if err := t.prepare(); err != nil {
		return nil, stored(err)
	}
	t.done = true
	now := t.q.now()
	id := t.q.ids.next(now, t.q.random())
	t.row.arrival, t.row.msgID, t.row.anyhow = now, t.header.messageID(), t.header.anyhow
	t.forget()
	t.row.sender.UTF8 = t.row.sender.UTF8 && t.needsUTF8()
	ok := queuedReply(id)
	if len(t.rcpts) == 0 {
		t.staged.Discard()
		return t.replies(ok), nil
	}
	m := &message{id: id, row: &t.row, body: t.body}
	b := &store.Batch{Blobs: []store.Staged{t.staged}}
	entries := t.q.enqueue(b, m, t.rcpts, 0)
	again := t.againKeys(now)
	remember(b, again, id)
	t.q.coming(id)
	if err := t.q.commit(ctx, b); err != nil {
		t.q.lost(id)
		t.staged.Discard()
		if before, ok := t.q.queuedAs(ctx, again, err); ok {
			return t.replies(before), nil
		}
		t.q.check(err)
		return nil, stored(err)
	}
	t.q.tellQueued(ctx, m, entries)
	t.q.arrived(m, entries)
	return t.replies(ok), nil
}

// needsUTF8 reports whether a message for which SMTPUTF8 was asked is an internationalized one (RFC 6531 section 1.2). Some
// programs ask for it whenever it is offered; what is plain goes to servers that have never heard of it, too.
func (t *transaction) needsUTF8() bool {
	if t.header.wide || t.row.sender.Address.UTF8() {
		return true
	}
	for _, r := range t.rcpts {
		if r.rcpt.Address.UTF8() || r.target.Address.UTF8() || hasWide([]byte(r.rcpt.Original)) {
			return true
		}
	}
	for _, f := range t.row.trace {
		if hasWide([]byte(f.Value)) {
			return true
		}
	}
	return false
}

// forget drops what was handed to us only to be reported and that nobody is to be told of.
func (t *transaction) forget() {
	kept := t.rcpts[:0]
	for _, r := range t.rcpts {
		if r.final && r.last.Reply.Positive() {
			if !t.row.untold() {
				kept = append(kept, r)
			}
			continue
		}
		if !r.final || !t.row.untold() && wants(r, mail.NotifyFailure) {
			kept = append(kept, r)
		}
	}
	t.rcpts = kept
}

func (t *transaction) replies(r mail.Reply) []mail.Reply {
	rs := make([]mail.Reply, t.taken)
	for i := range rs {
		rs[i] = r
	}
	return rs
}

func (t *transaction) Abort() error {
	if t.done {
		return nil
	}
	t.done = true
	if t.w != nil {
		t.w.Discard()
	}
	if t.staged != nil {
		t.staged.Discard()
	}
	return nil
}

// enqueue adds the rows of a new message to a batch; its body is Blobs[blob].
func (q *QM) enqueue(b *store.Batch, m *message, rcpts []*recipientRow, blob int) []*entry {
	m.row.total, m.open = len(rcpts), len(rcpts)
	now := m.row.arrival
	due := millis(now)
	held := m.row.sender.HoldUntil.After(now) // RFC 4865
	if held {
		due = millis(m.row.sender.HoldUntil)
	}
	key := messageKey(m.id)
	b.Asserts = append(b.Asserts, store.Assert{Key: key, Absent: true})
	b.Ops = append(b.Ops, store.PutBlob(key, m.row.encode(), blob))
	if len(rcpts) > 1 {
		b.Ops = append(b.Ops, store.Put(counterKey(m.id), encodeCount(m.open)))
	}
	entries := make([]*entry, len(rcpts))
	for i, r := range rcpts {
		r.due, r.priority = due, m.row.sender.Priority
		entries[i] = &entry{msg: m, n: uint32(i), row: r}
		b.Ops = q.putRecipient(b.Ops, m.id, uint32(i), r)
	}
	return entries
}

// putRecipient writes a recipient and where it stands.
func (q *QM) putRecipient(ops []store.Op, id ID, n uint32, r *recipientRow) []store.Op {
	ops = append(ops, store.Put(recipientKey(id, n), r.encode()))
	if r.held {
		return append(ops, store.Put(destKey(id.lane(), r.dest, r.priority, never, id, n), nil))
	}
	return append(ops, store.Put(dueKey(id.lane(), r.due, id, n), lineValue(r.dest, r.priority)),
		store.Put(destKey(id.lane(), r.dest, r.priority, r.due, id, n), nil))
}

// unplace takes a recipient out of the indexes.
func unplace(ops []store.Op, id ID, n uint32, r *recipientRow) []store.Op {
	if r.held {
		return append(ops, store.Delete(destKey(id.lane(), r.dest, r.priority, never, id, n)))
	}
	return append(ops, store.Delete(dueKey(id.lane(), r.due, id, n)), store.Delete(destKey(id.lane(), r.dest, r.priority, r.due, id, n)))
}

func encodeCount(n int) []byte {
	var w writer
	w.uint(uint64(n))
	return w
}

// headerScan looks at a message that passes by: how many Received fields it has, and its Message-ID.
type headerScan struct {
	received int
	line     [maxScanOctets]byte // the beginning of the line
	n        int
	over     bool // the header has ended
	inID     bool
	id       []byte
	anyhow   bool // TLS-Required: No
	wide     bool // it has octets above 127
}

const maxScanOctets = 512

func (h *headerScan) write(p []byte) {
	for len(p) > 0 && !h.over {
		i := bytes.IndexByte(p, '\n')
		piece := p
		if i >= 0 {
			piece = p[:i]
		}
		h.wide = h.wide || hasWide(piece)
		h.n += copy(h.line[h.n:], piece)
		if i < 0 {
			return
		}
		h.endLine()
		p = p[i+1:]
	}
}

func (h *headerScan) endLine() {
	line := bytes.TrimRight(h.line[:h.n], "\r")
	h.n = 0
	switch {
	case len(line) == 0:
		h.over = true
	case line[0] == ' ' || line[0] == '\t':
		if h.inID && len(h.id) == 0 {
			h.id = bytes.Clone(bytes.TrimSpace(line))
		}
	case hasField(line, "received:"):
		h.received++
		h.inID = false
	case h.id == nil && hasField(line, "message-id:"):
		h.id = bytes.Clone(bytes.TrimSpace(line[len("message-id:"):]))
		h.inID = true
	case hasField(line, "tls-required:"): // RFC 8689 section 5
		h.anyhow = strings.EqualFold(string(bytes.TrimSpace(line[len("tls-required:"):])), "no")
		h.inID = false
	default:
		h.inID = false
	}
}

func hasWide(p []byte) bool {
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

func hasField(line []byte, name string) bool {
	return len(line) >= len(name) && strings.EqualFold(string(line[:len(name)]), name)
}

func (h *headerScan) messageID() string { return strings.ToValidUTF8(string(h.id), "?") }
