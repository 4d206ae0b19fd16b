package qm

import (
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

// Route sends mail that matches to a fixed place, or by MX under conditions of its own. What is empty matches all.
type Route struct {
	// Domain of the recipient: "example.org" for that one, "*.example.org" or ".example.org" for all below it, "*" for all.
	Domain string
	// Sender is the domain of the reverse-path, in the same forms; "<>" for null reverse-paths.
	Sender string
	// Account is who submitted the message, user@example.org, or @example.org for all of a domain.
	Account string

	// To is smtp://host[:25], smtps://host[:465], lmtp://host[:24], unix:/path (LMTP), exec:/path arguments (a child process
	// that speaks LMTP on its standard input and output), or "mx" for MX after all.
	To string
	// Fallback is such a place but exec and mx, tried last from the FallbackAfter'th attempt on; default 3.
	Fallback      string
	FallbackAfter int

	Auth   mail.ClientAuth // nil: none. With it TLS is verified unless TLS says otherwise
	TLS    string          // "opportunistic" (default for smtp and lmtp), "encrypted", "verified" (always for smtps), "off"
	Hello  string          // our name in EHLO; default Config.Hostname
	Source netip.Addr      // address of ours to connect from; zero: any

	MaxConnections int           // to the place at once; 0: Limits.MaxPerDestination
	Interval       time.Duration // between two messages at least; 0: none
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
	sender  string // the same; "" for all
	account string // lower case; "" for all
	name    string // of the line; of one by MX what comes after its domain
	via     protocol
	network string // "tcp", "unix" or "exec"
	address string
	host    string // for the certificate

	fallback      *hop
	fallbackAfter int
	auth          mail.ClientAuth
	security      security
	hello         string
	source        net.Addr
	connections   int
	interval      time.Duration
}

// place is where a hop that is not by MX leads.
func (h *hop) place() host { return host{name: h.host, network: h.network, address: h.address, via: h} }

// child starts the program of an exec route.
func (h *hop) child() (net.Conn, error) {
	words := strings.Fields(h.address)
	return smtp.Child(exec.Command(words[0], words[1:]...))
}

const localLine = "local"

func parseRoute(r Route) (hop, error) {
	domain, err := parsePattern(r.Domain)
	if err != nil {
		return hop{}, fmt.Errorf("qm: route domain %q is not a domain, *.domain or *", r.Domain)
	}
	h, err := parseNextHop(r.Domain, r.To)
	if err != nil {
		return hop{}, err
	}
	h.pattern, h.account = domain, strings.ToLower(r.Account)
	if r.Sender != "" && r.Sender != "<>" {
		if h.sender, err = parsePattern(r.Sender); err != nil {
			return hop{}, fmt.Errorf("qm: route for %q: sender %q is not a domain, *.domain, * or <>", r.Domain, r.Sender)
		}
	} else {
		h.sender = r.Sender
	}
	if r.Fallback != "" {
		fb, err := parseNextHop(r.Domain, r.Fallback)
		if err != nil {
			return hop{}, err
		}
		if fb.via == viaMX || fb.network == "exec" {
			return hop{}, fmt.Errorf("qm: route for %q: the fallback %q has to be smtp, smtps, lmtp or unix", r.Domain, r.Fallback)
		}
		h.fallback, h.fallbackAfter = &fb, max(r.FallbackAfter-1, 0)
		if r.FallbackAfter == 0 {
			h.fallbackAfter = 2
		}
	}
	if err := h.options(r); err != nil {
		return hop{}, fmt.Errorf("qm: route for %q: %w", r.Domain, err)
	}
	return h, nil
}

// options takes over how the place is spoken to. Routes that differ in it have lines of their own.
func (h *hop) options(r Route) error {
	h.auth, h.hello, h.connections, h.interval = r.Auth, r.Hello, r.MaxConnections, r.Interval
	switch r.TLS {
	case "", "opportunistic":
		if r.TLS == "" && (h.via == viaSMTPS || r.Auth != nil && h.network == "tcp") {
			h.security = verified
		}
	case "encrypted":
		h.security = encrypted
	case "verified":
		h.security = verified
	case "off":
		h.security = inClear
	default:
		return fmt.Errorf("tls %q is none of opportunistic, encrypted, verified, off", r.TLS)
	}
	switch {
	case r.TLS != "" && h.via == viaMX:
		return errors.New("tls means nothing for mx, where the domain's own policies hold")
	case r.Auth != nil && h.via == viaMX:
		return errors.New("a login means nothing for mx")
	case r.TLS == "off" && h.via == viaSMTPS:
		return errors.New("smtps without TLS is smtp")
	case r.Interval < 0 || r.MaxConnections < 0 || r.FallbackAfter < 0:
		return errors.New("a limit is negative")
	case r.Hello != "" && !mail.IsDomain(r.Hello):
		return fmt.Errorf("hello %q is not a domain", r.Hello)
	}
	if r.Source.IsValid() {
		h.source = &net.TCPAddr{IP: r.Source.AsSlice()}
	}
	if r.Auth != nil || r.TLS != "" || r.Hello != "" || r.Source.IsValid() || r.MaxConnections > 0 || r.Interval > 0 || r.Fallback != "" || h.sender != "" || h.account != "" {
		f := crc32.NewIEEE()
		fmt.Fprintf(f, "%s|%s|%s|%v|%s|%s|%v|%d|%v|%s", r.Domain, r.Sender, r.Account, r.Auth != nil, r.TLS, r.Hello, r.Source, r.MaxConnections, r.Interval, r.Fallback)
		h.name += fmt.Sprintf("#%08x", f.Sum32())
	}
	return nil
}

// parsePattern reads a domain, .domain, *.domain or *.
func parsePattern(s string) (string, error) {
	p := strings.ToLower(s)
	if strings.HasPrefix(p, ".") {
		p = "*" + p
	}
	if p == "*" {
		return p, nil
	}
	bare := strings.TrimPrefix(p, "*.")
	a := asciiDomain(bare)
	if !mail.IsDomain(a) {
		return "", errors.New("not a domain")
	}
	return strings.TrimSuffix(p, bare) + a, nil
}

// parseNextHop reads To or Fallback.
func parseNextHop(domain, to string) (h hop, err error) {
	bad := func(why string) (hop, error) {
		return hop{}, fmt.Errorf("qm: route for %q: %q %s; use smtp://host[:port], smtps://host[:port], lmtp://host[:port], unix:/path, exec:/path or mx", domain, to, why)
	}
	if to == "mx" {
		return h, nil
	}
	if strings.ContainsAny(to, "\x00#") || len(to) > 500 {
		return bad("is not a place")
	}
	if command, ok := strings.CutPrefix(to, "exec:"); ok {
		words := strings.Fields(command)
		if len(words) == 0 || !filepath.IsAbs(words[0]) {
			return bad("names no program by its whole path")
		}
		h.via, h.network, h.address = viaLMTP, "exec", strings.Join(words, " ")
		h.name = "exec:" + h.address
		return h, nil
	}
	u, err := url.Parse(to)
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

// matches reports whether mail for the domain from the message's sender goes here.
func (h *hop) matches(domain string, m *messageRow) bool {
	if !matchPattern(h.pattern, domain) {
		return false
	}
	switch from := &m.sender.Address; {
	case h.sender == "":
	case h.sender == "<>":
		if !from.IsNull() {
			return false
		}
	case from.IsNull() || !matchPattern(h.sender, asciiDomain(from.Domain)):
		return false
	}
	account := strings.ToLower(m.origin.account)
	return h.account == "" || h.account == account || h.account[0] == '@' && strings.HasSuffix(account, h.account)
}

func matchPattern(pattern, domain string) bool {
	switch {
	case pattern == "*", pattern == domain:
		return true
	case strings.HasPrefix(pattern, "*."):
		return strings.HasSuffix(domain, pattern[1:])
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
func (rs routes) find(domain string, m *messageRow) hop {
	for i := range rs {
		if rs[i].matches(domain, m) {
			return rs[i]
		}
	}
	return hop{}
}

// line names the line that a target of a message stands in: all that leaves by one route together, else by domain.
func (rs routes) line(t mail.Target, m *messageRow) string {
	if !t.Remote {
		return localLine
	}
	domain := asciiDomain(t.Address.Domain)
	h := rs.find(domain, m)
	if h.via != viaMX {
		return h.name
	}
	return "mx:" + domain + h.name
}

// byName returns the route of a line.
func (rs routes) byName(line string) (hop, bool) {
	domain, byMX := strings.CutPrefix(line, "mx:")
	_, options, _ := strings.Cut(domain, "#")
	for i := range rs {
		if rs[i].via != viaMX && rs[i].name == line || byMX && options != "" && rs[i].via == viaMX && rs[i].name == "#"+options {
			return rs[i], true
		}
	}
	return hop{}, byMX
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
