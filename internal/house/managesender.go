package house

import (
	"context"
	"iter"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/management"
)

// senders shows the lists of senders of the accounts room to management.
type senders struct{ a *accounts.Accounts }

var _ management.Senders = senders{}

// Verdicts of a list.
const (
	verdictAllow = "allow"
	verdictDeny  = "deny"
)

func listedSender(x accounts.ListedSender) management.ListedSender {
	m := management.ListedSender{Account: x.Account, Sender: x.Entry, Verdict: verdictDeny, Since: x.Since, Note: x.Note}
	if x.Allow {
		m.Verdict = verdictAllow
	}
	return m
}

func (s senders) ListedSenders(ctx context.Context, account string, every bool) iter.Seq2[management.ListedSender, error] {
	return convert(s.a.ListedSenders(ctx, account, every), listedSender)
}

func (s senders) ListSender(ctx context.Context, x management.ListedSender) (management.ListedSender, error) {
	if x.Verdict != verdictAllow && x.Verdict != verdictDeny {
		return x, &management.Error{Kind: management.WrongUse, Thing: x.Verdict, Cause: "is neither allow nor deny"}
	}
	y, err := s.a.ListSender(ctx, accounts.ListedSender{Account: x.Account, Entry: x.Sender, Allow: x.Verdict == verdictAllow, Note: x.Note})
	return listedSender(y), told(err)
}

func (s senders) UnlistSender(ctx context.Context, account, entry string) error {
	return told(s.a.UnlistSender(ctx, account, entry))
}

// guardLists tells the guard whom the lists allow and deny.
type guardLists struct{ a accountsRoom }

var _ guard.Lists = guardLists{}

func (g guardLists) Listed(ctx context.Context, q guard.ListedQuestion) (guard.Listed, error) {
	x, err := g.a.Listed(ctx, accounts.ListedQuestion{To: q.To, From: q.From, IP: q.IP})
	out := guard.Listed{Entry: x.Entry, ByName: x.ByName}
	switch {
	case x.Found && x.Allow:
		out.Verdict = guard.Allowed
	case x.Found:
		out.Verdict = guard.Denied
	}
	return out, err
}
