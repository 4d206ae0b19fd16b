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
	Look            // ask again when the content is known; it may be put off or refused then
	Known           // accept, whatever else is thought of him: the owner has approved him, and it is he
)

// ContactQuestion is whether somebody may write to an account.
type ContactQuestion struct {
	To     mail.Address // the account
	Via    mail.Address // the recipient as the sender wrote it
	Sender mail.Address
	IP     netip.Addr
	Proven bool // the sender's domain was authenticated (SPF)
	Failed bool // the sender's domain says that it is not its mail (SPF fail or softfail)
}

// ContactContent is the same question when the content is known.
type ContactContent struct {
	To, Sender mail.Address
	First      Decision // the answer before
	Signed     []string // domains whose DKIM signatures are good
	List       string   // List-Id (RFC 2919)
	ListSigned []string // those of Signed whose signatures cover the List-Id
	Subject    string
	Refers     []string // Message-IDs that a report names
}

// Contacts knows whom the owners of accounts let write to them. It is safe for concurrent use.
type Contacts interface {
	// Decide answers for one account, before the content.
	Decide(ctx context.Context, q ContactQuestion) (Decision, error)
	// Content answers with the content, where Decide said Apart, Prove or Look. It may be asked twice.
	Content(ctx context.Context, q ContactContent) (Decision, error)
}

// ApartFolder is where mail goes whose sender is not decided about.
const ApartFolder = "Contacts/Unknown"

// proof is a recipient about whom the content is still to be judged.
type proof struct {
	recipient int // among those accepted
	to        mail.Address
	first     Decision
	shared    bool // the recipient has other targets
}

// gate asks the owners of the targets about the sender. A recipient with several targets reaches those that let him: the
// sender cannot be told about the rest.
func (t *transaction) gate(ctx context.Context, res *Resolution, a mail.Address) *mail.Reply {
	if t.c.Contacts == nil {
		return mail.NewReply(451, mail.Enhanced{4, 3, 5}, "%s: nobody can be asked about you now", a.Path())
	}
	kept := make([]mail.Target, 0, len(res.Targets))
	var proofs []proof
	var refusal *mail.Reply
	shared := len(res.Targets) > 1
	for i, target := range res.Targets {
		d := Accept
		if i < len(res.Gated) && res.Gated[i] && !target.Remote {
			var err error
			if d, err = t.c.Contacts.Decide(ctx, ContactQuestion{target.Address, a, t.from, t.ip(), t.proven(), t.disowned()}); err == nil {
				d, err = t.unseen(ctx, target.Address, d)
			}
			if err != nil {
				return mail.AsReply(err)
			}
		}
		if shared && (d == Later || d == Prove || d == Look) {
			d = Apart
		}
		switch d {
		case Known:
			t.letIn(target.Address, false)
		case Apart:
			target.Folder = ApartFolder
		case Look:
			if t.accepted > 0 {
				return alone(a)
			}
		case Later, Refuse:
			refusal = said(d, a)
			continue
		}
		if d == Apart || d == Prove || d == Look {
			proofs = append(proofs, proof{t.accepted, target.Address, d, shared})
		}
		kept = append(kept, target)
	}
	if len(kept) == 0 {
		return refusal
	}
	res.Targets = kept
	t.proofs = append(t.proofs, proofs...)
	return nil
}

// ServicePolicy is the Service of a Session whose content nobody will show: a server that asks about recipients alone.
const ServicePolicy = "policy"

// unseen decides at RCPT what else waits for the content, where there will be none: nothing is proved by it, and who would have
// been read only then is answered as if he were read. Reports come in, because what they are about cannot be known.
func (t *transaction) unseen(ctx context.Context, to mail.Address, d Decision) (Decision, error) {
	switch {
	case t.session.Service != ServicePolicy || d != Look && d != Prove:
		return d, nil
	case t.from.IsNull():
		return Accept, nil
	}
	return t.c.Contacts.Content(ctx, ContactContent{To: to, Sender: t.from, First: d})
}

// alone asks for a message of its own: were one recipient of several put off at the end, all would be.
func alone(a mail.Address) *mail.Reply {
	return mail.NewReply(452, mail.Enhanced{4, 5, 3}, "%s: please send this in a message of its own", a.Path())
}

// looking reports whether the only recipient may still be put off at the end.
func (t *transaction) looking() bool { return len(t.proofs) > 0 && t.proofs[0].first == Look }

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

// disowned reports whether the sender's domain says that it does not send from there (RFC 7208 sections 2.6.4 and 2.6.5).
func (t *transaction) disowned() bool {
	spf := t.session.Fact("spf")
	return (spf == "fail" || spf == "softfail") && strings.EqualFold(t.session.Fact("spf_domain"), t.from.Domain)
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

// settle asks the owners again, now that the content is known.
func (t *transaction) settle(ctx context.Context, replies []mail.Reply) error {
	if len(t.proofs) == 0 {
		return nil
	}
	q := ContactContent{Sender: t.from, Signed: strings.Fields(t.session.Fact("dkim_domains")), ListSigned: strings.Fields(t.session.Fact("dkim_lists"))}
	t.learnt.tell(&q)
	filed := map[int][]mail.Target{}
	for _, p := range t.proofs {
		q.To, q.First = p.to, p.first
		d, err := t.c.Contacts.Content(ctx, q)
		if err != nil {
			return err
		}
		if p.shared && d != Accept && d != Known {
			d = Apart
		}
		switch {
		case d == Later || d == Refuse:
			replies[p.recipient] = *said(d, t.recipients[p.recipient].address)
		case d == Apart && p.first != Apart:
			filed[p.recipient] = append(filed[p.recipient], mail.Target{Address: p.to, Folder: ApartFolder})
		case d != Apart && p.first == Apart, d == Known && p.first == Look:
			filed[p.recipient] = append(filed[p.recipient], mail.Target{Address: p.to})
		}
	}
	for i, targets := range filed {
		replies[i] = mail.Reply{Code: 251, Enhanced: mail.Enhanced{2, 1, 5}, Text: mail.FormatTargets(targets)}
	}
	return nil
}
