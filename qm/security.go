package qm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailtls/dane"
	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/mailtls/tlsrpt"
	"github.com/samotop/samotop/smtp"
)

// wish is what a message asks of TLS.
type wish uint8

const (
	asPolicy wish = iota // what the policies of the destination say
	strictly             // REQUIRETLS (RFC 8689 section 4.2.1)
	anyhow               // TLS-Required: No (RFC 8689 section 5): no policy may hold it up
)

func (m *messageRow) wish() wish {
	switch {
	case m.sender.RequireTLS: // RFC 8689 section 4.1: it beats the header field
		return strictly
	case m.anyhow:
		return anyhow
	}
	return asPolicy
}

// security is how one connection has to be made.
type security uint8

const (
	opportunistic security = iota // TLS where it works, whoever it is; else in clear (RFC 7435 section 3)
	encrypted                     // TLS, whoever it is
	verified                      // TLS with a certificate of a known authority for the host
	pinned                        // TLS with a certificate that the host's TLSA records vouch for
	inClear
)

// demand is what one host has to fulfil.
type demand struct {
	security security
	strict   bool
	dane     dane.Found
	names    []string // that a certificate under a DANE trust anchor may be for
}

// policies is what a destination asks of those who send to it.
type policies struct {
	domain string
	sts    *mtasts.Policy
}

// policiesOf finds the MTA-STS policy of a line. What goes by a route has none (RFC 8461 section 2).
func (q *QM) policiesOf(ctx context.Context, l *line, w wish) policies {
	p := policies{domain: l.domain()}
	if l.hop.via != viaMX || w == anyhow || p.domain == "" {
		return p
	}
	found, err := q.sts.Find(ctx, p.domain)
	if err != nil {
		return p
	}
	p.sts = found.Policy
	if found.Failure != nil {
		q.counted(tlsrpt.Session{Domain: p.domain, Type: "sts", Result: tlsrpt.ClassifyPolicy(found.Failure), Reason: found.Failure.Error()})
	}
	if p.sts != nil && p.sts.Mode == mtasts.None {
		p.sts = nil
	}
	return p
}

func (p *policies) enforced() bool { return p.sts != nil && p.sts.Mode == mtasts.Enforce }

var (
	errPolicyHost = mail.NewReply(450, mail.Enhanced{4, 7, 5}, "The server is none of those that the domain's MTA-STS policy names")
	errBrokenDANE = mail.NewReply(450, mail.Enhanced{4, 7, 5}, "The server's TLSA records cannot be looked up safely (DANE)")
	errUnsafeMX   = mail.NewReply(550, mail.Enhanced{5, 7, 30}, "The mail servers of the domain are vouched for by neither DNSSEC nor MTA-STS, which the sender asked for (REQUIRETLS)")
)

// demandOf says what a host has to fulfil; an error says that it may not be used at all.
func (q *QM) demandOf(ctx context.Context, l *line, h host, p *policies, w wish) (demand, error) {
	if h.here() {
		return demand{security: h.via.security}, nil
	}
	if h.via.via != viaMX {
		d := demand{security: h.via.security, strict: w == strictly}
		if d.strict && (d.security == opportunistic || d.security == encrypted) {
			d.security = verified // RFC 8689 section 4.2.1: the certificate is checked, whoever chose the host
		}
		return d, nil
	}
	d := demand{strict: w == strictly}
	if w == anyhow || h.name == "" {
		return d, nil
	}
	d.dane = dane.Lookup(ctx, q.cfg.Resolver, h.name, 25)
	switch d.dane.Status {
	case dane.Broken: // RFC 7672 section 2.2: as if the host were down
		q.counted(tlsrpt.Session{Domain: p.domain, Type: "tlsa", Base: h.name, Host: h.name, Result: tlsrpt.DNSSECInvalid, Reason: d.dane.Err.Error()})
		return d, errBrokenDANE.Because(d.dane.Err)
	case dane.Present:
		d.security = encrypted // also if no record is usable (RFC 7672 section 2.2)
		if len(d.dane.Usable()) > 0 {
			d.security = pinned
		}
		d.names = []string{h.name}
		if h.safe { // RFC 7672 section 3.2.3: the domain counts where DNSSEC vouches for the way from it
			d.names = append(d.names, p.domain)
		}
	}
	listed := p.sts != nil && p.sts.Matches(h.name)
	if p.sts != nil && !listed {
		q.counted(tlsrpt.Session{Domain: p.domain, Type: "sts", Strings: p.sts.Lines(), MX: p.sts.MX, Host: h.name, Result: tlsrpt.Validation,
			Reason: "the host is not in the policy"})
		if p.enforced() {
			return d, errPolicyHost
		}
	}
	if p.enforced() && d.security != pinned { // RFC 8461 section 2: MTA-STS never overrides DANE
		d.security = verified
	}
	if w == strictly {
		if !h.safe && !listed {
			return d, errUnsafeMX
		}
		if d.security != pinned {
			d.security = verified
		}
	}
	return d, nil
}

