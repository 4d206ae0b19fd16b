package tlsrpt

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/samotop/samotop/mailauth/report"
	"github.com/samotop/samotop/mailtls/dane"
	"github.com/samotop/samotop/mailtls/mtasts"
)

// Result is how a session failed (RFC 8460 section 4.3); "" is success.
type Result string

const (
	OK                Result = ""
	StartTLS          Result = "starttls-not-supported"
	HostMismatch      Result = "certificate-host-mismatch"
	Expired           Result = "certificate-expired"
	NotTrusted        Result = "certificate-not-trusted"
	Validation        Result = "validation-failure"
	TLSAInvalid       Result = "tlsa-invalid"
	DNSSECInvalid     Result = "dnssec-invalid"
	DANERequired      Result = "dane-required"
	STSFetch          Result = "sts-policy-fetch-error"
	STSInvalid        Result = "sts-policy-invalid"
	STSWebPKI         Result = "sts-webpki-invalid"
	maxDomains               = 10000
	maxFailures              = 100 // kinds, for one domain
	maxPolicies              = 4   // for one domain: a policy may change within a day
	maxAdditionOctets        = 200
)

// Classify names the failure of a TLS handshake.
func Classify(err error) Result {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var alert tls.AlertError
	switch {
	case err == nil:
		return OK
	case errors.Is(err, dane.ErrMismatch):
		return TLSAInvalid
	case errors.As(err, &name), errors.Is(err, dane.ErrName):
		return HostMismatch
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Expired
	case errors.As(err, &authority), errors.As(err, &invalid):
		return NotTrusted
	case errors.As(err, &alert):
		return Validation
	}
	return Validation
}

// ClassifyPolicy names the failure to get an MTA-STS policy.
func ClassifyPolicy(err error) Result {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, mtasts.ErrSyntax):
		return STSInvalid
	case errors.Is(err, mtasts.ErrCert):
		return STSWebPKI
	}
	return STSFetch
}

// Session is one connection, or one that was not made because of its policy.
type Session struct {
	Domain  string   // of the recipients: who is told
	Base    string   // domain of the policy, if it is another: the TLSA base domain (RFC 8460 section 1.1)
	Type    string   // "sts", "tlsa" or "no-policy-found"
	Strings []string // the policy, as its domain wrote it
	MX      []string // of an MTA-STS policy
	Result  Result
	Host    string // of the mail server
	IP      string // its address
	LocalIP string // ours
	Reason  string // more about it, in words
}

// Counter counts sessions of one day. Its JSON form can be kept.
type Counter struct {
	Day       string // 2026-06-01
	ByDomain  map[string][]report.TLSPolicy
	Truncated bool // there were more domains than are counted
}

// DayOf is the name of a day.
func DayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Add counts a session.
func (c *Counter) Add(s Session) {
	ps, known := c.ByDomain[s.Domain]
	if !known && len(c.ByDomain) >= maxDomains {
		c.Truncated = true
		return
	}
	if c.ByDomain == nil {
		c.ByDomain = map[string][]report.TLSPolicy{}
	}
	i := slices.IndexFunc(ps, func(p report.TLSPolicy) bool {
		return p.Policy.Type == s.Type && slices.Equal(p.Policy.Strings, s.Strings)
	})
	if s.Base == "" {
		s.Base = s.Domain
	}
	if i < 0 {
		if len(ps) == maxPolicies {
			ps = ps[1:]
		}
		i = len(ps)
		ps = append(ps, report.TLSPolicy{Policy: report.TLSPolicyText{Type: s.Type, Strings: s.Strings, Domain: s.Base, MXHosts: s.MX}})
	}
	count(&ps[i], s)
	c.ByDomain[s.Domain] = ps
}

func count(p *report.TLSPolicy, s Session) {
	if s.Result == OK {
		p.Summary.Successful++
		return
	}
	p.Summary.Failed++
	f := report.TLSFailure{Type: string(s.Result), SendingIP: s.LocalIP, ReceivingMX: s.Host, ReceivingIP: s.IP}
	for i := range p.Failures {
		o := &p.Failures[i]
		if o.Type == f.Type && o.SendingIP == f.SendingIP && o.ReceivingMX == f.ReceivingMX && o.ReceivingIP == f.ReceivingIP {
			o.Count++
			return
		}
	}
	if len(p.Failures) == maxFailures {
		p.Failures[maxFailures-1].Count++
		return
	}
	f.Count, f.Reason = 1, s.Reason[:min(len(s.Reason), maxAdditionOctets)]
	p.Failures = append(p.Failures, f)
}

// Domains lists what was counted.
func (c *Counter) Domains() []string {
	out := make([]string, 0, len(c.ByDomain))
	for d := range c.ByDomain {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}

// About is who reports.
type About struct {
	Organization string
	Contact      string
	Submitter    string // domain of the reporting MTA
	ID           string // unique
}

// Report makes the report for a domain; false if nothing was counted (RFC 8460 section 4.1: a day by UTC).
func (c *Counter) Report(domain string, a About) (*report.TLS, bool) {
	day, err := time.Parse(time.DateOnly, c.Day)
	if err != nil || len(c.ByDomain[domain]) == 0 {
		return nil, false
	}
	return &report.TLS{Organization: a.Organization, Contact: a.Contact, ReportID: a.ID,
		Range: report.TLSRange{Start: day, End: day.Add(24*time.Hour - time.Second)}, Policies: c.ByDomain[domain]}, true
}

// Encode returns the counter as it is kept.
func (c *Counter) Encode() ([]byte, error) { return json.Marshal(c) }

// Decode reads what Encode made.
func Decode(b []byte) (*Counter, error) {
	c := &Counter{}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, errors.Join(errors.New("tlsrpt: kept results cannot be read"), err)
	}
	return c, nil
}
