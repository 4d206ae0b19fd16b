package mail

import (
	"context"
	"errors"
)

// Authenticator is what a server needs to offer SASL (RFC 4422); package sasl implements it. It is safe for
// concurrent use.
type Authenticator interface {
	// Mechanisms lists what may be offered in this state of the session, strongest first: PLAIN and LOGIN only
	// under TLS, the -PLUS mechanisms only where the channel can be bound.
	Mechanisms(s *Session) []string
	// Start begins an exchange. An unknown or currently forbidden mechanism gives ErrMechanism.
	Start(ctx context.Context, s *Session, mechanism string) (Exchange, error)
}

// Exchange is one authentication exchange.
type Exchange interface {
	// Next takes the client's response, decoded (nil: there was no initial response; empty: it was empty), and
	// returns the challenge to send, or done. A final challenge with done set (SCRAM's server-final) is sent by
	// protocols that can carry one with success, otherwise as a challenge whose empty response is not given to
	// Next. Wrong credentials give ErrCredentials, a malformed response ErrExchange, a *Reply passes through.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// Identity is valid once Next returned done without an error.
	Identity() Identity
}

// Errors of Authenticator and Exchange.
var (
	ErrMechanism   = errors.New("authentication mechanism not available")
	ErrCredentials = errors.New("authentication credentials invalid")
	ErrExchange    = errors.New("authentication exchange malformed")
)
