package house

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/resolver/resolvertest"
)

// TestPolicyCheck fetches policies over TLS from a web server on this host, under another address.
func TestPolicyCheck(t *testing.T) {
	ours := &mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.example.test"}, MaxAge: 24 * time.Hour}
	others := &mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.elsewhere.test"}, MaxAge: 24 * time.Hour}
	const announced = "_mta-sts.example.com TXT \"v=STSv1; id=1;\"\nmta-sts.example.com A 192.0.2.9\n"
	for _, c := range []struct {
		name, zone string
		serves     *mtasts.Policy // what the web server has; nil: 404
		config     bool           // [https] is configured
		strangers  bool           // the certificate is of nobody whom the client knows
		state, why string         // "": no line
	}{
		{name: "live", zone: announced, serves: ours, config: true, state: stateLive, why: "mx: mx.example.test"},
		{name: "live, by another's web server", zone: announced, serves: ours, state: stateLive},
		{name: "neither announced nor served", zone: "example.com A 192.0.2.1"},
		{name: "served, not announced", zone: "example.com A 192.0.2.1", serves: ours, config: true, state: stateMissing, why: "_mta-sts.example.com"},
		{name: "no such file", zone: announced, config: true, state: stateDifferent, why: "404"},
		{name: "not this machine", zone: announced, serves: others, config: true, state: stateDifferent, why: "does not allow mx.example.test"},
		{name: "bad certificate", zone: announced, serves: ours, config: true, strangers: true, state: stateDifferent, why: "signed by an authority"},
		{name: "no web server", zone: "_mta-sts.example.com TXT \"v=STSv1; id=1;\"", config: true, state: stateDifferent, why: "cannot be fetched"},
	} {
		t.Run(c.name, func(t *testing.T) {
			web := httptest.NewTLSServer(mtasts.Handler(func(*http.Request, string) *mtasts.Policy { return c.serves }))
			defer web.Close()
			pool := x509.NewCertPool()
			if !c.strangers {
				pool.AddCert(web.Certificate())
			}
			conf := &config.Config{Hostname: "mx.example.test"}
			if c.config {
				conf.HTTPS = config.HTTPS{Listen: make([]config.Listen, 1), Mode: "enforce", MX: ours.MX, MaxAge: ours.MaxAge}
			}
			k := policyChecker{recordChecker: recordChecker{dns: resolvertest.New(t, c.zone), hostname: conf.Hostname}, conf: conf,
				tls: &tls.Config{RootCAs: pool}, dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, web.Listener.Addr().String())
				}}
			got := k.policy(t.Context(), "example.com")
			if c.state == "" {
				if len(got) != 0 {
					t.Errorf("%+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].State != c.state || !strings.Contains(got[0].Found, c.why) {
				t.Errorf("want %s, %s; got %+v", c.state, c.why, got)
			}
		})
	}
}
