package house

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mail"
)

// gateWriteTime is how long a peer who is sent away may take to be told so.
const gateWriteTime = 100 * time.Millisecond

// gate stands in front of every listener on TCP: who is banned, or connects too often, gets no further, and whoever is banned
// while he is connected is cut off.
type gate struct {
	abuse *guard.Abuse

	mu    sync.Mutex
	conns map[*gatedConn]struct{}
}

func newGate(a *guard.Abuse) *gate { return &gate{abuse: a, conns: map[*gatedConn]struct{}{}} }

// watch cuts off the connections of those who are banned meanwhile, until ctx ends.
func (g *gate) watch(ctx context.Context) {
	changed := g.abuse.Watch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		var cut []*gatedConn
		g.mu.Lock()
		for c := range g.conns {
			if _, banned := g.abuse.Banned(c.ip); banned {
				cut = append(cut, c)
			}
		}
		g.mu.Unlock()
		for _, c := range cut {
			c.Close() //nolint:errcheck // it is cut off
		}
	}
}

// farewells are what a peer is told who may not speak: that he is banned, and that he comes too often. With TLS from the first
// octet nothing can be told.
var farewells = map[string][2]string{
	"smtp":       {"554 5.7.1 You are banned here; ask the postmaster by another way\r\n", "421 4.7.0 Too many connections from you, please try again later\r\n"},
	"submission": {"554 5.7.1 You are banned here; ask the postmaster by another way\r\n", "421 4.7.0 Too many connections from you, please try again later\r\n"},
	"imap":       {"* BYE You are banned here; ask the postmaster\r\n", "* BYE [UNAVAILABLE] Too many connections from you, please try again later\r\n"},
	"pop3":       {"-ERR [SYS/PERM] You are banned here; ask the postmaster\r\n", "-ERR [SYS/TEMP] Too many connections from you, please try again later\r\n"},
}

// listener is one of those behind the gate.
func (g *gate) listener(name string, l net.Listener) net.Listener {
	return &gatedListener{Listener: l, gate: g, farewell: farewells[name]}
}

type gatedListener struct {
	net.Listener
	gate     *gate
	farewell [2]string
}

func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip, ok := mail.IPOf(conn.RemoteAddr())
		if !ok {
			return conn, nil
		}
		_, banned := l.gate.abuse.Banned(ip)
		if !banned && !l.gate.abuse.Did(context.Background(), guard.Connection, ip) {
			return l.gate.enter(conn, ip), nil
		}
		text := l.farewell[1]
		if banned {
			text = l.farewell[0]
		}
		if text != "" && conn.SetWriteDeadline(time.Now().Add(gateWriteTime)) == nil {
			conn.Write([]byte(text)) //nolint:errcheck // it is sent away
		}
		conn.Close() //nolint:errcheck // as above
	}
}

func (g *gate) enter(conn net.Conn, ip netip.Addr) net.Conn {
	c := &gatedConn{Conn: conn, ip: ip, gate: g}
	g.mu.Lock()
	g.conns[c] = struct{}{}
	g.mu.Unlock()
	if _, banned := g.abuse.Banned(ip); banned { // just now
		c.Close() //nolint:errcheck // its reader will notice
	}
	return c
}

// gatedConn is a connection that can be cut off.
type gatedConn struct {
	net.Conn
	ip   netip.Addr
	gate *gate
}

func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// NetConn returns the connection below, as tls.Conn does.
func (c *gatedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets a server hear a peer out that it sends away.
func (c *gatedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// guessed counts wrong passwords, whatever protocol they came by.
func (h *House) guessed(a mail.Authenticator) mail.Authenticator {
	if h.abuse == nil {
		return a
	}
	return guessing{a, h.abuse}
}

type guessing struct {
	mail.Authenticator
	abuse *guard.Abuse
}

func (g guessing) Start(ctx context.Context, s *mail.Session, mechanism string) (mail.Exchange, error) {
	x, err := g.Authenticator.Start(ctx, s, mechanism)
	if err != nil {
		return nil, err
	}
	return &guessingExchange{x, g.abuse, s}, nil
}

type guessingExchange struct {
	mail.Exchange
	abuse *guard.Abuse
	s     *mail.Session
}

func (x *guessingExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	challenge, done, err := x.Exchange.Next(ctx, response)
	if errors.Is(err, mail.ErrCredentials) {
		if ip, ok := mail.IPOf(x.s.RemoteAddr); ok {
			x.abuse.Did(ctx, guard.WrongPassword, ip)
		}
	}
	return challenge, done, err
}
