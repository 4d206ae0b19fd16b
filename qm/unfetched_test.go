package qm

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"testing"

	"github.com/samotop/samotop/mailtls/tlsrpt"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
)

// TestPoliciesNotFetched: a policy that is announced and cannot be had stops no mail (RFC 8461 section 3.3), and is counted for the report
// (RFC 8460 section 4.3.2.2).
func TestPoliciesNotFetched(t *testing.T) {
	n := newInternet(t)
	web := func(ip, name string, answer http.HandlerFunc) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: answer, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{n.ca.issue(false, name)}}}
		go func() { _ = s.ServeTLS(l, "", "") }()
		t.Cleanup(func() { _ = s.Close() })
		n.at[ip+":443"] = l.Addr().String()
	}
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	const policy = "version: STSv1\nmode: enforce\nmx: other.test\nmax_age: 86400\n"
	web("192.0.2.101", "mta-sts.error.test", text(500, policy))
	web("192.0.2.102", "mta-sts.garbage.test", text(200, "\x00\xff not a policy"))
	web("192.0.2.103", "mta-sts.elsewhere.test", text(200, policy))
	web("192.0.2.104", "mta-sts.closes.test", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	web("192.0.2.105", "mta-sts.moved.test", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://mta-sts.error.test/", 302) })
	var fates []fate
	for domain, ip := range map[string]string{"nobody.test": "192.0.2.100", "error.test": "192.0.2.101", "garbage.test": "192.0.2.102", "wrongname.test": "192.0.2.103",
		"closes.test": "192.0.2.104", "moved.test": "192.0.2.105"} {
		n.host(domain, nil, "", "")
		fmt.Fprintf(&n.zone, "_mta-sts.%s. TXT \"v=STSv1; id=1\"\nmta-sts.%s. A %s\n", domain, domain, ip)
		fates = append(fates, fate{domain, ""})
	}
	q := n.queue(resolvertest.Zone(t, n.zone.String()).Resolver(resolver.Config{MaxCacheEntries: -1}))
	n.check(q, fates, letter)
	q.tls.mu.Lock()
	c := q.tls.today
	q.tls.mu.Unlock()
	for domain, want := range map[string]string{"nobody.test": "sts-policy-fetch-error", "error.test": "sts-policy-fetch-error", "garbage.test": "sts-policy-invalid",
		"wrongname.test": "sts-webpki-invalid", "closes.test": "sts-policy-fetch-error", "moved.test": "sts-policy-fetch-error"} {
		r, ok := c.Report(domain, tlsrpt.About{})
		if !ok || r.Policies[0].Policy.Type != "sts" || len(r.Policies[0].Failures) != 1 || r.Policies[0].Failures[0].Type != want {
			t.Errorf("%s: not counted as %s: %+v", domain, want, r)
		}
	}
}
