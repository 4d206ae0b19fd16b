package mailbox

import (
	"context"
	"errors"
	"io"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// appending is one APPEND of one or more messages: one batch.
type appending struct {
	*view
	name     string
	owner    Owner
	messages []appended
	octets   int64
	rows     int // octets of rows
	ended    bool
}

type appended struct {
	in      *intake
	options imap.AppendOptions
}

var _ imap.Appender = (*appending)(nil)

// Next begins a message.
func (a *appending) Next(ctx context.Context, o imap.AppendOptions) (io.Writer, error) {
	if err := a.finishLast(); err != nil {
		return nil, err
	}
	switch {
	case a.ended:
		return nil, &imap.Error{Bad: true, Text: "The APPEND has ended"}
	case len(a.messages) >= a.m.limits.AppendMessages:
		return nil, no("LIMIT", "At most %d messages can be appended at once", a.m.limits.AppendMessages)
	case o.Size > a.m.limits.MessageOctets:
		return nil, no("TOOBIG", "Message is larger than %d octets", a.m.limits.MessageOctets) // RFC 4469
	case len(o.Flags.Keywords) > a.m.limits.MessageKeywords:
		return nil, no("LIMIT", "A message can have %d keywords", a.m.limits.MessageKeywords)
	}
	if err := a.hasRoom(ctx, a.octets+max(o.Size, 1), int64(len(a.messages)+1)); err != nil {
		return nil, err
	}
	in, err := a.m.newIntake(ctx)
	if err != nil {
		return nil, toIMAP(err)
	}
	a.messages = append(a.messages, appended{in, o})
	return appendWriter{in}, nil
}

// appendWriter gives errors for the client.
type appendWriter struct{ in *intake }

func (w appendWriter) Write(p []byte) (int, error) {
	n, err := w.in.Write(p)
	if errors.Is(err, errTooLong) {
		return n, no("TOOBIG", "Message is larger than %d octets", w.in.m.limits.MessageOctets)
	}
	return n, toIMAP(err)
}

// hasRoom checks the quota before the content has come.
func (a *appending) hasRoom(ctx context.Context, octets, messages int64) error {
	if err := a.account.lock(ctx); err != nil {
		return toIMAP(err)
	}
	defer a.account.mu.Unlock()
	p := part{account: a.account, row: a.account.row}
	if !p.fits(&a.owner, octets, messages) {
		return errQuota
	}
	return nil
}

func (a *appending) finishLast() error {
	if len(a.messages) == 0 {
		return nil
	}
	in := a.messages[len(a.messages)-1].in
	if in.done {
		return nil
	}
	if err := in.close(1); err != nil {
		if errors.Is(err, errTooLong) {
			return no("TOOBIG", "Message is larger than %d octets", a.m.limits.MessageOctets)
		}
		return toIMAP(err)
	}
	a.octets += in.size
	if a.rows += in.digest.octets(); a.rows > a.m.rowsOctets {
		return no("LIMIT", "These messages are too much to be appended at once")
	}
	return nil
}

// Commit makes the messages durable, all of them or none.
func (a *appending) Commit(ctx context.Context) (imap.AppendResult, error) {
	var result imap.AppendResult
	if a.ended {
		return result, &imap.Error{Bad: true, Text: "The APPEND has ended"}
	}
	defer a.Abort()
	if err := a.finishLast(); err != nil {
		return result, err
	}
	err := a.change(ctx, func(p *part, r store.Reader) error {
		result = imap.AppendResult{}
		b, have, err := p.usable(ctx, r, a.view, a.name, rightInsert)
		if err != nil {
			return err
		}
		if !p.fits(&a.owner, a.octets, int64(len(a.messages))) {
			return errQuota
		}
		result.UIDValidity = b.UIDValidity
		for i := range a.messages {
			u, err := a.appendOne(ctx, p, r, b, have, &a.messages[i])
			if err != nil {
				return err
			}
			result.UIDs.Add(imap.UID(u))
		}
		return nil
	})
	return result, tryCreate(err)
}

func (a *appending) appendOne(ctx context.Context, p *part, r store.Reader, b *box, have rights, m *appended) (uid, error) {
	words := m.options.Flags.Keywords
	if have&rightWrite == 0 {
		words = nil
	}
	ids, err := p.keywordIDs(ctx, r, b, words, true)
	if err != nil {
		return 0, err
	}
	date := m.options.Date
	if date.IsZero() {
		date = p.m.now()
	}
	system, seen := a.land(m.options.Flags.System, have)
	u, e, err := p.arrive(ctx, r, b, &arrival{in: m.in, system: system, keywords: ids, date: date})
	if err == nil && seen {
		err = p.markSeen(ctx, r, a.view, b, u, true)
	}
	if err == nil {
		p.observe(Appended, nil, b, u, e)
	}
	return u, err
}

// Abort gives up what was not committed.
func (a *appending) Abort() error {
	if a.ended {
		return nil
	}
	a.ended = true
	for i := range a.messages {
		a.messages[i].in.discard()
	}
	return nil
}
