// Package spf checks whether a host may use a domain in HELO or MAIL FROM (Sender Policy Framework, RFC 7208).
//
//	c := &spf.Checker{Resolver: dns, Receiver: "mx.example.org"}
//	res := c.Check(ctx, ip, "client.example.net", mail.Address{Local: "a", Domain: "example.com"})
//	if res.Status == spf.Fail { ... res.Explanation ... }
//
// Promises. A Checker is safe for concurrent use. One check costs at most MaxLookups terms with DNS questions,
// MaxVoidLookups answers without records and MaxNames names of an MX or PTR term (RFC 7208 section 4.6.4); above
// that it is permerror. The context bounds its time: temperror. A record is read whole before it is believed, and
// nothing in it can make the check panic or loop.
package spf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/resolver"
)

// Limits of RFC 7208 section 4.6.4, and of our own.
const (
	MaxLookups      = 10 // include, a, mx, ptr, exists, redirect
	MaxVoidLookups  = 2
	MaxNames        = 10 // of one mx or ptr
	MaxRecordOctets = 8 << 10
	MaxMacroOctets  = 4 << 10 // of an expanded string
)

// Status is a result (RFC 7208 section 2.6).
type Status string

const (
	None      Status = "none"
	Neutral   Status = "neutral"
	Pass      Status = "pass"
	Fail      Status = "fail"
	SoftFail  Status = "softfail"
	TempError Status = "temperror"
	PermError Status = "permerror"
)

// Result is what a check found.
type Result struct {
	Status      Status
	Domain      string       // whose policy was asked
	Sender      mail.Address // the identity checked: MAIL FROM, or postmaster@HELO for the null reverse-path
	Mechanism   string       // the term that matched, as it stands in the record; "default" if none did
	Explanation string       // what the domain's owner wants to be said with Fail; ASCII, "" if nothing
	Err         error        // why it is none, temperror or permerror
}

// Checker checks.
type Checker struct {
	Resolver resolver.Resolver
	Receiver string           // our name, for the macro r
	Clock    func() time.Time // for the macro t; nil: time.Now
}

// Check checks MAIL FROM, or HELO if the reverse-path is null (RFC 7208 section 2.4).
func (c *Checker) Check(ctx context.Context, ip netip.Addr, helo string, from mail.Address) Result {
	sender := from
	if from.IsNull() {
		sender = mail.Address{Local: "postmaster", Domain: helo}
	}
	if sender.Local == "" {
		sender.Local = "postmaster" // section 4.3
	}
	k := &check{c: c, ip: ip.Unmap().WithZone(""), helo: helo, sender: sender}
	domain := strings.TrimSuffix(sender.Domain, ".")
	if err := checkDomain(domain); err != nil {
		return Result{Status: None, Domain: domain, Sender: sender, Err: err}
	}
	r := k.host(ctx, domain)
	r.Sender = sender
	if r.Status == Fail && k.explain != "" {
		r.Explanation = k.explanation(ctx, k.explainDomain)
	}
	return r
}

// checkDomain finds what makes a domain no domain to ask about (section 4.3).
func checkDomain(d string) error {
	labels := strings.Split(d, ".")
	if len(labels) < 2 || len(d) > 253 || strings.HasPrefix(d, "[") {
		return errors.New("not a fully qualified domain name")
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 {
			return errors.New("not a domain name: a label is empty or too long")
		}
	}
	return nil
}

// check is one check at work. Its counters run over all records that it reads.
type check struct {
	c      *Checker
	ip     netip.Addr
	helo   string
	sender mail.Address

	lookups, voids int
	explain        string // exp= of the record that decided
	explainDomain  string
	validated      string // macro p, found once
}

// Why a check ends early.
var (
	errLookups = fmt.Errorf("more than %d terms that need DNS (RFC 7208 section 4.6.4)", MaxLookups)
	errVoids   = fmt.Errorf("more than %d answers without records (RFC 7208 section 4.6.4)", MaxVoidLookups)
	errNames   = fmt.Errorf("more than %d mail exchangers (RFC 7208 section 4.6.4)", MaxNames)
	errTwice   = errors.New("the domain has more than one SPF record")
	errLoop    = errors.New("record leads to a domain without one")
)

// temporary is an error that may pass.
type temporary struct{ error }

func (t temporary) Unwrap() error { return t.error }

// ended turns an error into a result.
func ended(domain string, err error) Result {
	var t temporary
	if errors.As(err, &t) {
		return Result{Status: TempError, Domain: domain, Err: err}
	}
	return Result{Status: PermError, Domain: domain, Err: err}
}

// host is check_host() (section 4).
func (k *check) host(ctx context.Context, domain string) Result {
	text, err := k.record(ctx, domain)
	if err != nil {
		return ended(domain, err)
	}
	if text == "" {
		return Result{Status: None, Domain: domain, Err: errors.New("the domain has no SPF record")}
	}
	rec, err := parse(text)
	if err != nil {
		return ended(domain, err)
	}
	for i := range rec.terms {
		t := &rec.terms[i]
		matched, err := k.matches(ctx, domain, t)
		if err != nil {
			return ended(domain, fmt.Errorf("%s: %w", t.text, err))
		}
		if matched {
			if t.result == Fail {
				k.explain, k.explainDomain = rec.exp, domain
			}
			return Result{Status: t.result, Domain: domain, Mechanism: t.text}
		}
	}
	if rec.redirect == "" {
		return Result{Status: Neutral, Domain: domain, Mechanism: "default"}
	}
	return k.redirect(ctx, domain, rec.redirect)
}

// redirect goes on with another domain's record (section 6.1).
func (k *check) redirect(ctx context.Context, domain, to string) Result {
	if err := k.count(); err != nil {
		return ended(domain, err)
	}
	target, err := k.target(ctx, domain, to)
	if err != nil {
		return ended(domain, err)
	}
	r := k.host(ctx, target)
	if r.Status == None {
		return ended(target, fmt.Errorf("redirect=%s: %w", target, errLoop))
	}
	return r
}

// record fetches the one SPF record of a domain (sections 4.4, 4.5); "" if it has none.
func (k *check) record(ctx context.Context, domain string) (string, error) {
	texts, _, err := k.c.Resolver.TXT(ctx, domain)
	switch {
	case absent(err):
		return "", nil
	case err != nil:
		return "", temporary{err}
	}
	found := ""
	for _, t := range texts {
		if len(t) < 6 || !strings.EqualFold(t[:6], "v=spf1") || len(t) > 6 && t[6] != ' ' {
			continue
		}
		if found != "" {
			return "", errTwice
		}
		found = t
	}
	return found, nil
}

// absent reports whether the answer is that there is nothing.
func absent(err error) bool {
	return errors.Is(err, resolver.ErrNoName) || errors.Is(err, resolver.ErrNoData) || errors.Is(err, resolver.ErrBadName)
}

func (k *check) count() error {
	if k.lookups++; k.lookups > MaxLookups {
		return errLookups
	}
	return nil
}

// void counts an answer without records.
func (k *check) void() error {
	if k.voids++; k.voids > MaxVoidLookups {
		return errVoids
	}
	return nil
}
