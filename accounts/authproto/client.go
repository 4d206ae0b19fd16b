package authproto

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
)

// Client is a mail.Authenticator that asks a server of this protocol: the accounts room of another process, or
// Dovecot's auth socket. It keeps one connection, on which exchanges run side by side, and makes a new one when that
// is lost. Zero values of all but Dial are usable; it must not be changed after its first use.
type Client struct {
	Dial func(ctx context.Context) (net.Conn, error)

	// Channel returns the data of a channel binding of a session (RFC 5056), or false. With it the -PLUS mechanisms
	// are offered where the server says that it can bind (our own does); nil: never.
	Channel func(s *mail.Session, kind string) ([]byte, bool)

	// PlaintextLoopback offers PLAIN and LOGIN without TLS to peers on a loopback address or a Unix socket. The server
	// has to allow it too.
	PlaintextLoopback bool

	MaxRequests    int           // exchanges at once; 0: 256
	MaxLineOctets  int           // 0: 16384
	DialTimeout    time.Duration // with the handshake; 0: 5 s
	RequestTimeout time.Duration // for each answer of the server; 0: 60 s (a server slows who guesses)
	BackoffMin     time.Duration // after a failure to connect nobody tries again so soon; 0: 100 ms
	BackoffMax     time.Duration // 0: 10 s
	Log            *slog.Logger  // nil: none

	mu      sync.Mutex
	link    *link
	mechs   []mechanism // of the last handshake
	wait    time.Duration
	retryAt time.Time
	closed  bool
}

var _ mail.Authenticator = (*Client)(nil)

// mechanism is what a MECH line says.
type mechanism struct {
	name             string
	plaintext, bound bool
	certificate      bool // takes the certificate of the client
}

// Channel bindings that travel, in the order of preference.
var bindings = []string{"tls-exporter", "tls-unique", "tls-server-end-point"}

// cbind is the name of the parameter, one of our own, that carries a channel binding.
const cbind = "cbind-"

// errAway is what people are told while the server cannot be asked (RFC 4954 section 4.7.1).
func errAway(cause error) error {
	r := mail.NewReply(454, mail.Enhanced{4, 7, 0}, "Temporary authentication failure")
	r.Cause = cause
	return r
}

// Mechanisms lists what the server offers and this session may use. While the server is away it lists what there was
// before: who tries is told to come back.
func (c *Client) Mechanisms(s *mail.Session) []string {
	ctx, cancel := context.WithTimeout(context.Background(), orDefault(c.DialTimeout, 5*time.Second))
	defer cancel()
	if _, err := c.connection(ctx); err != nil {
		c.log().Debug("auth server is away", "err", err)
	}
	c.mu.Lock()
	mechs := c.mechs
	c.mu.Unlock()
	var plus, names []string
	for _, m := range mechs {
		if m.plaintext && !c.plaintextAllowed(s) {
			continue
		}
		if m.name == external && (!m.certificate || shown(s) == nil) { // without telling who it is, there is no use
			continue
		}
		if m.bound && c.canBind(s) && !strings.HasSuffix(m.name, "-PLUS") {
			plus = append(plus, m.name+"-PLUS")
		}
		names = append(names, m.name)
	}
	return append(plus, names...)
}

func (c *Client) plaintextAllowed(s *mail.Session) bool {
	return s.TLS != nil || c.PlaintextLoopback && isLocal(s.RemoteAddr)
}

func isLocal(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok && a != nil && a.Network() == "unix" || ok && t.IP.IsLoopback()
}

// shown is the certificate by which a client may log in, verified when it was shown; nil: there is none, or it is too large to be told.
func shown(s *mail.Session) []byte {
	if s.TLS == nil || len(s.TLS.VerifiedChains) == 0 || len(s.TLS.PeerCertificates) == 0 || len(s.TLS.PeerCertificates[0].Raw) > maxCertificateOctets {
		return nil
	}
	return s.TLS.PeerCertificates[0].Raw
}

func (c *Client) canBind(s *mail.Session) bool {
	if c.Channel == nil || s.TLS == nil {
		return false
	}
	return slices.ContainsFunc(bindings, func(kind string) bool {
		_, ok := c.Channel(s, kind)
		return ok
	})
}

// Start begins an exchange; the server hears of it with the client's first response.
func (c *Client) Start(ctx context.Context, s *mail.Session, name string) (mail.Exchange, error) {
	if !slices.Contains(c.Mechanisms(s), name) {
		if _, err := c.connection(ctx); err != nil {
			return nil, errAway(err)
		}
		return nil, mail.ErrMechanism
	}
	return &exchange{c: c, s: s, mechanism: name}, nil
}

// Close ends the connection; exchanges on their way fail.
func (c *Client) Close() error {
	c.mu.Lock()
	l := c.link
	c.link, c.closed = nil, true
	c.mu.Unlock()
	if l != nil {
		l.fail(net.ErrClosed)
	}
	return nil
}

func (c *Client) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

var errBackoff = errors.New("authproto: the server was away a moment ago")

// connection returns the connection that is there, or makes one.
func (c *Client) connection(ctx context.Context) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, net.ErrClosed
	case c.link != nil && c.link.alive():
		return c.link, nil
	case time.Now().Before(c.retryAt):
		return nil, errBackoff
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(c.DialTimeout, 5*time.Second))
	defer cancel()
	l, mechs, err := c.dial(ctx)
	if err != nil {
		c.wait = min(max(2*c.wait, orDefault(c.BackoffMin, 100*time.Millisecond)), orDefault(c.BackoffMax, 10*time.Second))
		c.retryAt = time.Now().Add(c.wait)
		return nil, fmt.Errorf("connect to the auth server: %w", err)
	}
	c.wait, c.retryAt, c.link, c.mechs = 0, time.Time{}, l, mechs
	return l, nil
}

