package qm

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

// peer is a connection that messages can be sent over: *smtp.Client, and what tests put in its place.
type peer interface {
	Send(ctx context.Context, m *smtp.Message) (*smtp.Result, error)
	Extensions() smtp.Extensions
	TLS() *tls.ConnectionState
	RemoteName() string
	Quit(ctx context.Context) error
	Close() error
}

// connector makes one, with the TLS that is demanded.
type connector func(ctx context.Context, l *line, h host, d *demand) (peer, error)

type conn struct {
	peer peer
	host string // name and address
	addr string
	tls  string
	wish wish // under which it was made
	sent int
	here bool // a socket or program of this machine
}

type idleConn struct {
	c     *conn
	timer *time.Timer
}

// dialSMTP connects to one host. Only where nothing is demanded a STARTTLS or handshake that fails leaves the connection in
// clear (RFC 7435 section 3): who listens gains nothing by it that he could not have by taking STARTTLS out.
func (q *QM) dialSMTP(ctx context.Context, l *line, h host, dem *demand) (peer, error) {
	d := q.dialer(h, dem)
	started := false
	d.NetDial = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := q.netDial(ctx, h, network, address)
		if err != nil {
			return nil, err
		}
		return &tlsWatch{Conn: nc, started: &started}, nil
	}
	c, err := d.Dial(ctx, h.network, h.address)
	if err != nil && started && dem.security == opportunistic && !d.ImplicitTLS && ctx.Err() == nil {
		q.cfg.Log.Warn("STARTTLS failed, going on in clear", "host", h.name, "address", h.address, "err", err)
		d = q.dialer(h, dem)
		d.TLS = smtp.TLSNever
		c, err = d.Dial(ctx, h.network, h.address)
	}
	if err != nil {
		return nil, err // not c: a nil *smtp.Client in an interface is not nil
	}
	return c, nil
}

// dialer carries out a demand. Certificates are verified by its own rules, not by those of package tls.
func (q *QM) dialer(h host, dem *demand) *smtp.Dialer {
	conf := q.cfg.TLS.Clone()
	conf.ServerName = tlsName(h)
	if dem.dane.Base != "" {
		conf.ServerName = dem.dane.Base // RFC 7672 section 8.1
	}
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = q.verifier(dem, h, q.cfg.TLS.RootCAs)
	d := &smtp.Dialer{Hello: q.cfg.Hostname, LMTP: h.via.via == viaLMTP, ImplicitTLS: h.via.via == viaSMTPS, TLSConfig: conf, Log: q.cfg.Log,
		Auth: h.via.auth, NetDial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return q.netDial(ctx, h, network, address)
		}}
	if h.via.hello != "" {
		d.Hello = h.via.hello
	}
	switch dem.security {
	case inClear:
		d.TLS = smtp.TLSNever
	case opportunistic:
		if dem.strict && !d.ImplicitTLS {
			d.TLS = smtp.TLSRequired
		}
	default:
		if !d.ImplicitTLS {
			d.TLS = smtp.TLSRequired
		}
	}
	return d
}

// netDial connects below SMTP: from the route's address, or to a child process.
func (q *QM) netDial(ctx context.Context, h host, network, address string) (net.Conn, error) {
	switch {
	case network == "exec":
		return h.via.child()
	case h.via.source != nil && network == "tcp":
		d := net.Dialer{LocalAddr: h.via.source}
		return d.DialContext(ctx, network, address)
	}
	return q.cfg.Dial(ctx, network, address)
}

// tlsWatch notes whether TLS was asked for: by STARTTLS, or by a handshake, whose first octet (RFC 8446 section 5.1) begins no
// SMTP command.
type tlsWatch struct {
	net.Conn
	started *bool
}

func (w *tlsWatch) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == 22 || bytes.HasPrefix(p, []byte("STARTTLS\r\n")) {
		*w.started = true
	}
	return w.Conn.Write(p)
}

// errTried: all hosts have been tried.
var errTried = errors.New("qm: no host is left")

