package house

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/samotop/samotop/internal/oauth"
	"github.com/samotop/samotop/sasl"
)

// tokens verifies OAuth tokens, where an issuer is configured.
func (h *House) tokens() sasl.Tokens {
	o := h.conf.OAuth
	if o.Issuer == "" {
		return nil
	}
	return oauth.New(oauth.Config{
		Issuer: o.Issuer, Audience: o.Audience, Claim: o.Claim, Scope: o.Scope, Named: h.accounts.Named, Log: h.log.With("part", "oauth"),
	})
}

// certificates maps client certificates to accounts, where an authority of theirs is configured.
func (h *House) certificates() sasl.Certificates {
	if h.conf.TLS.ClientCA == "" {
		return nil
	}
	return h.accounts
}

// askCertificates makes the TLS configuration of the listeners at which people log in: they are asked for a certificate, and may have
// none. One that no authority of ours has signed ends the handshake.
func (h *House) askCertificates(conf *tls.Config) (*tls.Config, error) {
	file := h.conf.TLS.ClientCA
	if file == "" || conf == nil {
		return conf, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("tls.client_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.client_ca: %s holds no certificate: write the authority's certificate there, as PEM", file)
	}
	conf = conf.Clone()
	conf.ClientAuth, conf.ClientCAs = tls.VerifyClientCertIfGiven, pool
	return conf, nil
}
