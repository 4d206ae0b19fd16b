package sasl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/samotop/samotop/mail"
)

type Limiter struct{}

// New makes an Authenticator.
func New(c Config) mail.Authenticator { return nil }

var errSkeleton = errors.New("sasl: being built")

// ClientConfig is who a client is.
type ClientConfig struct {
	User, Password, Authzid string
	TLS                     *tls.ConnectionState // nil: PLAIN and LOGIN are not used, except with PlaintextInClear
	ServerCertificate       *x509.Certificate
	PlaintextInClear        bool
}

// Client is one exchange from the client's side. Done must be asked after the server's success.
type Client interface {
	Mechanism() string
	Start() (initial []byte, err error)
	Next(challenge []byte) (response []byte, err error)
	Done() error
}

// NewClient begins an exchange with the strongest mechanism offered that c can use.
func NewClient(offered []string, c ClientConfig) (Client, error) { return nil, errSkeleton }
