// Package acme gets certificates from an authority by ACME (RFC 8555) and renews them, with certmagic.
//
//	m, err := acme.New(acme.Config{Dir: "certs", Hostname: "mx.example.org", CertFile: cert, KeyFile: key, Directory: acme.LetsEncrypt})
//	go m.Run(ctx) // and serve m.HTTP() on port 80, or m.TLS() on port 443, or set Config.DNS
//
// What it gets replaces the file CertFile, which package certs takes up without a restart, in whichever process ends TLS.
//
// Promises. The key is the owner's: it is read from KeyFile for each order and never changed, so that what is published about it
// (TLSA 3 1 1, RFC 7671) stays true over renewals; who replaces the key file gets a new certificate at the next start. CertFile is
// replaced by one rename, only by a certificate that belongs to the key, and is durable then. Where nothing can be got the
// certificate that is there stays, and it is tried again, later and later. Accounts and certificates are kept in Dir.
package acme

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/samotop/samotop/internal/certs"
)

// LetsEncrypt is the directory of that authority.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Config of New. All but Email, Roots, the challenges and Log are required; one challenge is.
type Config struct {
	Dir               string // accounts and certificates
	Hostname          string // whom the certificate is for
	CertFile, KeyFile string
	Directory         string         // URL of the authority
	Email             string         // where the authority may write to
	Roots             *x509.CertPool // who has signed the authority's own certificate; nil: the system's

	// How we show that the name is ours; with DNS the others are not used. HTTPAddress and TLSAddress are where the house
	// serves HTTP() and TLS(); the authority asks on ports 80 and 443.
	HTTPAddress string // HTTP-01 (RFC 8555 section 8.3); "": not
	TLSAddress  string // TLS-ALPN-01 (RFC 8737); "": not
	DNS         *DNS   // DNS-01 (RFC 8555 section 8.4) by updates (RFC 2136); nil: not

	Log *slog.Logger // nil: none
}

// Manager keeps the certificate of one name.
type Manager struct {
	cfg    Config
	log    *slog.Logger
	magic  *certmagic.Config
	cache  *certmagic.Cache
	issuer *certmagic.ACMEIssuer

	mu sync.Mutex // of CertFile
}

// New prepares a Manager. Nothing is asked yet.
func New(cfg Config) (*Manager, error) {
	m := &Manager{cfg: cfg, log: cfg.Log}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if cfg.HTTPAddress == "" && cfg.TLSAddress == "" && cfg.DNS == nil {
		return nil, errors.New("acme: there is no challenge by which the authority could be answered")
	}
	if _, err := m.key(); err != nil {
		return nil, err
	}
	log := zap.New(bridge{log: m.log})
	m.cache = certmagic.NewCache(certmagic.CacheOptions{Logger: log,
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil }})
	m.magic = certmagic.New(m.cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: cfg.Dir}, KeySource: keySource{m}, Logger: log,
		OnEvent: m.event, OCSP: certmagic.OCSPConfig{DisableStapling: true}})
	// An empty address would make certmagic ask whoever sits at the terminal; a space means none.
	template := certmagic.ACMEIssuer{CA: cfg.Directory, TestCA: cfg.Directory, Email: cmp.Or(cfg.Email, " "), Agreed: true, TrustedRoots: cfg.Roots, Logger: log,
		DisableHTTPChallenge: cfg.HTTPAddress == "", DisableTLSALPNChallenge: cfg.TLSAddress == ""}
	if cfg.DNS != nil {
		template.DNS01Solver = cfg.DNS
	}
	var err error
	if template.ListenHost, template.AltHTTPPort, err = split(cfg.HTTPAddress); err != nil {
		return nil, err
	}
	host, port, err := split(cfg.TLSAddress)
	if err != nil {
		return nil, err
	}
	template.AltTLSALPNPort = port
	if cfg.HTTPAddress == "" {
		template.ListenHost = host
	}
	m.issuer = certmagic.NewACMEIssuer(m.magic, template)
	m.magic.Issuers = []certmagic.Issuer{m.issuer}
	return m, nil
}

func split(address string) (host string, port int, err error) {
	if address == "" {
		return "", 0, nil
	}
	host, p, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil {
		err = fmt.Errorf("acme: %w", err)
	}
	return host, port, err
}

