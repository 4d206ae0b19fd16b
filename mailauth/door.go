package mailauth

import (
	"context"
	"io"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/arc"
	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/mailauth/spf"
)

// Middleware puts the checks in front of a Door: SPF at the first recipient, the others over the content. Before the
// content's end reaches the next Door it is given a Received-SPF and an Authentication-Results field, with Fields of that
// kind that claim to be ours taken out of the content. Who has logged in, and trusted peers, are not checked.
//
// The session is given these facts. At the first recipient: "spf", "spf_domain", "fcrdns" ("pass", "fail", "temperror";
// the name is Session.RemoteName). At the end of the content: "dkim" ("pass" if one signature passes), "dkim_domains" (those
// that passed, separated by spaces, without those that leave the end of the body open), "dkim_lists" (those of them whose signatures
// cover the List-Id), "arc", "arc_domain" (the last sealer of a chain that passes), "dmarc" (with the words of
// Rule), "dmarc_domain" (of From), and "auth", the action.
func (c *Checker) Middleware() mail.Middleware {
	return func(next mail.Door) mail.Door { return &door{c: c, next: next} }
}

// Observer is a Receiver's wish to see the report of each message: a Transaction that has this method is given it before
// Prepare and Commit.
type Observer interface {
	Authenticated(r Report)
}

type door struct {
	c    *Checker
	next mail.Door
}

// Check is of mail.Checker.
func (d *door) Check() error {
	if c, ok := d.next.(mail.Checker); ok {
		return c.Check()
	}
	return nil
}

func (d *door) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
	r, err := d.next.Open(ctx, s)
	if err != nil || r == nil {
		return r, err
	}
	if c, ok := r.(io.Closer); ok {
		return closing{&receiver{c: d.c, next: r}, c}, nil
	}
	return &receiver{c: d.c, next: r}, nil
}

type receiver struct {
	c    *Checker
	next mail.Receiver
	rev  Reverse // of the client of this session, once it was asked for
}

type closing struct {
	*receiver
	io.Closer
}

// factNames are the facts about one message.
var factNames = []string{"spf", "spf_domain", "dkim", "dkim_domains", "dkim_lists", "arc", "arc_domain", "dmarc", "dmarc_domain", "auth"}

func (r *receiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	next, err := r.next.Begin(ctx, s, from)
	if err != nil || s.Trusted || s.Login.Account != "" {
		return next, err
	}
	for _, name := range factNames {
		if s.Fact(name) != "" { // of the message before
			s.SetFact(name, "")
		}
	}
	facts := Facts{Hello: s.Hello, From: from.Address}
	facts.IP, _ = mail.IPOf(s.RemoteAddr)
	tx := &transaction{c: r.c, r: r, s: s, next: next, check: r.c.Begin(facts), filter: authres.NewFilter(next, r.c.ID)}
	p, prepares := next.(mail.Preparer)
	a, amends := next.(mail.Amender)
	tx.amender = a
	switch {
	case prepares && amends:
		return both{preparing{tx, p}, a}, nil
	case prepares:
		return preparing{tx, p}, nil
	case amends:
		return amending{tx, a}, nil
	}
	return tx, nil
}

// transaction is one message.
type transaction struct {
	c       *Checker
	r       *receiver
	s       *mail.Session
	next    mail.Transaction
	amender mail.Amender // nil: the next one is none
	check   *Check
	filter  *authres.Filter
	folders []string // of the accepted recipients
	to      []mail.Address
	decided bool
	err     error
}

type preparing struct {
	*transaction
	next mail.Preparer
}

type amending struct {
	*transaction
	mail.Amender
}

type both struct {
	preparing
	mail.Amender
}

func (p preparing) Prepare(ctx context.Context) ([]mail.Reply, error) {
	if err := p.decide(ctx); err != nil {
		return nil, err
	}
	return p.next.Prepare(ctx)
}

// Recipient asks SPF, which alone may refuse here.
func (t *transaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	f := t.early(ctx)
	if t.c.Observe != nil && (f.Action == Refuse || f.Action == Defer) {
		t.c.Observe(ctx, t.s, Report{Facts: t.check.facts, To: []mail.Address{r.Address}, Reverse: t.r.rev, SPF: t.check.SPF(ctx),
			Findings: []Finding{f}, Action: f.Action, Early: true})
	}
	switch f.Action {
	case Refuse:
		return t.spfRefusal()
	case Defer:
		return mail.NewReply(451, mail.Enhanced{4, 7, 24}, "SPF check of %s: %s", printable(t.check.SPF(ctx).Domain), f.Result)
	}
	if err := t.next.Recipient(ctx, r); err != nil {
		return err
	}
	t.folders, t.to = append(t.folders, r.Folder), append(t.to, r.Address)
	return nil
}

