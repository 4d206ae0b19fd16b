package mailauth

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/arc"
	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/mailauth/dmarc"
	"github.com/samotop/samotop/mailauth/internal/core"
	"github.com/samotop/samotop/mailauth/spf"
	"github.com/samotop/samotop/message"
	"github.com/samotop/samotop/resolver"
)

// Checker checks messages. The zero values of its fields but Resolver and ID are safe defaults.
type Checker struct {
	Resolver      resolver.Resolver
	ID            string   // our authserv-id: the name in Authentication-Results; fields that claim it are taken out
	Rules         []Rule   // the first that matches a finding decides it; nil: DefaultRules
	Sealers       []string // domains whose ARC seals we trust; nil: none
	Partial       bool     // signatures with l= that leave the end of the body open count for DMARC
	JunkFolder    string   // "": "Junk"
	Time          time.Duration
	MaxSignatures int              // DKIM; 0: dkim.MaxSignatures
	Clock         func() time.Time // nil: time.Now

	// Observe is told of each message that the Middleware has checked, whatever became of it; nil: nobody. It must be
	// quick.
	Observe func(ctx context.Context, s *mail.Session, r Report)

	keys core.Keys
}

// DefaultTime is how long the checks before and after the content may each take.
const DefaultTime = 20 * time.Second

// Facts are what the session tells of a message.
type Facts struct {
	IP    netip.Addr // of the client; not valid: none, and SPF is not asked
	Hello string
	From  mail.Address // reverse-path
}

// Check is one message on its way. It is not safe for concurrent use.
type Check struct {
	c      *Checker
	facts  Facts
	spf    *spf.Result
	rev    Reverse
	stream core.Stream
	dkim   *dkim.Message
	arc    *arc.Message
}

// Report is what was found of one message.
type Report struct {
	Facts    Facts
	To       []mail.Address // the recipients that were accepted, if the Middleware knows them
	Reverse  Reverse
	SPF      spf.Result
	DKIM     []dkim.Result
	ARC      arc.Result
	DMARC    dmarc.Result
	List     bool // it came over a mailing list: it has a List-Id (RFC 2919)
	Findings []Finding
	Action   Action // the strictest of the findings

	Early     bool   // it was refused before the content came: only SPF and Reverse are known
	MessageID string // of the header, without the angle brackets; "" if there is none
	Header    []byte // as it came, or the beginning of a very long one; not to be changed or kept
}

// Begin begins a message.
func (c *Checker) Begin(f Facts) *Check {
	k := &Check{c: c, facts: f}
	k.dkim = (&dkim.Verifier{Resolver: c.Resolver, MaxSignatures: c.MaxSignatures, Clock: c.Clock, Keys: &c.keys}).Of(&k.stream)
	k.arc = (&arc.Verifier{Resolver: c.Resolver, Keys: &c.keys}).Of(&k.stream)
	return k
}

func (c *Checker) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	t := c.Time
	if t <= 0 {
		t = DefaultTime
	}
	return context.WithTimeout(ctx, t)
}

// SPF asks once, and gives the same answer afterwards.
func (k *Check) SPF(ctx context.Context) spf.Result {
	if k.spf != nil {
		return *k.spf
	}
	r := spf.Result{Status: spf.None, Sender: k.facts.From}
	if k.facts.IP.IsValid() {
		ctx, cancel := k.c.limit(ctx)
		defer cancel()
		r = (&spf.Checker{Resolver: k.c.Resolver, Receiver: k.c.ID, Clock: k.c.Clock}).Check(ctx, k.facts.IP, k.facts.Hello, k.facts.From)
	}
	k.spf = &r
	return r
}

// Early says what SPF alone does, before the content. Domain is the one SPF was asked for, because From is not known yet.
func (k *Check) Early(ctx context.Context) Finding {
	r := k.SPF(ctx)
	fs := []Finding{spfFinding(r)}
	decide(k.c.Rules, r.Domain, fs)
	return fs[0]
}

// Write takes the next octets of the message as it came. It never fails.
func (k *Check) Write(p []byte) (int, error) {
	return k.stream.Write(p)
}

// Close ends the message and decides.
func (k *Check) Close(ctx context.Context) Report {
	r := Report{Facts: k.facts, Reverse: k.rev, SPF: k.SPF(ctx)}
	ctx, cancel := k.c.limit(ctx)
	defer cancel()
	r.DKIM = k.dkim.Close(ctx)
	r.ARC = k.arc.Close(ctx)
	r.Header = k.stream.Header()
	h := message.ParseHeader(r.Header)
	r.List, r.MessageID = h.Has("List-Id"), messageID(&h)
	m := dmarc.Message{From: authors(&h)}
	switch r.SPF.Status {
	case spf.Pass:
		m.SPF = r.SPF.Domain
	case spf.TempError:
		m.UnknownSPF = r.SPF.Domain
	}
	for _, d := range r.DKIM {
		switch {
		case d.Partial && !k.c.Partial:
		case d.Status == dkim.Pass:
			m.DKIM = append(m.DKIM, d.Domain)
		case d.Status == dkim.TempError:
			m.UnknownDKIM = append(m.UnknownDKIM, d.Domain)
		}
	}
	r.DMARC = k.evaluate(ctx, m)
	r.Findings = []Finding{spfFinding(r.SPF), dkimFinding(r.DKIM), {Check: "arc", Result: string(r.ARC.Status), Reason: r.ARC.Reason}, k.dmarcFinding(r)}
	if r.Reverse.Result != "" {
		r.Findings = append(r.Findings, r.Reverse.finding())
	}
	r.Action = decide(k.c.Rules, r.DMARC.Domain, r.Findings)
	return r
}

