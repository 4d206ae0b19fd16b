package sasl

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/samotop/samotop/mail"
	"golang.org/x/text/unicode/norm"
)

// New makes the Authenticator of a server.
func New(c Config) mail.Authenticator {
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if len(c.Secret) == 0 {
		c.Secret = make([]byte, 32)
		rand.Read(c.Secret)
	}
	if c.ScramIterations <= 0 {
		c.ScramIterations = DefaultIterations
	}
	if c.Limiter == nil {
		c.Limiter = &Limiter{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &authenticator{c: c}
}

type authenticator struct{ c Config }

var _ mail.Authenticator = (*authenticator)(nil)

// Mechanisms is of mail.Authenticator.
func (a *authenticator) Mechanisms(s *mail.Session) (out []string) {
	out = make([]string, 0, 9)
	if a.c.Certificates != nil && s.TLS != nil && len(s.TLS.PeerCertificates) > 0 {
		out = append(out, External)
	}
	plain := s.TLS != nil || a.c.PlaintextLoopback && isLocal(s)
	if a.c.Tokens != nil && plain { // RFC 7628 section 3: TLS must be used
		defer func() { out = append(out, OAuthBearer, XOAuth2) }()
	}
	if a.c.Credentials == nil {
		return out
	}
	if a.c.RequireTLS && !plain {
		return out
	}
	plus := a.canBind(s)
	if plus {
		out = append(out, ScramSHA256Plus, ScramSHA1Plus)
	}
	out = append(out, ScramSHA256, ScramSHA1)
	if plain {
		out = append(out, Plain, Login)
	}
	return out
}

// isLocal reports whether the peer is on this machine.
func isLocal(s *mail.Session) bool {
	if s.RemoteAddr == nil {
		return false
	}
	ip, ok := mail.IPOf(s.RemoteAddr)
	if !ok {
		return s.RemoteAddr.Network() == "unix"
	}
	return ip.IsLoopback()
}

// Start is of mail.Authenticator.
func (a *authenticator) Start(_ context.Context, s *mail.Session, mechanism string) (mail.Exchange, error) {
	mechanism = strings.ToUpper(mechanism)
	for _, m := range a.Mechanisms(s) {
		if m == mechanism {
			return a.exchange(s, mechanism), nil
		}
	}
	return nil, mail.ErrMechanism
}

func (a *authenticator) exchange(s *mail.Session, mechanism string) mail.Exchange {
	x := &exchange{a: a, s: s, mechanism: mechanism}
	switch mechanism {
	case Plain:
		x.step = x.plain
	case Login:
		x.step = x.loginUser
	case External:
		x.step = x.external
	case OAuthBearer:
		x.step = x.oauthBearer
	case XOAuth2:
		x.step = x.xoauth2
	default:
		sc := &scramServer{x: x, hash: SHA256}
		base := strings.TrimSuffix(mechanism, "-PLUS")
		sc.plus = base != mechanism
		if base == ScramSHA1 {
			sc.hash = SHA1
		}
		x.step = sc.first
	}
	return x
}

// exchange is one exchange of any mechanism; step takes the next response.
type exchange struct {
	a         *authenticator
	s         *mail.Session
	mechanism string
	step      func(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	over      bool
	identity  mail.Identity
}

// Next is of mail.Exchange.
func (x *exchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if x.over || len(response) > MaxResponseOctets {
		x.over = true
		return nil, false, mail.ErrExchange
	}
	challenge, done, err := x.step(ctx, response)
	x.over = done || err != nil
	return challenge, done && err == nil, err
}

// Identity is of mail.Exchange.
func (x *exchange) Identity() mail.Identity { return x.identity }

// attempt runs a verification of user's credentials, slowed if there were failures, and takes its result.
func (x *exchange) attempt(ctx context.Context, user, authzid string, verify func() (account string, err error)) error {
	key := limiterKey(user)
	lim := x.a.c.Limiter
	end, err := lim.Wait(ctx, key, x.s.RemoteAddr)
	defer end()
	if err != nil {
		return err
	}
	account, err := verify()
	if err == nil && !mayAct(authzid, user, account) {
		err = mail.ErrCredentials
	}
	switch {
	case err == nil:
		lim.Succeeded(key, x.s.RemoteAddr)
		x.identity = mail.Identity{Account: account, Mechanism: x.mechanism}
	case errors.Is(err, mail.ErrCredentials):
		if lim.Failed(key, x.s.RemoteAddr) {
			x.a.c.Log.WarnContext(ctx, "somebody guesses at an account: logins from networks it does not know wait", "user", user, "remote", x.remote())
		}
	}
	x.log(ctx, user, account, err)
	return err
}

// mayAct: nobody may act as somebody else, so an authorization identity has to be the own one (RFC 4422 section
// 3.4.1), as it was typed or as it is.
func mayAct(authzid, user, account string) bool {
	return authzid == "" || limiterKey(authzid) == limiterKey(user) || strings.EqualFold(authzid, account)
}

func (x *exchange) log(ctx context.Context, user, account string, err error) {
	level, msg := slog.LevelInfo, "login refused"
	switch {
	case err == nil:
		level, msg = slog.LevelDebug, "login"
	case !errors.Is(err, mail.ErrCredentials):
		level, msg = slog.LevelWarn, "login failed"
	}
	attrs := []slog.Attr{slog.String("session", x.s.ID), slog.String("service", x.s.Service), slog.String("remote", x.remote()),
		slog.String("mechanism", x.mechanism), slog.String("user", user)}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	} else {
		attrs = append(attrs, slog.String("account", account))
	}
	x.a.c.Log.LogAttrs(ctx, level, msg, attrs...)
}

func (x *exchange) remote() string {
	if x.s.RemoteAddr == nil {
		return ""
	}
	return x.s.RemoteAddr.String()
}

// limiterKey brings the spellings of one user name together.
func limiterKey(user string) string {
	if a, err := mail.ParseAddress(user); err == nil {
		user = a.Local + "@" + a.Domain
	}
	return strings.ToLower(norm.NFC.String(user))
}

func (x *exchange) random(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(x.a.c.Rand, b)
	return b, err
}

// channel returns the data of a channel binding type in this session (RFC 5056); false: it cannot be bound so.
func (a *authenticator) channel(s *mail.Session, kind string) ([]byte, bool) {
	if s.TLS == nil {
		return nil, false
	}
	if !s.TLS.HandshakeComplete && a.c.Channel != nil {
		return a.c.Channel(s, kind)
	}
	var cert *x509.Certificate
	if a.c.ServerCertificate != nil {
		cert = a.c.ServerCertificate(s)
	}
	return Channel(s.TLS, kind, cert)
}

// canBind reports whether there is any channel binding.
func (a *authenticator) canBind(s *mail.Session) bool {
	if s.TLS == nil {
		return false
	}
	if s.TLS.HandshakeComplete && s.TLS.Version >= tls.VersionTLS13 {
		return true
	}
	for _, kind := range []string{bindUnique, bindEndPoint, bindExporter} {
		if _, ok := a.channel(s, kind); ok {
			return true
		}
	}
	return false
}
