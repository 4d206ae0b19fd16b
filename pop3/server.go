package pop3

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/samotop/samotop/accept"
	"github.com/samotop/samotop/mail"
)

// Server serves a Backend by POP3. Its zero value is usable, but lets nobody in for want of Backend and Auth. Fields
// must not be changed once it serves.
type Server struct {
	Backend        Backend            // opens the maildrop of whoever has logged in; nil: nobody can log in
	Auth           mail.Authenticator // SASL; USER and PASS are its PLAIN; nil: nobody can log in
	TLSConfig      *tls.Config        // nil: no STLS
	ImplicitTLS    bool               // TLS from the first octet (RFC 8314); needs TLSConfig
	Hostname       string             // greeting; "": none is told
	Service        string             // Session.Service; "": "mailbox"
	Implementation string             // what CAPA tells (RFC 2449 section 6.9); "": samotop
	Limits         Limits             // zero fields stand for their defaults
	Log            *slog.Logger       // nil: none
	NewID          func() string      // makes Session.ID; nil: 128 random bits

	gate   accept.Gate[*conn]
	mu     sync.Mutex
	logins map[string]time.Time // the last ones, for Limits.LoginInterval
	bufs   sync.Pool            // of *[]byte
}

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("pop3: server closed")

// Serve accepts connections until the listener fails, ctx is done or Shutdown is called, and closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	err := s.gate.Serve(ctx, l, func(err error, wait time.Duration) {
		s.log().Warn("pop3: accept failed, trying again", "err", err, "wait", wait)
	}, func(nc net.Conn) { go s.ServeConn(ctx, nc) })
	if errors.Is(err, accept.ErrDraining) {
		return ErrServerClosed
	}
	return err
}

// ServeConn serves one connection, closes it, and returns at its end.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	defer nc.Close()
	c := newConn(s, nc)
	if refusal := s.enter(c); refusal != "" {
		if !s.ImplicitTLS {
			c.line(refusal)
			_ = c.flush()
		}
		return
	}
	defer s.gate.Leave(c)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	c.serve(ctx)
}

// enter counts a connection in, or tells why it may not come in. Those of this machine are not counted by address.
func (s *Server) enter(c *conn) string {
	network := accept.Network(c.remote)
	if network.IsLoopback() {
		network = netip.Addr{}
	}
	switch s.gate.Enter(c, network, c.limits.Connections, c.limits.ConnectionsPerAddress) {
	case accept.Stopping:
		return "-ERR [SYS/TEMP] server is stopping"
	case accept.TooMany:
		return "-ERR [SYS/TEMP] too many connections, try again later"
	case accept.TooManyOfNetwork:
		return "-ERR [SYS/TEMP] too many connections from your address"
	}
	return ""
}

// Shutdown stops accepting, lets running commands finish and waits until the last connection is closed. A session
// that waits for a command is ended, unless it has messages marked for deletion: that one has Limits.DrainTime to say
// QUIT. When ctx is done first, the remaining connections are closed and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.gate.Drain(ctx, (*conn).drain, func(c *conn) { _ = c.nc.Close() })
}

// tooSoon notes a login, or tells that the one before was too short ago (RFC 2449 section 8.1.1).
func (s *Server) tooSoon(account string, now time.Time, l *Limits) bool {
	if l.LoginInterval <= 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.logins[account]; ok && now.Sub(last) < l.LoginInterval && !now.Before(last) {
		return true
	}
	if len(s.logins) >= l.Accounts {
		s.forget(now, l)
	}
	if s.logins == nil {
		s.logins = map[string]time.Time{}
	}
	s.logins[account] = now
	return false
}

// forget drops the logins that count no more, or all if none does: whoever comes too soon then gets in once.
func (s *Server) forget(now time.Time, l *Limits) {
	for a, t := range s.logins {
		if now.Sub(t) >= l.LoginInterval {
			delete(s.logins, a)
		}
	}
	if len(s.logins) >= l.Accounts {
		clear(s.logins)
	}
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