// exchange is one authentication.
type exchange struct {
	c         *Client
	s         *mail.Session
	mechanism string

	link *link
	id   string
	in   chan []string
	who  mail.Identity
	over bool
}

// Next is of mail.Exchange.
func (x *exchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if x.over {
		return nil, false, mail.ErrExchange
	}
	challenge, done, err := x.next(ctx, response)
	if done || err != nil {
		x.over = true
		if x.link != nil {
			x.link.forget(x.id)
		}
	}
	return challenge, done, err
}

func (x *exchange) next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if x.link == nil {
		l, err := x.c.connection(ctx)
		if err != nil {
			return nil, false, errAway(err)
		}
		if x.id, x.in, err = l.add(orDefault(x.c.MaxRequests, 256)); err != nil {
			return nil, false, errAway(err)
		}
		x.link = l
		err = l.write(x.authLine(response))
		if err != nil {
			return nil, false, errAway(err)
		}
	} else if err := x.link.write("CONT\t" + x.id + "\t" + base64.StdEncoding.EncodeToString(response) + "\n"); err != nil {
		return nil, false, errAway(err)
	}
	return x.answer(ctx)
}

// authLine is AUTH with what is known of the peer.
func (x *exchange) authLine(response []byte) string {
	var b strings.Builder
	param := func(name, value string) {
		if value != "" {
			b.WriteString("\t" + name + "=" + escape(value))
		}
	}
	name, isPlus := strings.CutSuffix(x.mechanism, "-PLUS")
	if !isPlus {
		name = x.mechanism
	}
	b.WriteString("AUTH\t" + x.id + "\t" + escape(x.mechanism))
	param("service", serviceOf(x.s))
	b.WriteString("\tfinal-resp-ok")
	if x.s.TLS != nil {
		b.WriteString("\tsecured=tls")
	}
	param("session", x.s.ID)
	if t, ok := x.s.LocalAddr.(*net.TCPAddr); ok {
		param("lip", t.IP.String())
		param("lport", strconv.Itoa(t.Port))
	}
	if t, ok := x.s.RemoteAddr.(*net.TCPAddr); ok {
		param("rip", t.IP.String())
		param("rport", strconv.Itoa(t.Port))
	}
	if x.c.Channel != nil && x.s.TLS != nil && strings.HasPrefix(name, "SCRAM-") {
		for _, kind := range bindings {
			if data, ok := x.c.Channel(x.s, kind); ok {
				param(cbind+kind, base64.StdEncoding.EncodeToString(data))
			}
		}
	}
	if leaf := shown(x.s); name == external && leaf != nil {
		param(certificate, base64.StdEncoding.EncodeToString(leaf))
	}
	if response != nil { // by definition the last parameter
		b.WriteString("\tresp=" + base64.StdEncoding.EncodeToString(response))
	}
	b.WriteByte('\n')
	return b.String()
}

// serviceOf names the protocol as Dovecot does: it is the name that a deny list or a log may look for.
func serviceOf(s *mail.Session) string {
	switch s.Service {
	case "msa", "":
		return "smtp"
	case "mailbox":
		return "imap"
	}
	return s.Service
}

// answer waits for what the server says next.
func (x *exchange) answer(ctx context.Context) ([]byte, bool, error) {
	timer := time.NewTimer(orDefault(x.c.RequestTimeout, 60*time.Second))
	defer timer.Stop()
	var words []string
	select {
	case words = <-x.in:
	case <-x.link.done:
		select { // the answer may have come before the end
		case words = <-x.in:
		default:
			return nil, false, errAway(x.link.cause())
		}
	case <-ctx.Done():
		_ = x.link.write("CANCEL\t" + x.id + "\n") // nobody waits for the answer any more
		return nil, false, ctx.Err()
	case <-timer.C:
		_ = x.link.write("CANCEL\t" + x.id + "\n") // as above
		return nil, false, errAway(errors.New("the auth server does not answer"))
	}
	return x.read(words)
}

// read understands CONT, OK and FAIL.
func (x *exchange) read(words []string) ([]byte, bool, error) {
	if words[0] == "CONT" {
		if len(words) < 3 {
			return nil, false, errAway(errServer)
		}
		challenge := decode(words[2])
		if challenge == nil {
			return nil, false, errAway(errServer)
		}
		return challenge, false, nil
	}
	values := map[string]string{}
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		values[name] = value
	}
	_, temp := values["temp"]
	switch {
	case words[0] == "FAIL" && (temp || values["code"] == "temp_fail"):
		return nil, false, errAway(errors.New("the auth server has trouble"))
	case words[0] == "FAIL" && values["reason"] == mail.ErrExchange.Error():
		return nil, false, mail.ErrExchange
	case words[0] == "FAIL":
		return nil, false, mail.ErrCredentials
	case values["user"] == "":
		return nil, false, errAway(errServer)
	}
	x.who = mail.Identity{Account: values["user"], Mechanism: x.mechanism}
	var final []byte
	if resp, ok := values["resp"]; ok {
		if final = decode(resp); final == nil {
			return nil, false, errAway(errServer)
		}
	}
	return final, true, nil
}

// Identity is of mail.Exchange.
func (x *exchange) Identity() mail.Identity { return x.who }
