package mail

import (
	"context"
	"crypto/tls"
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

// ClientAuth is how a client proves who it is (RFC 4422); package sasl implements it. It is safe for concurrent use: what
// belongs to one connection is in the ClientExchange.
type ClientAuth interface {
	// Begin chooses a mechanism of those offered. State is that of TLS, nil if there is none. An error means that
	// nothing offered may be used here.
	Begin(ctx context.Context, offered []string, state *tls.ConnectionState) (ClientExchange, error)
}

// ClientExchange is one authentication exchange from the client's side, on one connection.
type ClientExchange interface {
	Mechanism() string
	// Start returns the initial response; nil: the mechanism has none.
	Start() (initial []byte, err error)
	// Next answers a challenge.
	Next(challenge []byte) (response []byte, err error)
	// Done is asked after the server's success: an error says that the server has not proved who it is, as a
	// mechanism like SCRAM demands (RFC 5802 section 5), and must not be trusted.
	Done() error
}

// Errors of Authenticator and Exchange.
var (
	ErrMechanism   = errors.New("authentication mechanism not available")
	ErrCredentials = errors.New("authentication credentials invalid")
	ErrExchange    = errors.New("authentication exchange malformed")
)
