package mail

import (
	"context"
	"time"
)

// An Event is one step in the life of a message, as the room that did it tells it: who connected, what a check found
// and why, which rule decided, where the message was stored or queued, each attempt outward. Fields that a room does
// not know stay empty.
type Event struct {
	Time      time.Time
	Trace     string // Session.ID, the same through all rooms
	Room      string // "mta", "guard", "mailbox", "msa", "qm"
	Kind      string // what happened, one word: "connected", "checked", "judged", "refused", "stored", "queued", "attempted", "delivered", "reported"
	ID        string // of the message in that room: the id of its Received field, or the queue's
	MessageID string // the header field's, without the angle brackets
	From      string // reverse-path; "<>" for the null one, "" if not known
	To        string // recipient; "" if it is about all of them
	Peer      string // who was spoken to: address or host name
	Code      int    // of the reply that was given or got; 0 if none
	Text      string // in words, for a person: what, and why
	Facts     []Fact // findings for machines, such as {"spf", "pass"}
}

// A Journal keeps events for those who ask later. Record must be quick and must not fail the mail: it may keep the event
// in memory for a while and, when it is flooded, drop it and count that. It is safe for concurrent use.
type Journal interface {
	Record(ctx context.Context, e Event)
}

// NoJournal keeps nothing.
var NoJournal Journal = noJournal{}

type noJournal struct{}

func (noJournal) Record(context.Context, Event) {}
