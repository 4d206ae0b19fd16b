// Package qm is the queue manager: it takes responsibility for messages and decides when and where each of them goes
// next, until every recipient has it or its sender knows why not.
//
//	q, err := qm.Open(ctx, qm.Config{Engine: engine, Local: mailbox, Rules: accounts, Resolver: dns, Hostname: host})
//	go q.Run(ctx)         // delivers until ctx ends
//	door := q.Door()      // msa and mta hand messages in here
//	err = q.Drain(ctx)    // no new attempts; what is on the wire may finish
//
// # Promises
//
// A message is on disk before Door's Commit answers 250: one body, one row per recipient. Every recipient ends
// delivered, or reported to the sender (RFC 3464), or is still queued; never two of them: a report is put into the
// queue by the batch that takes the recipient out. Local recipients are delivered exactly once, by their delivery id.
// Towards others a message is sent twice only where the answer to its end was lost, or was not yet recorded when we
// crashed; the log says so each time.
//
// A destination that does not answer delays no other: each has its own line, its own number of connections and its
// own pause. Memory is bounded by Limits however long the queue is, and a start does not read the queue.
//
// # Failures
//
// 4yz and whatever breaks is tried again, in intervals growing from Schedule.First to Schedule.Max, until
// Schedule.Expire; 5yz is final at once. If the engine stops (store.ErrFenced) nothing more is taken or sent.
package qm

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/store"
)

// Rules says where a recipient's mail goes.
type Rules interface {
	// Resolve returns the targets of a forward-path: for an address of ours the mailboxes and outside addresses it
	// stands for; for any other {Address: to, Remote: true}. A *mail.Reply refuses (550 5.1.1); any other error is
	// temporary.
	Resolve(ctx context.Context, to mail.Address) ([]mail.Target, error)
}

// Config of Open. Engine, Local, Rules, Resolver and Hostname are required.
type Config struct {
	Engine   store.Engine
	Local    mail.Door // takes local recipients; knows Recipient.DeliveryID
	Rules    Rules
	Resolver resolver.Resolver
	Routes   []Route // first match wins; none matches: MX
	Hostname string  // our name in EHLO and in reports

	// TLS is the client's configuration: roots, certificates. ServerName and InsecureSkipVerify are set for each
	// connection. nil: the system's roots.
	TLS *tls.Config
	// Dial makes connections, "tcp" and "unix"; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Sign begins the signature of a report: what is written to it is the message, and the fields that Close returns are
	// put in front of it. nil: reports are not signed. Messages that come by Door are signed before they get here.
	Sign func(ctx context.Context) Signing

	// ReversePath returns the reverse-path under which a message of sender leaves to another host; via is the address here
	// that it was sent on from, if that is known. An error puts the attempt off. nil: every message keeps its own. Our
	// reports go to the sender himself.
	ReversePath func(ctx context.Context, sender, via mail.Address) (mail.Address, error)

	// ReportCopy gets a report of every recipient that fails for good, with the header of the message only; zero: nobody. Failures of
	// reports are not told.
	ReportCopy mail.Address

	// SuppressAfter is after how many refusals for good in a row, that say nobody is there, an address elsewhere is written to
	// no more, until Unsuppress. 0: never.
	SuppressAfter int

	TLSReports TLSReports

	Schedule Schedule
	Limits   Limits

	// Contact is told in reports as the way to reach a human; default postmaster@Hostname.
	Contact string

	// Lane is which part of the queue this manager writes to and serves; several managers that share an engine
	// have different ones. Shared says that others may use the engine: then Open waits until a lease left by a
	// manager that is gone has ended, instead of taking it over at once.
	Lane   uint8
	Shared bool

	Clock func() time.Time // nil: time.Now
	Rand  io.Reader        // seeds ids and jitter; nil: crypto/rand
	Log   *slog.Logger     // nil: none
	// Journal is told what was queued, each attempt, and each report; nil: each is a line of Log.
	Journal mail.Journal
}

// TLSReports says what is done about TLS reports (RFC 8460).
type TLSReports struct {
	Collect bool // count how TLS goes, and tell the domains that ask for it once a day
}

// Signing is a message on its way to be signed. Write never fails; without keys Close returns no fields.
type Signing interface {
	io.Writer
	Close() ([]mail.Field, error)
}

// Limits bound what the queue manager uses. Zero means the default.
type Limits struct {
	MaxConnections     int           // deliveries at once, all destinations; default 100
	MaxPerDestination  int           // connections to one destination; default 20
	Interval           time.Duration // between two messages to one destination at least, if its route does not say; default none
	MaxLocal           int           // deliveries to Local at once; default 32
	MaxRecipients      int           // of one message taken; default 1000; over it 452 4.5.3
	MaxTargets         int           // that one message may expand to; default 10,000
	MaxSendRecipients  int           // of one transaction to another server; default 100 (RFC 5321 section 4.5.3.1.8)
	MaxSendMessages    int           // over one connection; default 1000
	MaxHops            int           // Received fields; default 50; over it 554 5.4.6
	MaxHosts           int           // addresses tried in one attempt; default 10
	MaxMessageBytes    int64         // body taken; default 1 GiB
	MaxMemoryBytes     int64         // bodies of fresh messages kept in memory; default 64 MiB
	MaxMemoryBodyBytes int           // the largest such; default 128 KiB
	MaxDestinations    int           // known in memory at once; default 20,000
	MaxLineEntries     int           // recipients of one destination in memory; default 1000
	MaxEntries         int           // recipients in memory, from which on each destination gets 10; default 50,000
	IdleConnectionTime time.Duration // a connection is kept open for the next message; default 5 s
	LeaseTime          time.Duration // default 30 s
}

// Errors.
var (
	ErrNoMessage = errors.New("qm: no such message in the queue")
	ErrBusy      = errors.New("qm: the message is being delivered at this moment")
	ErrLease     = errors.New("qm: another queue manager serves this lane")
)

func (c *Config) withDefaults() error {
	for name, missing := range map[string]bool{"Engine": c.Engine == nil, "Local": c.Local == nil, "Rules": c.Rules == nil,
		"Resolver": c.Resolver == nil, "Hostname": c.Hostname == ""} {
		if missing {
			return errors.New("qm: Config." + name + " is required")
		}
	}
	c.Schedule = c.Schedule.withDefaults()
	l := &c.Limits
	def(&l.MaxConnections, 100)
	def(&l.MaxPerDestination, 20)
	def(&l.MaxLocal, 32)
	def(&l.MaxRecipients, 1000)
	def(&l.MaxTargets, 10000)
	def(&l.MaxSendRecipients, 100)
	def(&l.MaxSendMessages, 1000)
	def(&l.MaxHops, 50)
	def(&l.MaxHosts, 10)
	def(&l.MaxMessageBytes, 1<<30)
	def(&l.MaxMemoryBytes, 64<<20)
	def(&l.MaxMemoryBodyBytes, 128<<10)
	def(&l.MaxDestinations, 20000)
	def(&l.MaxLineEntries, 1000)
	def(&l.MaxEntries, 50000)
	def(&l.IdleConnectionTime, 5*time.Second)
	def(&l.LeaseTime, 30*time.Second)
	if c.Contact == "" {
		c.Contact = "postmaster@" + c.Hostname
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Journal == nil {
		c.Journal = mail.LogEvents(c.Log, nil)
	}
	return nil
}
