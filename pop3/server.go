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

	mu       sync.Mutex
	conns    map[*conn]struct{}
	perAddr  map[netip.Addr]int
	listen   map[net.Listener]struct{}
	logins   map[string]time.Time // the last ones, for Limits.LoginInterval
	draining bool
	wg       sync.WaitGroup
	bufs     sync.Pool // of *[]byte
}

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("pop3: server closed")

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
		switch {
		case s.isDraining():
			return ErrServerClosed
		case ctx.Err() != nil:
			return ctx.Err()
		case !passes(err):
			return err
		}
		s.log().Warn("pop3: accept failed, trying again", "err", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, time.Second)
	}
}

// passes: the error is one such as too many open files.
func passes(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary() && !errors.Is(err, net.ErrClosed)
}

// setup makes the maps; the lock is held.
func (s *Server) setup() {
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
		s.perAddr = map[netip.Addr]int{}
		s.listen = map[net.Listener]struct{}{}
		s.logins = map[string]time.Time{}
	}
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
	defer s.leave(c)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	c.serve(ctx)
}

// enter counts a connection in, or tells why it may not come in.
func (s *Server) enter(c *conn) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setup()
	addr := countedAddr(c.remote)
	switch {
	case s.draining:
		return "-ERR [SYS/TEMP] server is stopping"
	case len(s.conns) >= c.limits.Connections:
		return "-ERR [SYS/TEMP] too many connections, try again later"
	case addr.IsValid() && s.perAddr[addr] >= c.limits.ConnectionsPerAddress:
		return "-ERR [SYS/TEMP] too many connections from your address"
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
	if addr := countedAddr(c.remote); addr.IsValid() {
		if s.perAddr[addr]--; s.perAddr[addr] <= 0 {
			delete(s.perAddr, addr)
		}
	}
	delete(s.conns, c)
	s.wg.Done()
}

// countedAddr is what ConnectionsPerAddress counts: nothing for loopback and sockets that are not IP.
func countedAddr(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := t.AddrPort().Addr().Unmap()
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

// Shutdown stops accepting, lets running commands finish and waits until the last connection is closed. A session
// that waits for a command is ended, unless it has messages marked for deletion: that one has Limits.DrainTime to say
// QUIT. When ctx is done first, the remaining connections are closed and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.setup()
	s.draining = true
	for l := range s.listen {
		_ = l.Close()
	}
	for c := range s.conns {
		c.drain()
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
