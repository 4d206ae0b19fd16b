package resolver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Config of a Client. Zero values are safe defaults.
type Config struct {
	Servers []string // "host:port" or an address, asked in order; none: those of /etc/resolv.conf
	TrustAD bool     // believe the AD bit of the servers: only for a resolver on this host or on a safe network

	// TLS, if not nil, asks by DNS over TLS only (RFC 7858), on port 853 where a server has none. ServerName is the name that
	// the certificates of the servers must have; without it that is the address.
	TLS *tls.Config

	Timeout  time.Duration // of one try with one server; default 3 s
	Attempts int           // rounds through the servers; default 2
	Inflight int           // questions on the wire at once; default 256

	// MaxSilent is how many questions in a row may go without any answer from any server until the others no longer wait
	// for one: they fail at once, and one is sent every FailureTTL; default 3, negative: all wait.
	MaxSilent int

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

func (c Config) withDefaults() Config {
	set(&c.Timeout, 3*time.Second)
	set(&c.Attempts, 2)
	set(&c.Inflight, 256)
	set(&c.MaxRecords, 256)
	set(&c.MaxAliases, 10)
	if c.MaxSilent == 0 {
		c.MaxSilent = 3
	}
	if c.MaxCacheEntries == 0 {
		c.MaxCacheEntries = 10000
	}
	set(&c.MaxTTL, time.Hour)
	set(&c.MaxNegativeTTL, 15*time.Minute)
	set(&c.FailureTTL, 5*time.Second)
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func set[T int | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

// exchanger sends one question and returns the answer.
type exchanger func(ctx context.Context, q *dns.Msg) (*dns.Msg, error)

// Client is a Resolver that asks recursive name servers.
type Client struct {
	cfg      Config
	exchange exchanger
	cache    *cache
	flights  flights
	slots    chan struct{}
}

var _ Resolver = (*Client)(nil)

// New makes a Client. It fails if there are no servers or one is not an address.
func New(cfg Config) (*Client, error) {
	servers := cfg.Servers
	if len(servers) == 0 {
		var err error
		if servers, err = SystemServers("/etc/resolv.conf"); err != nil {
			return nil, err
		}
	}
	port := uint16(53)
	if cfg.TLS != nil {
		port = 853
	}
	addrs := make([]string, len(servers))
	for i, s := range servers {
		a, err := serverAddress(s, port)
		if err != nil {
			return nil, err
		}
		addrs[i] = a
	}
	c := newClient(cfg, nil)
	w := &wire{servers: addrs, attempts: c.cfg.Attempts, timeout: c.cfg.Timeout, dial: c.cfg.Dial, log: c.cfg.Log, tls: c.cfg.TLS,
		silence: silence{questions: c.cfg.MaxSilent, pause: c.cfg.FailureTTL}}
	c.exchange = w.exchange
	return c, nil
}

func newClient(cfg Config, x exchanger) *Client {
	cfg = cfg.withDefaults()
	return &Client{cfg: cfg, exchange: x, cache: newCache(cfg.MaxCacheEntries),
		flights: flights{m: map[question]*flight{}}, slots: make(chan struct{}, cfg.Inflight)}
}

func serverAddress(s string, port uint16) (string, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(ip, port).String(), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return "", fmt.Errorf("resolver: server %q is not of the form address:port, such as 127.0.0.1:53", s)
	}
	return ap.String(), nil
}

// SystemServers returns the name servers of a file such as /etc/resolv.conf.
func SystemServers(file string) ([]string, error) {
	conf, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	var servers []string
	for _, s := range conf.Servers {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("resolver: %s names no name server", file)
	}
	return servers, nil
}

func (c *Client) MX(ctx context.Context, domain string) ([]MX, Answer, error) {
	rrs, ans, err := c.lookup(ctx, domain, dns.TypeMX)
	if err != nil {
		return nil, ans, err
	}
	mx := make([]MX, 0, len(rrs))
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.MX); ok {
			mx = append(mx, MX{Preference: rr.Preference, Host: plain(rr.Mx)})
		}
	}
	slices.SortStableFunc(mx, func(a, b MX) int { return int(a.Preference) - int(b.Preference) })
	if len(mx) > 1 { // RFC 7505 section 3: a null MX beside others means nothing
		mx = slices.DeleteFunc(mx, func(m MX) bool { return m.Host == "" })
	}
	return mx, ans, nil
}

