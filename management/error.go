package management

import (
	"context"
	"errors"
)

// Kind sorts errors for programs.
type Kind string

const (
	WrongUse    Kind = "usage"       // the request makes no sense
	NotFound    Kind = "not_found"   // there is no such thing
	Exists      Kind = "exists"      // there is already
	InUse       Kind = "in_use"      // others depend on it
	Invalid     Kind = "invalid"     // it cannot be so
	Unavailable Kind = "unavailable" // not now
	Internal    Kind = "internal"
)

// Error names the thing, the cause and the remedy.
type Error struct {
	Kind   Kind   `json:"kind"`
	Thing  string `json:"thing"`            // "account alice@example.org"
	Cause  string `json:"cause"`            // "there is no such account"
	Remedy string `json:"remedy,omitempty"` // "list them with \"samotop account list\""
}

func (e *Error) Error() string {
	s := e.Cause
	if e.Thing != "" {
		s = e.Thing + ": " + s
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// asError turns any error into one that can be told.
func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: Unavailable, Cause: err.Error(), Remedy: "try again"}
	}
	return &Error{Kind: Internal, Cause: err.Error()}
}