// connect goes through the hosts of a line, but for those that were tried, until one lets us in. The error of the last
// one is returned with its host; errTried if there was none left.
func (q *QM) connect(ctx context.Context, l *line, w wish, attempts int, tried map[string]bool) (*conn, string, error) {
	hosts, err := q.hosts(ctx, l)
	if fb := l.hop.fallback; fb != nil && attempts >= l.hop.fallbackAfter { // the last resort, whatever was wrong before
		if err == nil || !mail.AsReply(err).Permanent() {
			hosts = append(hosts, fb.place())
		}
	}
	if len(hosts) == 0 {
		return nil, "", err
	}
	p := q.policiesOf(ctx, l, w)
	where := ""
	err = errTried
	for _, h := range hosts {
		if tried[h.address] {
			continue
		}
		tried[h.address] = true
		where = hostText(h)
		d, derr := q.demandOf(ctx, l, h, &p, w)
		if derr != nil {
			err = derr
			continue
		}
		c, cerr := q.dial(ctx, l, h, &d)
		var state *tls.ConnectionState
		if cerr == nil {
			state = c.TLS()
		}
		cerr = q.judged(&p, h, &d, state, cerr)
		if cerr == nil && h.via.via == viaMX && strings.EqualFold(c.RemoteName(), q.cfg.Hostname) {
			_ = c.Close()
			return nil, where, errSelf
		}
		if cerr == nil {
			return &conn{peer: c, host: where, addr: h.address, tls: tlsText(state) + trustText(&p, &d, state), wish: w, here: h.here()}, where, nil
		}
		err = cerr
		q.cfg.Log.Debug("no connection", "host", where, "err", err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, where, err
}

func hostText(h host) string {
	switch {
	case h.network == "unix":
		return h.address
	case h.name == "":
		return h.address
	}
	if name, _, err := net.SplitHostPort(h.address); err == nil && name == h.name {
		return h.address
	}
	return h.name + " [" + h.address + "]"
}

func tlsText(s *tls.ConnectionState) string {
	if s == nil {
		return ""
	}
	return tls.VersionName(s.Version) + " " + tls.CipherSuiteName(s.CipherSuite)
}

// trustText says by what the server's certificate was believed.
func trustText(p *policies, d *demand, s *tls.ConnectionState) string {
	switch {
	case s == nil:
		return ""
	case d.security == pinned:
		return ", certificate by DANE"
	case d.security == verified && p.enforced():
		return ", certificate by MTA-STS"
	case d.security == verified:
		return ", certificate verified"
	}
	return ", certificate not asked for"
}

// reuse returns an idle connection of the line, or nil.
func (q *QM) reuse(l *line) *conn {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(l.idle) > 0 {
		last := len(l.idle) - 1
		ic := l.idle[last]
		l.idle[last] = nil
		l.idle = l.idle[:last]
		if ic.timer.Stop() {
			return ic.c
		}
	}
	return nil
}

// park keeps a connection for the next message to come.
func (q *QM) park(l *line, c *conn) {
	q.mu.Lock()
	if q.draining || q.stop != nil || len(l.idle) >= q.cfg.Limits.MaxPerDestination {
		q.mu.Unlock()
		q.quit(c)
		return
	}
	ic := &idleConn{c: c}
	ic.timer = time.AfterFunc(q.cfg.Limits.IdleConnectionTime, func() {
		q.mu.Lock()
		for i, x := range l.idle {
			if x == ic {
				l.idle = append(l.idle[:i], l.idle[i+1:]...)
				break
			}
		}
		q.mu.Unlock()
		q.quit(c)
	})
	l.idle = append(l.idle, ic)
	q.mu.Unlock()
}

func (q *QM) quit(c *conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = c.peer.Quit(ctx)
	_ = c.peer.Close()
}

func (q *QM) closeIdle() {
	q.mu.Lock()
	var cs []*conn
	for _, l := range q.lines {
		for _, ic := range l.idle {
			if ic.timer.Stop() {
				cs = append(cs, ic.c)
			}
		}
		l.idle = nil
	}
	q.mu.Unlock()
	for _, c := range cs {
		q.quit(c)
	}
}

// connectReply puts a failure to connect into words; own: into ours.
func connectReply(err error) (_ mail.Reply, own bool) {
	var ours *mail.Reply
	var said *smtp.ReplyError
	var ne net.Error
	switch {
	case errors.As(err, &said):
		// A greeting or EHLO refused for good says something about the host now, not about the recipient: it may be
		// mended, and the next host may do better (RFC 5321 section 4.2.4.2).
		r := *said.Reply
		if r.Permanent() {
			return mail.Reply{Code: 450, Enhanced: mail.Enhanced{4, 3, 2}, Text: "The server does not let us in: " + said.Reply.String()}, true
		}
		return r, false
	case errors.As(err, &ours):
		return *ours, true
	case errors.Is(err, smtp.ErrTLSUnavailable): // RFC 8689 section 5
		return mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 7, 30}, Text: "The next server offers no TLS, which the sender asked for (REQUIRETLS)"}, true
	case errors.As(err, &ne) && ne.Timeout():
		return mail.Reply{Code: 450, Enhanced: mail.Enhanced{4, 4, 1}, Text: "The server did not answer in time"}, true
	case errors.Is(err, io.EOF):
		return mail.Reply{Code: 450, Enhanced: mail.Enhanced{4, 4, 2}, Text: "The server closed the connection"}, true
	}
	return mail.Reply{Code: 450, Enhanced: mail.Enhanced{4, 4, 1}, Text: "The server cannot be reached: " + err.Error()}, true
}
