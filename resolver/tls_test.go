package resolver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
)

// TestOverTLS: questions go over TLS only, and only to who can prove the name.
func TestOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"dns.test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	server := tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	go func() { done <- resolvertest.Zone(t, zone).Serve(ctx, nil, server) }()
	t.Cleanup(func() { stop(); <-done })
	for name, want := range map[string]error{"dns.test": nil, "other.test": resolver.ErrTemporary, "": resolver.ErrTemporary} {
		r, err := resolver.New(resolver.Config{Servers: []string{l.Addr().String()}, TLS: &tls.Config{RootCAs: roots, ServerName: name}, Attempts: 1})
		if err != nil {
			t.Fatal(err)
		}
		if mx, _, err := r.MX(t.Context(), "example.test"); !errors.Is(err, want) || want == nil && len(mx) != 2 {
			t.Errorf("%q: %v, %v", name, mx, err)
		}
	}
}
