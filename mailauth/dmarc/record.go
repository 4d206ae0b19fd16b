package dmarc

import (
	"errors"
	"net/url"
	"strings"
)

// Record is a DMARC Policy Record (RFC 9989 section 4.7).
type Record struct {
	Policy      Policy // p
	Subdomain   Policy // sp; "" if not given
	NonExistent Policy // np; "" if not given
	StrictDKIM  bool   // adkim=s
	StrictSPF   bool   // aspf=s
	PSD         string // psd: "y", "n" or "u"
	Testing     bool   // t=y
	Percent     int    // pct of RFC 7489, for reports; 100 if not given. It changes nothing: RFC 9989 took it out
	Failure     string // fo: options joined by ":"; "0" if not given
	Aggregate   []URI  // rua
	FailureTo   []URI  // ruf
}

// URI is where reports go.
type URI struct {
	Address string // of a mailto URI
	Raw     string
}

// ErrRecord: a text is not a DMARC record.
var ErrRecord = errors.New("not a DMARC record (RFC 9989 section 4.7)")

// IsRecord reports whether a TXT record claims to be a DMARC Policy Record: v=DMARC1 comes first.
func IsRecord(s string) bool {
	first, _, _ := strings.Cut(s, ";")
	name, value, ok := strings.Cut(first, "=")
	return ok && strings.Trim(name, " \t") == "v" && strings.Trim(value, " \t") == "DMARC1"
}

// Parse reads a record. Unknown tags, and known ones with values that make no sense, are as if they were not there; but a
// policy that makes no sense, in p, sp or np, turns the whole record into p=none if it asks for reports, and into none at
// all if it does not (RFC 9989 section 4.10.1).
func Parse(s string) (*Record, error) {
	if len(s) > MaxRecordOctets || !IsRecord(s) {
		return nil, ErrRecord
	}
	r := &Record{PSD: "u", Percent: 100, Failure: "0"}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.ToLower(strings.Trim(name, " \t")), strings.Trim(value, " \t")
		if !ok || seen[name] {
			continue
		}
		seen[name] = true
		r.set(name, value)
	}
	if r.Policy == "" || seen["sp"] && r.Subdomain == "" || seen["np"] && r.NonExistent == "" {
		if len(r.Aggregate) == 0 {
			return nil, ErrRecord
		}
		r.Policy, r.Subdomain, r.NonExistent = None, "", ""
	}
	return r, nil
}

func (r *Record) set(name, value string) {
	lower := strings.ToLower(value)
	switch name {
	case "p":
		r.Policy = policyOf(lower)
	case "sp":
		r.Subdomain = policyOf(lower)
	case "np":
		r.NonExistent = policyOf(lower)
	case "adkim":
		r.StrictDKIM = lower == "s"
	case "aspf":
		r.StrictSPF = lower == "s"
	case "psd":
		if lower == "y" || lower == "n" {
			r.PSD = lower
		}
	case "t":
		r.Testing = lower == "y"
	case "pct":
		if n, ok := percent(value); ok {
			r.Percent = n
		}
	case "fo":
		if fo := failureOptions(lower); fo != "" {
			r.Failure = fo
		}
	case "rua":
		r.Aggregate = uris(value)
	case "ruf":
		r.FailureTo = uris(value)
	}
}

func policyOf(s string) Policy {
	switch p := Policy(s); p {
	case None, Quarantine, Reject:
		return p
	}
	return ""
}

func percent(s string) (int, bool) {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || i > 2 {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, s != "" && n <= 100
}

func failureOptions(s string) string {
	var known []string
	for o := range strings.SplitSeq(s, ":") {
		switch o = strings.Trim(o, " \t"); o {
		case "0", "1", "d", "s":
			known = append(known, o)
		}
	}
	return strings.Join(known, ":")
}

// uris reads a comma list of URIs; only mailto is known. A size limit of RFC 7489 ("!10m") is cut off.
func uris(s string) []URI {
	var list []URI
	for raw := range strings.SplitSeq(s, ",") {
		raw = strings.Trim(raw, " \t")
		u, err := url.Parse(raw)
		if err != nil || !strings.EqualFold(u.Scheme, "mailto") || u.Opaque == "" || len(list) == MaxReportURIs {
			continue
		}
		addr, err := url.PathUnescape(u.Opaque)
		if err != nil {
			continue
		}
		if at := strings.LastIndexByte(addr, '@'); at > 0 {
			if bang := strings.IndexByte(addr[at:], '!'); bang >= 0 {
				addr = addr[:at+bang]
			}
			list = append(list, URI{Address: addr, Raw: raw})
		}
	}
	return list
}
