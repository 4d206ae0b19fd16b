// Package ask lets the guard ask other filters for their opinion on messages: rspamd by HTTP, and milters, such as those of
// SpamAssassin and ClamAV, by their own protocol.
//
//	rspamd := ask.New(ask.Config{Name: "rspamd", URL: "http://127.0.0.1:11333/checkv2"})
//	clamav := ask.New(ask.Config{Name: "clamav", Network: "unix", Address: "/run/clamav/milter.sock"})
//	guard.New(guard.Config{Readers: []guard.Reader{rspamd, clamav}, ...})
//
// Promises. The content streams to the filter while it arrives; nothing of it is kept. A filter that is away, slow or
// broken has no opinion and mail is accepted, or with Config.Required its recipients are put off; it never holds mail up for
// longer than Config.Timeout at the end of the content, nor, while it arrives, than that for each piece. What a filter
// answers is bounded, and parsed as if it were hostile.
package ask

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mail"
)

// Defaults of Config.
const (
	DefaultTimeout  = 20 * time.Second
	DefaultInFlight = 64
)

// Points of verdicts that have no score of their own. They stand for the thresholds of the guard.
const (
	pointsReject     = 1000 // is refused, whatever else speaks for the message
	pointsDefer      = 1000 // see Config.Required: it is put off
	pointsQuarantine = 8    // is filed as junk
)

// Config is one filter. Either URL or Network and Address say where it is.
type Config struct {
	Name             string // in reasons
	URL              string // of rspamd's /checkv2
	Password         string // of rspamd's controller; "" for none
	Network, Address string // of a milter: "unix" and a path, or "tcp" and host:port

	Hostname  string        // ours, as milters are told
	Timeout   time.Duration // for the filter to take a piece, and to answer; 0: DefaultTimeout
	InFlight  int           // messages at the same time; more have no opinion; 0: DefaultInFlight
	MaxOctets int64         // of content that is shown; of longer mail there is no opinion; 0: no limit
	Weight    float64       // that rspamd's score is multiplied by; 0: 5 points for what rspamd calls junk
	Required  bool          // put off what the filter cannot be asked about

	Dial func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Log  *slog.Logger                                                         // nil: none
}

// Filter is a guard.Reader.
type Filter struct {
	c    Config
	busy atomic.Int64
}

var _ guard.Reader = (*Filter)(nil)

// New makes a Filter. Nothing connects yet.
func New(c Config) *Filter {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.InFlight <= 0 {
		c.InFlight = DefaultInFlight
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Filter{c: c}
}

// asking is one message on its way through a filter of some kind.
type asking interface {
	write(p []byte) error
	// end tells what the filter thinks, after the whole content.
	end(ctx context.Context) (guard.Opinion, error)
	close()
}

var (
	errBusy = errors.New("too many messages at the same time")
	errLong = errors.New("the message is longer than the filter is shown")
)

// Read is of guard.Reader.
func (f *Filter) Read(ctx context.Context, m *guard.Message) (guard.Reading, error) {
	r := &reading{f: f}
	if f.busy.Add(1) > int64(f.c.InFlight) {
		r.err = errBusy
		return r, nil
	}
	if f.c.URL != "" {
		r.a = f.askRspamd(ctx, m)
	} else {
		r.a, r.err = f.askMilter(ctx, m)
	}
	return r, nil
}

// reading is one message. What goes wrong is told by the opinion, so that what is required is required.
type reading struct {
	f      *Filter
	a      asking // nil: there is none
	err    error
	octets int64
	done   bool
	o      guard.Opinion
}

func (r *reading) Write(p []byte) (int, error) {
	r.octets += int64(len(p))
	if r.err == nil && r.f.c.MaxOctets > 0 && r.octets > r.f.c.MaxOctets {
		r.err = errLong
	}
	if r.err == nil {
		r.err = r.a.write(p)
	}
	return len(p), nil
}

// Opinion is of guard.Reading: the same for every recipient.
func (r *reading) Opinion(ctx context.Context, _ mail.Address) (guard.Opinion, error) {
	if !r.done {
		r.done = true
		if r.err == nil {
			ctx, cancel := context.WithTimeout(ctx, r.f.c.Timeout)
			defer cancel()
			r.o, r.err = r.a.end(ctx)
		}
		if r.err != nil {
			r.f.c.Log.Warn("a filter has no opinion", "filter", r.f.c.Name, "err", r.err)
		}
	}
	if r.err != nil && r.f.c.Required && !errors.Is(r.err, errLong) {
		return guard.Opinion{Defer: true, Reasons: []string{r.f.c.Name + " cannot be asked"}}, nil
	}
	return r.o, nil
}

func (r *reading) Close() {
	if r.a != nil {
		r.a.close()
	}
	r.f.busy.Add(-1)
}

// maxTextOctets is the longest text of a filter that who sends a message is told.
const maxTextOctets = 200

// clean keeps what a filter says from breaking a log line or a header field.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// told is what a filter wants to be told to who sends a message, fit for a reply: ASCII on one line (RFC 5321 section 4.2).
func told(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, strings.Join(strings.Fields(clean(s, len(s))), " "))
	return strings.TrimSpace(s[:min(len(s), maxTextOctets)])
}

// say words a filter's verdict.
func (f *Filter) say(o *guard.Opinion, points float64, format string, args ...any) {
	o.Say(points, "%s", f.c.Name+": "+clean(fmt.Sprintf(format, args...), 300))
}
