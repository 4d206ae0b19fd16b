// Package accept takes a server's connections in, within limits, and lets them end in order when it stops.
//
//	var g accept.Gate[*session]
//	err := g.Serve(ctx, listener, retrying, func(c net.Conn) { go s.serve(c) })
//
//	func (s *server) serve(c net.Conn) {
//		defer c.Close()
//		ses := newSession(c)
//		if g.Enter(ses, accept.Network(c.RemoteAddr()), 1000, 50) != accept.Entered {
//			return // say why
//		}
//		defer g.Leave(ses)
//		...
//	}
//
// It promises that nobody enters after Drain has begun, that Drain returns when the last session has left, and that a
// lack of files or memory, which passes, ends no server.
package accept

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ErrDraining is returned by Serve once Drain has begun.
var ErrDraining = errors.New("accept: server is stopping")

// Verdict says whether a session may come in.
type Verdict uint8

const (
	Entered Verdict = iota
	Stopping
	TooMany
	TooManyOfNetwork
)

// Gate knows the listeners and the sessions of one server. Its zero value is ready, and safe for concurrent use.
type Gate[S comparable] struct {
	draining atomic.Bool

	mu        sync.Mutex
	listeners map[*net.Listener]struct{}
	sessions  map[S]netip.Addr
	from      map[netip.Addr]int
	empty     chan struct{} // closed when draining and the last session has left
}

// setup makes what the zero value lacks; g.mu is held.
func (g *Gate[S]) setup() {
	if g.sessions == nil {
		g.listeners = map[*net.Listener]struct{}{}
		g.sessions = map[S]netip.Addr{}
		g.from = map[netip.Addr]int{}
		g.empty = make(chan struct{})
	}
}

// Serve hands each connection of the listener to take, which must not wait for it, until the listener fails, ctx is done or Drain
// begins, and closes the listener. It returns ErrDraining, the error of ctx, or that of the listener. Errors that pass, such as too many
// open files, are told to retrying (nil: to nobody) and waited out, at most a second each time.
func (g *Gate[S]) Serve(ctx context.Context, l net.Listener, retrying func(err error, wait time.Duration), take func(net.Conn)) error {
	if !g.track(&l) {
		l.Close()
		return ErrDraining
	}
	defer g.untrack(&l)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for wait := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			take(conn)
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case g.Draining():
			return ErrDraining
		case !passes(err):
			return err
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		if retrying != nil {
			retrying(err, wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passes: the error is one such as too many open files, or a connection that was gone before it was taken.
func passes(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary() && !errors.Is(err, net.ErrClosed)
}

func (g *Gate[S]) track(l *net.Listener) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.setup()
	if g.draining.Load() {
		return false
	}
	g.listeners[l] = struct{}{}
	return true
}

func (g *Gate[S]) untrack(l *net.Listener) {
	(*l).Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.listeners, l)
}

// Network is what counts as one peer: an IPv4 address, or an IPv6 network of 64 bits. It is invalid where there is no IP address.
func Network(a net.Addr) netip.Addr {
	ip := Address(a)
	if !ip.Is6() {
		return ip
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// Address is the peer's IP address, invalid if it has none.
func Address(a net.Addr) netip.Addr {
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

// Enter counts a session in: at most most of them, at most mostOfNetwork of one network; an invalid network is not counted. Who has
// entered must Leave.
func (g *Gate[S]) Enter(s S, network netip.Addr, most, mostOfNetwork int) Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.setup()
	switch {
	case g.draining.Load():
		return Stopping
	case len(g.sessions) >= most:
		return TooMany
	case network.IsValid() && g.from[network] >= mostOfNetwork:
		return TooManyOfNetwork
	}
	if network.IsValid() {
		g.from[network]++
	}
	g.sessions[s] = network
	return Entered
}

// Leave counts a session out.
func (g *Gate[S]) Leave(s S) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if network := g.sessions[s]; network.IsValid() {
		if g.from[network]--; g.from[network] <= 0 {
			delete(g.from, network)
		}
	}
	delete(g.sessions, s)
	g.signal()
}

// signal tells Drain that the last session is gone; g.mu is held.
func (g *Gate[S]) signal() {
	if !g.draining.Load() || len(g.sessions) > 0 {
		return
	}
	select {
	case <-g.empty:
	default:
		close(g.empty)
	}
}

// Draining reports whether Drain has begun.
func (g *Gate[S]) Draining() bool { return g.draining.Load() }

// Drain closes the listeners, asks each session to end, and waits until all have left. If ctx is done first, it cuts those that are
// left, waits for them, and returns the error of ctx. A Gate that was drained lets nobody in any more; Drain may be called again. ask and cut
// must not wait, nor call the Gate.
func (g *Gate[S]) Drain(ctx context.Context, ask, cut func(S)) error {
	g.mu.Lock()
	g.setup()
	g.draining.Store(true)
	for l := range g.listeners {
		(*l).Close()
	}
	for s := range g.sessions {
		ask(s)
	}
	g.signal()
	g.mu.Unlock()
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	for s := range g.sessions {
		cut(s)
	}
	g.mu.Unlock()
	<-g.empty
	return ctx.Err()
}
