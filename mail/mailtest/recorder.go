package mailtest

import (
	"context"
	"errors"
	"sync"

	"github.com/samotop/samotop/mail"
)

// Recorder is a Door that keeps what it accepts in memory, and refuses what it is told to refuse. Set its fields
// before it is used.
type Recorder struct {
	// Each may be nil: nothing is refused, no targets are set.
	OnRecipient func(*mail.Recipient) error
	OnWrite     func(total int64) error
	// OnCommit gives the replies; nil, or nil replies without an error, is 250 for everyone.
	OnCommit func(to []mail.Recipient) ([]mail.Reply, error)
	// Amends makes its transactions mail.Amenders, Prepares makes them mail.Preparers.
	Amends, Prepares bool

	mu       sync.Mutex
	messages []Recorded
	aborted  int
	prepared int
}

// Recorded is a message that a Recorder took, with the recipients whose reply was positive.
type Recorded struct {
	From    mail.Sender
	To      []mail.Recipient
	Content []byte // trace fields first
}

// Messages returns what was taken so far.
func (d *Recorder) Messages() []Recorded {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Recorded(nil), d.messages...)
}

// Counts tells how many transactions were aborted without a commit, and how many prepared.
func (d *Recorder) Counts() (aborted, prepared int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.aborted, d.prepared
}

// Probe finds the messages taken for an address.
func (d *Recorder) Probe(_ context.Context, to mail.Address) ([][]byte, error) {
	var found [][]byte
	for _, m := range d.Messages() {
		for _, r := range m.To {
			if r.Address == to {
				found = append(found, m.Content)
			}
		}
	}
	return found, nil
}

func (d *Recorder) Open(context.Context, *mail.Session) (mail.Receiver, error) { return d, nil }

func (d *Recorder) Begin(_ context.Context, _ *mail.Session, from mail.Sender) (mail.Transaction, error) {
	tx := &recording{d: d, from: from}
	switch {
	case d.Amends && d.Prepares:
		return struct {
			*recording
			preparing
			amending
		}{tx, preparing{tx}, amending{tx}}, nil
	case d.Amends:
		return struct {
			*recording
			amending
		}{tx, amending{tx}}, nil
	case d.Prepares:
		return struct {
			*recording
			preparing
		}{tx, preparing{tx}}, nil
	}
	return tx, nil
}

type recording struct {
	d       *Recorder
	from    mail.Sender
	to      []mail.Recipient
	dropped []bool
	trace   []byte
	content []byte
	done    bool
}

func (tx *recording) Recipient(_ context.Context, r *mail.Recipient) error {
	if f := tx.d.OnRecipient; f != nil {
		if err := f(r); err != nil {
			return err
		}
	}
	tx.to = append(tx.to, *r)
	tx.dropped = append(tx.dropped, false)
	return nil
}

func (tx *recording) Trace(fields ...mail.Field) {
	for _, f := range fields {
		tx.trace = append(f.Append(nil), tx.trace...)
	}
}

func (tx *recording) Write(p []byte) (int, error) {
	tx.content = append(tx.content, p...)
	if f := tx.d.OnWrite; f != nil {
		if err := f(int64(len(tx.content))); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (tx *recording) Commit(ctx context.Context) ([]mail.Reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	replies := make([]mail.Reply, len(tx.to))
	for i := range replies {
		replies[i] = mail.OK()
	}
	if f := tx.d.OnCommit; f != nil {
		given, err := f(tx.to)
		if err != nil {
			return nil, err
		}
		if given != nil {
			replies = given
		}
	}
	tx.done = true
	m := Recorded{From: tx.from, Content: append(tx.trace, tx.content...)}
	for i, r := range tx.to {
		if replies[i].Positive() && !tx.dropped[i] {
			m.To = append(m.To, r)
		}
	}
	tx.d.mu.Lock()
	defer tx.d.mu.Unlock()
	if len(m.To) > 0 {
		tx.d.messages = append(tx.d.messages, m)
	}
	return replies, nil
}

func (tx *recording) Abort() error {
	if !tx.done {
		tx.done = true
		tx.d.mu.Lock()
		defer tx.d.mu.Unlock()
		tx.d.aborted++
	}
	return nil
}

type preparing struct{ tx *recording }

func (p preparing) Prepare(context.Context) ([]mail.Reply, error) {
	p.tx.d.mu.Lock()
	defer p.tx.d.mu.Unlock()
	p.tx.d.prepared++
	replies := make([]mail.Reply, len(p.tx.to))
	for i := range replies {
		replies[i] = mail.OK()
	}
	return replies, nil
}

type amending struct{ tx *recording }

func (a amending) Amend(i int, folder string, drop bool) error {
	if i < 0 || i >= len(a.tx.to) {
		return errors.New("there is no such recipient")
	}
	a.tx.to[i].Folder, a.tx.dropped[i] = folder, drop
	return nil
}
