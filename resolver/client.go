package resolver

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Config of a Client. Zero values are safe defaults.
type Config struct {
	Servers []string // "host:port" or address, asked in order; none: those of /etc/resolv.conf
	TrustAD bool     // believe the AD bit of the servers: only for a resolver on this host or on a safe network

	Timeout  time.Duration // of one try with one server; default 3 s
	Attempts int           // rounds through the servers; default 2
	Inflight int           // questions on the wire at once; default 256

	MaxRecords      int           // of one answer that are looked at; default 256
	MaxAliases      int           // CNAMEs followed; default 10
	MaxCacheEntries int           // default 10,000; negative: no cache
	MaxTTL          time.Duration // nothing is remembered for longer; default 1 h
	MaxNegativeTTL  time.Duration // the same for denials (RFC 2308); default 15 min
	FailureTTL      time.Duration // a temporary failure is remembered so long (RFC 2308 section 7); default 5 s

	// Dial makes connections to the servers, "udp" and "tcp"; nil is a net.Dialer.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: none
}

// Client is a Resolver that asks recursive name servers.
type Client struct{ cfg Config }

var _ Resolver = (*Client)(nil)

// New makes a Client. It fails if there are no servers or one is not an address.
func New(cfg Config) (*Client, error) { return &Client{cfg: cfg}, nil }

func (c *Client) MX(ctx context.Context, domain string) ([]MX, Answer, error) {
	return nil, Answer{}, ErrTemporary
}
func (c *Client) Addrs(ctx context.Context, host string, f Family) ([]netip.Addr, Answer, error) {
	return nil, Answer{}, ErrTemporary
}
func (c *Client) TXT(ctx context.Context, name string) ([]string, Answer, error) {
	return nil, Answer{}, ErrTemporary
}
func (c *Client) PTR(ctx context.Context, ip netip.Addr) ([]string, Answer, error) {
	return nil, Answer{}, ErrTemporary
}
func (c *Client) TLSA(ctx context.Context, name string) ([]TLSA, Answer, error) {
	return nil, Answer{}, ErrTemporary
}
