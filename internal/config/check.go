package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/samotop/samotop/mail"
)

// fault records that something is wrong with a key.
func (l *loader) fault(key, remedy, what string, args ...any) {
	at, ok := l.at[key]
	if !ok {
		at.file = l.files[0]
	}
	l.faultAt(at, key, remedy, what, args...)
}

func (l *loader) faultAt(at place, key, remedy, what string, args ...any) {
	l.faults = append(l.faults, Fault{at.file, at.line, key, fmt.Sprintf(what, args...), remedy})
}

// check turns what was read into a Config.
func (l *loader) check() *Config {
	c := &Config{Dir: l.dir, Files: l.files}
	c.Hostname = l.hostname()
	c.TLS = l.tls()
	c.DNS = l.dns()
	c.MTA = l.mta()
	c.MSA.Listen = l.listen("msa.listen", l.raw.MSA.Listen, []string{"smtps", "smtp"},
		Listen{"smtps", anyPort(465)}, Listen{"smtp", anyPort(587)})
	c.MSA.DKIM = l.raw.MSA.DKIM == nil || *l.raw.MSA.DKIM
	l.local(&c.MSA, c.Hostname)
	c.Mailbox.Listen = l.listen("mailbox.listen", l.raw.Mailbox.Listen, []string{"imap", "imaps", "pop3", "pop3s", "lmtp"},
		Listen{"imap", anyPort(143)}, Listen{"imaps", anyPort(993)}, Listen{"pop3", anyPort(110)}, Listen{"pop3s", anyPort(995)},
		Listen{"lmtp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 24)})
	l.lmtpOnLoopback(c.Mailbox.Listen)
	c.Mailbox.PlaintextLoopback = value(l.raw.Mailbox.PlaintextLoopback)
	l.proxies(c)
	c.Reports = l.reports()
	c.Guard = l.guard()
	j := &l.raw.Journal
	c.Journal.MaxAge = 24 * time.Hour * time.Duration(l.limit("journal.days", value(j.Days), j.Days != nil, 1, 3650))
	c.Journal.MaxBytes = l.limit("journal.max_bytes", value(j.MaxBytes), j.MaxBytes != nil, 1<<20, 1<<40)
	c.QM = l.qm()
	c.HTTPS = l.https(c.Hostname)
	l.twice(c)
	c.OAuth = l.oauth()
	c.Routes = l.allRoutes()
	c.Links = l.links()
	c.Far = l.far(c)
	c.Metrics = l.metrics()
	return c
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (l *loader) hostname() string {
	const remedy = "write the full name that the MX record and the certificate have, such as hostname = \"mx.example.org\""
	if l.raw.Hostname == nil {
		if len(l.faults) == 0 { // else the file was not understood at all
			l.fault("hostname", remedy, "is missing")
		}
		return ""
	}
	name := strings.ToLower(strings.TrimSuffix(*l.raw.Hostname, "."))
	if a, err := idna.Lookup.ToASCII(name); err == nil {
		name = a // RFC 5321 section 2.3.5: what we say in EHLO
	}
	switch {
	case strings.HasPrefix(name, "["), net.ParseIP(name) != nil:
		l.fault("hostname", remedy, "%q is an address, not a name", *l.raw.Hostname)
	case !mail.IsDomain(name):
		l.fault("hostname", remedy, "%q is not a host name", *l.raw.Hostname)
	case !strings.Contains(name, "."):
		l.fault("hostname", remedy, "%q is not a full name: other servers refuse such an EHLO", *l.raw.Hostname)
	}
	return name
}

// path makes a path absolute: relative ones begin at DIR.
func (l *loader) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(l.dir, p)
}

func (l *loader) tls() TLS {
	r := &l.raw.TLS
	if (r.Cert == nil) != (r.Key == nil) {
		key, other := "tls.cert", "key"
		if r.Cert == nil {
			key, other = "tls.key", "cert"
		}
		l.fault(key, "name both files", "stands without %s", other)
	}
	for key, p := range map[string]*string{"tls.cert": r.Cert, "tls.key": r.Key} {
		if p != nil && *p == "" {
			l.fault(key, "name the file, or take the line out to use "+TLSDir+"/ in the directory of the house", "is empty")
		}
	}
	t := TLS{Cert: l.path(value(r.Cert)), Key: l.path(value(r.Key)), CA: l.path(value(r.CA)), ClientCA: l.path(value(r.ClientCA))}
	t.ACME = l.acme()
	if r.Cert == nil && r.Key == nil {
		t.Cert, t.Key = filepath.Join(l.dir, TLSDir, CertName), filepath.Join(l.dir, TLSDir, KeyName)
	}
	return t
}

func (l *loader) dns() DNS {
	d := DNS{TrustAD: value(l.raw.DNS.TrustAD)}
	port := uint16(53)
	if d.TLS = value(l.raw.DNS.TLS); d.TLS != "" {
		port = 853 // RFC 7858 section 3.1
		if !mail.IsDomain(d.TLS) {
			l.fault("dns.tls", "write the name in the resolver's certificate, such as \"dns.quad9.net\"", "%q is not a host name", d.TLS)
		}
		if len(value(l.raw.DNS.Resolver)) == 0 {
			l.fault("dns.tls", "name the resolver in dns.resolver", "needs dns.resolver: who should be asked is not said")
		}
	}
	for _, s := range value(l.raw.DNS.Resolver) {
		a, err := addrPort(s, port)
		if err != nil || a.Port() == 0 || !a.Addr().IsValid() || a.Addr().IsUnspecified() {
			l.fault("dns.resolver", "write its address and port, such as \"127.0.0.1:53\" or \"[::1]:53\"", "%q is not an address", s)
			continue
		}
		d.Resolvers = append(d.Resolvers, a)
	}
	if d.TrustAD && len(value(l.raw.DNS.Resolver)) == 0 {
		// RFC 4035 section 4.9.3: the AD bit means something only over a path that can be trusted.
		l.fault("dns.trust_ad", "name a validating resolver on this machine or a secure link in dns.resolver", "needs dns.resolver: whose answers should be trusted is not said")
	}
	return d
}

func (l *loader) mta() MTA {
	r := &l.raw.MTA
	m := MTA{
		Listen:                   l.listen("mta.listen", r.Listen, []string{"smtp"}, Listen{"smtp", anyPort(25)}),
		MaxMessageBytes:          l.limit("mta.max_message_bytes", value(r.MaxMessageBytes), r.MaxMessageBytes != nil, 64<<10, 1<<40),       // RFC 5321 section 4.5.3.1.7: at least 64K octets
		MaxRecipients:            int(l.limit("mta.max_recipients", int64(value(r.MaxRecipients)), r.MaxRecipients != nil, 100, 1_000_000)), // RFC 5321 section 4.5.3.1.8: at least 100
		MaxConnections:           int(l.limit("mta.max_connections", int64(value(r.MaxConnections)), r.MaxConnections != nil, 1, 1_000_000)),
		MaxConnectionsPerAddress: int(l.limit("mta.max_connections_per_address", int64(value(r.MaxConnectionsPerAddress)), r.MaxConnectionsPerAddress != nil, 1, 1_000_000)),
	}
	for _, s := range value(r.Trusted) {
		if p, ok := l.trusted(s); ok {
			m.Trusted = append(m.Trusted, p)
		}
	}
	m.Checks = l.checks(r.Checks)
	m.Sealers = l.sealers(value(r.Sealers))
	return m
}

// proxies reads which rooms stand behind machines that speak the PROXY protocol. Those must be named: whoever is believed
// can claim any address.
func (l *loader) proxies(c *Config) {
	for _, p := range []struct {
		key  string
		raw  *bool
		into *bool
	}{{"mta.proxy", l.raw.MTA.Proxy, &c.MTA.Proxy}, {"msa.proxy", l.raw.MSA.Proxy, &c.MSA.Proxy}, {"mailbox.proxy", l.raw.Mailbox.Proxy, &c.Mailbox.Proxy}} {
		if *p.into = value(p.raw); *p.into && len(value(l.raw.MTA.Trusted)) == 0 {
			l.fault(p.key, "name the machines that send the header, such as trusted = [\"192.0.2.7\"] in [mta]", "needs mta.trusted: whose headers should be believed is not said")
		}
	}
}

func (l *loader) limit(key string, v int64, given bool, least, most int64) int64 {
	if given && (v < least || v > most) {
		l.fault(key, "take the line out to use the default", "%d is not between %d and %d", v, least, most)
	}
	return v
}

// trusted reads a network whose machines may tell us the true client of a connection. It gives no right to relay.
func (l *loader) trusted(s string) (netip.Prefix, bool) {
	const key = "mta.trusted"
	p, err := netip.ParsePrefix(s)
	if a, aerr := netip.ParseAddr(s); err != nil && aerr == nil && a.Zone() == "" {
		p, err = a.Prefix(a.BitLen())
	}
	if err != nil {
		l.fault(key, "write a network or an address, such as \"192.0.2.7\" or \"192.0.2.0/28\"", "%q is not a network", s)
		return p, false
	}
	if least := map[bool]int{true: 8, false: 16}[p.Addr().Is4()]; p.Bits() < least {
		l.fault(key, "name the few machines that stand in front of this one", "%s is so wide that strangers could claim any address", p)
		return p, false
	}
	return p.Masked(), true
}

func anyPort(p uint16) netip.AddrPort { return netip.AddrPortFrom(netip.Addr{}, p) }

// addrPort reads HOST:PORT where HOST is an address, or empty for all.
func addrPort(s string, port uint16) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil && port != 0 {
		return netip.AddrPortFrom(a, port), nil
	}
	if rest, ok := strings.CutPrefix(s, ":"); ok || strings.HasPrefix(s, "*:") {
		n, err := strconv.ParseUint(strings.TrimPrefix(rest, "*:"), 10, 16)
		return anyPort(uint16(n)), err
	}
	return netip.ParseAddrPort(s)
}

// listen reads the addresses of one room. Without a scheme an address gets the first that does not begin with TLS.
func (l *loader) listen(key string, given *[]string, schemes []string, defaults ...Listen) []Listen {
	if given == nil {
		return defaults
	}
	var out []Listen
	for _, s := range *given {
		scheme, addr, ok := strings.Cut(s, "://")
		if !ok {
			scheme, addr = schemes[0], s
			if strings.HasSuffix(scheme, "s") && len(schemes) > 1 {
				scheme = schemes[1]
			}
		}
		a, err := addrPort(addr, 0)
		if !slices.Contains(schemes, scheme) || err != nil || a.Port() == 0 {
			l.fault(key, "write "+strings.Join(schemes, ":// or ")+":// with an address and a port, such as \""+defaults[0].Scheme+"://127.0.0.1:"+
				utoa(defaults[0].Addr.Port())+"\", or \""+defaults[0].Scheme+"://:"+utoa(defaults[0].Addr.Port())+"\" for all addresses", "%q is not a listener of this room", s)
			continue
		}
		out = append(out, Listen{scheme, a})
	}
	return out
}

// lmtpOnLoopback holds the law that LMTP over TCP, where nobody is asked who he is, is never open to a network.
func (l *loader) lmtpOnLoopback(ls []Listen) {
	for _, x := range ls {
		if x.Scheme == "lmtp" && !x.Addr.Addr().Unmap().IsLoopback() {
			l.fault("mailbox.listen", "use lmtp://127.0.0.1:24, or the socket "+RunDir+"/"+LMTPSocket,
				"%s: LMTP over TCP is served on a loopback address only", x)
		}
	}
}

// twice reports an address that two listeners want.
func (l *loader) twice(c *Config) {
	seen := map[string]string{}
	for _, room := range []struct {
		key string
		ls  []Listen
	}{{"mta.listen", c.MTA.Listen}, {"msa.listen", c.MSA.Listen}, {"mailbox.listen", c.Mailbox.Listen}, {"https.listen", c.HTTPS.Listen}} {
		for _, x := range room.ls {
			hp := x.HostPort()
			if first, ok := seen[hp]; ok {
				l.fault(room.key, "give each listener a port of its own", "%s is taken by %s already", hp, first)
				continue
			}
			seen[hp] = room.key
		}
	}
}

func (l *loader) metrics() Metrics {
	if l.raw.Metrics.Listen == nil {
		return Metrics{}
	}
	m := Metrics{Listen: l.listen("metrics.listen", l.raw.Metrics.Listen, []string{"http"}, Listen{"http", netip.MustParseAddrPort("127.0.0.1:9125")})}
	for _, a := range m.Listen {
		if !a.Addr.Addr().IsLoopback() {
			l.fault("metrics.listen", "use a loopback address such as http://127.0.0.1:9125, or the socket "+RunDir+"/"+Telemetry, "%s could be read by anybody", a)
		}
	}
	return m
}

// links are sockets of rooms in processes of their own. MTA, MSA and management are asked by nobody inside.
func (l *loader) links() map[string]string {
	k := &l.raw.Links
	out := map[string]string{}
	for _, p := range []struct {
		name  string
		to    *string
		asked bool
	}{{"accounts", k.Accounts, true}, {"rules", k.Rules, true}, {"guard", k.Guard, true}, {"mailbox", k.Mailbox, true},
		{"mta", k.MTA, false}, {"msa", k.MSA, false}, {"qm", k.QM, true}, {"events", k.Events, true}, {"evidence", k.Evidence, true},
		{"junk", k.Junk, true}, {"management", k.Management, false}} {
		if p.to == nil || *p.to == "" {
			continue
		}
		path, ok := strings.CutPrefix(*p.to, "unix:")
		far, isFar := strings.CutPrefix(*p.to, TLSLink)
		switch {
		case !p.asked:
			l.fault("links."+p.name, "take the line out", "no other room speaks to this one")
		case isFar:
			if host, port, err := net.SplitHostPort(far); err != nil || host == "" || port == "" {
				l.fault("links."+p.name, "write \"tls://HOST:PORT\"", "%q is not a host with a port", far)
			}
			out[p.name] = *p.to
		case strings.HasPrefix(*p.to, TCPLink):
			l.portLink(p.name, *p.to)
			out[p.name] = *p.to
		case !ok || path == "":
			l.fault("links."+p.name, "write the socket of the room, such as \"unix:run/"+p.name+".sock\", or \"tls://HOST:PORT\" for another machine", "is not a socket")
		case filepath.IsAbs(path):
			out[p.name] = path
		default:
			out[p.name] = filepath.Join(l.dir, path)
		}
	}
	return out
}

// portLink checks a link to a port of this machine: nothing is encrypted there, and only LMTP is spoken by programs that know no sockets.
func (l *loader) portLink(room, to string) {
	key := "links." + room
	at, err := netip.ParseAddrPort(strings.TrimPrefix(to, TCPLink))
	switch {
	case room != "guard" && room != "mailbox":
		l.fault(key, "write its socket, such as \"unix:run/"+room+".sock\", or \"tls://HOST:PORT\" for another machine", "this room has no door at a port of this machine")
	case err != nil || !at.Addr().IsLoopback() || at.Port() == 0:
		l.fault(key, "write \"tcp://127.0.0.1:PORT\"; a link to another machine is \"tls://HOST:PORT\"", "%q is no loopback address with a port", to)
	}
}
