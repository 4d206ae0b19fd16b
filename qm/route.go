package qm

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"golang.org/x/net/idna"

	"github.com/samotop/samotop/mail"
)

// Route sends mail for the domains that match to a fixed place, past MX.
type Route struct {
	// Domain is "example.org" for that one, "*.example.org" or ".example.org" for all below it, "*" for all.
	Domain string
	// To is smtp://host[:25], smtps://host[:465], lmtp://host[:24], unix:/path (LMTP), or "mx" for MX after all.
	To string
}

type protocol uint8

const (
	viaMX protocol = iota
	viaSMTP
	viaSMTPS
	viaLMTP
)

// hop is a Route that was understood.
type hop struct {
	pattern string // lower case A-labels
	name    string // of the line
	via     protocol
	network string // "tcp" or "unix"
	address string
	host    string // for the certificate
}

const localLine = "local"

func parseRoute(r Route) (hop, error) {
	h := hop{pattern: strings.ToLower(r.Domain)}
	if strings.HasPrefix(h.pattern, ".") {
		h.pattern = "*" + h.pattern
	}
	if h.pattern != "*" {
		bare := strings.TrimPrefix(h.pattern, "*.")
		a := asciiDomain(bare)
		if !mail.IsDomain(a) {
			return hop{}, fmt.Errorf("qm: route domain %q is not a domain, *.domain or *", r.Domain)
		}
		h.pattern = strings.TrimSuffix(h.pattern, bare) + a
	}
	bad := func(why string) (hop, error) {
		return hop{}, fmt.Errorf("qm: route for %q: %q %s; use smtp://host[:port], smtps://host[:port], lmtp://host[:port], unix:/path or mx", r.Domain, r.To, why)
	}
	if r.To == "mx" {
		return h, nil
	}
	if strings.IndexByte(r.To, 0) >= 0 || len(r.To) > 500 {
		return bad("is not a place")
	}
	u, err := url.Parse(r.To)
	if err != nil {
		return bad("cannot be read")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return bad("has parts that mean nothing here")
	}
	port := ""
	switch u.Scheme {
	case "unix":
		path := u.Path
		if path == "" {
			path = u.Opaque
		}
		if u.Host != "" || path == "" || path == "/" {
			return bad("names no socket")
		}
		h.via, h.network, h.address = viaLMTP, "unix", filepath.Clean(path)
		h.name = "unix:" + h.address
		return h, nil
	case "smtp":
		h.via, port = viaSMTP, "25"
	case "smtps":
		h.via, port = viaSMTPS, "465"
	case "lmtp":
		h.via, port = viaLMTP, "24"
	default:
		return bad("has an unknown scheme")
	}
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.Opaque != "" {
		return bad("names no host, or more than that")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	h.network, h.host = "tcp", strings.ToLower(u.Hostname())
	h.address = net.JoinHostPort(h.host, port)
	h.name = u.Scheme + "://" + h.address
	return h, nil
}

func (h *hop) matches(domain string) bool {
	switch {
	case h.pattern == "*", h.pattern == domain:
		return true
	case strings.HasPrefix(h.pattern, "*."):
		return strings.HasSuffix(domain, h.pattern[1:])
	}
	return false
}

// routes is a table of them; the first that matches wins.
type routes []hop

func parseRoutes(rs []Route) (routes, error) {
	hs := make(routes, 0, len(rs))
	for _, r := range rs {
		h, err := parseRoute(r)
		if err != nil {
			return nil, err
		}
		hs = append(hs, h)
	}
	return hs, nil
}

// find returns the route of a domain (A-labels, lower case); the zero hop is MX.
func (rs routes) find(domain string) hop {
	for i := range rs {
		if rs[i].matches(domain) {
			return rs[i]
		}
	}
	return hop{}
}

// line names the line that a target stands in: all that leaves by one route together, else by domain.
func (rs routes) line(t mail.Target) string {
	if !t.Remote {
		return localLine
	}
	domain := asciiDomain(t.Address.Domain)
	if h := rs.find(domain); h.via != viaMX {
		return h.name
	}
	return "mx:" + domain
}

// byName returns the route of a line.
func (rs routes) byName(line string) (hop, bool) {
	for i := range rs {
		if rs[i].via != viaMX && rs[i].name == line {
			return rs[i], true
		}
	}
	return hop{}, strings.HasPrefix(line, "mx:")
}

// asciiDomain returns a domain as the DNS knows it: lower case, A-labels. What cannot be converted stays, and fails
// when it is looked up.
func asciiDomain(d string) string {
	for i := 0; i < len(d); i++ {
		if d[i] >= 0x80 {
			if a, err := idna.Lookup.ToASCII(d); err == nil {
				return strings.ToLower(a)
			}
			break
		}
	}
	return strings.ToLower(d)
}
