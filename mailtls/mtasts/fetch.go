package mtasts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/samotop/samotop/resolver"
)

// Errors of a fetch.
var (
	ErrFetch = errors.New("mtasts: the policy cannot be fetched")
	ErrCert  = errors.New("mtasts: the certificate of the policy's web server does not verify") // also ErrFetch
)

// fetch gets a policy by HTTPS (RFC 8461 section 3.3).
func (c *Client) fetch(ctx context.Context, domain string) (*Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+Host(domain)+Path, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	req.Header.Set("User-Agent", "samotop")
	res, err := c.http.Do(req)
	if err != nil {
		var cert *tls.CertificateVerificationError
		if errors.As(err, &cert) {
			return nil, fmt.Errorf("%w: %w: %w", ErrFetch, ErrCert, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK { // also a redirect, which MUST NOT be followed
		return nil, fmt.Errorf("%w: %s", ErrFetch, res.Status)
	}
	if t, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || t != "text/plain" { // RFC 8461 section 3.2
		return nil, fmt.Errorf("%w: the media type is %.80q, not text/plain", ErrFetch, res.Header.Get("Content-Type"))
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, MaxPolicyOctets+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	return ParsePolicy(string(text))
}

// NewHTTP makes the client that policies are fetched with: it follows no redirect, uses no proxy, asks cfg.Resolver for
// addresses, and does not connect to this host.
func NewHTTP(cfg Config) *http.Client {
	if cfg.FetchTime <= 0 {
		cfg.FetchTime = time.Minute
	}
	return newHTTP(&cfg)
}

// newHTTP makes a client that follows no redirect, uses no proxy or cache, and asks our own resolver for addresses.
func newHTTP(cfg *Config) *http.Client {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.TLS != nil {
		conf = cfg.TLS.Clone()
	}
	dial := cfg.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: conf, DisableKeepAlives: true, TLSHandshakeTimeout: cfg.FetchTime,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: false,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return dialHost(ctx, cfg.Resolver, dial, address)
			},
		},
	}
}

// maxAddresses of the web server are tried.
const maxAddresses = 4

// dialHost connects to the host by what the resolver says of it. Addresses that lead to ourselves cannot be meant.
func dialHost(ctx context.Context, r resolver.Resolver, dial func(context.Context, string, string) (net.Conn, error), address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ips, _, err := r.Addrs(ctx, host, resolver.AnyFamily)
	if err != nil {
		return nil, err
	}
	err = errors.New("no usable address")
	for i, ip := range ips {
		if i == maxAddresses {
			break
		}
		if ip = ip.Unmap(); ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast() {
			continue
		}
		tctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		var conn net.Conn
		conn, err = dial(tctx, "tcp", net.JoinHostPort(ip.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}
