package guard

import (
	"context"
	"net/netip"
	"strings"

	"github.com/samotop/samotop/mail"
)

// Decision is what the owner of an account has decided about a sender.
type Decision uint8

const (
	Accept Decision = iota
	Apart           // accept, into a folder of its own until the owner decides
	Later           // put off: the owner was asked
	Refuse          // for good
	Prove           // accept if the message brings a proof that it is his: a DKIM signature of the sender's domain
	Known           // accept, whatever else is thought of him: the owner has approved him, and it is he
)

// Contacts knows whom the owners of accounts let write to them. It is safe for concurrent use.
type Contacts interface {
	// Decide answers for one account. Proven: the sender's domain was authenticated (SPF).
	Decide(ctx context.Context, to, sender mail.Address, ip netip.Addr, proven bool) (Decision, error)
	// Unproven is the answer after Prove when there was no proof.
	Unproven(ctx context.Context, to mail.Address) (Decision, error)
}

// ApartFolder is where mail goes whose sender is not decided about.
const ApartFolder = "Contacts/Unknown"

// proof is asked of the content for a recipient.
type proof struct {
	recipient int // among those accepted
	to        mail.Address
}

// gate asks the owners of the targets about the sender. A recipient with several targets reaches those that let him: the
// sender cannot be told about the rest.
func (t *transaction) gate(ctx context.Context, res *Resolution, a mail.Address) *mail.Reply {
	if t.c.Contacts == nil {
		return mail.NewReply(451, mail.Enhanced{4, 3, 5}, "%s: nobody can be asked about you now", a.Path())
	}
	kept := make([]mail.Target, 0, len(res.Targets))
	var prove []mail.Address
	var refusal *mail.Reply
	for i, target := range res.Targets {
		d := Accept
		if i < len(res.Gated) && res.Gated[i] && !target.Remote {
			var err error
			if d, err = t.c.Contacts.Decide(ctx, target.Address, t.from, t.ip(), t.proven()); err != nil {
				return mail.AsReply(err)
			}
		}
		if len(res.Targets) > 1 && (d == Later || d == Prove) {
			d = Apart
		}
		switch d {
		case Known:
			t.letIn(target.Address, false)
		case Apart:
			target.Folder = ApartFolder
		case Prove:
			prove = append(prove, target.Address)
		case Later, Refuse:
			refusal = said(d, a)
			continue
		}
		kept = append(kept, target)
	}
	if len(kept) == 0 {
		return refusal
	}
	res.Targets = kept
	for _, to := range prove {
		t.proofs = append(t.proofs, proof{t.accepted, to})
	}
	return nil
}

// said is what the sender is told.
func said(d Decision, a mail.Address) *mail.Reply {
	if d == Later {
		return mail.NewReply(450, mail.Enhanced{4, 7, 1}, "%s: the recipient was asked whether you may write, please try again later", a.Path())
	}
	return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s: the recipient takes no mail from you", a.Path())
}

// ip is whence the mail comes.
func (t *transaction) ip() netip.Addr {
	ip, _ := mail.IPOf(t.session.RemoteAddr) // the zero address is in no network
	return ip
}

// proven reports whether SPF has authenticated the sender's domain (RFC 7208).
func (t *transaction) proven() bool {
	return t.session.Fact("spf") == "pass" && t.from.Domain != "" && strings.EqualFold(t.session.Fact("spf_domain"), t.from.Domain)
}

// signed reports whether a DKIM signature of the sender's domain, or of one above it, was good (RFC 6376).
func (t *transaction) signed() bool {
	from := strings.ToLower(t.from.Domain)
	for d := range strings.FieldsSeq(strings.ToLower(t.session.Fact("dkim_domains"))) {
		if from == d || strings.HasSuffix(from, "."+d) {
			return true
		}
	}
	return false
}

// settle answers for those who still owe a proof.
func (t *transaction) settle(ctx context.Context, replies []mail.Reply) error {
	if len(t.proofs) == 0 || t.signed() {
		return nil
	}
	for _, p := range t.proofs {
		d, err := t.c.Contacts.Unproven(ctx, p.to)
		switch {
		case err != nil:
			return err
		case d == Apart:
			replies[p.recipient] = mail.Reply{Code: 251, Enhanced: mail.Enhanced{2, 1, 5},
				Text: mail.FormatTargets([]mail.Target{{Address: p.to, Folder: ApartFolder}})}
		case d != Accept:
			replies[p.recipient] = *said(d, p.to)
		}
	}
	return nil
}
