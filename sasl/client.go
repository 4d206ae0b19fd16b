package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/samotop/samotop/mail"
)

// ClientConfig says who a client is and what it may do.
type ClientConfig struct {
	User, Password string
	Authzid        string               // whom to act as; "": as User
	TLS            *tls.ConnectionState // of the connection; nil: none
	External       bool                 // a client certificate was shown: EXTERNAL may be used
	// PlaintextInClear allows PLAIN and LOGIN without TLS, over a Unix socket, say.
	PlaintextInClear bool
	NoChannelBinding bool      // never use the -PLUS mechanisms
	Rand             io.Reader // of nonces; nil: crypto/rand
}

// Errors of clients.
var (
	ErrNoMechanism = errors.New("sasl: no mechanism offered that may be used")
	ErrServer      = errors.New("sasl: the server did what the mechanism forbids")
)

// NewClient begins an exchange with the strongest of the mechanisms offered that c can use.
func NewClient(offered []string, c ClientConfig) (mail.ClientExchange, error) {
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	has := func(m string) bool {
		return slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, m) })
	}
	if c.External && c.TLS != nil && has(External) {
		return &simpleClient{mechanism: External, answers: []string{c.Authzid}}, nil
	}
	if c.User == "" || c.Password == "" {
		return nil, ErrNoMechanism
	}
	kind, channel := c.channel()
	if kind != "" {
		for _, m := range []string{ScramSHA256Plus, ScramSHA1Plus} {
			if has(m) {
				return newScramClient(c, m, "p="+kind, channel), nil
			}
		}
	}
	flag := "n"
	if kind != "" { // we could bind, and the server does not say so: let it find out if that was tampered with
		flag = "y"
	}
	for _, m := range []string{ScramSHA256, ScramSHA1} {
		if has(m) {
			return newScramClient(c, m, flag, nil), nil
		}
	}
	if c.TLS == nil && !c.PlaintextInClear {
		return nil, ErrNoMechanism
	}
	switch {
	case has(Plain):
		return &simpleClient{mechanism: Plain, answers: []string{c.Authzid + "\x00" + c.User + "\x00" + c.Password}}, nil
	case has(Login) && c.Authzid == "":
		return &simpleClient{mechanism: Login, answers: []string{c.User, c.Password}, late: true}, nil
	}
	return nil, ErrNoMechanism
}

// channel returns the binding to use, "" if there is none.
func (c *ClientConfig) channel() (kind string, data []byte) {
	if c.TLS == nil || c.NoChannelBinding {
		return "", nil
	}
	if c.TLS.Version >= tls.VersionTLS13 {
		if data, ok := channelOf(c.TLS, bindExporter); ok {
			return bindExporter, data
		}
	} else if data, ok := channelOf(c.TLS, bindUnique); ok {
		return bindUnique, data
	}
	if len(c.TLS.PeerCertificates) > 0 {
		if data, ok := endPoint(c.TLS.PeerCertificates[0]); ok {
			return bindEndPoint, data
		}
	}
	return "", nil
}

// simpleClient gives fixed answers, the first as initial response unless late.
type simpleClient struct {
	mechanism string
	answers   []string
	late      bool
}

func (c *simpleClient) Mechanism() string { return c.mechanism }

func (c *simpleClient) Start() ([]byte, error) {
	if c.late {
		return nil, nil
	}
	return c.Next(nil)
}

func (c *simpleClient) Next([]byte) ([]byte, error) {
	if len(c.answers) == 0 {
		return nil, ErrServer
	}
	a := c.answers[0]
	c.answers = c.answers[1:]
	return []byte(a), nil
}

func (c *simpleClient) Done() error {
	if len(c.answers) > 0 && c.mechanism != External {
		return ErrServer
	}
	return nil
}

// scramClient is the client's side of SCRAM (RFC 5802, 7677).
type scramClient struct {
	c         ClientConfig
	mechanism string
	hash      Hash
	header    string // gs2-header
	channel   []byte
	step      int
	nonce     string
	bare      string
	signature []byte // the server's, expected
	verified  bool
}