// Times of Run.
const (
	checkEvery = time.Hour        // how often it looks at the certificate's age
	firstRetry = time.Minute      // after an order that failed; doubled each time
	lastRetry  = 6 * time.Hour    // and never longer
	orderTime  = 10 * time.Minute // of one order
)

// Run gets the certificate if there is none, and keeps it fresh, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	defer m.cache.Stop()
	err := m.deploy(ctx, m.stored())
	otherKey := errors.Is(err, errOtherKey)
	if err != nil && !otherKey && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if otherKey {
		m.log.Info("the key was replaced: a new certificate is ordered", "key", m.cfg.KeyFile)
	}
	for retry := firstRetry; ; {
		wait := checkEvery
		// certmagic would try again by itself, but whoever calls Renew meanwhile would wait until that ends, which may be a month.
		switch err := m.refresh(ctx, otherKey); {
		case err != nil && ctx.Err() == nil:
			wait, retry = retry, min(2*retry, lastRetry)
			m.log.Error("no new certificate; it is tried again", "err", err, "after", wait)
		case err == nil:
			otherKey, retry = false, firstRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait + rand.N(wait/10)):
		}
	}
}

// stored is where the storage keeps the certificate.
func (m *Manager) stored() string {
	return certmagic.StorageKeys.SiteCert(m.issuer.IssuerKey(), m.cfg.Hostname)
}

// refresh orders a certificate, once, if there is none, if less than a third of its time is left, or if it must.
func (m *Manager) refresh(ctx context.Context, must bool) error {
	if c, err := certs.Load(m.cfg.CertFile, m.cfg.KeyFile); err == nil && !must && m.magic.Storage.Exists(ctx, m.stored()) {
		if left := time.Until(c.Leaf.NotAfter); left > c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)/3 {
			return nil
		}
		must = true
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if must {
		return m.Renew(ctx)
	}
	return m.magic.ObtainCertSync(ctx, m.cfg.Hostname)
}

// Renew orders a new certificate now, though the old one may be good for long. It tries once.
func (m *Manager) Renew(ctx context.Context) error {
	return m.magic.RenewCertSync(ctx, m.cfg.Hostname, true)
}

// HTTP answers the authority on port 80, and everybody else with 404.
func (m *Manager) HTTP() http.Handler { return m.issuer.HTTPChallengeHandler(http.NotFoundHandler()) }

// TLS answers the authority on port 443. There is nothing else to be had there.
func (m *Manager) TLS() *tls.Config {
	c := m.magic.TLSConfig()
	c.MinVersion = tls.VersionTLS12
	c.NextProtos = []string{"acme-tls/1"} // RFC 8737 section 3
	return c
}

// event is told by certmagic what happens.
func (m *Manager) event(ctx context.Context, event string, data map[string]any) error {
	if event != "cert_obtained" {
		return nil
	}
	path, _ := data["certificate_path"].(string)
	if err := m.deploy(ctx, path); err != nil {
		m.log.Error("the new certificate is not used", "err", err)
		return err
	}
	return nil
}

var errOtherKey = errors.New("acme: the certificate belongs to another key")

// deploy puts a certificate of the storage in place, if it is not there yet.
func (m *Manager) deploy(ctx context.Context, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	text, err := m.magic.Storage.Load(ctx, path)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(m.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	if _, err := tls.X509KeyPair(text, key); err != nil {
		return fmt.Errorf("%w: %w", errOtherKey, err)
	}
	if old, err := os.ReadFile(m.cfg.CertFile); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := replace(m.cfg.CertFile, text); err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	m.log.Info("a new certificate is in place", "file", m.cfg.CertFile, "hostname", m.cfg.Hostname)
	return nil
}

// replace writes a file beside another and renames it over that, durably.
func replace(name string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644) // a certificate is no secret
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil // it is in place; who may not look into the directory cannot sync it
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return err
	}
	return nil
}

// keySource gives the key of the house for each order.
type keySource struct{ m *Manager }

func (k keySource) GenerateKey() (crypto.PrivateKey, error) { return k.m.key() }

func (m *Manager) key() (crypto.PrivateKey, error) {
	c, err := certs.Load(m.cfg.CertFile, m.cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	return c.PrivateKey, nil
}
