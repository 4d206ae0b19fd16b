package transfer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
)

// TestDialSaysWhy: a server on a loopback address whose certificate is not trusted is not spoken to in the clear, and the
// error says what is wrong with the certificate.
func TestDialSaysWhy(t *testing.T) {
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	srv := &imap.Server{
		Backend: imapmem.New(), Auth: imapmem.Passwords{"alice": "secret"},
		TLSConfig: &tls.Config{Certificates: web.TLS.Certificates},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(context.Background(), l)
	defer srv.Shutdown(context.Background())
	if _, err := DialIMAP("imap://alice@"+l.Addr().String(), "secret", nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	c, err := DialIMAP("imap://alice@"+l.Addr().String(), "secret", &tls.Config{RootCAs: trusted})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
