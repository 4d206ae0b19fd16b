package smtp

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/samotop/samotop/accept"
)

// Serve accepts connections until the listener fails, ctx is done or Shutdown is called, and closes the listener.
// When ctx is done the running sessions are cut: to drain them, call Shutdown first and end ctx later. It returns
// ErrClosed after Shutdown, otherwise why it ended. It may run for several listeners at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.settle()
	err := s.gate.Serve(ctx, l, s.retrying, func(conn net.Conn) { s.accept(ctx, conn) })
	if errors.Is(err, accept.ErrDraining) {
		return ErrClosed
	}
	return err
}

func (s *Server) retrying(err error, wait time.Duration) {
	if s.Log != nil {
		s.Log.Warn("smtp: accept", "error", err, "again in", wait)
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
	var network netip.Addr // none is counted of who is trusted
	if !ses.peerTrusted {
		network = accept.Network(conn.RemoteAddr())
	}
	why := ""
	switch s.gate.Enter(ses, network, math.MaxInt, s.set.maxPerAddr) { // all of them are counted in accept
	case accept.Entered:
	case accept.TooManyOfNetwork:
		why = "421 4.7.0 Too many connections from your address\r\n"
	default:
		why = "421 4.3.2 Service is stopping\r\n"
	}
	if why != "" {
		s.turnAway(conn, why)
		ses.cancel()
		return
	}
	defer s.gate.Leave(ses)
	ses.run()
}

// Shutdown drains: the listeners are closed, sessions without a transaction get 421 4.3.2 at once, the others as soon
// as theirs is done. When ctx ends, what is left is cut, and its error returned. A Server that was shut down serves
// no more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.settle()
	return s.gate.Drain(ctx, (*session).wake, func(ses *session) { ses.cancel() })
}
