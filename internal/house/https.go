package house

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailtls/mtasts"
)

// Limits of the web server, which strangers speak to. Its answers are some hundred octets.
const (
	httpsConnections  = 500
	httpsRequestTime  = 10 * time.Second
	httpsIdleTime     = 10 * time.Second
	httpsHeaderOctets = 8 << 10
	httpsAnswerTime   = 5 * time.Second // of the accounts, about a domain
)

// stsPolicy is the MTA-STS policy of our domains, as [https] has it; nil: there is none.
func stsPolicy(c *config.Config) *mtasts.Policy {
	if len(c.HTTPS.Listen) == 0 {
		return nil
	}
	return &mtasts.Policy{Mode: mtasts.Mode(c.HTTPS.Mode), MX: c.HTTPS.MX, MaxAge: c.HTTPS.MaxAge}
}

// https serves the MTA-STS policy of our domains (RFC 8461 section 3.3) and the settings for mail programs, with the
// certificate of the house, and nothing else.
func (h *House) https(conf *tls.Config, _ mail.Authenticator) ([]planned, error) {
	policy := stsPolicy(h.conf)
	if policy == nil {
		return nil, nil
	}
	log := h.log.With("part", "https")
	ours := func(r *http.Request, domain string) bool {
		ctx, cancel := context.WithTimeout(r.Context(), httpsAnswerTime)
		defer cancel()
		res, err := h.rules.Resolve(ctx, mail.Address{Local: "postmaster", Domain: domain})
		if err != nil {
			log.Warn("whether a domain is ours is not known", "domain", domain, "err", err)
		}
		return err == nil && res.OurDomain
	}
	handler := h.autoconfig(ours, mtasts.Handler(func(r *http.Request, domain string) *mtasts.Policy {
		if !ours(r, domain) {
			return nil
		}
		return policy
	}))
	var out []planned
	for _, l := range h.conf.HTTPS.Listen {
		srv := &http.Server{Handler: handler, ReadTimeout: httpsRequestTime, WriteTimeout: httpsRequestTime, IdleTimeout: httpsIdleTime,
			MaxHeaderBytes: httpsHeaderOctets, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}} // HTTP/1.1 is enough
		out = append(out, planned{name: "https", network: "tcp", address: l.HostPort(), shutdown: srv.Shutdown,
			serve: func(_ context.Context, l net.Listener) error {
				if err := srv.Serve(tls.NewListener(netutil.LimitListener(l, httpsConnections), conf)); err != http.ErrServerClosed { //nolint:errorlint // the very value
					return err
				}
				return nil
			}})
	}
	return out, nil
}
