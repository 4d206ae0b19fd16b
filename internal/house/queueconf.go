package house

import (
	"context"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/accounts/ruleproto"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/qm"
)

// sentOn is a question of the queue: under which reverse-path a message leaves.
type sentOn struct{ Sender, Via mail.Address }

func reversePathMethod(a accountsRoom) ruleproto.Method {
	return ruleproto.Handle(func(ctx context.Context, q sentOn) (mail.Address, error) { return a.ReversePath(ctx, q.Sender, q.Via) })
}

// ReversePath is never kept: the path holds the day.
func (r *remoteAccounts) ReversePath(ctx context.Context, sender, via mail.Address) (mail.Address, error) {
	return ruleproto.Ask[mail.Address](ctx, r.c, "reverse-path", sentOn{sender, via}, nil)
}

// reversePath lets the queue send mail of others on in our name (package srs), unless [qm] srs = false.
func (h *House) reversePath() func(context.Context, mail.Address, mail.Address) (mail.Address, error) {
	if !h.conf.QM.SRS {
		return nil
	}
	return h.rules.ReversePath
}

func (h *House) queueLimits() qm.Limits {
	c := &h.conf.QM
	return qm.Limits{MaxConnections: c.Connections, MaxPerDestination: c.PerDomain, Interval: c.Interval,
		MaxRecipients: accounts.MaxListMembers, MaxTargets: accounts.MaxListMembers} // a post to a list; peers have fewer
}

// reportCopy is an address that was checked when it was read; "" is nobody.
func (h *House) reportCopy() mail.Address {
	a, err := mail.ParseAddress(h.conf.QM.ReportCopy)
	if err != nil {
		return mail.Address{}
	}
	return a
}
