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
	"sync"
	"time"

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

	mu       sync.Mutex
	conns    map[*conn]struct{}
	perAddr  map[netip.Addr]int
	listen   map[net.Listener]struct{}
	draining bool
	drained  chan struct{} // closed when draining begins
	bufs     buffers
	wg       sync.WaitGroup
}

// ServerID is one field of the answer to ID (RFC 2971).
type ServerID struct{ Name, Value string }

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("imap: server closed")

// Serve accepts connections until the listener fails, ctx is done or Shutdown is called.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.mu.Lock()
	s.setup()
	if s.draining {
		s.mu.Unlock()
		_ = l.Close()
		return ErrServerClosed
	}
	s.listen[l] = struct{}{}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		stop()
		s.mu.Lock()
		delete(s.listen, l)
		s.mu.Unlock()
	}()
	for wait := 5 * time.Millisecond; ; {
		nc, err := l.Accept()
		if err == nil {
			wait = 5 * time.Millisecond
			go s.ServeConn(ctx, nc)
			continue
		}
		s.mu.Lock()
		over := s.draining
		s.mu.Unlock()
		var ne net.Error
		switch {
		case over:
			return ErrServerClosed
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &ne) && ne.Timeout(), isTemporary(err):
			s.log().Warn("imap: accept failed, trying again", "err", err, "wait", wait)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
			wait = min(2*wait, time.Second)
		default:
			return err
		}
	}
}

// isTemporary: such as too many open files, which passes.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary() && !errors.Is(err, net.ErrClosed)
}

// setup makes the maps; the lock is held.
func (s *Server) setup() {
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
		s.perAddr = map[netip.Addr]int{}
		s.listen = map[net.Listener]struct{}{}
		s.drained = make(chan struct{})
	}
}

// ServeConn serves one connection, closes it, and returns at its end.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	defer nc.Close()
	c := &conn{srv: s, limits: s.Limits.withDefaults()}
	c.wire = wire{nc: nc, rd: nc, wr: nc, pool: &s.bufs, readTimeout: c.limits.ReadTimeout, writeTimeout: c.limits.WriteTimeout}
	if refusal := s.enter(c); refusal != "" {
		c.say("* BYE ", refusal)
		if !s.ImplicitTLS {
			_ = c.flush()
		}
		return
	}
	defer s.leave(c)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.serve(ctx)
}

// enter counts a connection in, or tells why it may not come in.
func (s *Server) enter(c *conn) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setup()
	addr := countedAddr(c.nc.RemoteAddr())
	switch {
	case s.draining:
		return "[UNAVAILABLE] server is stopping"
	case len(s.conns) >= c.limits.Connections:
		return "[LIMIT] too many connections, try again later"
	case addr.IsValid() && s.perAddr[addr] >= c.limits.ConnectionsPerAddress:
		return "[LIMIT] too many connections from your address"
	}
	if addr.IsValid() {
		s.perAddr[addr]++
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return ""
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if addr := countedAddr(c.nc.RemoteAddr()); addr.IsValid() {
		if s.perAddr[addr]--; s.perAddr[addr] <= 0 {
			delete(s.perAddr, addr)
		}
	}
	delete(s.conns, c)
	s.wg.Done()
}

// ipOf is the peer's address, invalid if it is not an IP address.
func ipOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	if a == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// countedAddr is what ConnectionsPerAddress counts: nothing for loopback and sockets that are not IP.
func countedAddr(a net.Addr) netip.Addr {
	ip := ipOf(a)
	if !ip.IsValid() || ip.IsLoopback() {
		return netip.Addr{}
	}
	if ip.Is6() {
		p, err := ip.WithZone("").Prefix(64)
		if err != nil {
			return netip.Addr{}
		}
		return p.Addr()
	}
	return ip
}

// Shutdown stops accepting, lets running commands finish, says BYE to everybody and waits until the last connection
// is closed. When ctx is done first, the remaining connections are closed and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.setup()
	if !s.draining {
		s.draining = true
		close(s.drained)
	}
	for l := range s.listen {
		_ = l.Close()
	}
	for c := range s.conns {
		c.interrupt()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.nc.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
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
