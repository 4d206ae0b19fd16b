package guard

import (
	"context"
	"errors"
	"net/netip"

	"github.com/samotop/samotop/mail"
)

// ListedQuestion is whether somebody is allowed or denied to write to an account.
type ListedQuestion struct {
	To   mail.Address // canonical, of an account
	From mail.Address // reverse-path
	IP   netip.Addr
}

// Listed is what the lists say.
type Listed struct {
	Verdict ListVerdict
	Entry   string // which entry says so
	// ByName: the entry is an address or domain. It helps only who proves that the name is his; a network needs no proof.
	ByName bool
}

// ListVerdict is Unlisted, Allowed or Denied.
type ListVerdict uint8

const (
	Unlisted ListVerdict = iota
	Allowed              // neither greylisted nor scored
	Denied               // 550 5.7.1
)

// Lists knows who is allowed and denied, by everybody's list and by the account's own. It is safe for concurrent use.
type Lists interface {
	Listed(ctx context.Context, q ListedQuestion) (Listed, error)
}

// listed drops from res the targets that deny this sender, and frees those that allow him. That the lists cannot be asked
// puts the sender off: who is denied is not let in by a fault.
func (t *transaction) listed(ctx context.Context, res *Resolution, to mail.Address) *mail.Reply {
	kept := make([]mail.Target, 0, len(res.Targets))
	var gated []bool
	denied := ""
	for i, target := range res.Targets {
		if !target.Remote {
			l, err := t.c.Lists.Listed(ctx, ListedQuestion{To: target.Address, From: t.from, IP: t.m.IP})
			switch {
			case err != nil:
				return mail.AsReply(err)
			case l.Verdict == Denied:
				denied = l.Entry
				continue
			case l.Verdict == Allowed && l.ByName:
				t.letIn(target.Address, !t.proven())
			case l.Verdict == Allowed:
				t.letIn(target.Address, false)
			}
		}
		kept = append(kept, target)
		if i < len(res.Gated) {
			gated = append(gated, res.Gated[i])
		}
	}
	if len(kept) == len(res.Targets) {
		return nil
	}
	if len(kept) == 0 {
		answer := mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s: the recipient takes no mail from you", to.Path())
		t.tell(ctx, to, &Opinion{Reasons: []string{"denied by the list entry " + denied}}, answer)
		return answer.Because(errors.New("denied by the list entry " + denied))
	}
	res.Targets, res.Gated = kept, gated
	return nil
}
