package ruleproto

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
)

// Config of NewClient. Dial is required.
type Config struct {
	Dial    func(ctx context.Context) (net.Conn, error)
	Timeout time.Duration // of one question; 0: DefaultTimeout
	MaxKept int           // answers; 0: DefaultMaxKept; < 0: none
	Log     *slog.Logger  // nil: none
	Changed func()        // is called when something may have changed, from the goroutine of Follow; it must be quick; nil: nobody is
}

// Client asks. It is safe for concurrent use.
type Client struct {
	c      Config
	http   *http.Client
	stream *http.Client

	mu         sync.RWMutex
	up         bool   // the stream of events is there
	generation uint64 // the last one heard of
	kept, old  map[string]any
}

// NewClient makes a Client. It keeps no answers until Follow runs.
func NewClient(c Config) *Client {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxKept == 0 {
		c.MaxKept = DefaultMaxKept
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx) }
	return &Client{c: c,
		http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
			DisableCompression: true}, Timeout: c.Timeout},
		stream: &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true, ResponseHeaderTimeout: c.Timeout}},
	}
}

// Ask asks a question. An answer for which keep is true is kept until something changes, and must not be changed; a nil
// keep keeps none. A *mail.Reply or *Error of the server comes back as that; ErrAway if it cannot be asked.
func Ask[R any](ctx context.Context, c *Client, method string, args any, keep func(R) bool) (r R, err error) {
	body, err := json.Marshal(args)
	if err != nil {
		return r, err
	}
	key := ""
	if keep != nil {
		key = method + " " + string(body)
		if v, ok := c.lookup(key); ok {
			return v.(R), nil
		}
	}
	var a struct {
		Generation uint64
		Result     R
		Reply      *wireReply
		Error      *Error
	}
	if err := c.post(ctx, method, body, &a); err != nil {
		return r, err
	}
	switch {
	case a.Reply != nil:
		return r, mail.NewReply(a.Reply.Code, a.Reply.Enhanced, a.Reply.Text)
	case a.Error != nil:
		return r, a.Error
	case keep != nil && keep(a.Result):
		c.keep(key, a.Generation, a.Result)
	}
	return a.Result, nil
}

func (c *Client) post(ctx context.Context, method string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://accounts/v1/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswerOctets+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrAway, err)
	case len(b) > MaxAnswerOctets:
		return fmt.Errorf("%s: the answer is too long", method)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", method, resp.Status, bytes.TrimSpace(b[:min(len(b), 200)]))
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("%s: the answer cannot be read: %w", method, err)
	}
	return nil
}

// lookup finds a kept answer. Of two maps the younger is filled; when it is full it becomes the elder, whose place is
// taken: what is asked for again stays, the rest goes, without a list of uses.
func (c *Client) lookup(key string) (any, bool) {
	c.mu.RLock()
	v, young := c.kept[key]
	old, elder := c.old[key]
	g := c.generation
	c.mu.RUnlock()
	if !young && elder {
		c.keep(key, g, old)
		v = old
	}
	return v, young || elder
}

func (c *Client) keep(key string, generation uint64, v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up || generation != c.generation || c.c.MaxKept < 0 { // older than the last event, or of another process
		return
	}
	if c.kept == nil || len(c.kept) >= c.c.MaxKept/2 {
		c.kept, c.old = map[string]any{}, c.kept
	}
	c.kept[key] = v
}

// set takes news over, and reports whether there are any.
func (c *Client) set(up bool, generation uint64) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if news = !up || !c.up || generation != c.generation; news {
		c.kept, c.old = nil, nil
	}
	c.up, c.generation = up && generation > 0, generation
	return news
}

// Up reports whether the server is there, as far as the stream of events tells.
func (c *Client) Up() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.up
}

// Follow listens for changes until ctx ends, and comes back with a growing pause when the stream breaks.
func (c *Client) Follow(ctx context.Context) {
	const first, last = 50 * time.Millisecond, 5 * time.Second
	for wait := first; ctx.Err() == nil; wait = min(2*wait, last) {
		heard, err := c.follow(ctx)
		c.set(false, 0)
		if heard {
			wait = first
		}
		if ctx.Err() != nil {
			return
		}
		c.c.Log.Debug("events of the accounts broke off", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

// follow reads one stream to its end.
func (c *Client) follow(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://accounts/v1/events", nil)
	if err != nil {
		return false, err
	}
	resp, err := c.stream.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, errors.New(resp.Status)
	}
	silence := time.AfterFunc(maxSilence, func() { cancel(errors.New("the server is silent")) })
	defer silence.Stop()
	lines := bufio.NewScanner(resp.Body) // a line is at most 64 KiB
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return heard, err
		}
		silence.Reset(maxSilence)
		if c.set(true, e.Generation) && c.c.Changed != nil {
			c.c.Changed()
		}
		heard = true
	}
	return heard, lines.Err()
}

// Close lets connections go that nobody uses.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	c.stream.CloseIdleConnections()
	return nil
}
