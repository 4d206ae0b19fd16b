package guard

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// JunkFolder is where mail goes whose score is over Thresholds.Junk.
const JunkFolder = "Junk"

// suspect is a target whose mail is judged by its score.
type suspect struct {
	recipient int // among those accepted
	to        mail.Address
	folder    string // where it would go
	opinion   Opinion
	done      bool // the content was judged too, or will not be
	promised  bool // not judged if the content proves whose it is
}

// judge gives the verdict on the targets of a recipient: denied, allowed, decided by the owner, put off, scored. It drops
// from res the targets that take no mail from this sender; where none is left it returns the answer.
func (t *transaction) judge(ctx context.Context, res *Resolution, to mail.Address) *mail.Reply {
	if t.exempt() {
		return nil
	}
	role := isRole(to)
	t.free = t.free[:0]
	if t.c.Lists != nil && !role {
		if refusal := t.listed(ctx, res, to); refusal != nil {
			return refusal
		}
	}
	before := len(t.proofs)
	if res.Gated != nil {
		if refusal := t.gate(ctx, res, to); refusal != nil {
			return refusal
		}
	}
	for _, p := range t.proofs[before:] {
		if p.first == Prove {
			t.free = append(t.free, freed{p.to, true})
		}
	}
	refusal := t.score(ctx, res, to, role)
	if refusal != nil {
		t.proofs = t.proofs[:before]
		return refusal
	}
	asked := slices.DeleteFunc(t.proofs[before:], func(p proof) bool { // about who takes no mail nothing is asked
		return !slices.ContainsFunc(res.Targets, func(x mail.Target) bool { return x.Address == p.to })
	})
	t.proofs = t.proofs[:before+len(asked)]
	return nil
}

// freed is a target of the present recipient whose owner, or a list, lets the sender in whatever his score is.
type freed struct {
	to       mail.Address
	promised bool // if the content proves whose it is
}

// letIn notes that a target is freed.
func (t *transaction) letIn(to mail.Address, promised bool) {
	t.free = append(t.free, freed{to, promised})
}

// exempt: who has logged in, and what comes by a socket of ours, is not judged.
func (t *transaction) exempt() bool {
	return t.session.Login.Account != "" || !t.m.IP.IsValid()
}

// isRole: nobody is kept from these (RFC 5321 section 4.5.1, RFC 2142 section 4).
func isRole(a mail.Address) bool {
	return strings.EqualFold(a.Local, "postmaster") || strings.EqualFold(a.Local, "abuse")
}

// score asks the judges about each local target, and greylisting about those that nobody has allowed.
func (t *transaction) score(ctx context.Context, res *Resolution, to mail.Address, role bool) *mail.Reply {
	kept := make([]mail.Target, 0, len(res.Targets))
	var refusal *mail.Reply
	var suspects []suspect
	for _, target := range res.Targets {
		free := slices.IndexFunc(t.free, func(f freed) bool { return f.to == target.Address })
		if target.Remote || free >= 0 && !t.free[free].promised {
			kept = append(kept, target)
			continue
		}
		o := t.opinion(ctx, target.Address)
		if free < 0 {
			if answer := t.early(ctx, &o, to, target.Address, role); answer != nil {
				if refusal == nil || answer.Temporary() {
					refusal = answer
				}
				continue
			}
		}
		kept = append(kept, target)
		suspects = append(suspects, suspect{recipient: t.accepted, to: target.Address, folder: target.Folder, opinion: o, promised: free >= 0})
	}
	if len(kept) == 0 {
		return refusal
	}
	if len(kept) < len(res.Targets) {
		res.Targets = kept
	}
	t.suspects = append(t.suspects, suspects...)
	return nil
}

// early is the verdict that needs no content. Nobody is kept from postmaster and abuse.
func (t *transaction) early(ctx context.Context, o *Opinion, to, account mail.Address, role bool) *mail.Reply {
	var answer *mail.Reply
	switch th := &t.c.Thresholds; {
	case role:
		return nil
	case over(o.Score, th.Refuse):
		answer = spam(to, o.Text)
		t.learn(account, Refused)
	case over(o.Score, th.Defer):
		answer = mail.NewReply(450, mail.Enhanced{4, 7, 1}, "%s: we are not sure about you yet, please try again later", to.Path())
	case t.c.Grey != nil && !t.own() && t.c.Grey.Delay(&t.m, to, account, o.Score):
		answer = mail.NewReply(451, mail.Enhanced{4, 7, 1}, "%s: you are new to us, please try again in some minutes", to.Path())
		o.Reasons = append(slices.Clip(o.Reasons), "greylisted")
	default:
		return nil
	}
	t.tell(ctx, account, o, answer)
	return answer.Because(errScore{o.String()})
}

// spam refuses in the words of who thinks so, or ours.
func spam(to mail.Address, text string) *mail.Reply {
	if text == "" {
		text = "this looks like spam to us; postmaster hears you if it is not"
	}
	return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s: %s", to.Path(), text)
}

// later puts the content off.
func later(to mail.Address, text string) *mail.Reply {
	if text == "" {
		text = "this cannot be judged now, please try again later"
	}
	return mail.NewReply(451, mail.Enhanced{4, 7, 1}, "%s: %s", to.Path(), text)
}

// errScore is the cause of a reply, for the log.
type errScore struct{ text string }

func (e errScore) Error() string { return e.text }

// opinion is what the judges think of the message for an account.
func (t *transaction) opinion(ctx context.Context, account mail.Address) Opinion {
	if !t.asked {
		t.asked = true
		t.m.Proven = t.proven()
		for _, j := range t.c.Judges {
			t.common.add(j.Judge(ctx, &t.m, mail.Address{}))
		}
	}
	o := t.common
	for _, j := range t.c.Judges {
		o.add(j.Judge(ctx, &t.m, account))
	}
	return o
}

