package house

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/drop"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/msa"
	"github.com/samotop/samotop/smtp"
)

// Limits of mail from programs of this machine.
const (
	localConnections  = 200
	localHeaderOctets = 1 << 20 // looked through for addresses without a domain
)

// local is mail from the users of this machine: no login, the kernel says who they are. They reach it at
// DIR/spool/submit.sock and, while nobody serves, in DIR/spool/drop. Where that directory cannot be made there is none.
func (h *House) local(*tls.Config, mail.Authenticator) ([]planned, error) {
	if !h.conf.MSA.Local {
		return nil, nil
	}
	if err := h.prepareSpool(); err != nil {
		h.log.Warn("programs on this machine cannot send by \"samotop sendmail\"", "err", err)
		return nil, nil
	}
	out, err := h.outgoing()
	if err != nil {
		return nil, err
	}
	next, err := msa.New(msa.Config{WroteTo: h.localWroteTo, Queue: out, Senders: localSenders{h.rules}, Hostname: h.conf.Hostname, Journal: h.events,
		Log: h.log.With("room", "msa")})
	if err != nil {
		return nil, err
	}
	door := &localDoor{h: h, next: h.limited(next), names: machineNames()}
	h.drops = &drop.Taker{Dir: h.conf.SpoolPath(config.DropDir), Refused: h.conf.SpoolPath("refused"), Take: door.take,
		Log: h.log.With("part", "local")}
	if n := h.conf.MTA.MaxMessageBytes; n > 0 {
		h.drops.MaxOctets = n + drop.MaxEnvelopeOctets
	}
	srv := h.smtp("local", nil)
	srv.Door, srv.Extensions, srv.MaxConnections, srv.MaxConnectionsPerAddress = door, extensionsOut&^smtp.ExtRequireTLS, localConnections, localConnections
	srv.Keywords = []string{drop.Keyword + " " + h.conf.MSA.LocalDomain}
	return []planned{{name: "local", network: "unix", address: h.conf.SpoolPath(config.SubmitSocket), mode: 0o666, peers: true,
		serve: srv.Serve, shutdown: srv.Shutdown}}, nil
}

func (h *House) queueRules() queueRules {
	if !h.conf.MSA.Local {
		return queueRules{a: h.rules}
	}
	return queueRules{h.rules, h.conf.MSA.LocalDomain}
}

// prepareSpool makes DIR/spool, through which everybody may pass.
func (h *House) prepareSpool() error {
	dir := h.conf.SpoolPath("")
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	} else if err == nil {
		if err := os.Chmod(dir, 0o711); err != nil { // what the umask took away
			return err
		}
	}
	if fi, err := os.Stat(h.conf.Dir); err == nil && fi.Mode().Perm()&0o001 == 0 {
		h.log.Info("only who may enter the directory of the house can send by \"samotop sendmail\"; chmod o+x lets everybody on this machine", "dir", h.conf.Dir)
	}
	return drop.Prepare(h.conf.SpoolPath(config.DropDir))
}

// peerListener knows the user at the other end of each connection.
type peerListener struct {
	net.Listener
	log *slog.Logger
}

func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err != nil {
			l.log.Warn("a connection is closed: nobody knows whose it is", "err", err)
			c.Close()
			continue
		}
		return peerConn{c, peerAddr{uid}}, nil
	}
}

type peerConn struct {
	net.Conn
	peer peerAddr
}

func (c peerConn) RemoteAddr() net.Addr { return c.peer }

// peerAddr is a user of this machine as a network address.
type peerAddr struct{ uid int }

func (peerAddr) Network() string  { return "unix" }
func (a peerAddr) String() string { return "uid " + strconv.Itoa(a.uid) }

// localUser is a user of this machine.
type localUser struct {
	uid     int
	name    string
	address mail.Address
	trusted bool // may send as anybody
}

func (h *House) localUser(uid int) localUser {
	u := localUser{uid: uid, name: "uid" + strconv.Itoa(uid)}
	if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		u.name = known.Username
	}
	u.address = mail.Address{Local: u.name, Domain: h.conf.MSA.LocalDomain}
	u.trusted = uid == 0 || uid == os.Geteuid() || slices.Contains(h.conf.MSA.TrustedUsers, u.name)
	return u
}

type localKey struct{}

// localSenders says whose addresses are whose: one's own, for who is trusted all, and for a user whose address is an
// account's those of that.
type localSenders struct{ a accountsRoom }

func (l localSenders) MaySendAs(ctx context.Context, account string, from mail.Address) (bool, error) {
	u, _ := ctx.Value(localKey{}).(localUser)
	if u.trusted || from.EqualFold(u.address) {
		return true, nil
	}
	ok, err := l.a.MaySendAs(ctx, account, from)
	if err != nil && !errors.Is(err, accounts.ErrUnknown) {
		return false, err
	}
	if !ok {
		return false, mail.NewReply(553, mail.Enhanced{5, 7, 1}, "%s may not send as %s, only as %s: an administrator can name the user in [msa] trusted_users",
			u.name, from.Path(), u.address.Path())
	}
	return true, nil
}

