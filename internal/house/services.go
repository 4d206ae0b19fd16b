package house

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/samotop/samotop/accounts/authproto"
	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/msa"
	"github.com/samotop/samotop/mta"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/middleware"
)

var (
	errInUse     = syscall.EADDRINUSE
	errAccess    = syscall.EACCES
	errNoAddress = syscall.EADDRNOTAVAIL
)

// What is offered is what the rooms behind keep: NOTIFY=SUCCESS goes by the queue, which reports; the queue also holds
// back and counts down. LMTP answers for each recipient itself and needs none of it. RRVS is the guard's, who is asked for what
// comes from outside. NO-SOLICITING (RFC 3865) is not offered: it would ask senders of advertisements to say so, who do not; the
// library has it for whoever wants it.
const (
	extensionsIn  = smtp.DefaultExtensions | smtp.ExtDSN | smtp.ExtBinaryMIME | smtp.ExtRequireTLS
	extensionsOut = extensionsIn | smtp.ExtPriority | smtp.ExtDeliverBy | smtp.ExtFutureRelease
)

// planned is a listener to be opened, and what serves it.
type planned struct {
	name, network, address string
	mode                   os.FileMode // of a Unix socket
	serve                  func(ctx context.Context, l net.Listener) error
	shutdown               func(ctx context.Context) error
	proxy                  bool // behind machines that speak the PROXY protocol
	far                    bool // the peers are rooms on other machines, told by their certificates
	peers                  bool // the peers are users of this machine, told by the kernel
}

// services makes the servers, in front of the doors of the rooms of this process.
func (h *House) services() ([]planned, error) {
	var conf *tls.Config
	if h.keeper != nil {
		conf = h.keeper.ServerConfig()
	}
	login, err := h.askCertificates(conf)
	if err != nil {
		return nil, err
	}
	auth := h.metrics.Authenticator(h.authenticator())
	certificates, err := h.acmeServices()
	if err != nil {
		return nil, err
	}
	out := append(append(h.control(), h.telemetry()...), certificates...)
	for _, part := range []struct {
		room Rooms
		make func(*tls.Config, mail.Authenticator) ([]planned, error)
	}{{MTA, h.mta}, {MTA, h.https}, {MSA, h.msa}, {MSA, h.local}, {Mails, h.lmtp}, {Mails, h.imap}, {Mails, h.pop3}, {Accounts, h.auth}, {All, h.doors}} {
		if !h.has(part.room) {
			continue
		}
		use := conf
		if part.room == MSA || part.room == Mails {
			use = login
		}
		p, err := part.make(use, auth)
		if err != nil {
			return nil, err
		}
		out = append(out, p...)
	}
	return append(out, h.farDoors(out)...), nil
}

// authenticator is shared by submission and IMAP, so that guessing is slowed across both.
func (h *House) authenticator() mail.Authenticator {
	if h.accounts == nil {
		return h.login
	}
	return h.guessed(sasl.New(sasl.Config{
		Credentials: h.accounts, Secret: h.accounts.Secret(), ScramIterations: h.o.Hash.ScramIterations,
		PlaintextLoopback: h.conf.Mailbox.PlaintextLoopback,
		ServerCertificate: func(s *mail.Session) *x509.Certificate {
			if h.keeper == nil {
				return nil
			}
			return h.keeper.Shown(s.Start)
		},
		Channel: authproto.Channel, Tokens: h.tokens(), Certificates: h.certificates(),
		Log: h.log.With("part", "sasl"),
	}))
}

// mta is mail from other servers: guard first, then mailbox and queue.
func (h *House) mta(conf *tls.Config, _ mail.Authenticator) ([]planned, error) {
	door, err := mta.New(mta.Config{
		Hostname: h.conf.Hostname,
		Guard:    h.guardDoor, Mailbox: h.mailboxDoor, Queue: h.queueDoor, SpoolAll: !h.has(Mails), SpoolDir: h.conf.RunPath(""), Journal: h.events, Log: h.log.With("room", "mta"),
	})
	if err != nil {
		return nil, err
	}
	checks, err := h.checks()
	if err != nil {
		return nil, err
	}
	forged := middleware.Remove{Names: []string{mta.JunkField}} // after the checks: a signature may cover it
	chain, err := mail.Chain(door, append(checks, forged.Wrap)...)
	if err != nil {
		return nil, err
	}
	srv := h.smtp("mta", conf)
	srv.Door, srv.Trusted, srv.Extensions = chain, trusted(h.conf.MTA.Trusted), extensionsIn|smtp.ExtRRVS
	return each(h.conf.MTA.Listen, h.conf.MTA.Proxy, func(config.Listen) (string, server) { return "smtp", srv }), nil
}

// smtp makes a server with the limits of the configuration.
func (h *House) smtp(service string, conf *tls.Config) *smtp.Server {
	return &smtp.Server{
		TLSConfig: conf, Hostname: h.conf.Hostname, Service: service, Log: h.log.With("room", service),
		MaxMessageOctets: h.conf.MTA.MaxMessageBytes, MaxRecipients: h.conf.MTA.MaxRecipients,
		MaxConnections: h.conf.MTA.MaxConnections, MaxConnectionsPerAddress: h.conf.MTA.MaxConnectionsPerAddress,
	}
}

