package pop3

import (
	"context"

	"github.com/samotop/samotop/mail"
)

// Backend opens the maildrop of whoever has logged in. It is safe for concurrent use; what it opens belongs to one
// session.
type Backend interface {
	// Open takes the exclusive lock of the maildrop (RFC 1939 section 4) and lists its oldest messages, at most so
	// many. A maildrop that another session holds gives ErrInUse. What the client may know is an *Error.
	Open(ctx context.Context, s *mail.Session, messages int) (Drop, error)
}

// Drop is a locked maildrop: the messages that were there when it was opened, numbered from 0, oldest first.
type Drop interface {
	Listing
	// Read calls f with the content of a message, which is valid until f returns. A message that has gone meanwhile
	// gives ErrGone.
	Read(ctx context.Context, i int, f func(Content) error) error
	// Delete removes messages, durably when it returns. Those that have gone already are passed over.
	Delete(ctx context.Context, messages []int) error
	// Close gives the lock back.
	Close() error
}

// Listing is what LIST and UIDL tell, from memory.
type Listing interface {
	Len() int
	Size(i int) int64 // octets
	// AppendUIDL appends the unique-id of a message: 1 to 70 octets from 0x21 to 0x7E, never of another message and
	// never changed (RFC 1939 section 7).
	AppendUIDL(dst []byte, i int) []byte
}

// Content reads a message by ranges.
type Content interface {
	Size() int64
	// Append appends n octets from offset off to dst, fewer at the end of the message.
	Append(ctx context.Context, dst []byte, off, n int64) ([]byte, error)
}

// Error is an answer meant for the client: "-ERR [Code] Text".
type Error struct {
	Code  string // response code (RFC 2449 section 8, RFC 3206) without brackets; "" for none
	Text  string
	Cause error // for our log
}

func (e *Error) Error() string {
	s := "-ERR "
	if e.Code != "" {
		s += "[" + e.Code + "] "
	}
	s += e.Text
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }

// Errors of a Backend.
var (
	ErrInUse error = &Error{Code: "IN-USE", Text: "another session has this maildrop open, try again later"}
	ErrGone  error = &Error{Text: "this message has been removed meanwhile"}
)