// maxAuthors is how many domains in From are looked at.
const maxAuthors = 8

// evaluate asks for the policy. Where From names several domains RFC 9989 section 5.3.1 leaves open what to do, and section
// 11.5 warns of those who hide one name behind another: each is asked for, and the strictest policy that the message fails holds.
func (k *Check) evaluate(ctx context.Context, m dmarc.Message) dmarc.Result {
	e := &dmarc.Evaluator{Resolver: k.c.Resolver}
	r := e.Evaluate(ctx, m)
	if r.Status != dmarc.PermError || len(m.From) < 2 {
		return r
	}
	asked := map[string]bool{}
	for _, domain := range m.From {
		if domain = strings.ToLower(domain); asked[domain] || domain == "" {
			continue
		}
		asked[domain] = true
		if len(asked) > maxAuthors {
			return dmarc.Result{Status: dmarc.Fail, Domain: r.Domain, Policy: dmarc.Reject, Err: fmt.Errorf("From names more than %d domains", maxAuthors)}
		}
		one := m
		one.From = []string{domain}
		if x := e.Evaluate(ctx, one); stricter(x.Disposition(), r.Disposition()) {
			r = x
		}
	}
	return r
}

func stricter(a, b dmarc.Policy) bool {
	return a == dmarc.Reject && b != dmarc.Reject || a == dmarc.Quarantine && b == dmarc.None
}

// messageID returns the header's Message-ID, bounded, as journals and reports want it.
func messageID(h *message.Header) string {
	id := strings.Trim(strings.TrimSpace(string(h.Get("Message-ID"))), "<>")
	return id[:min(len(id), 998)]
}

// authors returns the domains of all addresses in all From fields; one without a domain gives "".
func authors(h *message.Header) []string {
	var domains []string
	for _, v := range h.Values("From") {
		for _, a := range message.ParseAddressList(v) {
			if len(domains) > dmarc.MaxDomains {
				return domains
			}
			domains = appendDomains(domains, a)
		}
	}
	return domains
}

func spfFinding(r spf.Result) Finding {
	f := Finding{Check: "spf", Result: string(r.Status), Reason: r.Mechanism}
	if r.Err != nil {
		f.Reason = r.Err.Error()
	}
	return f
}

// dkimFinding is pass if one signature passes, otherwise what the first came to.
func dkimFinding(rs []dkim.Result) Finding {
	if len(rs) == 0 {
		return Finding{Check: "dkim", Result: "none", Reason: "the message is not signed"}
	}
	for _, r := range rs {
		if r.Status == dkim.Pass {
			return Finding{Check: "dkim", Result: "pass", Reason: "signed by " + r.Domain}
		}
	}
	return Finding{Check: "dkim", Result: string(rs[0].Status), Reason: rs[0].Domain + ": " + rs[0].Reason}
}

func (k *Check) dmarcFinding(r Report) Finding {
	f := Finding{Check: "dmarc", Result: string(r.DMARC.Status)}
	if r.DMARC.Err != nil {
		f.Reason = r.DMARC.Err.Error()
	}
	if r.DMARC.Status == dmarc.TempError && r.DMARC.Record != nil && r.DMARC.Requested() != dmarc.None {
		f.Result = DMARCUnknown
	}
	if r.DMARC.Status != dmarc.Fail {
		return f
	}
	if r.DMARC.Record == nil { // nobody sends so many authors: there is no one policy
		f.Result = DMARCReject
		return f
	}
	f.Reason = "neither SPF nor DKIM is aligned with " + r.DMARC.Domain + ", whose policy is " + string(r.DMARC.Disposition())
	sealer := k.trusted(r)
	switch d := r.DMARC.Disposition(); {
	case d == dmarc.None:
		f.Result = DMARCNone
	case sealer != "" && r.ARC.Temporary:
		f.Result, f.Reason = DMARCUnknown, f.Reason+"; whether "+sealer+", which we trust, saw it pass cannot be told now: "+r.ARC.Reason
	case sealer != "":
		f.Result, f.Reason = DMARCTrusted, f.Reason+"; but "+sealer+", which we trust, saw it pass"
	case d == dmarc.Quarantine:
		f.Result = DMARCQuarantine
	case r.List:
		f.Result, f.Reason = DMARCList, f.Reason+"; but it came over a mailing list"
	default:
		f.Result = DMARCReject
	}
	return f
}

// trusted returns the sealer that saw DMARC pass, if it and all after it are trusted and the chain holds, or only keys that
// cannot be fetched now keep that from being known.
func (k *Check) trusted(r Report) string {
	if r.ARC.Status != arc.Pass && !r.ARC.Temporary {
		return ""
	}
	for i := len(r.ARC.Sets) - 1; i >= 0; i-- {
		set := r.ARC.Sets[i]
		if !contains(k.c.Sealers, set.Domain) {
			return ""
		}
		for _, m := range set.Results.Methods {
			if from := m.Get("header", "from"); m.Name == "dmarc" && m.Result == "pass" && strings.EqualFold(from, r.DMARC.Domain) {
				return set.Domain
			}
		}
	}
	return ""
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}
