package accounts

import (
	"errors"
	"fmt"

	"github.com/samotop/samotop/mail"
)

// Kinds of errors, for errors.Is.
var (
	ErrUnknown = errors.New("accounts: not known")
	ErrExists  = errors.New("accounts: exists already")
	ErrInUse   = errors.New("accounts: in use")
	ErrInvalid = errors.New("accounts: not valid")
)

// Error is a refusal of the room, meant for people: it names the thing, the cause and the remedy.
type Error struct {
	Kind error // ErrUnknown, ErrExists, ErrInUse or ErrInvalid
	Text string
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Kind }

func refuse(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// asRefusal turns what a peer would be told into a refusal of a change: there the rules are at fault.
func asRefusal(what string, err error) error {
	var r *mail.Reply
	if errors.As(err, &r) {
		return refuse(ErrInvalid, "%s: %s", what, r)
	}
	return err
}

func unknownDomain(name string) error {
	return refuse(ErrUnknown, "domain %s is not known: add it with `samotop domain add %s`", name, name)
}

func unknownAccount(name string) error {
	return refuse(ErrUnknown, "account %s is not known: add it with `samotop account add %s`", name, name)
}

func unknownAlias(name string) error {
	return refuse(ErrUnknown, "alias %s is not known: see `samotop alias list`", name)
}
