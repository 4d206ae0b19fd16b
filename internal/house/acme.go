package house

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/internal/acme"
	"github.com/samotop/samotop/internal/config"
)

// answerTime is how long the authority may take on the port of TLS-ALPN-01.
const answerTime = 10 * time.Second

// acmeServices get the certificate: in a house that is split the management room does, which has no door to the world otherwise.
// They listen where the authority asks.
func (h *House) acmeServices() ([]planned, error) {
	a := h.conf.TLS.ACME
	if a == nil || !h.has(Management) {
		return nil, nil
	}
	cfg := acme.Config{Dir: filepath.Join(h.conf.Dir, config.ACMEDir), Hostname: h.conf.Hostname, CertFile: h.conf.TLS.Cert, KeyFile: h.conf.TLS.Key,
		Directory: a.Directory, Email: a.Email, Log: h.log.With("part", "acme")}
	if a.HTTP.IsValid() {
		cfg.HTTPAddress = a.HTTP.String()
	}
	if a.TLSALPN.IsValid() {
		cfg.TLSAddress = a.TLSALPN.String()
	}
	if a.DNSServer.IsValid() {
		cfg.DNS = &acme.DNS{Server: a.DNSServer.String(), KeyName: a.DNSKey, Algorithm: a.DNSAlgorithm, Delay: a.DNSWait}
		if a.DNSKeyFile != "" {
			secret, err := os.ReadFile(a.DNSKeyFile)
			if err != nil {
				return nil, fmt.Errorf("tls.acme.dns_key_file: %w", err)
			}
			cfg.DNS.Secret = strings.TrimSpace(string(secret))
		}
	}
	var err error
	if cfg.Roots, err = roots("tls.acme.ca", a.CA); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil { // a room by itself may not make it later
		return nil, fmt.Errorf("tls.acme: %w", err)
	}
	if h.acme, err = acme.New(cfg); err != nil {
		return nil, err
	}
	var out []planned
	if cfg.HTTPAddress != "" {
		p := h.http("acme", cfg.HTTPAddress, 0, h.acme.HTTP())
		p.network = "tcp"
		out = append(out, p)
	}
	if cfg.TLSAddress != "" {
		srv := &handshakes{conf: h.acme.TLS()}
		out = append(out, planned{name: "acme-tls", network: "tcp", address: cfg.TLSAddress, serve: srv.serve,
			shutdown: func(context.Context) error { return nil }}) // its listener is closed
	}
	return out, nil
}

// roots reads authorities to be trusted beside the system's; nil means just those.
func roots(key, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s holds no certificate in PEM form", key, file)
	}
	return pool, nil
}

// handshakes answers TLS-ALPN-01: all that is asked is in the handshake (RFC 8737 section 3).
type handshakes struct{ conf *tls.Config }

const handshakesAtOnce = 100

func (s *handshakes) serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan struct{}, handshakesAtOnce)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(answerTime)); err == nil {
				_ = tls.Server(c, s.conf).HandshakeContext(ctx) // who else comes hears nothing
			}
		})
	}
}
