package house

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/samotop/samotop/internal/certs"
	"github.com/samotop/samotop/internal/config"
)

// Limits of links between machines.
const (
	farHandshakeTime = 10 * time.Second
	farHandshakes    = 100 // at once; more wait
	farAlive         = 15 * time.Second
	farPause         = 50 * time.Millisecond // after an error of the listener
)

// farTLS is for both ends of a link between machines: each shows its certificate, and believes those of the one authority that
// [links] ca names, no other. Files are taken up anew when they change.
func (h *House) farTLS() (*tls.Config, error) {
	f := &h.conf.Far
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("links.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("links.ca: %s holds no certificate in PEM form", f.CA)
	}
	k, err := certs.Open(certs.Config{CertFile: f.Cert, KeyFile: f.Key, Log: h.log.With("part", "links")})
	if err != nil {
		return nil, fmt.Errorf("links.cert: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		GetCertificate: k.GetCertificate, SessionTicketsDisabled: true, // so that each connection proves itself anew
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return k.GetCertificate(nil) }}, nil
}

// farDialer connects to a room on another machine. The name or address in the link is the one that its certificate must have.
func (h *House) farDialer(address string) func(ctx context.Context) (net.Conn, error) {
	conf := sync.OnceValues(h.farTLS)
	dialer := &net.Dialer{KeepAlive: farAlive}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := conf()
		if err != nil {
			return nil, err
		}
		raw, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		c = c.Clone()
		c.ServerName = host
		ctx, cancel := context.WithTimeout(ctx, farHandshakeTime)
		defer cancel()
		conn := tls.Client(raw, c)
		if err := conn.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("link to %s: %w", address, err), raw.Close())
		}
		return conn, nil
	}
}

// doorOf names the rooms by the sockets on which they serve theirs.
var doorOf = map[string]string{guardSocket: "guard", queueSocket: "qm", rulesSocket: "rules", config.LMTPSocket: "mailbox", config.AuthSocket: "accounts",
	config.Events: "events", evidenceSocket: "evidence", junkSocket: "junk"}

// farDoors lets other machines reach the doors that [links] listen names: the same servers, behind mutual TLS.
func (h *House) farDoors(all []planned) (out []planned) {
	for _, p := range all {
		at, ok := h.conf.Far.Listen[doorOf[filepath.Base(p.address)]]
		if !ok || p.network != "unix" {
			continue
		}
		out = append(out, planned{name: p.name + "-link", network: "tcp", address: at.String(), far: true, serve: p.serve,
			shutdown: func(context.Context) error { return nil }}) // its server ends with the other listener
	}
	return out
}

// farListener gives out the connections of those who have shown a certificate, and of nobody else.
type farListener struct {
	net.Listener
	conf *tls.Config
	log  *slog.Logger
	in   chan net.Conn
	end  context.CancelFunc
	done <-chan struct{}
}

func (h *House) farListener(ctx context.Context, l net.Listener) (net.Listener, error) {
	conf, err := h.farTLS()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	f := &farListener{Listener: l, conf: conf, log: h.log.With("part", "links"), in: make(chan net.Conn), end: end, done: ctx.Done()}
	go f.run(ctx)
	return f, nil
}

func (f *farListener) run(ctx context.Context) {
	defer f.end()
	free := make(chan struct{}, farHandshakes)
	for {
		raw, err := f.Listener.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil { // too many open files, perhaps: it passes
			f.log.Warn("no connection from another machine is taken for a moment", "err", err)
			time.Sleep(farPause)
			continue
		}
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			raw.Close()
			return
		}
		go func() {
			defer func() { <-free }()
			f.admit(ctx, raw)
		}()
	}
}

func (f *farListener) admit(ctx context.Context, raw net.Conn) {
	conn := tls.Server(raw, f.conf)
	shake, cancel := context.WithTimeout(ctx, farHandshakeTime)
	err := conn.HandshakeContext(shake)
	cancel()
	if err != nil {
		f.log.Warn("another machine is turned away", "remote", raw.RemoteAddr().String(), "err", err)
		raw.Close()
		return
	}
	select {
	case f.in <- conn:
	case <-ctx.Done():
		raw.Close()
	}
}

func (f *farListener) Accept() (net.Conn, error) {
	select {
	case c := <-f.in:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

func (f *farListener) Close() error {
	f.end()
	return f.Listener.Close()
}