// own reports whether the peer is in a network of ours.
func (t *transaction) own() bool { return contains(t.c.Own, t.m.IP) }

func contains(nets []netip.Prefix, ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// read begins the readings, when the content begins.
func (t *transaction) read(ctx context.Context) {
	if t.began || !t.doubts() {
		return
	}
	t.began = true
	if len(t.c.Readers) > 0 {
		for i := range t.suspects {
			if !t.suspects[i].done {
				t.m.To = append(t.m.To, t.suspects[i].to)
			}
		}
	}
	for _, r := range t.c.Readers {
		x, err := r.Read(ctx, &t.m)
		if err != nil {
			t.c.Log.WarnContext(ctx, "content is not read by one who judges it", "session", t.session.ID, "err", err)
			continue
		}
		if x != nil {
			t.readings = append(t.readings, x)
		}
	}
}

// write hands content to the readings. One that fails is left out from then on.
func (t *transaction) write(p []byte) {
	t.readings = slices.DeleteFunc(t.readings, func(r Reading) bool {
		_, err := r.Write(p)
		if err != nil {
			t.c.Log.Warn("content is not read to its end by one who judges it", "session", t.session.ID, "err", err)
			r.Close()
		}
		return err != nil
	})
}

// closeReadings lets go of them.
func (t *transaction) closeReadings() {
	for _, r := range t.readings {
		r.Close()
	}
	t.readings = nil
}

// sentence gives the verdict on each suspect when the content is complete, into the replies that are still plain.
func (t *transaction) sentence(ctx context.Context, replies []mail.Reply) {
	t.read(ctx)
	for i := range t.suspects {
		s := &t.suspects[i]
		if !s.done {
			s.done = true
			for _, r := range t.readings {
				o, err := r.Opinion(ctx, s.to)
				if err != nil {
					t.c.Log.WarnContext(ctx, "no opinion on the content", "session", t.session.ID, "err", err)
					continue
				}
				s.opinion.add(o)
			}
		}
	}
	for rest := t.suspects; len(rest) > 0; {
		n := slices.IndexFunc(rest, func(s suspect) bool { return s.recipient != rest[0].recipient })
		if n < 0 {
			n = len(rest)
		}
		t.sentenceOne(ctx, rest[:n], &replies[rest[0].recipient])
		rest = rest[n:]
	}
}

// sentenceOne is about one recipient, whose targets may be several. Only where all of them would refuse the message it is
// refused: else it is junk for those.
func (t *transaction) sentenceOne(ctx context.Context, ss []suspect, reply *mail.Reply) {
	if reply.Code != 250 {
		return // the owner's decision stands
	}
	to := t.recipients[ss[0].recipient]
	th := &t.c.Thresholds
	refuse, putOff := !isRole(to.address) && len(ss) == to.targets, false
	signed := t.signed()
	for i := range ss {
		putOff = putOff || ss[i].opinion.Defer && !(ss[i].promised && signed)
		refuse = refuse && over(ss[i].opinion.Score, th.Refuse) && !(ss[i].promised && signed)
	}
	switch {
	case refuse:
		*reply = *spam(to.address, ss[0].opinion.Text).Because(errScore{ss[0].opinion.String()})
	case putOff:
		*reply = *later(to.address, ss[0].opinion.Text).Because(errScore{ss[0].opinion.String()})
	}
	var junk []mail.Target // what is to be filed as junk, and what we think of the rest
	for i := range ss {
		if refuse || putOff {
			break
		}
		if target := t.target(&ss[i]); target.Folder != "" || target.Note != "" {
			junk = append(junk, target)
		}
	}
	if len(junk) > 0 {
		*reply = mail.Reply{Code: 251, Enhanced: mail.Enhanced{2, 1, 5}, Text: mail.FormatTargets(junk)}
	}
	if !t.over { // Prepare tells nobody: Commit will
		return
	}
	for i := range ss {
		s := &ss[i]
		filed := refuse || putOff || slices.ContainsFunc(junk, func(x mail.Target) bool { return x.Address == s.to && x.Folder != "" })
		if t.m.Proven = t.m.Proven || signed; refuse {
			t.learn(s.to, Refused)
		} else if putOff {
			s.opinion.Reasons = append(s.opinion.Reasons, "cannot be judged now")
		} else if filed {
			t.learn(s.to, FiledAsJunk)
		} else {
			t.learn(s.to, Delivered)
		}
		switch {
		case filed:
			t.tell(ctx, s.to, &s.opinion, reply)
		case len(s.opinion.Reasons) > 0:
			if s.promised && signed {
				s.opinion.add(Opinion{Reasons: []string{"let in all the same: the signature proves who it is"}})
			}
			t.tell(ctx, s.to, &s.opinion, &mail.Reply{Code: 250})
		}
	}
}

// tell records a verdict with its reasons.
func (t *transaction) tell(ctx context.Context, to mail.Address, o *Opinion, answer *mail.Reply) {
	verdict := "accepted"
	switch {
	case answer.Code == 251:
		verdict = "filed as junk"
	case answer.Temporary():
		verdict = "put off"
	case answer.Permanent():
		verdict = "refused"
	}
	from := t.from.String()
	if from == "" {
		from = "<>"
	}
	t.c.Journal.Record(ctx, mail.Event{Time: t.now(), Trace: t.session.ID, Room: "guard", Kind: "judged", From: from, To: to.String(),
		Peer: t.m.IP.String(), Code: answer.Code, Text: verdict + ", " + o.String()})
}

func (t *transaction) now() time.Time {
	if t.c.Clock != nil {
		return t.c.Clock()
	}
	return time.Now()
}
