// Package dmarc finds the policy of the domain in a message's From field and says whether the message fits it
// (Domain-based Message Authentication, Reporting, and Conformance, RFC 9989; records of RFC 7489 are read too).
//
//	e := &dmarc.Evaluator{Resolver: dns}
//	res := e.Evaluate(ctx, dmarc.Message{From: []string{"example.com"}, SPF: "bounce.example.com", DKIM: []string{"example.com"}})
//	switch res.Disposition() { case dmarc.Reject: ... }
//
// The domains in Message are those that passed: of SPF the one of MAIL FROM (or HELO with a null reverse-path), of DKIM
// each d= with a good signature.
//
// Promises. An Evaluator is safe for concurrent use. One domain costs at most MaxQueries questions (RFC 9989 section
// 4.10), a message at most MaxDomains domains. Nothing in a record can make it panic or loop.
package dmarc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/samotop/samotop/resolver"
)

// Limits.
const (
	MaxQueries      = 8 // of one tree walk (RFC 9989 section 4.10)
	MaxDomains      = 20
	MaxRecordOctets = 4 << 10
	MaxReportURIs   = 20
)

// Policy is what the owner of a domain asks for (RFC 9989 section 4.7, tag p).
type Policy string

const (
	None       Policy = "none"
	Quarantine Policy = "quarantine"
	Reject     Policy = "reject"
)

// Status is a result of RFC 9989 section 4.4 and RFC 8601.
type Status string

const (
	NoPolicy  Status = "none"
	Pass      Status = "pass"
	Fail      Status = "fail"
	TempError Status = "temperror"
	PermError Status = "permerror"
)

// Message is what is known of a message.
type Message struct {
	From []string // domains of the addresses in From; all must be the same for there to be an Author Domain
	SPF  string   // domain that SPF passed for; "" if it did not pass
	DKIM []string // domains of signatures that passed

	// Domains that might have passed, had DNS answered. Where a pass depends on one of them the message neither passes nor
	// fails (RFC 9989 section 5.3.6).
	UnknownSPF  string
	UnknownDKIM []string
}

// Result is what was found.
type Result struct {
	Status      Status
	Domain      string  // Author Domain
	Record      *Record // nil: there is none
	RecordAt    string  // where it was found
	OrgDomain   string  // Organizational Domain of the Author Domain
	Policy      Policy  // that applies: p, sp or np
	Tag         string  // which of them: "p", "sp" or "np"
	NonExistent bool    // the Author Domain does not exist in the sense of section 3.2.13
	AlignedSPF  bool
	AlignedDKIM []string // those of Message.DKIM that align
	Err         error
}

// Disposition is what the owner wants done: none unless the message failed.
func (r Result) Disposition() Policy {
	if r.Status != Fail {
		return None
	}
	return r.Requested()
}

// Requested is what the owner wants done with messages that fail; t=y softens it by one step (RFC 9989 section 4.7).
func (r Result) Requested() Policy {
	if r.Record != nil && r.Record.Testing {
		switch r.Policy {
		case Reject:
			return Quarantine
		default:
			return None
		}
	}
	return r.Policy
}

// Evaluator evaluates messages.
type Evaluator struct {
	Resolver resolver.Resolver
}

// Errors in Result.Err.
var (
	ErrAuthors = errors.New("From names no domain, or several (RFC 9989 section 5.3.1)")
	ErrDomains = errors.New("too many domains")
)

// Evaluate finds the policy and checks alignment.
func (e *Evaluator) Evaluate(ctx context.Context, m Message) Result {
	author, err := authorDomain(m.From)
	if err != nil {
		return Result{Status: PermError, Err: err}
	}
	w := &walker{resolver: e.Resolver, seen: map[string]answer{}}
	r := w.policy(ctx, author)
	if r.Record == nil {
		return r
	}
	return w.align(ctx, m, r)
}

func authorDomain(from []string) (string, error) {
	author := ""
	for _, d := range from {
		d = normal(d)
		if d == "" || author != "" && d != author {
			return "", ErrAuthors
		}
		author = d
	}
	if author == "" || !strings.Contains(author, ".") && author != "localhost" || strings.HasPrefix(author, "[") {
		return "", ErrAuthors
	}
	return author, nil
}

func normal(d string) string { return strings.ToLower(strings.TrimSuffix(d, ".")) }

// walker asks each name once for one message.
type walker struct {
	resolver resolver.Resolver
	seen     map[string]answer
	domains  int
}

// answer is what was found at _dmarc.name.
type answer struct {
	record *Record
	err    error // temporary
}

// at returns the one record of a name; nil if there is none, or several (RFC 9989 section 4.10, step 2).
func (w *walker) at(ctx context.Context, name string) (*Record, error) {
	if a, ok := w.seen[name]; ok {
		return a.record, a.err
	}
	texts, _, err := w.resolver.TXT(ctx, "_dmarc."+name)
	a := answer{}
	switch {
	case errors.Is(err, resolver.ErrNoName), errors.Is(err, resolver.ErrNoData), errors.Is(err, resolver.ErrBadName):
	case err != nil:
		a.err = err
	default:
		n := 0
		for _, t := range texts[:min(len(texts), 100)] {
			if IsRecord(t) {
				if n++; n == 1 {
					a.record, _ = Parse(t) // one that is not valid is as good as none
				}
			}
		}
		if n > 1 {
			a.record = nil
		}
	}
	w.seen[name] = a
	return a.record, a.err
}

// found is a record met on a walk.
type found struct {
	name   string
	record *Record
}

