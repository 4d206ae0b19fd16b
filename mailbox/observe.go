package mailbox

import (
	"context"
	"errors"
	"slices"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// Observer is told what happened to messages, after it is durable: folders that mean decisions (contacts) and the
// training of filters (moves to and from \Junk, $Junk, $NotJunk) hang on it. Observe is called in the goroutine of
// whoever made the change, before he gets his answer and with no latch held: it may use the Mailbox, and should be
// quick, or queue. Changes of one account that happen at the same time may be told in another order than that of
// their ModSeq. What happens between a commit and a crash is not told again. It is safe for concurrent use.
type Observer interface {
	Observe(ctx context.Context, e Event)
}

// Cause tells what happened.
type Cause uint8

const (
	Delivered     Cause = iota + 1 // a message came by the Door, into To
	Appended                       // APPEND, into To
	Copied                         // COPY, from From to To
	Moved                          // MOVE, from From to To
	Expunged                       // from From
	Flagged                        // keywords of messages in From changed; system flags are not told
	FolderDeleted                  // From went with all its messages, which are not listed
	FolderRenamed                  // From is now To
)

func (c Cause) String() string {
	names := [...]string{"", "delivered", "appended", "copied", "moved", "expunged", "flagged", "folder deleted", "folder renamed"}
	if int(c) < len(names) {
		return names[c]
	}
	return ""
}

// Event is one change of one batch.
type Event struct {
	Owner    uint64
	Cause    Cause
	From, To EventFolder // empty where there is none
	ModSeq   uint64      // of the account: later changes have higher ones
	Messages []EventMessage
}

// EventFolder names a folder as it was at the change.
type EventFolder struct {
	Name string
	Use  []imap.SpecialUse
}

// EventMessage is one message of an Event.
type EventMessage struct {
	EmailID        string // EMAILID: stays the same over COPY and MOVE; Mailbox.Content reads it
	UID            imap.UID
	Added, Removed []string // keywords, of Flagged
}

// observes tells whether events are wanted of this commit.
func (c *commit) observes() bool { return c.m.observer != nil && !c.quiet }

// event begins an event of a commit, or adds to that of the same cause and folders.
func (p *part) event(cause Cause, from, to *box) *Event {
	c := p.c
	f, t := from.eventFolder(), to.eventFolder()
	if n := len(c.events); n > 0 {
		e := &c.events[n-1]
		if e.Owner == uint64(p.id) && e.Cause == cause && e.From.Name == f.Name && e.To.Name == t.Name {
			return e
		}
	}
	c.events = append(c.events, Event{Owner: uint64(p.id), Cause: cause, From: f, To: t, ModSeq: p.modseq()})
	return &c.events[len(c.events)-1]
}

func (b *box) eventFolder() EventFolder {
	if b == nil {
		return EventFolder{}
	}
	return EventFolder{Name: b.Name, Use: usesOf(b.Use)}
}

// observe notes what happened to one message.
func (p *part) observe(cause Cause, from, to *box, u uid, e emailID) {
	if !p.c.observes() {
		return
	}
	ev := p.event(cause, from, to)
	ev.Messages = append(ev.Messages, EventMessage{EmailID: emailName(p.id, e), UID: imap.UID(u)})
}

// observeFlags notes that the keywords of a message changed.
func (p *part) observeFlags(b *box, u uid, words []string, old, next *smallRow) error {
	if !p.c.observes() || string(old.Keywords) == string(next.Keywords) {
		return nil
	}
	before, err := decodeIDs(nil, old.Keywords)
	if err != nil {
		return err
	}
	now, err := decodeIDs(nil, next.Keywords)
	if err != nil {
		return err
	}
	m := EventMessage{UID: imap.UID(u), Added: wordsNotIn(words, now, before), Removed: wordsNotIn(words, before, now)}
	ev := p.event(Flagged, b, nil)
	ev.Messages = append(ev.Messages, m)
	p.c.flagged = append(p.c.flagged, flaggedIn{len(p.c.events) - 1, b.id})
	return nil
}

// flaggedIn says in which mailbox the messages of an event are, whose email ids are still to be read.
type flaggedIn struct {
	event int
	box   boxID
}

func wordsNotIn(words []string, ids, others []uint32) (out []string) {
	for _, id := range ids {
		if !slices.Contains(others, id) && int(id) < len(words) {
			out = append(out, words[id])
		}
	}
	return out
}

// told is what is left to tell of a commit once it is durable.
type told struct {
	events  []Event
	flagged []flaggedIn
	grants  []grant
}

// tell calls the observer.
func (m *Mailbox) tell(ctx context.Context, t told) {
	m.tellGrants(t.grants)
	if len(t.events) == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	for _, f := range t.flagged {
		if err := m.nameEmails(ctx, &t.events[f.event], f.box); err != nil {
			m.log.WarnContext(ctx, "ids of flagged messages", "error", err)
		}
	}
	for i := range t.events {
		m.observer.Observe(ctx, t.events[i])
	}
}

// nameEmails fills in the ids of the messages of a Flagged event. Those that have gone meanwhile have none.
func (m *Mailbox) nameEmails(ctx context.Context, e *Event, box boxID) error {
	if e.Messages[0].EmailID != "" {
		return nil
	}
	id := accountID(e.Owner)
	return m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		for i := range e.Messages {
			v, err := r.Get(ctx, ar.msgKey(kindSummary, id, box, uint32(e.Messages[i].UID)))
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			sum, err := decodeSummary(v)
			if err != nil {
				return err
			}
			e.Messages[i].EmailID = emailName(id, sum.Email)
		}
		return nil
	})
}

// Content opens a message of an owner by its EMAILID, ErrNoMessage if he has none of that name.
func (m *Mailbox) Content(ctx context.Context, ownerID uint64, emailIDName string) (imap.Content, error) {
	id := accountID(ownerID)
	e, ok := parseEmailName(id, emailIDName)
	if !ok {
		return nil, ErrNoMessage
	}
	var c *content
	err := m.eng.View(ctx, func(r store.Reader) error {
		var ar arena
		v, err := r.Get(ctx, ar.longKey(kindEmail, id, uint64(e)))
		if err != nil {
			return err
		}
		row, err := decodeEmail(v)
		if err != nil {
			return err
		}
		if len(row.Places) == 0 {
			return store.ErrNotFound
		}
		if v, err = r.Get(ctx, ar.msgKey(kindSummary, id, row.Places[0].Box, row.Places[0].UID)); err != nil {
			return err
		}
		sum, err := decodeSummary(v)
		if err != nil {
			return err
		}
		c = &content{m: m, prefix: append([]byte(nil), sum.Prefix...), hash: sum.Hash, body: sum.Body}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoMessage
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ErrNoMessage: there is no such message.
var ErrNoMessage = errors.New("mailbox: no such message")