func newScramClient(c ClientConfig, mechanism, flag string, channel []byte) *scramClient {
	s := &scramClient{c: c, mechanism: mechanism, hash: SHA256, channel: channel, header: flag + ","}
	if strings.HasPrefix(mechanism, ScramSHA1) {
		s.hash = SHA1
	}
	if c.Authzid != "" {
		s.header += "a=" + formatName(c.Authzid)
	}
	s.header += ","
	return s
}

func (s *scramClient) Mechanism() string { return s.mechanism }

func (s *scramClient) Start() ([]byte, error) {
	random := make([]byte, nonceOctets)
	if _, err := io.ReadFull(s.c.Rand, random); err != nil {
		return nil, err
	}
	user, err := Prepare(s.c.User)
	if err != nil {
		return nil, err
	}
	s.nonce = base64.StdEncoding.EncodeToString(random)
	s.bare = "n=" + formatName(user) + ",r=" + s.nonce
	s.step = 1
	return []byte(s.header + s.bare), nil
}

func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	s.step++
	switch s.step {
	case 2:
		return s.prove(string(challenge))
	case 3:
		return []byte{}, s.check(string(challenge))
	}
	return nil, ErrServer
}

// serverFirst is the server-first-message (RFC 5802 section 7).
type serverFirst struct {
	nonce      string
	salt       []byte
	iterations int
}

func parseServerFirst(s string) (m serverFirst, ok bool) {
	if len(s) > MaxResponseOctets {
		return m, false
	}
	nonce, rest, ok1 := strings.Cut(s, ",")
	salt, rest, ok2 := strings.Cut(rest, ",")
	iterations, extensions, more := strings.Cut(rest, ",")
	nonce, ok3 := strings.CutPrefix(nonce, "r=")
	salt, ok4 := strings.CutPrefix(salt, "s=")
	iterations, ok5 := strings.CutPrefix(iterations, "i=")
	if !(ok1 && ok2 && ok3 && ok4 && ok5) || !isNonce(nonce) || more && !areExtensions(extensions) {
		return m, false
	}
	var err1, err2 error
	m.nonce = nonce
	m.salt, err1 = decode64(salt)
	m.iterations, err2 = strconv.Atoi(iterations)
	return m, err1 == nil && err2 == nil && len(m.salt) > 0 && m.iterations > 0 && m.iterations <= MaxIterations
}

func (s *scramClient) prove(first string) ([]byte, error) {
	m, ok := parseServerFirst(first)
	if !ok || !strings.HasPrefix(m.nonce, s.nonce) || len(m.nonce) == len(s.nonce) {
		return nil, ErrServer
	}
	clientKey, serverKey, err := deriveKeys(s.hash, s.c.Password, m.salt, m.iterations)
	if err != nil {
		return nil, err
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(s.header), s.channel...)) + ",r=" + m.nonce
	auth := s.bare + "," + first + "," + final
	s.signature = s.hash.hmac(serverKey, auth)
	proof := s.hash.hmac(s.hash.sum(clientKey), auth)
	subtle.XORBytes(proof, proof, clientKey)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

func (s *scramClient) check(final string) error {
	v, _, _ := strings.Cut(final, ",")
	v, ok := strings.CutPrefix(v, "v=")
	signature, err := decode64(v)
	if !ok || err != nil || !hmac.Equal(signature, s.signature) {
		return ErrServer
	}
	s.verified = true
	return nil
}

func (s *scramClient) Done() error {
	if !s.verified {
		return ErrServer
	}
	return nil
}

// ClientAuth chooses the mechanism when the server has said what it offers (mail.ClientAuth): one serves any number of
// connections at once.
type ClientAuth struct {
	Config ClientConfig // its TLS is that of each connection
}

var _ mail.ClientAuth = (*ClientAuth)(nil)

// Begin begins an exchange with the strongest of the mechanisms offered.
func (a *ClientAuth) Begin(_ context.Context, offered []string, state *tls.ConnectionState) (mail.ClientExchange, error) {
	c := a.Config
	c.TLS = state
	return NewClient(offered, c)
}
