package mailbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
)

func no(code, text string, args ...any) *imap.Error {
	return &imap.Error{Code: code, Text: fmt.Sprintf(text, args...)}
}

// toIMAP turns an error of ours into one for the client (RFC 5530).
func toIMAP(err error) error {
	var known *imap.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, store.ErrFull):
		return &imap.Error{Code: "UNAVAILABLE", Text: "The server's disk is full: only deleting works for now", Cause: err}
	case errors.Is(err, store.ErrTooLarge):
		return &imap.Error{Code: "LIMIT", Text: "This is too much to be done at once", Cause: err}
	case errors.Is(err, ErrNoOwner):
		return &imap.Error{Code: "NONEXISTENT", Text: "The account does not exist any more", Cause: err}
	case errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrClosed):
		return &imap.Error{Code: "UNAVAILABLE", Text: "The store has stopped", Cause: err}
	case errors.Is(err, store.ErrCorrupt):
		return &imap.Error{Code: "SERVERBUG", Text: "What is stored is damaged", Cause: err}
	}
	return &imap.Error{Code: "UNAVAILABLE", Text: "Temporary local problem, please try again", Cause: err}
}

// toReply turns an error of ours into one for the peer.
func toReply(err error) error {
	if err == nil {
		return nil
	}
	var known *imap.Error
	var r *mail.Reply
	switch {
	case errors.As(err, &r):
		return err
	case errors.As(err, &known):
		return mail.NewReply(451, mail.Enhanced{4, 2, 0}, known.Text).Because(err)
	case errors.Is(err, store.ErrFull):
		return mail.NewReply(452, mail.Enhanced{4, 3, 1}, "Insufficient system storage").Because(err)
	case errors.Is(err, ErrNoOwner):
		return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user here").Because(err)
	case errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrClosed):
		return mail.NewReply(421, mail.Enhanced{4, 3, 0}, "The store has stopped").Because(err)
	}
	return mail.AsReply(err)
}
