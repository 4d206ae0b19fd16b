package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/samotop/samotop/mail"
)

const routeRemedy = "write to = \"smtp://HOST:PORT\", \"smtps://HOST:PORT\", \"lmtp://HOST:PORT\", \"unix:PATH\", \"exec:/PATH\", or \"mx\""

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
	if out.To, ok = l.routePlace(*r.To); !ok {
		l.faultAt(r.at, key, routeRemedy, "%q is not a place that mail can go to", *r.To)
		return out, false
	}
	return out, l.routeOptions(r, &out)
}

// routePlace reads to and fallback.
func (l *loader) routePlace(to string) (string, bool) {
	if path, isUnix := strings.CutPrefix(to, "unix:"); isUnix && path != "" {
		return "unix:" + l.path(strings.TrimPrefix(path, "//")), true
	}
	if command, isExec := strings.CutPrefix(to, "exec:"); isExec {
		return to, strings.HasPrefix(command, "/")
	}
	if to == "mx" {
		return to, true
	}
	scheme, rest, _ := strings.Cut(to, "://")
	port, known := map[string]int{"smtp": 25, "smtps": 465, "lmtp": 24}[scheme]
	host, given, err := net.SplitHostPort(rest)
	if err != nil {
		host, given = strings.Trim(rest, "[]"), strconv.Itoa(port)
	}
	n, perr := strconv.ParseUint(given, 10, 16)
	if !known || perr != nil || n == 0 || net.ParseIP(host) == nil && !mail.IsDomain(host) {
		return "", false
	}
	return scheme + "://" + net.JoinHostPort(host, given), true
}

// routeOptions reads the conditions of a route and how its place is spoken to.
func (l *loader) routeOptions(r rawRoute, out *Route) bool {
	const key = "qm.route"
	ok := true
	bad := func(remedy, what string, args ...any) { l.faultAt(r.at, key, remedy, what, args...); ok = false }
	if s := text(r.Sender); s == "<>" {
		out.Sender = s
	} else if s != "" {
		var fine bool
		if out.Sender, fine = routeDomain(s); !fine {
			bad("write sender = \"example.org\", \".example.org\" or \"<>\"", "sender %q is not a domain", s)
		}
	}
	if out.Account = strings.ToLower(text(r.Account)); out.Account != "" && !strings.Contains(out.Account, "@") {
		bad("write account = \"user@example.org\", or \"@example.org\" for all of the domain", "account %q is not an address", out.Account)
	}
	if f := text(r.Fallback); f != "" {
		var fine bool
		if out.Fallback, fine = l.routePlace(f); !fine || out.Fallback == "mx" || strings.HasPrefix(f, "exec:") {
			bad("write fallback = \"smtp://HOST:PORT\", \"smtps://HOST:PORT\", \"lmtp://HOST:PORT\" or \"unix:PATH\"", "%q is not a place to fall back to", f)
		}
	}
	out.User, out.TLS, out.Hello = text(r.User), text(r.TLS), text(r.Hello)
	if p := text(r.PasswordFile); p != "" {
		out.PasswordFile = l.path(p)
	}
	if (out.User == "") != (out.PasswordFile == "") {
		bad("write both user and password_file, or neither", "a login needs a user and a password file")
	}
	switch out.TLS {
	case "", "opportunistic", "encrypted", "verified", "off":
	default:
		bad("write tls = \"opportunistic\", \"encrypted\", \"verified\" or \"off\"", "tls %q is not known", out.TLS)
	}
	if out.To == "mx" && (out.TLS != "" || out.User != "") {
		bad("leave it out: the policies of the domain decide", "tls and user mean nothing for mx")
	}
	if out.Hello != "" && !mail.IsDomain(out.Hello) {
		bad("write hello = \"mx.example.org\"", "hello %q is not a domain", out.Hello)
	}
	if s := text(r.Source); s != "" {
		var err error
		if out.Source, err = netip.ParseAddr(s); err != nil {
			bad("write source = \"192.0.2.1\"", "source %q is not an address", s)
		}
	}
	for name, n := range map[string]*int{"max_connections": r.MaxConnections, "fallback_after": r.FallbackAfter} {
		if n != nil && *n < 1 {
			bad("write a number from 1", "%s is %d", name, *n)
		}
	}
	if r.MaxConnections != nil {
		out.MaxConnections = *r.MaxConnections
	}
	if r.FallbackAfter != nil {
		out.FallbackAfter = *r.FallbackAfter
	}
	if s := text(r.Interval); s != "" {
		var err error
		if out.Interval, err = time.ParseDuration(s); err != nil || out.Interval <= 0 || out.Interval > time.Hour {
			bad("write interval = \"500ms\", at most \"1h\"", "interval %q is not a time", s)
		}
	}
	return ok
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
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