func (c *Client) Addrs(ctx context.Context, host string, f Family) ([]netip.Addr, Answer, error) {
	switch f {
	case IPv4:
		return c.addrs(ctx, host, dns.TypeA)
	case IPv6:
		return c.addrs(ctx, host, dns.TypeAAAA)
	}
	type part struct {
		ips []netip.Addr
		ans Answer
		err error
	}
	ch := make(chan part, 1)
	go func() {
		var p part
		p.ips, p.ans, p.err = c.addrs(ctx, host, dns.TypeA)
		ch <- p
	}()
	var six part
	six.ips, six.ans, six.err = c.addrs(ctx, host, dns.TypeAAAA)
	four := <-ch
	switch {
	case six.err != nil && four.err != nil:
		if errors.Is(six.err, ErrTemporary) {
			return nil, six.ans, six.err
		}
		return nil, four.ans, four.err
	case six.err != nil:
		four.ans.Authentic = four.ans.Authentic && six.ans.Authentic
		return four.ips, four.ans, nil
	case four.err != nil:
		six.ans.Authentic = six.ans.Authentic && four.ans.Authentic
		return six.ips, six.ans, nil
	}
	six.ans.Authentic = six.ans.Authentic && four.ans.Authentic
	six.ans.TTL = min(six.ans.TTL, four.ans.TTL)
	return append(six.ips, four.ips...), six.ans, nil
}

// Records returns the data of the records of any type, such as "SRV" or "CAA", as a zone file has it; names end in a dot.
// It is for tools that show or compare them.
func (c *Client) Records(ctx context.Context, name, typ string) ([]string, Answer, error) {
	t, ok := dns.StringToType[typ]
	if !ok {
		return nil, Answer{}, fmt.Errorf("resolver: there is no record type %q", typ)
	}
	rrs, ans, err := c.lookup(ctx, name, t)
	if err != nil {
		return nil, ans, err
	}
	out := make([]string, 0, len(rrs))
	for _, rr := range rrs {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return out, ans, nil
}

func (c *Client) addrs(ctx context.Context, host string, t uint16) ([]netip.Addr, Answer, error) {
	rrs, ans, err := c.lookup(ctx, host, t)
	if err != nil {
		return nil, ans, err
	}
	ips := make([]netip.Addr, 0, len(rrs))
	for _, rr := range rrs {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A.To4()
		case *dns.AAAA:
			ip = rr.AAAA.To16()
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			ips = append(ips, a)
		}
	}
	if len(ips) == 0 {
		return nil, ans, fmt.Errorf("%s: %w", host, ErrNoData)
	}
	return ips, ans, nil
}

func (c *Client) TXT(ctx context.Context, name string) ([]string, Answer, error) {
	rrs, ans, err := c.lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, ans, err
	}
	var texts []string
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.TXT); ok {
			texts = append(texts, unescape(strings.Join(rr.Txt, "")))
		}
	}
	return texts, ans, nil
}

func (c *Client) PTR(ctx context.Context, ip netip.Addr) ([]string, Answer, error) {
	arpa, err := dns.ReverseAddr(ip.Unmap().WithZone("").String())
	if err != nil {
		return nil, Answer{}, fmt.Errorf("%v: %w", ip, ErrBadName)
	}
	rrs, ans, err := c.lookup(ctx, arpa, dns.TypePTR)
	if err != nil {
		return nil, ans, err
	}
	var names []string
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.PTR); ok && rr.Ptr != "." {
			names = append(names, plain(rr.Ptr))
		}
	}
	return names, ans, nil
}

func (c *Client) TLSA(ctx context.Context, name string) ([]TLSA, Answer, error) {
	rrs, ans, err := c.lookup(ctx, name, dns.TypeTLSA)
	if err != nil {
		return nil, ans, err
	}
	var out []TLSA
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.TLSA); ok {
			data, err := hexBytes(rr.Certificate)
			if err != nil {
				continue
			}
			out = append(out, TLSA{Usage: rr.Usage, Selector: rr.Selector, MatchingType: rr.MatchingType, Data: data})
		}
	}
	return out, ans, nil
}