// localWroteTo tells the accounts, if the user's address is one's.
func (h *House) localWroteTo(ctx context.Context, account string, to []mail.Address, messageID string) error {
	a, err := mail.ParseAddress(account)
	if err == nil {
		_, err = h.rules.Lookup(ctx, a)
	}
	if errors.Is(err, accounts.ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	return h.rules.WroteTo(ctx, account, to, messageID)
}

// localDoor stands in front of the msa: it says who the user is and makes of what programs write what others accept.
type localDoor struct {
	h     *House
	next  mail.Door
	names []string // of this machine, which mean nothing elsewhere
}

// machineNames are what programs take for the domain of this machine's users, as in root@localhost: names without a dot.
func machineNames() []string {
	names := []string{"localhost", "localhost.localdomain"}
	if n, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(strings.ToLower(n), ".")
		names = append(names, short)
	}
	return names
}

// here completes an address of this machine.
func (d *localDoor) here(a mail.Address) mail.Address {
	if slices.Contains(d.names, strings.ToLower(a.Domain)) {
		a.Domain = d.h.conf.MSA.LocalDomain
	}
	return a
}

func (d *localDoor) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
	p, ok := s.RemoteAddr.(peerAddr)
	if !ok {
		return nil, mail.NewReply(554, mail.Enhanced{5, 7, 1}, "Only for users of this machine")
	}
	r, err := d.next.Open(ctx, s)
	return &localReceiver{d: d, user: d.h.localUser(p.uid), next: r}, err
}

type localReceiver struct {
	d    *localDoor
	user localUser
	next mail.Receiver
}

func (r *localReceiver) Close() error {
	if c, ok := r.next.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (r *localReceiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	own := *s
	own.Login = mail.Identity{Account: r.user.address.String(), Mechanism: "EXTERNAL"}
	t := &localTransaction{d: r.d, domain: r.d.h.conf.MSA.LocalDomain}
	if rest, ok := strings.CutPrefix(from.EnvelopeID, drop.TokenPrefix); ok {
		token, id, _ := strings.Cut(rest, ":")
		t.token, from.EnvelopeID = drop.Token(r.user.uid, token), id
	}
	from.Address = r.d.here(from.Address)
	var err error
	t.Transaction, err = r.next.Begin(context.WithValue(ctx, localKey{}, r.user), &own, from)
	return t, err
}

// localTransaction completes addresses, in the header too, which waits in memory until it is whole.
type localTransaction struct {
	mail.Transaction
	d      *localDoor
	domain string
	token  string // "": no delivery ids
	rcpts  int
	header []byte
	body   bool // the header has gone on
}

func (t *localTransaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	if r.Failed == nil {
		if err := t.resolve(ctx, r); err != nil {
			return err
		}
	}
	if t.token != "" && r.DeliveryID == "" {
		r.DeliveryID = t.token + "." + strconv.Itoa(t.rcpts)
	}
	err := t.Transaction.Recipient(ctx, r)
	if err == nil {
		t.rcpts++
	}
	return err
}

// resolve refuses at once whom nobody knows, so that the program hears of it. Mail for root always reaches somebody: without
// an alias the postmaster, as what the system itself has to say goes there.
func (t *localTransaction) resolve(ctx context.Context, r *mail.Recipient) error {
	r.Address = t.d.here(r.Address)
	res, err := t.d.h.rules.Resolve(ctx, r.Address)
	if err != nil {
		return err
	}
	here := strings.EqualFold(r.Address.Domain, t.domain)
	switch {
	case res.Disabled || len(res.Targets) > 0 || !res.OurDomain && !here:
		return nil
	case here && strings.EqualFold(r.Address.Local, "root"):
		r.Address = mail.Address{Local: "postmaster"}
		return nil
	case !res.OurDomain:
		return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user here: %s is no domain of this house; set [msa] local_domain, or add the domain with an alias",
			r.Address.Domain)
	}
	return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user here")
}

func (t *localTransaction) Write(p []byte) (int, error) {
	if t.body {
		return t.Transaction.Write(p)
	}
	t.header = append(t.header, p...)
	end := bytes.Index(t.header, []byte("\r\n\r\n"))
	if bytes.HasPrefix(t.header, []byte("\r\n")) {
		end = -2 // no header at all
	}
	if end == -1 && len(t.header) <= localHeaderOctets {
		return len(p), nil
	}
	return len(p), t.flush(max(end+2, 0))
}

// flush sends the header, of which so many octets are looked through, and what came after it.
func (t *localTransaction) flush(header int) error {
	if t.body {
		return nil
	}
	t.body = true
	all := t.header
	t.header = nil
	head := drop.Qualify(all[:header:header], t.domain, t.d.names...)
	for _, part := range [][]byte{head, all[header:]} {
		if len(part) == 0 {
			continue
		}
		if _, err := t.Transaction.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (t *localTransaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	if err := t.flush(len(t.header)); err != nil {
		return nil, err
	}
	return t.Transaction.Commit(ctx)
}
