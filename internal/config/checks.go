package config

import (
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/samotop/samotop/mail"
)

// Checks says what is checked of strangers' mail, and what the results do.
type Checks struct {
	Off   bool
	Rules []CheckRule // asked first, in order; what none of them matches has the default
}

// CheckRule is one line of [mta] checks: what a result does.
type CheckRule struct {
	Domain string // of From; ".example.org" for all below it; "": any
	Check  string // spf, dkim, dmarc, arc, fcrdns
	Result string // "": any
	Action string // accept, junk, defer, refuse
}

// checkResults are the results that each check can have.
var checkResults = map[string][]string{
	"spf":    {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"},
	"dkim":   {"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"},
	"dmarc":  {"none", "pass", "temperror", "permerror", "fail-none", "fail-quarantine", "fail-reject", "fail-list", "fail-trusted", "temperror-reject"},
	"arc":    {"none", "pass", "fail"},
	"fcrdns": {"pass", "fail", "temperror"},
}

var checkActions = []string{"accept", "junk", "defer", "refuse"}

const checksRemedy = "write checks = true, checks = false, or a list such as [\"spf=fail junk\", \"example.org dmarc=fail-list accept\"]"

// checks reads [mta] checks: true, false, or a list of rules; an empty list is false.
func (l *loader) checks(v any) (c Checks) {
	switch v := v.(type) {
	case nil:
	case bool:
		c.Off = !v
	case []any:
		c.Off = len(v) == 0
		for _, x := range v {
			if s, ok := x.(string); !ok {
				l.fault("mta.checks", checksRemedy, "%v is not a rule", x)
			} else if r, ok := l.checkRule(s); ok {
				c.Rules = append(c.Rules, r)
			}
		}
	default:
		l.fault("mta.checks", checksRemedy, "%v is neither true, false, nor a list", v)
	}
	return c
}

// checkRule reads "[DOMAIN] CHECK[=RESULT] ACTION".
func (l *loader) checkRule(s string) (r CheckRule, ok bool) {
	const key = "mta.checks"
	words := strings.Fields(s)
	if len(words) == 3 {
		if r.Domain, ok = ruleDomain(words[0]); !ok {
			l.fault(key, checksRemedy, "%q: %q is not a domain", s, words[0])
			return r, false
		}
		words = words[1:]
	}
	if len(words) != 2 {
		l.fault(key, checksRemedy, "%q is not of the form [DOMAIN] CHECK[=RESULT] ACTION", s)
		return r, false
	}
	r.Check, r.Result, _ = strings.Cut(words[0], "=")
	r.Action = words[1]
	results, known := checkResults[r.Check]
	switch {
	case !known:
		l.fault(key, "the checks are spf, dkim, dmarc, arc, fcrdns", "%q: there is no check %q", s, r.Check)
	case strings.Contains(words[0], "=") && !slices.Contains(results, r.Result):
		l.fault(key, "it can be "+strings.Join(results, ", "), "%q: %s has no result %q", s, r.Check, r.Result)
	case !slices.Contains(checkActions, r.Action):
		l.fault(key, "the actions are "+strings.Join(checkActions, ", "), "%q: there is no action %q", s, r.Action)
	default:
		return r, true
	}
	return r, false
}

// ruleDomain reads example.org or .example.org.
func ruleDomain(s string) (string, bool) {
	name, below := strings.CutPrefix(strings.ToLower(strings.TrimSuffix(s, ".")), ".")
	if a, err := idna.Lookup.ToASCII(name); err == nil {
		name = a
	}
	if !mail.IsDomain(name) || strings.HasPrefix(name, "[") {
		return "", false
	}
	if below {
		name = "." + name
	}
	return name, true
}

// sealers reads the domains whose ARC seals are believed (RFC 8617 section 7.2).
func (l *loader) sealers(in []string) (out []string) {
	for _, s := range in {
		name, ok := ruleDomain(s)
		if !ok || name[0] == '.' {
			l.fault("mta.sealers", "write the domain that stands in d= of the seal, such as \"lists.example.org\"", "%q is not a domain", s)
			continue
		}
		out = append(out, name)
	}
	return out
}

// reports reads [reports].
func (l *loader) reports() Reports {
	r := Reports{DMARC: l.raw.Reports.DMARC == nil || *l.raw.Reports.DMARC, Failures: l.raw.Reports.Failures != nil && *l.raw.Reports.Failures,
		Addresses: []string{"postmaster@"}}
	if l.raw.Reports.Addresses == nil {
		return r
	}
	r.Addresses = nil
	for _, s := range *l.raw.Reports.Addresses {
		if _, err := mail.ParseAddress(s); err != nil && (!strings.HasSuffix(s, "@") || len(s) < 2) {
			l.fault("reports.addresses", "write an address, or \"name@\" for that name in every domain", "%q is not an address", s)
			continue
		}
		r.Addresses = append(r.Addresses, s)
	}
	return r
}
