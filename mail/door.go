package mail

import (
	"context"
	"errors"
	"io"
)

// A Door is asked at connection, EHLO, STARTTLS and AUTH (Session.Stage says which); it opens to a Receiver or
// refuses with a *Reply. The Receiver of a later stage replaces that of an earlier one. A Door is safe for
// concurrent use.
type Door interface {
	Open(ctx context.Context, s *Session) (Receiver, error)
}

// A Receiver takes responsibility for messages, one transaction at a time. One that also implements io.Closer is
// closed when the session ends or a later stage replaced it.
type Receiver interface {
	// Begin is MAIL FROM. Refuses with a *Reply.
	Begin(ctx context.Context, s *Session, from Sender) (Transaction, error)
}

// Transaction is one message on its way. Calls come in the order Recipient..., Write..., [Prepare,] Commit or Abort,
// with Trace anywhere before Prepare and Commit. Abort may come at any time, also after Commit, when it does nothing.
type Transaction interface {
	// Recipient is RCPT TO: nil accepts and may set r.Targets; a *Reply refuses that recipient only.
	Recipient(ctx context.Context, r *Recipient) error
	// Trace adds header fields in front of the message, the last added on top; never part of the body. It may come
	// after the content, which a signature has to wait for.
	Trace(fields ...Field)
	// Write takes content octets, dot-unstuffed; lines end in CRLF unless BodyBinary. It must not keep p. An error
	// fails the message; the server reads the rest of the content, throws it away and answers with AsReply.
	io.Writer
	// Commit ends the content and returns one Reply for each accepted recipient, in order; 2xx = on disk. An error
	// is the answer for all of them.
	Commit(ctx context.Context) ([]Reply, error)
	// Abort gives the message up and frees what it holds.
	Abort() error
}

// ErrUnknownOutcome is wrapped by the error of a Commit whose answer was lost: the message may have been taken, or not.
// Who tries again hands over the same Recipient.DeliveryID, so that nothing is stored twice.
var ErrUnknownOutcome = errors.New("the answer was lost: the message may have been taken")

// A Preparer is a Transaction that can do all but the final step first: after a good Prepare only I/O can fail in
// Commit. Replies are as for Commit.
type Preparer interface {
	Prepare(ctx context.Context) ([]Reply, error)
}

// An Amender is a Transaction whose accepted recipients can still be changed after the content and before Prepare
// or Commit, because a guard gave its last word on them.
type Amender interface {
	// Amend replaces where the i-th accepted recipient goes: to folder, or with drop nowhere; a dropped recipient
	// still has its place in the replies, whose value there means nothing.
	Amend(i int, folder string, drop bool) error
}

// A Settler is a Transaction that keeps nothing, such as a guard's, and may have said its last word before the content.
type Settler interface {
	// Settled is asked when all recipients are known. True: their Targets hold the last word on each, and nothing that follows
	// can change it, so Trace and Write may be left out. Commit then only tells that the message goes on; its replies
	// mean nothing, and may be given before the other side has heard of it.
	Settled() bool
}

// DoorFunc is a function as a Door.
type DoorFunc func(ctx context.Context, s *Session) (Receiver, error)

func (f DoorFunc) Open(ctx context.Context, s *Session) (Receiver, error) { return f(ctx, s) }

// ReceiverFunc is a function as a Receiver.
type ReceiverFunc func(ctx context.Context, s *Session, from Sender) (Transaction, error)

func (f ReceiverFunc) Begin(ctx context.Context, s *Session, from Sender) (Transaction, error) {
	return f(ctx, s, from)
}

// Unassigned is a Door that is not there: it answers everybody with 421.
var Unassigned Door = unassigned{}

type unassigned struct{}

func (unassigned) Open(context.Context, *Session) (Receiver, error) {
	return nil, NewReply(421, Enhanced{4, 3, 0}, "Service not available")
}

func (unassigned) Check() error { return errUnassigned }
