package postfix

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mail"
)

// Policy answers Postfix's policy requests by what a guard says at RCPT.
type Policy struct {
	Door mail.Door // of the guard
	// Ours tells whose the mail to a recipient is: what is not ours is left to Postfix, which knows whom it relays for; nil: all
	// is ours.
	Ours func(ctx context.Context, to mail.Address) (bool, error)

	MaxConnections int           // 0: DefaultMaxConnections
	IdleTime       time.Duration // 0: DefaultIdleTime
	Log            *slog.Logger  // nil: none
}

// Limits of a request.
const (
	maxLineOctets = 8 << 10
	maxAttributes = 200
	maxTextOctets = 300 // of an answer
)

// Serve answers until ctx ends, which closes the listener.
func (p *Policy) Serve(ctx context.Context, l net.Listener) error {
	s := server{max: p.MaxConnections, idle: p.IdleTime, log: p.Log, talk: func(ctx context.Context, c net.Conn) error { return p.talk(ctx, c) }}
	return s.serve(ctx, l)
}

var (
	errLine       = errors.New("a line that is too long or holds no \"=\"")
	errAttributes = errors.New("too many attributes")
	errRequest    = errors.New("not a request of smtpd_access_policy")
)

// talk answers one request after the other.
func (p *Policy) talk(ctx context.Context, c io.ReadWriter) error {
	r := bufio.NewReaderSize(c, maxLineOctets)
	for {
		req, err := readRequest(r)
		if errors.Is(err, io.EOF) && req == nil {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(c, "action=%s\n\n", p.action(ctx, req)); err != nil {
			return err
		}
	}
}

// readRequest reads name=value lines up to an empty one. It is nil with io.EOF where there is no more.
func readRequest(r *bufio.Reader) (map[string]string, error) {
	var req map[string]string
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = errLine
			} else if len(line) > 0 || req != nil {
				err = io.ErrUnexpectedEOF
			}
			return req, err
		}
		if req == nil {
			req = map[string]string{}
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			if req["request"] != "smtpd_access_policy" {
				return req, errRequest
			}
			return req, nil
		}
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return req, errLine
		}
		if len(req) >= maxAttributes {
			return req, errAttributes
		}
		req[name] = value
	}
}

// action is the answer: DUNNO where the guard accepts, or has nothing to say.
func (p *Policy) action(ctx context.Context, req map[string]string) string {
	if state := req["protocol_state"]; state != "RCPT" || req["sasl_username"] != "" {
		return "DUNNO"
	}
	to, err := mail.ParseAddress(req["recipient"])
	if err != nil {
		return "DUNNO" // Postfix has taken it for one: it is not in a domain of ours
	}
	from := mail.Address{}
	if s := req["sender"]; s != "" {
		if from, err = mail.ParseAddress(s); err != nil {
			return "550 5.1.7 this is no address of a sender"
		}
	}
	if p.Ours != nil {
		ours, err := p.Ours(ctx, to)
		if err != nil {
			return "DEFER_IF_PERMIT 4.3.0 temporary local problem"
		}
		if !ours {
			return "DUNNO"
		}
	}
	s, err := session(req)
	if err != nil {
		return "DEFER_IF_PERMIT 4.3.0 the address of the client cannot be read"
	}
	return say(p.ask(ctx, s, from, to))
}

// session is what Postfix knows of its client.
func session(req map[string]string) (*mail.Session, error) {
	ip, err := netip.ParseAddr(req["client_address"])
	if err != nil {
		return nil, err
	}
	port, _ := strconv.ParseUint(req["client_port"], 10, 16) // older ones do not tell
	s := &mail.Session{ID: req["instance"], Service: guard.ServicePolicy, Stage: mail.StageHello, RemoteAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(port))),
		Hello: req["helo_name"], Extended: req["protocol_name"] != "SMTP", Start: time.Now()}
	if name := req["client_name"]; name != "unknown" { // which it has confirmed
		s.RemoteName = name
	}
	return s, nil
}

// ask begins a transaction, and gives it up.
func (p *Policy) ask(ctx context.Context, s *mail.Session, from, to mail.Address) error {
	r, err := p.Door.Open(ctx, s)
	if err != nil {
		return err
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	tx, err := r.Begin(ctx, s, mail.Sender{Address: from})
	if err != nil {
		return err
	}
	defer tx.Abort() //nolint:errcheck // nothing was begun
	return tx.Recipient(ctx, &mail.Recipient{Address: to})
}

// say words the verdict: what is refused for good is, and what is put off only if nothing else of Postfix's refuses it.
func say(err error) string {
	if err == nil {
		return "DUNNO"
	}
	r := mail.AsReply(err)
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return ' '
		}
		return c
	}, r.Text)
	text = text[:min(len(text), maxTextOctets)]
	if r.Permanent() {
		return fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], text)
	}
	return fmt.Sprintf("DEFER_IF_PERMIT %d.%d.%d %s", r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], text)
}
