// Package config reads what the owner of a house decides: DIR/samotop.toml and the drop-ins DIR/samotop.d/*.toml.
//
//	c, err := config.Load("/var/lib/samotop")
//	if err != nil {
//		fmt.Fprintln(os.Stderr, err) // one line for each fault: file, line, what is wrong, what to do
//	}
//
// Promises. Nothing is ever written. A key that is not known is refused, and so is one that asks for something this
// version does not do: a setting is never ignored. Everything that is wrong is reported at once. No setting opens a
// relay: mail for others is taken only from people who have logged in, whatever stands in trusted or in a route.
package config

import (
	"net/netip"
	"path/filepath"
	"time"
)

// Names inside DIR.
const (
	FileName   = "samotop.toml"
	DropInDir  = "samotop.d"
	RunDir     = "run"
	TLSDir     = "tls"
	CertName   = "cert.pem"
	KeyName    = "key.pem"
	ACMEDir    = "certs" // accounts and certificates of ACME
	DKIMDir    = "dkim"  // keys, in a directory for each domain
	LMTPSocket = "lmtp.sock"
	Control    = "control.sock"
	AuthSocket = "accounts.sock" // the Dovecot auth protocol
	Events     = "events.sock"   // where rooms of other processes tell the journal
	Telemetry  = "metrics.sock"  // metrics and health by HTTP

	SpoolDir     = "spool"       // what everybody on this machine may reach
	SubmitSocket = "submit.sock" // in it: mail from the users of this machine
	DropDir      = "drop"        // in it: the same, while the house is down
)

// Limits on what is read.
const (
	MaxFileOctets = 1 << 20
	MaxDropIns    = 1000
	MaxRoutes     = 100_000
)

// Config is a whole configuration, checked, with defaults filled in.
type Config struct {
	Dir      string // absolute
	Hostname string // lower case
	TLS      TLS
	DNS      DNS
	MTA      MTA
	MSA      MSA
	Mailbox  Mailbox
	Journal  Journal
	OAuth    OAuth `json:",omitzero"`
	Reports  Reports
	Guard    Guard `json:",omitzero"`
	QM       QM
	HTTPS    HTTPS `json:",omitzero"`
	Routes   []Route
	Metrics  Metrics           `json:",omitzero"`
	Links    map[string]string `json:",omitempty"` // where rooms of other processes are: paths of sockets, or tls://HOST:PORT; see Link
	Far      Far               `json:",omitzero"`  // links between machines
	Files    []string          // what was read, in order
}

// TLS names the certificate. Paths are absolute.
type TLS struct {
	Cert, Key string
	CA        string // certificates that our own links and routes may be signed by, beside the system's; "" for none
	ClientCA  string `json:",omitempty"` // authorities of the client certificates by which people may log in; "": none are asked for
	ACME      *ACME  `json:",omitempty"` // nil: the owner sees to the certificate
}

// ACME says from whom the certificate for the hostname is got, and how. Paths are absolute.
type ACME struct {
	Directory    string         // URL of the authority
	Email        string         `json:",omitempty"`
	CA           string         `json:",omitempty"` // authorities of the authority's own certificate, beside the system's; "" for none
	HTTP         netip.AddrPort `json:",omitzero"`  // where HTTP-01 is answered; zero: not
	TLSALPN      netip.AddrPort `json:",omitzero"`  // where TLS-ALPN-01 is answered; zero: not
	DNSServer    netip.AddrPort `json:",omitzero"`  // who takes dynamic updates for DNS-01; zero: not that way
	DNSKey       string         `json:",omitempty"` // name of the TSIG key
	DNSKeyFile   string         `json:",omitempty"`
	DNSAlgorithm string         `json:",omitempty"`
	DNSWait      time.Duration  `json:",omitzero"` // until all servers of the zone know
}

// DNS says whom to ask.
type DNS struct {
	Resolvers []netip.AddrPort // empty: what the system uses
	TrustAD   bool
	TLS       string `json:",omitempty"` // name in the certificate of the resolvers: they are asked by DNS over TLS; "": not
}

// MTA is mail from other servers.
type MTA struct {
	Listen                   []Listen
	MaxMessageBytes          int64 // 0: the default of the server
	MaxRecipients            int
	MaxConnections           int
	MaxConnectionsPerAddress int
	Trusted                  []netip.Prefix
	Checks                   Checks
	Sealers                  []string // domains whose ARC seals are believed; lower case, A-labels
	Proxy                    bool     // connections from Trusted begin with a header of the PROXY protocol
}

