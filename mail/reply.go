package mail

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Enhanced is an enhanced mail system status code (RFC 3463): class, subject, detail. Zero: none.
type Enhanced [3]uint16

func (e Enhanced) String() string {
	return strconv.Itoa(int(e[0])) + "." + strconv.Itoa(int(e[1])) + "." + strconv.Itoa(int(e[2]))
}

// Reply is what a peer is told (RFC 5321 section 4.2): a code, an enhanced code, text. Cause is for our log only.
// As *Reply it is an error when it refuses. Text may have several lines, separated by \n.
type Reply struct {
	Code     int
	Enhanced Enhanced
	Text     string
	Cause    error
}

// NewReply makes a Reply. Text is formatted only if there are args.
func NewReply(code int, e Enhanced, text string, args ...any) *Reply {
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	return &Reply{Code: code, Enhanced: e, Text: text}
}

// Because returns a copy of r with a cause for the log.
func (r Reply) Because(cause error) *Reply {
	r.Cause = cause
	return &r
}

// Positive reports whether the reply is 2yz.
func (r Reply) Positive() bool { return r.Code/100 == 2 }

// Temporary reports whether the reply is 4yz: the same may succeed later.
func (r Reply) Temporary() bool { return r.Code/100 == 4 }

// Permanent reports whether the reply is 5yz.
func (r Reply) Permanent() bool { return r.Code/100 == 5 }

// String returns the reply on one line, as a log wants it, without the cause.
func (r Reply) String() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(r.Code))
	if r.Enhanced[0] != 0 {
		b.WriteByte(' ')
		b.WriteString(r.Enhanced.String())
	}
	if r.Text != "" {
		b.WriteByte(' ')
		b.WriteString(strings.ReplaceAll(r.Text, "\n", " / "))
	}
	return b.String()
}

// Error returns the reply and its cause.
func (r *Reply) Error() string {
	if r.Cause != nil {
		return r.String() + ": " + r.Cause.Error()
	}
	return r.String()
}

func (r *Reply) Unwrap() error { return r.Cause }

// AsReply turns any error into what a peer may be told. An error that wraps a *Reply gives that; the rest is a
// temporary local problem whose cause stays with us. A nil error gives nil.
func AsReply(err error) *Reply {
	var r *Reply
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		if r == err { //nolint:errorlint // the very value needs no copy
			return r
		}
		return r.Because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return NewReply(451, Enhanced{4, 4, 5}, "Took too long, please try again later").Because(err)
	case errors.Is(err, context.Canceled):
		return NewReply(421, Enhanced{4, 3, 2}, "Service is stopping, please try again later").Because(err)
	}
	return NewReply(451, Enhanced{4, 3, 0}, "Temporary local problem, please try again later").Because(err)
}

// OK is the plain success reply.
func OK() Reply { return Reply{Code: 250, Enhanced: Enhanced{2, 0, 0}, Text: "OK"} }

// Agree gives the one answer of ESMTP for the replies of several targets or recipients: if any took the message,
// success (what is still owed must then be in a queue); if none did, a temporary refusal if there is one, else the
// first permanent one. No replies at all is 451.
func Agree(replies []Reply) Reply {
	var refusal *Reply
	for i := range replies {
		r := &replies[i]
		switch {
		case r.Positive():
			return *r
		case refusal == nil, r.Temporary() && !refusal.Temporary():
			refusal = r
		}
	}
	if refusal == nil {
		return Reply{Code: 451, Enhanced: Enhanced{4, 3, 0}, Text: "Nothing took the message"}
	}
	return *refusal
}
