// Package tlsrpt is SMTP TLS reporting (RFC 8460): whoever asks for it by a TXT record is told once a day how many
// connections to his mail servers had the TLS that he promised, and why others had not.
//
//	var c tlsrpt.Counter
//	c.Add(tlsrpt.Session{Domain: "example.org", Type: "sts", Result: tlsrpt.Expired, Host: "mx.example.org"})
//	for _, domain := range c.Domains() {
//		rua, err := tlsrpt.ParseRecord(txt)      // of tlsrpt.RecordName(domain)
//		r := c.Report(domain, about)             // a report.TLS of package mailauth/report
//	}
//
// Promises. A Counter is bounded in domains and in kinds of failure; it holds no addresses of people. It is not safe for
// concurrent use. Reports that came are read by package mailauth/report.
package tlsrpt

import (
	"errors"
	"net/url"
	"strings"

	"github.com/samotop/samotop/mail"
)

// MaxTargets of one record are used.
const MaxTargets = 10

// ErrNoRecord: nobody asks for reports.
var ErrNoRecord = errors.New("tlsrpt: the domain asks for no reports")

// RecordName is the name of the TXT record of a domain.
func RecordName(domain string) string { return "_smtp._tls." + domain }

// Record returns the TXT record that asks for reports to the targets, such as mailto:tls@example.org.
func Record(targets ...string) string { return "v=TLSRPTv1; rua=" + strings.Join(targets, ",") }

// Target is where reports go: Mail or URL is set.
type Target struct {
	Mail mail.Address
	URL  string // https
}

// ParseRecord reads the one record among the TXT records (RFC 8460 section 3). Targets that are not understood are left
// out; none at all, or several records, is ErrNoRecord.
func ParseRecord(txt []string) ([]Target, error) {
	found := ""
	for _, t := range txt {
		if rest, ok := strings.CutPrefix(t, "v=TLSRPTv1"); ok && strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";") {
			if found != "" {
				return nil, ErrNoRecord
			}
			found = rest
		}
	}
	var out []Target
	for field := range strings.SplitSeq(found, ";") {
		key, value, _ := strings.Cut(strings.Trim(field, " \t"), "=")
		if strings.TrimRight(key, " \t") != "rua" || out != nil {
			continue
		}
		for uri := range strings.SplitSeq(value, ",") {
			if t, ok := parseTarget(strings.Trim(uri, " \t")); ok && len(out) < MaxTargets {
				out = append(out, t)
			}
		}
	}
	if len(out) == 0 {
		return nil, ErrNoRecord
	}
	return out, nil
}

func parseTarget(uri string) (Target, bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return Target{}, false
	}
	switch strings.ToLower(u.Scheme) {
	case "mailto":
		text, err := url.PathUnescape(u.Opaque)
		if err != nil {
			return Target{}, false
		}
		a, err := mail.ParseAddress(text)
		return Target{Mail: a}, err == nil
	case "https":
		return Target{URL: u.String()}, u.Host != "" && u.User == nil
	}
	return Target{}, false
}