// MSA is mail from our own people.
type MSA struct {
	Listen []Listen
	DKIM   bool // what they send is signed
	Proxy  bool // as MTA.Proxy, from MTA.Trusted

	Local        bool     // programs of this machine may send by "samotop sendmail", as the user they run as
	LocalDomain  string   // of those users' addresses; lower case
	TrustedUsers []string `json:",omitempty"` // users of this machine who may send as anybody; root may, too
}

// Reports are those of mail authentication.
type Reports struct {
	DMARC     bool     // the owners of domains that want it are told daily about mail in their name
	Failures  bool     // and, with the header, about each message that fails
	Addresses []string // whose mail is looked through for reports to us; "postmaster@" is that of every domain
}

// Journal is what is kept about what happened to messages. Zero: the defaults of package management.
type Journal struct {
	MaxAge   time.Duration
	MaxBytes int64
}

// Mailbox is IMAP, and LMTP over TCP.
type Mailbox struct {
	Listen            []Listen
	Proxy             bool // as MTA.Proxy, from MTA.Trusted; not for LMTP
	PlaintextLoopback bool // logins without TLS from this machine
}

// Metrics is for Prometheus, beside the socket DIR/run/metrics.sock: plain HTTP on loopback addresses only.
type Metrics struct{ Listen []Listen }

// Listen is one listener.
type Listen struct {
	Scheme string         // smtp, smtps, imap, imaps, pop3, pop3s, lmtp; the s: TLS from the first octet
	Addr   netip.AddrPort // the zero IP means all addresses of the machine
}

// TLS reports whether TLS begins at once.
func (l Listen) TLS() bool { return l.Scheme == "smtps" || l.Scheme == "imaps" || l.Scheme == "pop3s" }

// String returns the listener as the file has it.
func (l Listen) String() string { return l.Scheme + "://" + l.HostPort() }

// MarshalText gives String.
func (l Listen) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// HostPort returns the address as net.Listen takes it.
func (l Listen) HostPort() string {
	if !l.Addr.Addr().IsValid() {
		return ":" + utoa(l.Addr.Port())
	}
	return l.Addr.String()
}

// Route is one [[qm.route]]: where mail that our own people send to a domain goes.
type Route struct {
	Domain string // lower case; "*" for all, ".example.org" for everything below it
	To     string // smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT, unix:/PATH (LMTP), exec:/PATH (a child, LMTP), mx (by MX after all)

	Sender         string        `json:",omitzero"` // domain of the reverse-path, as Domain; "<>" for null ones; "" for all
	Account        string        `json:",omitzero"` // who submitted it, or @domain; "" for all
	Fallback       string        `json:",omitzero"` // a place as To, tried last from the FallbackAfter'th attempt on
	FallbackAfter  int           `json:",omitzero"` // 0: 3
	User           string        `json:",omitzero"` // to log in as; "" for no login
	PasswordFile   string        `json:",omitzero"` // absolute
	TLS            string        `json:",omitzero"` // opportunistic, encrypted, verified, off; "" by To
	Hello          string        `json:",omitzero"` // our name in EHLO; "" for hostname
	Source         netip.Addr    `json:",omitzero"` // of ours, to connect from
	MaxConnections int           `json:",omitzero"` // 0: the default
	Interval       time.Duration `json:",omitzero"` // between two messages at least
}

// RoomControl is the name of the control socket of one room of a house that is split.
func RoomControl(room string) string { return "control-" + room + ".sock" }

// RoomTelemetry is the name of the socket with metrics and health of one room of a house that is split.
func RoomTelemetry(room string) string { return "metrics-" + room + ".sock" }

// TLSLink begins a link to another machine, TCPLink one to a port of this machine.
const (
	TLSLink = "tls://"
	TCPLink = "tcp://"
)

// Far are links between machines: by TLS, both ends show a certificate of the authority. Paths are absolute.
type Far struct {
	CA, Cert, Key string
	Listen        map[string]netip.AddrPort `json:",omitempty"` // by room: where other machines reach it
}

// Link returns the path of the socket by which a room of another process is reached, or tls://HOST:PORT.
func (c *Config) Link(room string) string {
	if path := c.Links[room]; path != "" {
		return path
	}
	switch room {
	case "mailbox":
		return c.RunPath(LMTPSocket)
	case "accounts":
		return c.RunPath(AuthSocket)
	}
	return c.RunPath(room + ".sock")
}

// SpoolPath returns the path of a file in DIR/spool.
func (c *Config) SpoolPath(name string) string { return filepath.Join(c.Dir, SpoolDir, name) }

// RunPath returns the path of a socket or file in DIR/run.
func (c *Config) RunPath(name string) string { return filepath.Join(c.Dir, RunDir, name) }
