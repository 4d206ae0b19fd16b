package house

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/samotop/samotop/accounts/ruleproto"
	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mail"
)

// evidenceSocket is where rooms of other processes tell the guard what peers do, and hear of bans and of what may be sent.
const evidenceSocket = "evidence.sock"

// openHistory begins to remember senders, in the process of the guard.
func (h *House) openHistory(ctx context.Context) error {
	c := h.conf.Guard
	g := guard.HistoryConfig{Engine: h.engines[evidenceDB], Own: h.ownNetworks(), GreyDelay: c.GreylistDelay, Entries: int(c.ReputationEntries),
		HalfLife: c.ReputationHalfLife, Networks: c.Networks, Log: h.log.With("room", "guard"),
		Sent: guard.OutgoingConfig{MessagesPerHour: c.MessagesPerHour, MessagesPerDay: c.MessagesPerDay, RecipientsPerHour: c.RecipientsPerHour,
			RecipientsPerDay: c.RecipientsPerDay, Quiet: c.OutgoingUnusualAlarm != nil && !*c.OutgoingUnusualAlarm}}
	if c.Greylist == "all" {
		g.GreyLeast = -1
	}
	var err error
	h.history, err = guard.OpenHistory(ctx, g)
	return err
}

// judges are those who have an opinion on senders.
func (h *House) judges() ([]guard.Judge, error) {
	out := []guard.Judge{guard.Looks{Hostname: h.conf.Hostname, Own: h.ownNetworks()}}
	if len(h.conf.Guard.DNSBL) == 0 {
		return out, nil
	}
	dns, err := h.resolver()
	if err != nil {
		return nil, err
	}
	c := guard.DNSBLConfig{Resolver: dns, Own: h.ownNetworks(), Log: h.log.With("room", "guard")}
	for _, l := range h.conf.Guard.DNSBL {
		x := guard.DNSBL{Zone: l.Zone, Weight: l.Weight, Domains: l.Domains}
		for _, a := range l.Answers {
			p, err := networkArg(a)
			if err != nil {
				return nil, err
			}
			x.Answers = append(x.Answers, p)
		}
		c.Lists = append(c.Lists, x)
	}
	return append(out, guard.NewDNSBLs(c)), nil
}

// deed is what rooms of other processes tell.
type deed struct {
	Deed guard.Deed
	IP   netip.Addr
}

// evidenceMethods is what the guard answers rooms in other processes.
func (h *House) evidenceMethods() map[string]ruleproto.Method {
	return map[string]ruleproto.Method{
		"bans": ruleproto.Handle(func(context.Context, struct{}) ([]guard.Ban, error) { return h.abuse.List(), nil }),
		"did": ruleproto.Handle(func(ctx context.Context, d deed) (struct{}, error) {
			if d.Deed > guard.WrongPassword {
				return struct{}{}, errors.New("no such deed")
			}
			h.abuse.Did(ctx, d.Deed, d.IP)
			return struct{}{}, nil
		}),
		"send": ruleproto.Handle(func(_ context.Context, s guard.Sending) (guard.Allowance, error) {
			return h.history.Send(s), nil
		}),
	}
}

// evidenceService is where they ask.
func (h *House) evidenceService() planned {
	srv := &ruleproto.Server{Methods: h.evidenceMethods(), Log: h.log.With("room", "guard"),
		Changes: func(ctx context.Context) iter.Seq2[struct{}, error] { return changesOf(ctx, h.abuse.Watch()) }}
	p := h.http("evidence", h.conf.RunPath(evidenceSocket), 0o660, srv)
	serve := p.serve
	p.serve = func(ctx context.Context, l net.Listener) error {
		go func() { _ = srv.Run(ctx) }() // it ends with ctx
		return serve(ctx, l)
	}
	return p
}

func changesOf(ctx context.Context, c <-chan struct{}) iter.Seq2[struct{}, error] {
	return func(yield func(struct{}, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-c:
				if !yield(struct{}{}, nil) {
					return
				}
			}
		}
	}
}

// remoteEvidence is the guard of another process.
type remoteEvidence struct {
	c       *ruleproto.Client
	deeds   chan deed
	changed chan struct{}
}

// Limits of what waits to be told to the guard; what is more is forgotten.
const (
	remoteDeeds    = 1000
	remoteDeedTime = 5 * time.Second
)

func (h *House) openRemoteEvidence() *remoteEvidence {
	r := &remoteEvidence{deeds: make(chan deed, remoteDeeds), changed: make(chan struct{}, 1)}
	r.c = ruleproto.NewClient(ruleproto.Config{Dial: h.dialer("evidence"),
		Log: h.log.With("link", "evidence"), Changed: func() {
			select {
			case r.changed <- struct{}{}:
			default:
			}
		}})
	h.links = append(h.links, r.c)
	return r
}

// did is told of a deed; it never waits.
func (r *remoteEvidence) did(d guard.Deed, ip netip.Addr) {
	select {
	case r.deeds <- deed{d, ip}:
	default:
	}
}

// run passes deeds on, and takes bans over.
func (r *remoteEvidence) run(ctx context.Context, a *guard.Abuse) {
	go r.c.Follow(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-r.deeds:
			one, cancel := context.WithTimeout(ctx, remoteDeedTime)
			_, _ = ruleproto.Ask[struct{}](one, r.c, "did", d, nil) // what cannot be told is forgotten
			cancel()
		case <-r.changed:
			if bans, err := ruleproto.Ask[[]guard.Ban](ctx, r.c, "bans", struct{}{}, nil); err == nil {
				a.Replace(bans)
			}
		}
	}
}

