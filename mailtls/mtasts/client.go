package mtasts

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/resolver"
)

// Cached is a policy that was fetched.
type Cached struct {
	ID      string // of the record that told of it
	Policy  Policy
	Fetched time.Time
}

// Expires is until when the policy holds.
func (c *Cached) Expires() time.Time { return c.Fetched.Add(c.Policy.MaxAge) }

// Store keeps policies, so that who takes away the DNS for a while takes away no policy. It is safe for concurrent use.
type Store interface {
	// Policy returns what was kept for a domain, nil if nothing.
	Policy(ctx context.Context, domain string) (*Cached, error)
	KeepPolicy(ctx context.Context, domain string, c *Cached) error
}

// Config of New. Resolver is required.
type Config struct {
	Resolver resolver.Resolver
	Store    Store       // nil: nothing is kept
	TLS      *tls.Config // for HTTPS: roots; nil: the system's
	// Dial connects to an address; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	FetchTime   time.Duration // for one policy; default 60 s (RFC 8461 section 3.3)
	RetryTime   time.Duration // before a fetch that failed is tried again; default 5 min (RFC 8461 section 3.3)
	MaxFailures int           // remembered; default 10,000

	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: none
}

// Client finds policies.
type Client struct {
	cfg  Config
	http *http.Client

	mu      sync.Mutex
	failed  map[string]failure
	flights map[string]*flight
}

type failure struct {
	at  time.Time
	id  string
	err error
}

type flight struct {
	done  chan struct{}
	found Found
}

// Found is what is known of a domain.
type Found struct {
	Policy *Policy // nil: it has none
	// Failure is why the policy it announces, or a newer one than Policy, could not be had; for reports (RFC 8460 section
	// 4.3): errors.Is ErrCert, ErrFetch or ErrSyntax.
	Failure error
}

// New makes a Client.
func New(cfg Config) *Client {
	if cfg.FetchTime <= 0 {
		cfg.FetchTime = time.Minute
	}
	if cfg.RetryTime <= 0 {
		cfg.RetryTime = 5 * time.Minute
	}
	if cfg.MaxFailures <= 0 {
		cfg.MaxFailures = 10000
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, failed: map[string]failure{}, flights: map[string]*flight{}}
	c.http = newHTTP(&c.cfg)
	return c
}

// Find returns the policy of a domain (RFC 8461 section 3 and 5.1). An error says that ctx ended or that the Store does
// not work; everything else is in Found.
func (c *Client) Find(ctx context.Context, domain string) (Found, error) {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	c.mu.Lock()
	fl := c.flights[domain]
	if fl == nil {
		fl = &flight{done: make(chan struct{})}
		c.flights[domain] = fl
		go c.fly(context.WithoutCancel(ctx), domain, fl)
	}
	c.mu.Unlock()
	select {
	case <-fl.done:
		return fl.found, nil
	case <-ctx.Done():
		return Found{}, fmt.Errorf("mtasts: %s: %w", domain, ctx.Err())
	}
}

func (c *Client) fly(ctx context.Context, domain string, fl *flight) {
	fl.found = c.find(ctx, domain)
	c.mu.Lock()
	delete(c.flights, domain)
	c.mu.Unlock()
	close(fl.done)
}

func (c *Client) find(ctx context.Context, domain string) Found {
	now := c.cfg.Clock()
	kept := c.kept(ctx, domain, now)
	var held Found
	if kept != nil {
		held.Policy = &kept.Policy
	}
	txt, _, err := c.cfg.Resolver.TXT(ctx, RecordName(domain))
	if err != nil {
		return held // RFC 8461 section 3.1: what is cached holds
	}
	id, err := ParseRecord(txt)
	if err != nil || kept != nil && kept.ID == id && now.Before(kept.Fetched.Add(kept.Policy.MaxAge/2)) {
		return held
	}
	if err := c.failure(domain, id, now); err != nil {
		held.Failure = err
		return held
	}
	p, err := c.fetch(ctx, domain)
	if err != nil {
		c.fail(domain, failure{now, id, err})
		c.cfg.Log.Warn("mta-sts policy", "domain", domain, "err", err, "cached", kept != nil)
		held.Failure = err
		return held
	}
	if c.cfg.Store != nil {
		if err := c.cfg.Store.KeepPolicy(ctx, domain, &Cached{ID: id, Policy: *p, Fetched: now}); err != nil {
			c.cfg.Log.Error("keep an mta-sts policy", "domain", domain, "err", err)
		}
	}
	return Found{Policy: p}
}

// kept returns what the store has and what still holds.
func (c *Client) kept(ctx context.Context, domain string, now time.Time) *Cached {
	if c.cfg.Store == nil {
		return nil
	}
	k, err := c.cfg.Store.Policy(ctx, domain)
	if err != nil {
		c.cfg.Log.Error("read an mta-sts policy", "domain", domain, "err", err)
		return nil
	}
	if k == nil || !now.Before(k.Expires()) || k.Fetched.After(now.Add(24*time.Hour)) { // a clock that jumped
		return nil
	}
	return k
}

// failure returns why the last fetch failed, if that was a moment ago.
func (c *Client) failure(domain, id string, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.failed[domain]
	if !ok {
		return nil
	}
	if age := now.Sub(f.at); f.id != id || age < 0 || age >= c.cfg.RetryTime {
		delete(c.failed, domain)
		return nil
	}
	return f.err
}

func (c *Client) fail(domain string, f failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) >= c.cfg.MaxFailures {
		for d, old := range c.failed {
			if f.at.Sub(old.at) >= c.cfg.RetryTime || len(c.failed) >= c.cfg.MaxFailures {
				delete(c.failed, d)
			}
		}
	}
	c.failed[domain] = f
}
