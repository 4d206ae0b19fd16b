// Package mtasts is MTA Strict Transport Security (RFC 8461): a domain says by HTTPS that its mail servers have TLS with
// certificates that verify, and what they are called.
//
//	c := mtasts.New(mtasts.Config{Resolver: r, Store: cache})
//	found, err := c.Find(ctx, "example.org")
//	if p := found.Policy; p != nil && p.Mode == mtasts.Enforce && !p.Matches(host) {
//		// not this host
//	}
//
// Policy.String and Record are the other side: what a domain of our own publishes.
//
// Promises. A Client is safe for concurrent use. What is fetched is bounded in octets, lines and time, redirects are not
// followed, and a fetch that failed is not repeated for some minutes. A policy that was once found holds for its max_age
// whatever the DNS or the web server say later, unless they give a newer one.
package mtasts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Mode is what a policy asks for (RFC 8461 section 5).
type Mode string

const (
	Enforce Mode = "enforce"
	Testing Mode = "testing"
	None    Mode = "none"
)

// Limits.
const (
	MaxPolicyOctets = 64 << 10 // RFC 8461 section 3.3 suggests it
	MaxMX           = 1000
	MaxAge          = 31557600 * time.Second // RFC 8461 section 3.2: about a year
)

// Policy is what a domain asks of those who send to it.
type Policy struct {
	Mode   Mode
	MX     []string // names of hosts, lower case, or *.name for one label in front
	MaxAge time.Duration
}

// Errors.
var (
	ErrSyntax   = errors.New("mtasts: policy is malformed")
	ErrNoRecord = errors.New("mtasts: the domain has no MTA-STS record")
)

// ParsePolicy reads a policy file (RFC 8461 section 3.2). Unknown fields are passed over, and of a field that is repeated
// the first counts, but for mx.
func ParsePolicy(text string) (*Policy, error) {
	if len(text) > MaxPolicyOctets {
		return nil, fmt.Errorf("%w: longer than %d octets", ErrSyntax, MaxPolicyOctets)
	}
	p, seen := &Policy{}, map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.Trim(line, " \t") == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("%w: a line without a colon", ErrSyntax)
		}
		value = strings.Trim(value, " \t")
		key = strings.TrimRight(key, " \t")
		if len(seen) == 0 && key != "version" { // it comes first, says the grammar
			return nil, fmt.Errorf("%w: does not begin with version", ErrSyntax)
		}
		if seen[key] && key != "mx" {
			continue
		}
		seen[key] = true
		if err := p.set(key, value); err != nil {
			return nil, err
		}
	}
	switch {
	case !seen["version"], !seen["mode"], !seen["max_age"]:
		return nil, fmt.Errorf("%w: version, mode or max_age is missing", ErrSyntax)
	case len(p.MX) == 0 && p.Mode != None:
		return nil, fmt.Errorf("%w: no mx", ErrSyntax)
	}
	return p, nil
}

func (p *Policy) set(key, value string) error {
	switch key {
	case "version":
		if value != "STSv1" {
			return fmt.Errorf("%w: version %.20q", ErrSyntax, value)
		}
	case "mode":
		switch m := Mode(value); m {
		case Enforce, Testing, None:
			p.Mode = m
		default:
			return fmt.Errorf("%w: mode %.20q", ErrSyntax, value)
		}
	case "max_age":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || len(value) > 10 {
			return fmt.Errorf("%w: max_age %.20q", ErrSyntax, value)
		}
		p.MaxAge = time.Duration(min(n, uint64(MaxAge/time.Second))) * time.Second
	case "mx":
		mx := strings.ToLower(strings.TrimSuffix(value, "."))
		if !isPattern(mx) {
			return fmt.Errorf("%w: mx %.80q", ErrSyntax, value)
		}
		if len(p.MX) == MaxMX {
			return fmt.Errorf("%w: more than %d mx", ErrSyntax, MaxMX)
		}
		p.MX = append(p.MX, mx)
	}
	return nil
}

// isPattern accepts a domain name, or *. in front of one.
func isPattern(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// Matches reports whether the name of a mail server is one of the policy's (RFC 8461 section 4.1).
func (p *Policy) Matches(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, mx := range p.MX {
		if mx == host {
			return true
		}
		if suffix, ok := strings.CutPrefix(mx, "*"); ok { // the wildcard stands for exactly one label
			label, found := strings.CutSuffix(host, suffix)
			if found && label != "" && !strings.Contains(label, ".") {
				return true
			}
		}
	}
	return false
}

// Lines returns the policy as the lines of its file.
func (p *Policy) Lines() []string {
	out := []string{"version: STSv1", "mode: " + string(p.Mode)}
	for _, mx := range p.MX {
		out = append(out, "mx: "+mx)
	}
	return append(out, "max_age: "+strconv.FormatInt(int64(p.MaxAge/time.Second), 10))
}

// String returns the file (RFC 8461 section 3.2).
func (p *Policy) String() string { return strings.Join(p.Lines(), "\r\n") + "\r\n" }
