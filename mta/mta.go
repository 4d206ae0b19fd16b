// Package mta is the room that strangers' servers speak to. It keeps nothing itself: it asks the Guard about each
// recipient, hands the message to the Mailbox while it arrives, and to the queue what goes outside or is still
// owed.
//
//	door, err := mta.New(mta.Config{Hostname: "mx.example.org", Guard: guard, Mailbox: mailbox, Queue: queue})
//	(&smtp.Server{Door: door, ...}).Serve(ctx, listener)
//
// Promises. One message gets one honest answer: if any target took it, 250, and what is still owed is in the queue
// before the answer; if none took it, 4yz if any refusal is temporary, else 5yz. A session that speaks LMTP gets
// the answer for each recipient. The MTA never relays: what goes outside was named by the Guard.
package mta

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/samotop/samotop/mail"
)

// Defaults of Config.
const (
	DefaultMaxHops           = 100 // RFC 5321 section 6.3 asks for at least 100
	DefaultMaxTargets        = 1000
	DefaultSpoolMemoryOctets = 256 << 10
)

// Config is what an MTA is made of.
type Config struct {
	Hostname string
	Guard    mail.Door // asked about each recipient; its Targets are followed
	Mailbox  mail.Door // takes local targets
	Queue    mail.Door // takes remote targets, and what is still owed; nil: there is no queue

	MaxHops           int    // Received fields in a message before it counts as looping
	MaxTargets        int    // addresses that the recipients of one message may expand to
	SpoolMemoryOctets int    // of a message with several targets kept in memory; more goes to a file
	SpoolDir          string // where that file is; "" for the system's directory

	// SpoolAll keeps a copy of every message until it is answered: needed where the Mailbox is in another process, which
	// may die with the answer on its way.
	SpoolAll bool

	Clock func() time.Time // nil: time.Now
	NewID func() string    // nil: random
	Log   *slog.Logger     // nil: silent
	// Journal is told who connected, and what became of each message for each recipient; nil: each is a line of Log.
	Journal mail.Journal
}

// MTA is a mail.Door.
type MTA struct{ c Config }

var (
	_ mail.Door        = (*MTA)(nil)
	_ mail.Receiver    = (*receiver)(nil)
	_ mail.Transaction = (*transaction)(nil)
	_ mail.Amender     = (*transaction)(nil)
)

// New builds an MTA. It refuses a configuration that could never accept a message.
func New(c Config) (*MTA, error) {
	if c.Guard == nil {
		return nil, errors.New("mta: no guard: nobody could say which recipients are ours")
	}
	if c.Mailbox == nil {
		return nil, errors.New("mta: no mailbox: mail would have nowhere to go")
	}
	if c.Hostname == "" {
		return nil, errors.New("mta: no hostname: Received fields need one")
	}
	if c.Queue == nil {
		c.Queue = mail.Unassigned
	}
	setDefault(&c.MaxHops, DefaultMaxHops)
	setDefault(&c.MaxTargets, DefaultMaxTargets)
	setDefault(&c.SpoolMemoryOctets, DefaultSpoolMemoryOctets)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.NewID == nil {
		c.NewID = rand.Text
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Journal == nil {
		c.Journal = mail.LogEvents(c.Log, nil)
	}
	return &MTA{c}, nil
}

func setDefault(v *int, to int) {
	if *v <= 0 {
		*v = to
	}
}

// Open asks the Guard whether this peer may speak at all.
func (m *MTA) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
	g, err := m.c.Guard.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	return &receiver{mta: m, guard: g}, nil
}

// receiver is one session at one stage. The Mailbox and the queue are opened when they are first needed.
type receiver struct {
	mta            *MTA
	guard          mail.Receiver
	mailbox, queue mail.Receiver
	told           bool // the journal knows who this is
}

// Close lets go of what the session had opened.
func (r *receiver) Close() error {
	var errs []error
	for _, part := range []mail.Receiver{r.guard, r.mailbox, r.queue} {
		if c, ok := part.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

func (r *receiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	g, err := r.guard.Begin(ctx, s, from)
	if err != nil {
		return nil, err
	}
	r.connected(ctx, s)
	return &transaction{r: r, s: s, from: from, guard: g, id: r.mta.c.NewID(), hops: hopCounter{max: r.mta.c.MaxHops}}, nil
}

// open returns the transaction of a target room, opening the room if this session has not used it yet.
func (r *receiver) open(ctx context.Context, s *mail.Session, door mail.Door, at *mail.Receiver, from mail.Sender) (mail.Transaction, error) {
	if *at == nil {
		opened, err := door.Open(ctx, s)
		if err != nil {
			return nil, err
		}
		*at = opened
	}
	return (*at).Begin(ctx, s, from)
}
