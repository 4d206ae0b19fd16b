// Package lists is the door that posts to lists. It stands in front of the queue: what goes to a list is queued as a message
// of the list's own, for its members; everything else passes.
//
//	door := lists.Door(queue, lists.Config{Rules: rules})
//
// A post has the sender LIST-bounces, so that what comes back goes to the list's owners, and the fields List-Id (RFC 2919),
// List-Post, List-Owner and List-Unsubscribe (RFC 2369), which replace those of another list. Nothing else of it is touched,
// so that its signatures stay good. It is one message in the queue, with one body, however many members there are.
//
// Refused, with 5yz at RCPT or, where the header shows it, after the content: reports and whoever may not post (550 5.7.1), a
// post that went through the list already (554 5.4.6), and automatic answers (RFC 3834). Where others take the same message
// the refusal becomes a report. Who uses an address of ours must have logged in, or be proved by SPF, unless anybody may post.
//
// Promises. The door is safe for concurrent use. It holds the header of a post in memory, up to a limit, never the body.
package lists

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/samotop/samotop/mail"
)

// Resolution is where the mail to an address goes.
type Resolution struct {
	Targets []mail.Target // none: it is for the queue to find out
	Lists   []bool        // those that are lists; nil: none
	Notes   []string      // what rules made of the address, in words
}

// Post is what a list does with a message.
type Post struct {
	Allowed bool // the author may post
	Open    bool // anybody may
	Closed  bool // only those who are listed
	Ours    bool // the author's domain is ours
	List    mail.Address
	Title   string
	Owner   mail.Address
	Sender  mail.Address
	Members []mail.Target
}

// Rules knows the lists. It is safe for concurrent use.
type Rules interface {
	Resolve(ctx context.Context, to mail.Address) (Resolution, error)
	// PostTo says whether an author may post to a list, and with check nothing more.
	PostTo(ctx context.Context, list, author mail.Address, check bool) (Post, error)
}

// DefaultMaxHeaderBytes is how much of a post's header is held when Config says nothing.
const DefaultMaxHeaderBytes = 256 << 10

// Config of Door. Rules is required.
type Config struct {
	Rules          Rules
	MaxHeaderBytes int // of a post; 0: DefaultMaxHeaderBytes; over it 552 5.3.4

	Clock   func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: none
	Journal mail.Journal     // told of each post, and of rewritten addresses; nil: each is a line of Log
}

// Door puts the lists in front of a queue, which must take as many recipients as a list has members.
func Door(queue mail.Door, c Config) mail.Door {
	if c.MaxHeaderBytes <= 0 {
		c.MaxHeaderBytes = DefaultMaxHeaderBytes
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Journal == nil {
		c.Journal = mail.LogEvents(c.Log, nil)
	}
	return &door{c: c, next: queue}
}

type door struct {
	c    Config
	next mail.Door
}

// Check is of mail.Checker.
func (d *door) Check() error {
	if c, ok := d.next.(mail.Checker); ok {
		return c.Check()
	}
	return nil
}

func (d *door) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
	r, err := d.next.Open(ctx, s)
	if err != nil || r == nil {
		return r, err
	}
	return &receiver{d: d, next: r}, nil
}

type receiver struct {
	d    *door
	next mail.Receiver
}

func (r *receiver) Close() error {
	if c, ok := r.next.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (r *receiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	next, err := r.next.Begin(ctx, s, from)
	if err != nil {
		return nil, err
	}
	t := &transaction{c: &r.d.c, r: r.next, s: s, from: from, ctx: ctx}
	t.parts = append(t.parts, &part{tx: next})
	if _, ok := next.(mail.Preparer); ok {
		return preparing{t}, nil
	}
	return t, nil
}

var (
	_ mail.Checker     = (*door)(nil)
	_ mail.Transaction = (*transaction)(nil)
	_ mail.Preparer    = preparing{}
)
