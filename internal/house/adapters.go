package house

import (
	"context"
	"errors"
	"strings"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/msa"
	"github.com/samotop/samotop/qm"
	"github.com/samotop/samotop/sasl"
)

var (
	_ guard.Rules       = guardRules{}
	_ mailbox.Directory = directory{}
	_ qm.Rules          = queueRules{}
	_ msa.Senders       = (*accounts.Accounts)(nil)
	_ sasl.Credentials  = (*accounts.Accounts)(nil)
)

// guardRules tells the guard where mail goes.
type guardRules struct {
	a       accountsRoom
	machine machine
}

func (g guardRules) Resolve(ctx context.Context, to mail.Address) (guard.Resolution, error) {
	r, err := g.a.Resolve(ctx, to)
	if err == nil && !r.OurDomain && g.machine.named(to.Domain) {
		return g.machine.resolve(ctx, g.a, to)
	}
	return guard.Resolution{OurDomain: r.OurDomain, Disabled: r.Disabled, Targets: r.Targets, Gated: r.Gated, Rewritten: rewritten(r), Since: r.Since}, err
}

// queueRules tells the queue manager the same: what is not ours goes out. Reports to a user of this machine, whose address is not
// even of a domain of ours, go to the postmaster, as mail to root does: sent out they would come back to our own front door,
// which knows nobody there.
type queueRules struct {
	a     accountsRoom
	local string // the domain of users of this machine; "": they cannot send
}

func (q queueRules) Resolve(ctx context.Context, to mail.Address) ([]mail.Target, error) {
	r, err := q.a.Resolve(ctx, to)
	switch {
	case err != nil:
		return nil, err
	case !r.OurDomain && q.local != "" && strings.EqualFold(to.Domain, q.local):
		if r, err = q.a.Resolve(ctx, mail.Address{Local: "postmaster"}); err != nil {
			return nil, err
		}
		if len(r.Targets) == 0 {
			return nil, mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user here, and nobody is the postmaster")
		}
	case !r.OurDomain:
		return []mail.Target{{Address: to, Remote: true}}, nil
	case r.Disabled:
		return nil, mail.NewReply(550, mail.Enhanced{5, 2, 1}, "The mailbox is disabled")
	case len(r.Targets) == 0:
		return nil, mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user here")
	}
	if targets := withoutLists(r); len(targets) > 0 {
		return targets, nil
	}
	return nil, mail.NewReply(550, mail.Enhanced{5, 7, 1}, "A list takes no reports")
}

// directory tells the mailbox whose mail an address is.
type directory struct{ a accountsRoom }

func (d directory) Lookup(ctx context.Context, a mail.Address) (mailbox.Owner, error) {
	o, err := d.a.Lookup(ctx, a)
	switch {
	case errors.Is(err, accounts.ErrUnknown):
		return mailbox.Owner{}, mailbox.ErrNoOwner
	case err != nil:
		return mailbox.Owner{}, err
	case !o.Enabled:
		return mailbox.Owner{}, mail.NewReply(550, mail.Enhanced{5, 2, 1}, "The mailbox is disabled")
	}
	return ownerOf(o), nil
}

// guardContacts tells the guard whom the owners of accounts let write to them.
type guardContacts struct{ a accountsRoom }

var _ guard.Contacts = guardContacts{}

// decisions names them on both sides.
var decisions = map[accounts.Decision]guard.Decision{accounts.Accept: guard.Accept, accounts.Apart: guard.Apart, accounts.Later: guard.Later,
	accounts.Refuse: guard.Refuse, accounts.Prove: guard.Prove, accounts.Known: guard.Known, accounts.Look: guard.Look}

func (g guardContacts) Decide(ctx context.Context, q guard.ContactQuestion) (guard.Decision, error) {
	d, err := g.a.Decide(ctx, accounts.Question{To: q.To, Via: q.Via, Sender: q.Sender, IP: q.IP, Proven: q.Proven, Failed: q.Failed})
	return decisions[d], err
}

func (g guardContacts) Content(ctx context.Context, q guard.ContactContent) (guard.Decision, error) {
	first := accounts.Look
	for ours, theirs := range decisions {
		if theirs == q.First {
			first = ours
		}
	}
	d, err := g.a.Content(ctx, accounts.Content{To: q.To, Sender: q.Sender, First: first, Signed: q.Signed, List: q.List, ListSigned: q.ListSigned, Subject: q.Subject, Refers: q.Refers})
	return decisions[d], err
}
