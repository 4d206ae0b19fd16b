package config

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// LetsEncrypt is who is asked for certificates if nobody else is named.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

func (r *rawTLS) mergeACME(later *rawACME) {
	if later == nil {
		return
	}
	if r.ACME == nil {
		r.ACME = &rawACME{}
	}
	over(&r.ACME.Agree, later.Agree)
	for _, p := range [][2]**string{{&r.ACME.Directory, &later.Directory}, {&r.ACME.Email, &later.Email}, {&r.ACME.CA, &later.CA}, {&r.ACME.HTTP, &later.HTTP},
		{&r.ACME.TLSALPN, &later.TLSALPN}, {&r.ACME.DNSServer, &later.DNSServer}, {&r.ACME.DNSKey, &later.DNSKey}, {&r.ACME.DNSKeyFile, &later.DNSKeyFile},
		{&r.ACME.DNSAlgorithm, &later.DNSAlgorithm}, {&r.ACME.DNSWait, &later.DNSWait}} {
		over(p[0], *p[1])
	}
}

// acme reads [tls.acme]. That it stands there asks for certificates.
func (l *loader) acme() *ACME {
	r := l.raw.TLS.ACME
	if r == nil {
		return nil
	}
	a := &ACME{Directory: LetsEncrypt, Email: text(r.Email), CA: l.path(text(r.CA)), DNSKey: text(r.DNSKey), DNSKeyFile: l.path(text(r.DNSKeyFile)),
		DNSAlgorithm: strings.ToLower(text(r.DNSAlgorithm)), DNSWait: 10 * time.Second}
	if !value(r.Agree) {
		l.fault("tls.acme.agree", "read the terms of the authority, then write agree = true in [tls.acme]", "the authority gives certificates only to who agrees to its terms")
	}
	if s := text(r.Directory); s != "" {
		a.Directory = s
		if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
			l.fault("tls.acme.directory", "write directory = \""+LetsEncrypt+"\"", "%q is not an https URL", s)
		}
	}
	if a.Email != "" {
		if _, err := mail.ParseAddress(a.Email); err != nil {
			l.fault("tls.acme.email", "write email = \"you@example.org\", or leave it out", "%q is not an address", a.Email)
		}
	}
	dns := r.DNSServer != nil
	if r.HTTP == nil && r.TLSALPN == nil && !dns {
		a.HTTP = netip.AddrPortFrom(netip.IPv4Unspecified(), 80)
	}
	a.HTTP = l.challenge("tls.acme.http", r.HTTP, a.HTTP, "127.0.0.1:80")
	a.TLSALPN = l.challenge("tls.acme.tls_alpn", r.TLSALPN, a.TLSALPN, ":443")
	a.DNSServer = l.challenge("tls.acme.dns_server", r.DNSServer, a.DNSServer, "192.0.2.53:53")
	l.acmeDNS(r, a)
	return a
}

// challenge reads an address; "" leaves it out.
func (l *loader) challenge(key string, s *string, unset netip.AddrPort, example string) netip.AddrPort {
	if text(s) == "" {
		return unset
	}
	given := *s
	if strings.HasPrefix(given, ":") {
		given = "0.0.0.0" + given
	}
	a, err := netip.ParseAddrPort(given)
	if err != nil || a.Port() == 0 {
		l.fault(key, "write "+key[strings.LastIndex(key, ".")+1:]+" = \""+example+"\"", "%q is not an address with a port", *s)
	}
	return a
}

func (l *loader) acmeDNS(r *rawACME, a *ACME) {
	if (a.DNSKey == "") != (a.DNSKeyFile == "") {
		l.fault("tls.acme.dns_key", "write both dns_key and dns_key_file, or neither", "a key needs its name and a file with its secret in base64")
	}
	if a.DNSKey != "" && !a.DNSServer.IsValid() {
		l.fault("tls.acme.dns_key", "name the zone's primary server in dns_server", "stands without dns_server: who should be told is not said")
	}
	switch a.DNSAlgorithm {
	case "", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512":
	default:
		l.fault("tls.acme.dns_algorithm", "write dns_algorithm = \"hmac-sha256\"", "%q is not known", a.DNSAlgorithm)
	}
	if s := text(r.DNSWait); s != "" {
		var err error
		if a.DNSWait, err = time.ParseDuration(s); err != nil || a.DNSWait < 0 || a.DNSWait > time.Hour {
			l.fault("tls.acme.dns_wait", "write dns_wait = \"10s\", at most \"1h\"", "%q is not a time", s)
		}
	}
	if !a.DNSServer.IsValid() {
		a.DNSWait = 0
	}
}