// send asks whether one of our people may send. Where the guard is away nobody is kept from it.
func (h *House) send(ctx context.Context, s guard.Sending) guard.Allowance {
	switch {
	case h.history != nil:
		return h.history.Send(s)
	case h.evidence != nil:
		a, err := ruleproto.Ask[guard.Allowance](ctx, h.evidence.c, "send", s, nil)
		if err != nil {
			h.log.Warn("what an account sends is not limited: the guard is away", "account", s.Account, "err", err)
		}
		return a
	}
	return guard.Allowance{}
}

// limited stands in front of submission: an account sends no more than it may.
func (h *House) limited(next mail.Door) mail.Door {
	return mail.DoorFunc(func(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
		r, err := next.Open(ctx, s)
		if err != nil {
			return nil, err
		}
		return &limitedReceiver{Receiver: r, h: h}, nil
	})
}

type limitedReceiver struct {
	mail.Receiver
	h *House
}

// Close closes what is behind.
func (r *limitedReceiver) Close() error {
	if c, ok := r.Receiver.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

func (r *limitedReceiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	t, err := r.Receiver.Begin(ctx, s, from)
	if err != nil {
		return nil, err
	}
	return &limitedTransaction{Transaction: t, h: r.h, s: s}, nil
}

type limitedTransaction struct {
	mail.Transaction
	h     *House
	s     *mail.Session
	begun bool
}

func (t *limitedTransaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	if r.Failed != nil { // he is told of by a report, and gets nothing
		return t.Transaction.Recipient(ctx, r)
	}
	ip, _ := mail.IPOf(t.s.RemoteAddr)
	a := t.h.send(ctx, guard.Sending{Account: t.s.Login.Account, IP: ip, First: !t.begun, To: r.Address})
	if a.Alarm != "" {
		t.h.alarm(ctx, t.s, a.Alarm)
	}
	if a.Reply != nil {
		e := mail.Event{Time: time.Now(), Trace: t.s.ID, Room: "msa", Kind: "deferred", From: t.s.Login.Account, To: r.Address.String(), Code: a.Reply.Code, Text: a.Reply.String()}
		t.h.events.Record(ctx, e)
		return a.Reply
	}
	t.begun = true
	return t.Transaction.Recipient(ctx, r)
}

// alarm tells the owner of an account, by a message in his INBOX, and whoever reads the log, that his account does what is
// unusual.
func (h *House) alarm(ctx context.Context, s *mail.Session, what string) {
	account := s.Login.Account
	ip, _ := mail.IPOf(s.RemoteAddr)
	h.log.Warn("unusual sending", "account", account, "ip", ip, "what", what)
	if h.queueDoor == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), alarmTime)
		defer cancel()
		if err := h.alarmLetter(ctx, account, ip, what); err != nil {
			h.log.Error("the owner could not be told of unusual sending", "account", account, "err", err)
		}
	}()
}

// alarmTime is how long it may take to queue the message.
const alarmTime = time.Minute

// alarmLetter hands the message to the queue, which delivers it here.
func (h *House) alarmLetter(ctx context.Context, account string, ip netip.Addr, what string) error {
	to, err := mail.ParseAddress(account)
	if err != nil {
		return err
	}
	s := &mail.Session{ID: "alarm", Service: "msa", Start: time.Now()}
	r, err := h.queueDoor.Open(ctx, s)
	if err != nil {
		return err
	}
	if c, ok := r.(interface{ Close() error }); ok {
		defer c.Close()
	}
	t, err := r.Begin(ctx, s, mail.Sender{})
	if err != nil {
		return err
	}
	defer t.Abort() //nolint:errcheck // after Commit it does nothing
	err = t.Recipient(ctx, &mail.Recipient{Address: to, Notify: mail.NotifyNever})
	var refused *mail.Reply
	if errors.As(err, &refused) && refused.Permanent() { // a user of this machine who has no mailbox here
		err = t.Recipient(ctx, &mail.Recipient{Address: mail.Address{Local: "postmaster"}, Notify: mail.NotifyNever})
	}
	if err != nil {
		return err
	}
	if _, err := t.Write([]byte(alarmText(h.conf.Hostname, account, ip, what, s.Start))); err != nil {
		return err
	}
	replies, err := t.Commit(ctx)
	if err == nil && len(replies) > 0 && !replies[0].Positive() {
		err = &replies[0]
	}
	return err
}

func alarmText(host, account string, ip netip.Addr, what string, now time.Time) string {
	from := "a program on the server"
	if ip.IsValid() {
		from = ip.String()
	}
	lines := []string{
		"From: Mail server <postmaster@" + host + ">", "To: <" + account + ">", "Subject: Unusual sending from your account",
		"Date: " + now.Format("Mon, 2 Jan 2006 15:04:05 -0700"), "Message-ID: <" + strings.ToLower(rand.Text()) + "@" + host + ">",
		"Auto-Submitted: auto-generated", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "",
		"This is the mail server. Something about mail sent from your account", account, "is unusual:", "", "  " + what + ".", "",
		"The last of it came from " + from + ".", "",
		"If that was you, there is nothing to do. If it was not, somebody knows your", "password: change it now, and tell whoever runs this server.", "",
		"You are told this once in a day at most.", ""}
	return strings.Join(lines, "\r\n")
}
