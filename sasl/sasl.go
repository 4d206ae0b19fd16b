// Package sasl authenticates: the mechanisms of a server (RFC 4422) over a small interface to whoever knows the
// passwords, and those of a client.
//
//	auth := sasl.New(sasl.Config{Credentials: accounts, Secret: key})
//	ex, err := auth.Start(ctx, session, "SCRAM-SHA-256-PLUS")
//	challenge, done, err := ex.Next(ctx, response) // until done or err
//	who := ex.Identity()
//
// Mechanisms: SCRAM-SHA-256 and SCRAM-SHA-1 with and without -PLUS (RFC 5802, 7677; channel bindings of RFC 5929
// and 9266), PLAIN (RFC 4616), LOGIN, EXTERNAL with a client certificate (RFC 4422 appendix A), and OAUTHBEARER (RFC 7628)
// and XOAUTH2 with bearer tokens that somebody else verifies.
//
// Promises. An Authenticator and a Limiter are safe for concurrent use; an Exchange belongs to one session. PLAIN,
// LOGIN and the two that show a token are offered under TLS only. A user who does not exist cannot be told from a wrong password, neither by
// the messages nor by what is computed. Every response is limited in length. Nobody is locked out: guessing is
// slowed, per account and per network.
package sasl

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"

	"github.com/samotop/samotop/mail"
)

// Names of the mechanisms.
const (
	ScramSHA256Plus = "SCRAM-SHA-256-PLUS"
	ScramSHA1Plus   = "SCRAM-SHA-1-PLUS"
	ScramSHA256     = "SCRAM-SHA-256"
	ScramSHA1       = "SCRAM-SHA-1"
	External        = "EXTERNAL"
	Plain           = "PLAIN"
	Login           = "LOGIN"
	OAuthBearer     = "OAUTHBEARER"
	XOAuth2         = "XOAUTH2"
)

// Limits of what a client may send, in octets.
const (
	MaxResponseOctets = 8 << 10 // one response, decoded
	MaxUserOctets     = 512
	MaxPasswordOctets = 1024
	MaxNonceOctets    = 512
)

// Credentials knows who may log in. It is safe for concurrent use. User and password come prepared with SASLprep
// (RFC 4013) where that is possible. Both give mail.ErrCredentials for whatever must look like a wrong password: an
// unknown user, a disabled account. A *mail.Reply passes through; other errors are temporary trouble of ours.
type Credentials interface {
	// Password returns the canonical address of the account. It must take as long for unknown users as for known.
	Password(ctx context.Context, s *mail.Session, user, password string) (account string, err error)
	// Scram returns the keys of a user. For users who do not exist keys are invented, whose salt has 16 octets; with
	// ErrCredentials account may be the canonical form of the user name, so that each spelling gets the same ones.
	Scram(ctx context.Context, s *mail.Session, user string, hash Hash) (keys ScramKeys, account string, err error)
}

// Certificates maps a client certificate to an account, for EXTERNAL. Leaf is the certificate that TLS has verified
// the possession of; whether it was verified against a CA is in s.TLS.VerifiedChains. Authzid is whom the client
// wants to be, "" for whom the certificate says.
type Certificates interface {
	Certificate(ctx context.Context, s *mail.Session, leaf *x509.Certificate, authzid string) (account string, err error)
}

// Config says what New needs.
type Config struct {
	Credentials  Credentials
	Certificates Certificates // nil: EXTERNAL is not offered
	Tokens       Tokens       // nil: OAUTHBEARER and XOAUTH2 are not offered

	// Secret is a key of the house, kept for ever, at least 16 octets: it makes the salts of users who do not exist
	// stay the same. Empty: a random one, which betrays such users over a restart.
	Secret []byte
	// ScramIterations is the count that users who do not exist seem to have; 0: DefaultIterations. It should be
	// that of the users who do.
	ScramIterations int

	// PlaintextLoopback allows PLAIN, LOGIN, OAUTHBEARER and XOAUTH2 without TLS to peers on a loopback address or a Unix socket.
	PlaintextLoopback bool
	// RequireTLS offers nothing at all without TLS, SCRAM included, except as PlaintextLoopback says.
	RequireTLS bool

	// ServerCertificate returns the certificate that the server showed in this session, for the channel binding
	// tls-server-end-point; nil, or a nil result: that binding is not offered.
	ServerCertificate func(s *mail.Session) *x509.Certificate

	// Channel returns the data of a channel binding type (RFC 5056) of a session whose TLS ends elsewhere and is known
	// by hearsay (its HandshakeComplete is false); nil: such sessions cannot be bound.
	Channel func(s *mail.Session, kind string) ([]byte, bool)

	Rand    io.Reader    // of nonces; nil: crypto/rand
	Limiter *Limiter     // slows guessing; nil: one of its own with the defaults
	Log     *slog.Logger // nil: none
}
