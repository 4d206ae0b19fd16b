package house

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// Limits of the PROXY protocol.
const (
	proxyHeaderTime = 10 * time.Second // for the header, from the connection on
	maxProxyPending = 1000             // connections of proxies whose header is awaited; more are closed
)

// proxied is a listener behind machines that speak the PROXY protocol, version 1 or 2: what they connect must begin with
// the header, and is then the connection of the client that it names. A connection of anybody else is his own: a header
// in it is refused as what it looks like there, a wrong command, and never believed.
type proxied struct {
	net.Listener
	trusted func(net.Addr) bool
	log     *slog.Logger
	ctx     context.Context
	stop    context.CancelFunc
	ready   chan net.Conn
	pending chan struct{}
	wg      sync.WaitGroup
	failed  chan error
}

func newProxied(l net.Listener, trusted func(net.Addr) bool, log *slog.Logger) net.Listener {
	p := &proxied{Listener: l, trusted: trusted, log: log, ready: make(chan net.Conn), pending: make(chan struct{}, maxProxyPending),
		failed: make(chan error)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(p.run)
	return p
}

// run takes connections off the listener and waits for no header itself.
func (p *proxied) run() {
	for {
		conn, err := p.Listener.Accept()
		switch {
		case err != nil:
			select {
			case p.failed <- err:
			case <-p.ctx.Done():
			}
			if p.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
		case !p.trusted(conn.RemoteAddr()):
			p.give(conn)
		default:
			select {
			case p.pending <- struct{}{}:
				p.wg.Go(func() {
					defer func() { <-p.pending }()
					p.header(conn)
				})
			default:
				p.log.Warn("too many connections of proxies wait for their PROXY header", "remote", conn.RemoteAddr())
				conn.Close()
			}
		}
	}
}

func (p *proxied) give(conn net.Conn) {
	select {
	case p.ready <- conn:
	case <-p.ctx.Done():
		conn.Close()
	}
}

var errProxyAddress = errors.New("PROXY header names no TCP address: of whom the connection is cannot be told")

// header reads the header of a connection from a proxy.
func (p *proxied) header(raw net.Conn) {
	stop := context.AfterFunc(p.ctx, func() { raw.Close() })
	defer stop()
	c := proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(proxyHeaderTime),
		proxyproto.ValidateHeader(func(h *proxyproto.Header) error {
			if h.Command.IsLocal() && h.Version == 2 { // the proxy itself, which looks whether we live
				return nil
			} // in version 1 the same is said of a client whom the proxy cannot name, and he must not pass for the proxy
			src, ok := h.SourceAddr.(*net.TCPAddr)
			if !ok || src == nil || !h.TransportProtocol.IsStream() || h.TransportProtocol.IsUnix() {
				return errProxyAddress
			}
			return nil
		}))
	if _, err := c.Read(nil); err != nil {
		p.log.Warn("connection of a proxy without a good PROXY header", "remote", raw.RemoteAddr(), "err", err)
		raw.Close()
		return
	}
	p.give(&proxiedConn{Conn: c, remote: c.RemoteAddr(), local: c.LocalAddr()})
}

// Accept returns the next connection whose client is known.
func (p *proxied) Accept() (net.Conn, error) {
	select {
	case c := <-p.ready:
		return c, nil
	case err := <-p.failed:
		return nil, err
	case <-p.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close closes the listener and what still waits for its header.
func (p *proxied) Close() error {
	p.stop()
	err := p.Listener.Close()
	p.wg.Wait()
	return err
}

// proxiedConn is a connection with the addresses that its header named.
type proxiedConn struct {
	*proxyproto.Conn
	remote, local net.Addr
}

func (c *proxiedConn) RemoteAddr() net.Addr { return c.remote }
func (c *proxiedConn) LocalAddr() net.Addr  { return c.local }

// CloseWrite lets a server hear a peer out that it sends away.
func (c *proxiedConn) CloseWrite() error {
	if half, ok := c.Raw().(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
