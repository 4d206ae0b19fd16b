package imap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/samotop/samotop/accept"
	"github.com/samotop/samotop/mail"
)

// Server serves a Backend by IMAP. Its zero value is usable, but lets nobody in for want of Backend and Auth. Fields
// must not be changed once it serves.
type Server struct {
	Backend     Backend            // opens the mail of whoever has logged in; nil: nobody can log in
	Auth        mail.Authenticator // SASL; LOGIN is its PLAIN; nil: nobody can log in
	TLSConfig   *tls.Config        // nil: no STARTTLS
	ImplicitTLS bool               // TLS from the first octet (RFC 8314); needs TLSConfig
	// PlaintextLoopback allows LOGIN and PLAIN without TLS to peers on a loopback address. Everybody else sees
	// LOGINDISABLED until TLS is up.
	PlaintextLoopback bool
	Hostname          string        // greeting; "": none is told
	Service           string        // Session.Service; "": "mailbox"
	ID                []ServerID    // what ID tells about us (RFC 2971); nil: name is samotop
	Limits            Limits        // zero fields stand for their defaults
	Disable           []string      // capabilities, upper case, that are not to be offered
	SpoolDir          string        // where large messages of literal8 are while they are looked at; "": the directory for temporary files
	Submitters        []string      // accounts of submission servers, who may fetch URLs with "submit+" for those they verified (RFC 4467 section 3)
	LiteralMinus      bool          // LITERAL- instead of LITERAL+: only literals up to 4096 octets come without waiting (RFC 7888 section 5)
	Log               *slog.Logger  // nil: none
	NewID             func() string // makes Session.ID; nil: 128 random bits

	gate accept.Gate[*conn]
	bufs buffers
}

// ServerID is one field of the answer to ID (RFC 2971).
type ServerID struct{ Name, Value string }

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("imap: server closed")

// Serve accepts connections until the listener fails, ctx is done or Shutdown is called, and closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	err := s.gate.Serve(ctx, l, func(err error, wait time.Duration) {
		s.log().Warn("imap: accept failed, trying again", "err", err, "wait", wait)
	}, func(nc net.Conn) {
		go func() {
			if c := s.enter(ctx, nc); c != nil {
				c.goOn()
			}
		}()
	})
	if errors.Is(err, accept.ErrDraining) {
		return ErrServerClosed
	}
	return err
}

// ServeConn serves one connection, closes it, and returns at its end.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	c := s.enter(ctx, nc)
	for c != nil && c.stint() {
	}
}

// enter makes a connection's session, or tells why it may not come in and closes it.
func (s *Server) enter(ctx context.Context, nc net.Conn) *conn {
	c := &conn{srv: s, limits: s.Limits.withDefaults()}
	c.wire = wire{nc: nc, rd: nc, wr: nc, pool: &s.bufs, readTimeout: c.limits.ReadTimeout, writeTimeout: c.limits.WriteTimeout,
		skipOctets: c.limits.SkipOctets}
	if refusal := s.admit(c); refusal != "" {
		c.say("* BYE ", refusal)
		if !s.ImplicitTLS {
			_ = c.flush()
		}
		_ = nc.Close()
		return nil
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// admit counts a connection in, or tells why it may not come in. Those of this machine are not counted by address.
func (s *Server) admit(c *conn) string {
	network := accept.Network(c.nc.RemoteAddr())
	if network.IsLoopback() {
		network = netip.Addr{}
	}
	switch s.gate.Enter(c, network, c.limits.Connections, c.limits.ConnectionsPerAddress) {
	case accept.Stopping:
		return "[UNAVAILABLE] server is stopping"
	case accept.TooMany:
		return "[LIMIT] too many connections, try again later"
	case accept.TooManyOfNetwork:
		return "[LIMIT] too many connections from your address"
	}
	return ""
}

// Shutdown stops accepting, lets running commands finish, says BYE to everybody and waits until the last connection
// is closed. When ctx is done first, the remaining connections are closed and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.gate.Drain(ctx, (*conn).interrupt, func(c *conn) { _ = c.nc.Close() })
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

func (s *Server) newID() string {
	if s.NewID != nil {
		return s.NewID()
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
