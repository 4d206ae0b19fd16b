package smtp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Serve accepts connections until the listener fails, ctx is done or Shutdown is called, and closes the listener.
// When ctx is done the running sessions are cut: to drain them, call Shutdown first and end ctx later. It returns
// ErrClosed after Shutdown, otherwise why it ended. It may run for several listeners at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.settle()
	if !s.track(&l) {
		l.Close()
		return ErrClosed
	}
	defer s.untrack(&l)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for wait := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			s.accept(ctx, conn)
		case ctx.Err() != nil:
			return ctx.Err()
		case s.draining.Load():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of files, or a connection that was gone before we took it
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			if s.Log != nil {
				s.Log.Warn("smtp: accept", "error", err, "again in", wait)
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func (s *Server) accept(ctx context.Context, conn net.Conn) {
	if s.accepted.Add(1) > int64(s.set.maxConns) {
		s.accepted.Add(-1)
		s.turnAway(conn, "421 4.7.0 Too many connections, please try again later\r\n")
		return
	}
	go func() {
		defer s.accepted.Add(-1)
		s.ServeConn(ctx, conn)
	}()
}

// turnAway says why and closes. The line fits into any socket's buffer, so nobody waits.
func (s *Server) turnAway(conn net.Conn, line string) {
	if !s.ImplicitTLS {
		if conn.SetDeadline(time.Now().Add(time.Second)) == nil {
			_, _ = conn.Write([]byte(line))
		}
	}
	conn.Close()
}

// ServeConn serves one connection, closes it, and returns at the end of the session. The connection may be anything:
// a socket, a pipe, a program's standard input and output (see Stdio).
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	s.settle()
	ses := newSession(ctx, s, conn)
	addr, counted := addressOf(conn.RemoteAddr())
	counted = counted && !ses.peerTrusted
	if why := s.admit(ses, addr, counted); why != "" {
		s.turnAway(conn, why)
		ses.cancel()
		return
	}
	defer s.forget(ses, addr, counted)
	ses.run()
}

// addressOf gives the address that counts for MaxConnectionsPerAddress: an IPv6 network of 64 bits is one.
func addressOf(a net.Addr) (netip.Addr, bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(t.IP)
	ip = ip.Unmap()
	if ip.Is6() {
		p, _ := ip.Prefix(64)
		ip = p.Addr()
	}
	return ip, ok
}

func (s *Server) admit(ses *session, addr netip.Addr, counted bool) (refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return "421 4.3.2 Service is stopping\r\n"
	}
	if counted && s.from[addr] >= s.set.maxPerAddr {
		return "421 4.7.0 Too many connections from your address\r\n"
	}
	if counted {
		s.from[addr]++
	}
	s.live[ses] = struct{}{}
	return ""
}

func (s *Server) forget(ses *session, addr netip.Addr, counted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, ses)
	if counted {
		if s.from[addr]--; s.from[addr] <= 0 {
			delete(s.from, addr)
		}
	}
	s.signal()
}

// signal tells Shutdown that the last session is gone; s.mu is held.
func (s *Server) signal() {
	if !s.down || len(s.live) > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

func (s *Server) track(l *net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false
	}
	s.lns[l] = struct{}{}
	return true
}

func (s *Server) untrack(l *net.Listener) {
	(*l).Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lns, l)
}

// Shutdown drains: the listeners are closed, sessions without a transaction get 421 4.3.2 at once, the others as soon
// as theirs is done. When ctx ends, what is left is cut, and its error returned. A Server that was shut down serves
// no more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.settle()
	s.draining.Store(true)
	s.mu.Lock()
	s.down = true
	for l := range s.lns {
		(*l).Close()
	}
	for ses := range s.live {
		ses.wake()
	}
	s.signal()
	s.mu.Unlock()
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for ses := range s.live {
		ses.cancel()
	}
	s.mu.Unlock()
	<-s.empty
	return ctx.Err()
}
