package resolver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// udpOctets is the size of UDP answers we ask for: it passes everywhere without fragments (DNS flag day 2020).
const udpOctets = 1232

// wire asks servers over UDP, and over TCP what does not fit.
type wire struct {
	servers  []string
	attempts int
	timeout  time.Duration
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	log      *slog.Logger
	tls      *tls.Config // not nil: DNS over TLS (RFC 7858), and nothing else
	silence  silence
}

// exchange asks one server after the other until one gives an answer that means something.
func (w *wire) exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	if !w.silence.ask(time.Now()) {
		return nil, errSilent
	}
	a, err := w.rounds(ctx, q)
	w.silence.heard(err == nil, time.Now())
	return a, err
}

func (w *wire) rounds(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	var last error
	var failed *dns.Msg
	for range w.attempts {
		for _, server := range w.servers {
			a, err := w.once(ctx, server, q)
			switch {
			case err != nil:
				last = err
				w.log.Debug("name server gave no answer", "server", server, "question", q.Question[0].Name, "err", err)
			case a.Rcode == dns.RcodeSuccess, a.Rcode == dns.RcodeNameError:
				return a, nil
			default:
				failed = a
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	if failed != nil {
		return failed, nil
	}
	return nil, last
}

// errSilent: no server has answered lately, so that this question was not sent.
var errSilent = errors.New("no name server has answered for some questions; it is tried again in a moment")

// silence keeps everybody from waiting for name servers that do not answer at all: after some questions without any
// answer, for a time one question is sent and all others fail at once.
type silence struct {
	questions int           // in a row without an answer, after which it begins; 0: never
	pause     time.Duration // between two tries

	mu     sync.Mutex
	failed int
	next   time.Time // when one may ask again
}

// ask reports whether a question may be sent.
func (s *silence) ask(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.questions <= 0 || s.failed < s.questions {
		return true
	}
	if now.Before(s.next) {
		return false
	}
	s.next = now.Add(s.pause)
	return true
}

func (s *silence) heard(answer bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer {
		s.failed = 0
		return
	}
	s.failed++
	s.next = now.Add(s.pause)
}

func (w *wire) once(ctx context.Context, server string, q *dns.Msg) (*dns.Msg, error) {
	if w.tls != nil {
		return w.try(ctx, "tcp", server, q)
	}
	a, err := w.try(ctx, "udp", server, q)
	if err != nil {
		return nil, err
	}
	if a.Rcode == dns.RcodeFormatError && q.IsEdns0() != nil { // RFC 6891 section 7: it does not know EDNS
		old := q.Copy()
		old.Extra = nil
		if a, err = w.try(ctx, "udp", server, old); err != nil {
			return nil, err
		}
	}
	if a.Truncated { // RFC 5966 section 4
		return w.try(ctx, "tcp", server, q)
	}
	return a, nil
}

var errMismatch = errors.New("answer does not fit the question")

// try sends the question once. Every question has a socket, and so a source port, of its own (RFC 5452 section 9.2).
func (w *wire) try(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	nc, err := w.dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if w.tls != nil {
		// Who cannot prove to be the server that was named gets no question (RFC 8310 section 5, strict profile).
		secure := tls.Client(nc, w.tlsFor(server))
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("ask %s over TLS: %w", server, err)
		}
		nc = secure
	}
	q = q.Copy()
	q.Id = dns.Id()
	c := &dns.Conn{Conn: nc, UDPSize: udpOctets}
	if err := c.WriteMsg(q); err != nil {
		return nil, fmt.Errorf("ask %s: %w", server, err)
	}
	for {
		a, err := c.ReadMsg()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask %s: %w", server, ctx.Err())
		}
		if err == nil {
			err = fits(q, a)
		}
		switch {
		case err == nil:
			return a, nil
		case network == "udp" && !isNetError(err):
			continue // RFC 5452 section 9.1: somebody else's packet; the true one may still come
		}
		return nil, fmt.Errorf("ask %s: %w", server, err)
	}
}

// fits reports whether a answers q.
func fits(q, a *dns.Msg) error {
	if a.Id != q.Id || !a.Response {
		return errMismatch
	}
	if len(a.Question) == 0 && a.Rcode == dns.RcodeFormatError {
		a.Question = q.Question
		return nil
	}
	if len(a.Question) != 1 || a.Question[0].Qtype != q.Question[0].Qtype || !strings.EqualFold(a.Question[0].Name, q.Question[0].Name) {
		return errMismatch
	}
	return nil
}

// tlsFor names the server whose certificate is wanted.
func (w *wire) tlsFor(server string) *tls.Config {
	if w.tls.ServerName != "" || w.tls.InsecureSkipVerify {
		return w.tls
	}
	c := w.tls.Clone()
	c.ServerName, _, _ = net.SplitHostPort(server)
	return c
}

func isNetError(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)
}