// early asks what can be asked before the content: the reverse look-up once for the session, SPF once for the message.
func (t *transaction) early(ctx context.Context) Finding {
	if t.check.spf != nil {
		return t.check.Early(ctx)
	}
	wait := func() {}
	if t.r.rev.Result == "" {
		wait = t.c.reverse(ctx, t.check.facts.IP, &t.r.rev)
	}
	f := t.check.Early(ctx)
	wait()
	t.check.rev = t.r.rev
	t.s.SetFact("spf", f.Result)
	t.s.SetFact("spf_domain", t.check.spf.Domain)
	if t.r.rev.Result != "" {
		t.s.SetFact("fcrdns", t.r.rev.Result)
		if t.r.rev.Name != "" {
			t.s.RemoteName = t.r.rev.Name
		}
	}
	return f
}

// spfRefusal has the codes of RFC 7372 section 3.2.
func (t *transaction) spfRefusal() error {
	r := t.check.SPF(context.Background()) // asked before
	if r.Status == spf.Fail {
		if r.Explanation != "" {
			return mail.NewReply(550, mail.Enhanced{5, 7, 23}, "SPF check failed; %s says: %s", printable(r.Domain), printable(r.Explanation))
		}
		return mail.NewReply(550, mail.Enhanced{5, 7, 23}, "SPF check of %s failed", printable(r.Domain))
	}
	return mail.NewReply(550, mail.Enhanced{5, 7, 24}, "SPF check of %s: %s", printable(r.Domain), string(r.Status))
}

func (t *transaction) Trace(fields ...mail.Field) { t.next.Trace(fields...) }

func (t *transaction) Write(p []byte) (int, error) {
	t.check.Write(p)
	return t.filter.Write(p)
}

func (t *transaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	if err := t.decide(ctx); err != nil {
		return nil, err
	}
	return t.next.Commit(ctx)
}

func (t *transaction) Abort() error { return t.next.Abort() }

// decide does once what has to be done when the content has ended.
func (t *transaction) decide(ctx context.Context) error {
	if t.decided {
		return t.err
	}
	t.decided = true
	if t.err = t.filter.Close(); t.err != nil {
		return t.err
	}
	r := t.check.Close(ctx)
	r.To = t.to
	t.tell(r)
	if t.c.Observe != nil {
		t.c.Observe(ctx, t.s, r)
	}
	if o, ok := t.next.(Observer); ok {
		o.Authenticated(r)
	}
	if r.Facts.IP.IsValid() {
		t.next.Trace(mail.Field{Name: "Received-SPF", Value: r.SPF.Field(t.c.ID, r.Facts.IP, r.Facts.Hello)})
	}
	t.next.Trace(r.Field(t.c.ID))
	switch r.Action {
	case Refuse, Defer:
		t.err = refusal(r)
	case Junk:
		t.err = t.junk()
	}
	return t.err
}

// tell sets the facts of the session.
func (t *transaction) tell(r Report) {
	for _, f := range r.Findings {
		t.s.SetFact(f.Check, f.Result)
	}
	var signed, lists []string
	for _, d := range r.DKIM {
		if d.Status != dkim.Pass || d.Partial && !t.c.Partial {
			continue
		}
		if !contains(signed, d.Domain) {
			signed = append(signed, strings.ToLower(d.Domain))
		}
		if contains(d.Names, "list-id") && !contains(lists, d.Domain) {
			lists = append(lists, strings.ToLower(d.Domain))
		}
	}
	t.s.SetFact("dkim_domains", strings.Join(signed, " "))
	t.s.SetFact("dkim_lists", strings.Join(lists, " "))
	sealer := ""
	if n := len(r.ARC.Sets); n > 0 && r.ARC.Status == arc.Pass {
		sealer = strings.ToLower(r.ARC.Sets[n-1].Domain)
	}
	t.s.SetFact("arc_domain", sealer)
	t.s.SetFact("dmarc_domain", strings.ToLower(r.DMARC.Domain))
	t.s.SetFact("auth", r.Action.String())
}

// refusal says why (RFC 7372; RFC 9989 section 7.2 leaves the codes open, everybody uses 5.7.1).
func refusal(r Report) error {
	for _, f := range r.Findings {
		if f.Action != r.Action {
			continue
		}
		code, class := 550, uint16(5)
		if r.Action == Defer {
			code, class = 451, 4
		}
		detail := uint16(1)
		switch f.Check {
		case "spf":
			detail = 23
		case "dkim":
			detail = 20
		case "arc":
			detail = 29
		}
		return mail.NewReply(code, mail.Enhanced{class, 7, detail}, "Message not accepted: %s=%s: %s", f.Check, f.Result, printable(f.Reason))
	}
	return nil
}

// junk files the message away for those whose mail goes to INBOX.
func (t *transaction) junk() error {
	if t.amender == nil {
		return nil // the fact "auth" tells
	}
	folder := t.c.JunkFolder
	if folder == "" {
		folder = "Junk"
	}
	for i, f := range t.folders {
		if f == "" {
			if err := t.amender.Amend(i, folder, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// printable keeps what came from outside on one line of a reply.
func printable(s string) string {
	const most = 200
	b := []byte(s[:min(len(s), most)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
