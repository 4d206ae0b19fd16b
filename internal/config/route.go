package config

import (
	"net"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/samotop/samotop/mail"
)

const routeRemedy = "write to = \"smtp://HOST:PORT\", \"smtps://HOST:PORT\", \"lmtp://HOST:PORT\" \"unix:PATH\", or \"mx\""

// allRoutes returns the routes of the drop-ins, then those of the main file.
func (l *loader) allRoutes() []Route {
	raws := append(l.routes, l.raw.QM.Route...)
	if len(raws) > MaxRoutes {
		l.fault("qm.route", "join some of them by a wildcard domain", "%d routes, more than %d", len(raws), MaxRoutes)
		return nil
	}
	var out []Route
	for _, r := range raws {
		if x, ok := l.route(r); ok {
			out = append(out, x)
		}
	}
	return out
}

func (l *loader) route(r rawRoute) (out Route, ok bool) {
	const key = "qm.route"
	if r.Domain == nil || *r.Domain == "" {
		l.faultAt(r.at, key, "write domain = \"example.org\", or \"*\" for all", "has no domain")
		return out, false
	}
	if r.To == nil || *r.To == "" {
		l.faultAt(r.at, key, routeRemedy, "has no to")
		return out, false
	}
	if out.Domain, ok = routeDomain(*r.Domain); !ok {
		l.faultAt(r.at, key, "write domain = \"example.org\", \".example.org\" for all below it, or \"*\" for all", "%q is not a domain", *r.Domain)
		return out, false
	}
	if path, isUnix := strings.CutPrefix(*r.To, "unix:"); isUnix && path != "" {
		out.To = "unix:" + l.path(strings.TrimPrefix(path, "//"))
		return out, true
	}
	if *r.To == "mx" {
		out.To = "mx"
		return out, true
	}
	scheme, rest, _ := strings.Cut(*r.To, "://")
	port, known := map[string]int{"smtp": 25, "smtps": 465, "lmtp": 24}[scheme]
	host, given, err := net.SplitHostPort(rest)
	if err != nil {
		host, given = strings.Trim(rest, "[]"), strconv.Itoa(port)
	}
	n, perr := strconv.ParseUint(given, 10, 16)
	if !known || perr != nil || n == 0 || net.ParseIP(host) == nil && !mail.IsDomain(host) {
		l.faultAt(r.at, key, routeRemedy, "%q is not a place that mail can go to", *r.To)
		return out, false
	}
	out.To = scheme + "://" + net.JoinHostPort(host, given)
	return out, true
}

func routeDomain(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "*" {
		return s, true
	}
	bare := strings.TrimPrefix(s, "*")
	dotted := strings.HasPrefix(bare, ".")
	bare = strings.TrimPrefix(bare, ".")
	if a, err := idna.Lookup.ToASCII(bare); err == nil {
		bare = a
	}
	if !mail.IsDomain(bare) {
		return "", false
	}
	if dotted {
		return "." + bare, true
	}
	return bare, true
}
