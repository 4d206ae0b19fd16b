package house

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/samotop/samotop/accounts/authproto"
	"github.com/samotop/samotop/accounts/ruleproto"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/middleware"
)

// Rooms is a set of rooms to open.
type Rooms uint16

// The rooms. Accounts, Mails, Queue, Guard and Management own a database.
const (
	Accounts Rooms = 1 << iota
	Mails
	Queue
	MTA
	Guard
	MSA
	Management
	All = Accounts | Mails | Queue | MTA | Guard | MSA | Management
)

// roomNames are the names that the command line and [links] use.
var roomNames = []struct {
	name string
	room Rooms
}{{"accounts", Accounts}, {"guard", Guard}, {"mailbox", Mails}, {"mta", MTA}, {"msa", MSA}, {"qm", Queue}, {"management", Management}}

// ParseRooms reads names of rooms. None means all.
func ParseRooms(names []string) (Rooms, error) {
	var set Rooms
	for _, n := range names {
		r := roomOf(n)
		if r == 0 {
			return 0, &UsageError{Text: fmt.Sprintf("serve: there is no room %q; the rooms are %s", n, All)}
		}
		set |= r
	}
	if set == 0 {
		set = All
	}
	return set, nil
}

func roomOf(name string) Rooms {
	for _, r := range roomNames {
		if r.name == name {
			return r.room
		}
	}
	return 0
}

// String lists the names.
func (r Rooms) String() string {
	var names []string
	for _, n := range roomNames {
		if r&n.room != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " ")
}

// has reports whether this process serves a room.
func (h *House) has(r Rooms) bool { return h.o.Rooms&r != 0 }

// Sockets in DIR/run of what rooms offer to each other.
const (
	rulesSocket = "rules.sock"
	guardSocket = "guard.sock"
	queueSocket = "qm.sock"
)

// Pools of links between rooms: as many transactions at once as a busy front room has.
const (
	linkConnections  = 200
	linkIdle         = linkConnections // messages end in groups, as their sync does: fewer would be closed and dialled again all the time
	linkTransactions = 100_000
)

// link is a Door to a room in another process, by LMTP, with all that we know about a message.
func (h *House) link(room string) *smtp.Link {
	l := &smtp.Link{Connect: h.dialer(room), MaxConnections: linkConnections, MaxIdle: linkIdle, MaxTransactions: linkTransactions,
		BackoffMax: linkBackoff, Patience: linkPatience}
	l.Dialer.LMTP, l.Dialer.Trusted, l.Dialer.Hello = true, true, h.conf.Hostname
	h.links = append(h.links, l)
	return l
}

// A neighbour that is away is tried again after at most linkBackoff; a message waits for it for linkPatience, so that nobody
// notices a restart.
const (
	linkBackoff  = 500 * time.Millisecond
	linkPatience = 3 * time.Second
)

// dialer connects to where [links] says a room is.
func (h *House) dialer(room string) func(ctx context.Context) (net.Conn, error) {
	path := h.conf.Link(room)
	if address, ok := strings.CutPrefix(path, config.TLSLink); ok {
		return h.farDialer(address)
	}
	if address, ok := strings.CutPrefix(path, config.TCPLink); ok {
		return func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", address) }
	}
	return func(ctx context.Context) (net.Conn, error) { return DialUnix(ctx, path) }
}

// openLinks makes what stands for the rooms that are not in this process. Nothing connects yet: a neighbour may come later.
func (h *House) openLinks() {
	if !h.o.Linked {
		return
	}
	if !h.has(Accounts) {
		r := &remoteAccounts{c: ruleproto.NewClient(ruleproto.Config{Dial: h.dialer("rules"), Log: h.log.With("link", "rules")})}
		h.rules, h.remote = r, r
		h.login = &authproto.Client{Dial: h.dialer("accounts"), PlaintextLoopback: h.conf.Mailbox.PlaintextLoopback,
			Channel: h.channel, Log: h.log.With("link", "accounts")}
		h.links = append(h.links, h.login, r.c)
	}
	if !h.has(Mails) && h.has(MTA|Queue) {
		h.mailboxDoor = h.link("mailbox")
	}
	if !h.has(Queue) && h.has(MTA|MSA) {
		h.queueDoor = middleware.Again{SpoolDir: h.conf.RunPath("")}.Wrap(h.link("qm"))
	}
	if !h.has(Guard) && h.has(MTA) {
		l := h.link("guard")
		l.AskOnly = true // somebody else's server in its place keeps no mail
		h.guardDoor = l
	}
}

// channel binds a login to the TLS connection that ends here.
func (h *House) channel(s *mail.Session, kind string) ([]byte, bool) {
	if s.TLS == nil || h.keeper == nil {
		return nil, false
	}
	return sasl.Channel(s.TLS, kind, h.keeper.Shown(s.Start))
}

// doors are what the rooms of this process offer to those of others: where all are in it, to a second front.
func (h *House) doors(*tls.Config, mail.Authenticator) ([]planned, error) {
	var out []planned
	offer := func(name, socket string, door mail.Door) {
		srv := h.smtp(name, nil)
		srv.Door, srv.LMTP, srv.Extensions, srv.Trusted = door, true, smtp.LinkExtensions, func(net.Addr) bool { return true }
		srv.MaxConnections, srv.MaxConnectionsPerAddress, srv.MaxTransactions = lmtpConnections, lmtpConnections, lmtpTransactions
		out = append(out, planned{name: name, network: "unix", address: h.conf.RunPath(socket), mode: 0o660, serve: srv.Serve, shutdown: srv.Shutdown})
	}
	if h.has(Guard) {
		offer("guard", guardSocket, h.guardDoor)
		out = append(out, h.lessonService(), h.evidenceService())
		asked, err := h.postfix()
		if err != nil {
			return nil, err
		}
		out = append(out, asked...)
	}
	if h.has(Queue) {
		offer("qm", queueSocket, h.queueDoor)
	}
	if h.has(Accounts) {
		out = append(out, h.rulesService())
	}
	if h.journal != nil { // a door for events alone: the verbs are not for the rooms
		out = append(out, h.http("events", h.conf.RunPath(config.Events), 0o660, management.New(management.Config{Record: h.journal, Reports: h.reports, Counts: h.counts,
			Log: h.log.With("room", "management")})))
	}
	return out, nil
}
