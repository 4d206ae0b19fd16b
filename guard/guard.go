// Package guard is the room that answers, for each recipient, whether this sender may write to him and where the
// mail really goes. It is a mail.Door whose Receiver keeps nothing: RCPT gives the first verdict, and after the
// content the reply to each recipient is the final one.
//
//	door := guard.New(guard.Config{Rules: rules})
//
// Verdicts at RCPT: 550 5.7.1 for a domain that is not ours, 550 5.1.1 for an unknown user, 550 5.2.1 for a
// disabled account; otherwise Recipient.Targets says where to deliver. A Rules that fails gives 451 4.3.0.
//
// Promises. The Door is safe for concurrent use and holds no memory per message but its recipients.
package guard

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/samotop/samotop/mail"
)

// Resolution is where the mail to an address goes.
type Resolution struct {
	OurDomain bool          // the domain is ours: false refuses to relay
	Disabled  bool          // there is such an account, and it takes no mail
	Targets   []mail.Target // where it goes; none: there is no such user
	Gated     []bool        // targets whose owners decide who may write to them; nil: none
	Rewritten []Rewrite     // what rules made of the address; nil: nothing
	Since     time.Time     // since when it has led there; zero: for ever
}

// Rules knows the addresses. It is safe for concurrent use.
type Rules interface {
	// Resolve finds out where the mail to an address goes. An address without a domain is the bare <postmaster>.
	// That there is no such user is no error; a *mail.Reply refuses with that reply.
	Resolve(ctx context.Context, a mail.Address) (Resolution, error)
}

// MaxRecipients is the most recipients of one transaction when Config says nothing.
const MaxRecipients = 1000

// Config says what New needs.
type Config struct {
	Rules         Rules
	Contacts      Contacts // asked about gated targets; nil: such targets are put off
	MaxRecipients int      // accepted in one transaction; 0: MaxRecipients

	Lists      Lists       // who is allowed and denied; nil: nobody
	Grey       *Greylist   // nil: nobody is put off for being new
	Judges     []Judge     // asked about senders, at RCPT
	Reputation *Reputation // is told what becomes of messages, and asked as the Judges are; nil: nothing is learned
	Readers    []Reader    // asked about content
	Thresholds Thresholds
	Own        []netip.Prefix // networks of ours, beside loopback: not greylisted
	Abuse      *Abuse         // counts messages and guesses; nil: nobody does

	Clock   func() time.Time // nil: time.Now
	Journal mail.Journal     // is told of verdicts and their reasons; nil: each is a line of Log
	Log     *slog.Logger     // nil: none

	LogAccepted bool // also a line of Log for who is let in without a word: for a guard alone, whose log would not know the message else
}

// New makes the Door. It can never accept anybody without Rules: mail.Chain refuses it then.
func New(c Config) mail.Door {
	if c.MaxRecipients <= 0 {
		c.MaxRecipients = MaxRecipients
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Journal == nil {
		c.Journal = mail.LogEvents(c.Log, nil)
	}
	c.Thresholds = c.Thresholds.withDefaults()
	if c.Reputation != nil {
		c.Judges = append(slices.Clip(c.Judges), c.Reputation)
	}
	return &door{c: c}
}

type door struct{ c Config }

var (
	_ mail.Door        = (*door)(nil)
	_ mail.Checker     = (*door)(nil)
	_ mail.Receiver    = (*receiver)(nil)
	_ mail.Transaction = (*transaction)(nil)
	_ mail.Preparer    = (*transaction)(nil)
	_ mail.Settler     = (*transaction)(nil)
)

// Check is of mail.Checker.
func (d *door) Check() error {
	if d.c.Rules == nil {
		return errNoRules
	}
	return nil
}

// Open is of mail.Door. Who may connect is decided in front of the guard.
func (d *door) Open(context.Context, *mail.Session) (mail.Receiver, error) {
	if err := d.Check(); err != nil {
		return nil, mail.AsReply(err)
	}
	return &receiver{c: &d.c}, nil
}

type receiver struct{ c *Config }

// Begin is of mail.Receiver.
func (r *receiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	ip, _ := mail.IPOf(s.RemoteAddr)
	if a := r.c.Abuse; a != nil && s.Login.Account == "" {
		if _, banned := a.Banned(ip); banned {
			return nil, mail.NewReply(554, mail.Enhanced{5, 7, 1}, "You are banned here")
		}
		if a.Did(ctx, MessageBegun, ip) {
			return nil, mail.NewReply(450, mail.Enhanced{4, 7, 1}, "Too many messages from you, please try again later")
		}
	}
	return &transaction{c: r.c, ctx: ctx, session: s, from: from.Address, m: Message{Session: s, From: from, IP: ip}}, ctx.Err()
}
