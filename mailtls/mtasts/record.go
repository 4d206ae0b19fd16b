package mtasts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
)

// Names that belong to a domain.
const (
	recordLabel = "_mta-sts." // of the TXT record
	hostLabel   = "mta-sts."  // of the web server
	Path        = "/.well-known/mta-sts.txt"
)

// RecordName is the name of the TXT record of a domain.
func RecordName(domain string) string { return recordLabel + domain }

// Host is the name of the web server of a domain's policy.
func Host(domain string) string { return hostLabel + domain }

// Record returns the TXT record that tells of a policy. Its id changes with the policy and only then.
func Record(p *Policy) string {
	sum := sha256.Sum256([]byte(p.String()))
	return "v=STSv1; id=" + hex.EncodeToString(sum[:10]) + ";"
}

// ParseRecord returns the id in the one MTA-STS record among the TXT records of _mta-sts.DOMAIN (RFC 8461 section 3.1).
// None, or several, is ErrNoRecord.
func ParseRecord(txt []string) (id string, err error) {
	found := ""
	for _, t := range txt {
		if rest, ok := strings.CutPrefix(t, "v=STSv1"); ok && strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";") {
			if found != "" {
				return "", fmt.Errorf("%w: there are several", ErrNoRecord)
			}
			found = t
		}
	}
	if found == "" {
		return "", ErrNoRecord
	}
	for field := range strings.SplitSeq(found, ";") {
		key, value, ok := strings.Cut(strings.Trim(field, " \t"), "=")
		if ok && strings.TrimRight(key, " \t") == "id" {
			value = strings.TrimLeft(value, " \t")
			if !isID(value) {
				return "", fmt.Errorf("%w: its id is not of 1 to 32 letters and digits", ErrNoRecord)
			}
			return value, nil
		}
	}
	return "", fmt.Errorf("%w: it has no id", ErrNoRecord)
}

func isID(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// Handler serves the policies of our own domains: find returns that of a domain, or nil. Any other path, and any other host
// than mta-sts.DOMAIN, is 404.
func Handler(find func(r *http.Request, domain string) *Policy) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(strings.ToLower(r.Host), ":")
		domain, ok := strings.CutPrefix(strings.TrimSuffix(host, "."), hostLabel)
		if !ok || r.URL.Path != Path {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
			return
		}
		p := find(r, domain)
		if p == nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write([]byte(p.String()))
	})
}