// walk is the DNS Tree Walk of RFC 9989 section 4.10: from the name towards the root, at most MaxQueries questions.
func (w *walker) walk(ctx context.Context, name string) ([]found, error) {
	var met []found
	for query := 0; name != "" && query < MaxQueries; query++ {
		rec, err := w.at(ctx, name)
		if err != nil {
			return met, err
		}
		if rec != nil {
			met = append(met, found{name, rec})
			if rec.PSD == "y" || rec.PSD == "n" {
				return met, nil
			}
		}
		name = parent(name)
	}
	return met, nil
}

// parent takes the left-most label off, or as many as leave seven (section 4.10, steps 4 and 7).
func parent(name string) string {
	n := strings.Count(name, ".") + 1
	drop := max(1, n-7)
	for ; drop > 0; drop-- {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return ""
		}
		name = rest
	}
	return name
}

// orgDomain chooses the Organizational Domain among what a walk from start met (section 4.10.2).
func orgDomain(start string, met []found) string {
	for _, f := range met {
		switch {
		case f.record.PSD == "n":
			return f.name
		case f.record.PSD == "y" && f.name != start:
			return below(start, f.name)
		}
	}
	if len(met) > 0 {
		return met[len(met)-1].name // the fewest labels
	}
	// Nothing to walk on. RFC 7489 section 3.2 would ask the public suffix list.
	if org, err := publicsuffix.EffectiveTLDPlusOne(start); err == nil {
		return org
	}
	return start
}

// below returns the name one label longer than suffix on the way to start.
func below(start, suffix string) string {
	head := strings.TrimSuffix(start, "."+suffix)
	return head[strings.LastIndexByte(head, '.')+1:] + "." + suffix
}

// policy finds the record that applies to the Author Domain (section 4.10.1).
func (w *walker) policy(ctx context.Context, author string) Result {
	r := Result{Status: NoPolicy, Domain: author}
	met, err := w.walk(ctx, author)
	if err != nil {
		r.Status, r.Err = TempError, err
		return r
	}
	r.OrgDomain = orgDomain(author, met)
	for _, want := range []string{author, r.OrgDomain} {
		for _, f := range met {
			if f.name == want && r.Record == nil {
				r.Record, r.RecordAt = f.record, f.name
			}
		}
	}
	if r.Record == nil { // the Public Suffix Domain speaks for those below it that do not
		for _, f := range met {
			if f.record.PSD == "y" {
				r.Record, r.RecordAt = f.record, f.name
			}
		}
	}
	if r.Record == nil {
		return r
	}
	r.Policy, r.Tag = r.Record.Policy, "p"
	if r.RecordAt == author {
		return r
	}
	if r.NonExistent, err = w.nonExistent(ctx, author); err != nil {
		r.Status, r.Err, r.Record = TempError, err, nil
		return r
	}
	switch {
	case r.NonExistent && r.Record.NonExistent != "":
		r.Policy, r.Tag = r.Record.NonExistent, "np"
	case r.Record.Subdomain != "":
		r.Policy, r.Tag = r.Record.Subdomain, "sp"
	}
	return r
}

// nonExistent reports whether there is neither an address nor an exchanger (RFC 9989 section 3.2.13).
func (w *walker) nonExistent(ctx context.Context, domain string) (bool, error) {
	_, _, err := w.resolver.MX(ctx, domain)
	if err == nil || errors.Is(err, resolver.ErrTemporary) {
		return false, temporary(err)
	}
	if errors.Is(err, resolver.ErrNoName) {
		return true, nil
	}
	_, _, err = w.resolver.Addrs(ctx, domain, resolver.AnyFamily)
	if err == nil || errors.Is(err, resolver.ErrTemporary) {
		return false, temporary(err)
	}
	return true, nil
}

func temporary(err error) error {
	if errors.Is(err, resolver.ErrTemporary) {
		return err
	}
	return nil
}

// align compares the domains that passed with the Author Domain (section 4.4).
func (w *walker) align(ctx context.Context, m Message, r Result) Result {
	var trouble error
	aligned := func(domain string, strict bool) bool {
		ok, err := w.aligned(ctx, normal(domain), r.Domain, r.OrgDomain, strict)
		if err != nil {
			trouble = err
		}
		return ok
	}
	if m.SPF != "" {
		r.AlignedSPF = aligned(m.SPF, r.Record.StrictSPF)
	}
	for _, d := range m.DKIM {
		if aligned(d, r.Record.StrictDKIM) {
			r.AlignedDKIM = append(r.AlignedDKIM, d)
		}
	}
	if !r.AlignedSPF && len(r.AlignedDKIM) == 0 && trouble == nil {
		unknown := ""
		if m.UnknownSPF != "" && aligned(m.UnknownSPF, r.Record.StrictSPF) {
			unknown = m.UnknownSPF
		}
		for _, d := range m.UnknownDKIM {
			if unknown == "" && aligned(d, r.Record.StrictDKIM) {
				unknown = d
			}
		}
		if unknown != "" && trouble == nil {
			trouble = fmt.Errorf("whether %s authenticates it cannot be told now", normal(unknown))
		}
	}
	switch {
	case r.AlignedSPF || len(r.AlignedDKIM) > 0:
		r.Status = Pass
	case trouble != nil:
		r.Status, r.Err = TempError, trouble
	default:
		r.Status = Fail
	}
	return r
}

func (w *walker) aligned(ctx context.Context, domain, author, org string, strict bool) (bool, error) {
	switch {
	case domain == author:
		return true, nil
	case strict, domain == "":
		return false, nil
	}
	if w.domains++; w.domains > MaxDomains {
		return false, ErrDomains
	}
	met, err := w.walk(ctx, domain)
	if err != nil {
		return false, err
	}
	return orgDomain(domain, met) == org, nil
}
