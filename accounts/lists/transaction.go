package lists

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

var errEnded = errors.New("lists: the transaction has ended")

// transaction is one message, which becomes several: one for those who are no list, and one for each list.
type transaction struct {
	c    *Config
	r    mail.Receiver
	s    *mail.Session
	from mail.Sender
	ctx  context.Context // of Begin, for what Write must ask

	parts  []*part // the first is for those who are no list
	to     []recipient
	trace  []mail.Field
	head   []byte // what came of the header, while there are lists
	judged bool   // the header is complete, and was handed on
	later  error  // a list cannot be asked now, and others take the message: all of it is put off, nothing was taken yet
	over   bool
}

// part is a message of its own.
type part struct {
	tx       mail.Transaction
	w        io.Writer // nil: tx
	post     *Post     // nil: no list
	rcpt     mail.Recipient
	accepted int // recipients
	refused  *mail.Reply
	err      error
	replies  []mail.Reply
}

// recipient is one that was accepted.
type recipient struct {
	address mail.Address
	at      []place
}

// place is where a recipient's mail is: a part, and the number of the recipient there; of a list, the first of its members.
type place struct {
	part  *part
	index int
}

// Recipient hands a recipient on, but for the lists that he leads to.
func (t *transaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	if t.over {
		return errEnded
	}
	if r.Failed != nil || len(r.Targets) > 0 {
		return t.plain(ctx, r)
	}
	res, err := t.c.Rules.Resolve(ctx, r.Address)
	if err != nil {
		return err
	}
	for _, n := range res.Notes {
		e := t.event("judged", r.Address)
		e.Code, e.Text = 251, n
		t.c.Journal.Record(ctx, e)
	}
	if !slices.Contains(res.Lists, true) {
		return t.plain(ctx, r)
	}
	own := recipient{address: r.Address}
	var refusal *mail.Reply
	rest := *r
	rest.Targets = nil
	for i, target := range res.Targets {
		if !res.Lists[i] {
			rest.Targets = append(rest.Targets, target)
			continue
		}
		p, err := t.list(ctx, target.Address, r)
		if err != nil {
			refusal = mail.AsReply(err)
			continue
		}
		own.at = append(own.at, place{p, 0})
	}
	if len(rest.Targets) > 0 {
		if err := t.plain(ctx, &rest); err != nil {
			refusal = mail.AsReply(err)
		} else {
			last := len(t.to) - 1
			own.at = append(own.at, t.to[last].at...)
			t.to = t.to[:last]
		}
	}
	switch {
	case len(own.at) == 0:
		return refusal
	case refusal != nil: // some take it, so the others are reported
		failed := mail.Recipient{Address: r.Address, Notify: r.Notify, Original: r.Original, Failed: refusal}
		if err := t.parts[0].tx.Recipient(ctx, &failed); err != nil {
			return err
		}
		t.parts[0].accepted++
	}
	t.to = append(t.to, own)
	return nil
}

// plain hands a recipient to the queue as he is.
func (t *transaction) plain(ctx context.Context, r *mail.Recipient) error {
	main := t.parts[0]
	if err := main.tx.Recipient(ctx, r); err != nil {
		return err
	}
	t.to = append(t.to, recipient{r.Address, []place{{main, main.accepted}}})
	main.accepted++
	return nil
}

// list begins the message of a list, if the sender may post to it. It is one, however many recipients lead to it.
func (t *transaction) list(ctx context.Context, list mail.Address, r *mail.Recipient) (*part, error) {
	for _, p := range t.parts[1:] {
		if p.post.List == list {
			return p, nil
		}
	}
	post, err := t.c.Rules.PostTo(ctx, list, t.from.Address, false)
	if err != nil {
		return nil, err
	}
	if refusal := t.allowed(&post, t.from.Address); refusal != nil {
		t.refused(list, refusal)
		return nil, refusal
	}
	if len(post.Members) == 0 {
		return nil, mail.NewReply(550, mail.Enhanced{5, 1, 1}, "%s: the list has no members", list.Path())
	}
	// RFC 3461 section 5.2.7.3: the new sender is told what the list wants, nothing that the author asked for.
	from := mail.Sender{Address: post.Sender, Size: t.from.Size, Body: t.from.Body, UTF8: t.from.UTF8 || post.Sender.UTF8(), Ret: mail.RetHeaders,
		RequireTLS: t.from.RequireTLS, HoldUntil: t.from.HoldUntil}
	tx, err := t.r.Begin(ctx, t.s, from)
	if err != nil {
		return nil, err
	}
	p := &part{tx: tx, post: &post, rcpt: *r}
	for i, m := range post.Members {
		member := mail.Recipient{Address: m.Address, Notify: mail.NotifyFailure, Targets: []mail.Target{m}}
		if r.DeliveryID != "" {
			member.DeliveryID = fmt.Sprintf("%s.%s.%d", r.DeliveryID, list.Local, i)
		}
		if err = tx.Recipient(ctx, &member); err == nil {
			p.accepted++
		}
	}
	if p.accepted == 0 {
		return nil, errors.Join(err, tx.Abort())
	}
	tx.Trace(fields(&post)...)
	tx.Trace(t.trace...)
	p.w = message.NewHeaderEditor(tx, message.EditOptions{Remove: replaced, HeaderBytes: t.c.MaxHeaderBytes})
	t.parts = append(t.parts, p)
	return p, nil
}

// Trace adds fields to all messages.
func (t *transaction) Trace(fs ...mail.Field) {
	t.trace = append(t.trace, fs...)
	for _, p := range t.parts {
		if p.refused == nil {
			p.tx.Trace(fs...)
		}
	}
}