// trusted tells whose XCLIENT and XFORWARD are believed: the networks that were named, and nobody else; a private
// address is a stranger's like any other.
func trusted(nets []netip.Prefix) func(net.Addr) bool {
	if len(nets) == 0 {
		return nil
	}
	return func(a net.Addr) bool {
		t, ok := a.(*net.TCPAddr)
		if !ok {
			return false
		}
		ip := t.AddrPort().Addr().Unmap()
		return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
}

// msa is mail from our own people, who log in first.
func (h *House) msa(conf *tls.Config, auth mail.Authenticator) ([]planned, error) {
	out, err := h.outgoing()
	if err != nil {
		return nil, err
	}
	door, err := msa.New(msa.Config{WroteTo: h.rules.WroteTo, Queue: out, Senders: h.rules, Hostname: h.conf.Hostname, Journal: h.events, Log: h.log.With("room", "msa")})
	if err != nil {
		return nil, err
	}
	make := func(implicit bool) *smtp.Server {
		srv := h.smtp("msa", conf)
		srv.Door, srv.Auth, srv.RequireAuth, srv.ImplicitTLS, srv.Extensions = h.limited(door), auth, true, implicit, extensionsOut
		return srv
	}
	plain, implicit := make(false), make(true)
	return each(h.conf.MSA.Listen, h.conf.MSA.Proxy, func(l config.Listen) (string, server) {
		if l.TLS() {
			return "submissions", implicit
		}
		return "submission", plain
	}), nil
}

// lmtp is the mailbox's own door. On the socket the peers are ours: they may say what they know about a message.
func (h *House) lmtp(*tls.Config, mail.Authenticator) ([]planned, error) {
	make := func(trusted func(net.Addr) bool, ext smtp.Extension) *smtp.Server {
		return &smtp.Server{Door: h.mailboxDoor, LMTP: true, Extensions: ext, Hostname: h.conf.Hostname, Service: "mailbox",
			MaxMessageOctets: h.conf.MTA.MaxMessageBytes, MaxRecipients: h.conf.MTA.MaxRecipients, MaxTransactions: lmtpTransactions,
			MaxConnectionsPerAddress: lmtpConnections, Trusted: trusted, Log: h.log.With("room", "mailbox")}
	}
	socket := make(func(net.Addr) bool { return true }, smtp.LinkExtensions)
	tcp := make(nil, smtp.DefaultExtensions|smtp.ExtBinaryMIME)
	out := []planned{{name: "lmtp", network: "unix", address: h.conf.RunPath(config.LMTPSocket), mode: 0o660,
		serve: socket.Serve, shutdown: socket.Shutdown}}
	for _, l := range h.conf.Mailbox.Listen {
		if l.Scheme == "lmtp" {
			out = append(out, planned{name: "lmtp", network: "tcp", address: l.HostPort(), serve: tcp.Serve, shutdown: tcp.Shutdown})
		}
	}
	return out, nil
}

// A program on this machine that delivers much comes from one address and keeps its session.
const (
	lmtpConnections  = 2000
	lmtpTransactions = 100_000
)

// imap shows people their mail.
func (h *House) imap(conf *tls.Config, auth mail.Authenticator) ([]planned, error) {
	make := func(implicit bool) *imap.Server {
		return &imap.Server{Backend: h.mailbox.Backend(), Auth: auth, TLSConfig: conf, ImplicitTLS: implicit,
			PlaintextLoopback: h.conf.Mailbox.PlaintextLoopback, Hostname: h.conf.Hostname, Service: "mailbox",
			SpoolDir: h.conf.RunPath(""), // a room by itself may write there
			ID:       []imap.ServerID{{Name: "name", Value: "samotop"}},
			Limits:   imap.Limits{MessageOctets: h.conf.MTA.MaxMessageBytes},
			Log:      h.log.With("room", "imap")}
	}
	plain, implicit := make(false), make(true)
	var ls []config.Listen
	for _, l := range h.conf.Mailbox.Listen {
		if l.Scheme == "imap" || l.Scheme == "imaps" {
			ls = append(ls, l)
		}
	}
	return each(ls, h.conf.Mailbox.Proxy, func(l config.Listen) (string, server) {
		return l.Scheme, map[bool]server{false: plain, true: implicit}[l.TLS()]
	}), nil
}

// auth lets Postfix, Exim or Dovecot on this machine ask who may log in.
func (h *House) auth(_ *tls.Config, auth mail.Authenticator) ([]planned, error) {
	srv := &authproto.Server{Auth: auth, Bound: true, Certificates: h.certificates() != nil, Log: h.log.With("room", "accounts")}
	return []planned{{name: "auth", network: "unix", address: h.conf.RunPath(config.AuthSocket), mode: 0o660,
		serve: srv.Serve, shutdown: func(context.Context) error { return nil }}}, nil // it ends with the context of Serve
}

// server is what packages smtp, imap and pop3 have in common.
type server interface {
	Serve(ctx context.Context, l net.Listener) error
	Shutdown(ctx context.Context) error
}

func each(ls []config.Listen, proxy bool, pick func(config.Listen) (string, server)) []planned {
	var out []planned
	for _, l := range ls {
		name, srv := pick(l)
		out = append(out, planned{name: name, network: "tcp", address: l.HostPort(), serve: srv.Serve, shutdown: srv.Shutdown, proxy: proxy})
	}
	return out
}