// verifier is the verification of a handshake.
func (q *QM) verifier(d *demand, h host, roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		switch d.security {
		case pinned:
			return d.dane.Verify(&s, d.names, q.now())
		case verified:
			return verifyPKIX(&s, tlsName(h), roots, q.now())
		}
		return nil
	}
}

// tlsName is who the certificate has to be for.
func tlsName(h host) string {
	if h.name != "" {
		return h.name
	}
	name, _, _ := net.SplitHostPort(h.address)
	return name
}

func verifyPKIX(s *tls.ConnectionState, name string, roots *x509.CertPool, now time.Time) error {
	if len(s.PeerCertificates) == 0 {
		return x509.UnknownAuthorityError{}
	}
	rest := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		rest.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: rest, CurrentTime: now})
	return err
}

// judged counts how TLS with a host went, once for each policy that it was under, and says in our words what failed.
func (q *QM) judged(p *policies, h host, d *demand, state *tls.ConnectionState, err error) error {
	var result tlsrpt.Result
	switch {
	case err == nil && state == nil, errors.Is(err, smtp.ErrTLSUnavailable):
		result = tlsrpt.StartTLS
	case errors.Is(err, smtp.ErrTLSFailed):
		result = tlsrpt.Classify(err)
	case err != nil:
		return err // it never came to TLS
	}
	if h.via.via == viaMX && p.domain != "" {
		q.countJudged(p, h, d, state, result, err)
	}
	if err == nil || d.security == opportunistic || d.strict && errors.Is(err, smtp.ErrTLSUnavailable) {
		return err
	}
	why := "The domain asks for TLS (" + q.policyName(p, d) + "), which failed: "
	if errors.Is(err, smtp.ErrTLSUnavailable) {
		why += "the server does not offer it"
	} else {
		why += err.Error()
	}
	return mail.NewReply(450, mail.Enhanced{4, 7, 5}, "%s", why).Because(err)
}

func (q *QM) policyName(p *policies, d *demand) string {
	switch {
	case d.dane.Status == dane.Present:
		return "DANE"
	case d.strict:
		return "REQUIRETLS"
	case p.enforced():
		return "MTA-STS"
	}
	return "route"
}

func (q *QM) countJudged(p *policies, h host, d *demand, state *tls.ConnectionState, result tlsrpt.Result, err error) {
	ip, _, _ := net.SplitHostPort(h.address)
	s := tlsrpt.Session{Domain: p.domain, Result: result, Host: h.name, IP: ip}
	if err != nil {
		s.Reason = err.Error()
	}
	if d.dane.Status == dane.Present {
		one := s
		one.Type, one.Base, one.Strings = "tlsa", d.dane.Base, d.dane.Strings()
		q.counted(one)
	}
	if p.sts != nil {
		one := s
		one.Type, one.Strings, one.MX = "sts", p.sts.Lines(), p.sts.MX
		if result == tlsrpt.OK && d.security != verified { // testing, or DANE decided: would it have passed?
			if verr := verifyPKIX(state, tlsName(h), q.cfg.TLS.RootCAs, q.now()); verr != nil {
				one.Result, one.Reason = tlsrpt.Classify(verr), verr.Error()
			}
		}
		q.counted(one)
	}
	if d.dane.Status != dane.Present && p.sts == nil {
		s.Type = "no-policy-found"
		q.counted(s)
	}
}