// Write hands the content on. While there are lists it waits for the whole header, which may still refuse.
func (t *transaction) Write(b []byte) (int, error) {
	if t.over {
		return 0, errEnded
	}
	if t.judged || len(t.parts) == 1 {
		return t.pass(b)
	}
	from := max(0, len(t.head)-3)
	t.head = append(t.head, b...)
	if end := headerEnd(t.head, from); end >= 0 {
		t.judge(t.head[:end])
	} else if len(t.head) > t.c.MaxHeaderBytes {
		t.refuseLists(mail.NewReply(552, mail.Enhanced{5, 3, 4}, "The header is larger than the %d octets that a list takes", t.c.MaxHeaderBytes))
	} else {
		return len(b), nil
	}
	held := t.head
	t.head = nil
	if _, err := t.pass(held); err != nil {
		return 0, err
	}
	return len(b), nil
}

// headerEnd finds the empty line after the header, looking from an offset on.
func headerEnd(b []byte, from int) int {
	if from == 0 && (bytes.HasPrefix(b, []byte("\r\n")) || bytes.HasPrefix(b, []byte("\n"))) {
		return 0
	}
	end := -1
	for _, s := range []string{"\n\r\n", "\n\n"} {
		if i := bytes.Index(b[from:], []byte(s)); i >= 0 && (end < 0 || from+i+1 < end) {
			end = from + i + 1
		}
	}
	return end
}

// pass writes to all messages. One that fails is left out, unless it is the last.
func (t *transaction) pass(b []byte) (int, error) {
	var failed error
	alive := false
	for _, p := range t.parts {
		if p.accepted == 0 || p.refused != nil || p.err != nil {
			continue
		}
		w := p.w
		if w == nil {
			w = p.tx
		}
		if _, p.err = w.Write(b); p.err != nil {
			failed = p.err
			p.tx.Abort() //nolint:errcheck // it has failed already
			continue
		}
		alive = true
	}
	if failed != nil && !alive {
		return 0, failed
	}
	return len(b), nil
}

// finish ends the content: a message may be nothing but a header.
func (t *transaction) finish() error {
	if !t.judged && len(t.parts) > 1 {
		held := t.head
		t.head = nil
		t.judge(held)
		if len(held) > 0 {
			if _, err := t.pass(held); err != nil {
				return err
			}
		}
	}
	for _, p := range t.parts {
		if c, ok := p.w.(io.Closer); ok && p.refused == nil && p.err == nil {
			p.err = c.Close()
			p.w = nil
		}
	}
	return t.failed()
}

// failed is what puts off the whole message, where there is one answer for all: better twice than not at all.
func (t *transaction) failed() error {
	if t.s.LMTP {
		return nil
	}
	if t.later != nil {
		return t.later
	}
	for _, p := range t.parts {
		if p.err != nil {
			return p.err
		}
	}
	return nil
}

// preparing is a transaction whose queue can prepare.
type preparing struct{ *transaction }

// Prepare does all but the final step.
func (t preparing) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if t.over {
		return nil, errEnded
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	for _, p := range t.live() {
		prep, ok := p.tx.(mail.Preparer)
		if !ok {
			continue
		}
		if p.replies, p.err = prep.Prepare(ctx); p.err != nil {
			p.tx.Abort() //nolint:errcheck // it has failed already
		}
	}
	if err := t.failed(); err != nil {
		return nil, err
	}
	return t.replies()
}

func (t *transaction) live() (live []*part) {
	for _, p := range t.parts {
		if p.accepted > 0 && p.refused == nil && p.err == nil {
			live = append(live, p)
		}
	}
	return live
}

// Commit queues the messages, the lists' first: what is left of the others can still be reported.
func (t *transaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	if t.over {
		return nil, errEnded
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	t.over = true
	if t.parts[0].accepted == 0 {
		t.parts[0].tx.Abort() //nolint:errcheck // nothing was wanted of it
	}
	live := t.live()
	if len(live) > 1 && live[0] == t.parts[0] {
		live = append(live[1:], live[0])
	}
	for _, p := range live {
		if p.replies, p.err = p.tx.Commit(ctx); p.err == nil && p.post != nil {
			t.posted(ctx, p)
		}
	}
	if err := t.failed(); err != nil {
		return nil, err
	}
	return t.replies()
}

// replies gives each recipient the answer on which his messages agree.
func (t *transaction) replies() ([]mail.Reply, error) {
	out := make([]mail.Reply, len(t.to))
	for i, r := range t.to {
		of := make([]mail.Reply, 0, len(r.at))
		for _, at := range r.at {
			switch p := at.part; {
			case p.refused != nil:
				of = append(of, *p.refused)
			case p.err != nil:
				of = append(of, *mail.AsReply(p.err))
			case at.index >= len(p.replies):
				return nil, fmt.Errorf("lists: the queue gave %d answers for %d recipients", len(p.replies), p.accepted)
			default:
				of = append(of, p.replies[at.index])
			}
		}
		out[i] = mail.Agree(of)
	}
	if len(t.parts) == 1 && t.parts[0].err != nil { // the plain case is as the queue has it
		return nil, t.parts[0].err
	}
	return out, nil
}

// Abort gives all of it up.
func (t *transaction) Abort() error {
	t.over = true
	var errs []error
	for _, p := range t.parts {
		errs = append(errs, p.tx.Abort())
	}
	return errors.Join(errs...)
}
