package mailauth

import "strings"

// Action is what becomes of a message.
type Action uint8

const (
	Accept Action = iota
	Junk
	Defer
	Refuse
)

func (a Action) String() string {
	switch a {
	case Junk:
		return "junk"
	case Defer:
		return "defer"
	case Refuse:
		return "refuse"
	}
	return "accept"
}

// Results of DMARC that a Rule can name besides none, pass, temperror and permerror. The message failed, and:
const (
	DMARCNone       = "fail-none"       // the domain's owner wants nothing done
	DMARCQuarantine = "fail-quarantine" // or it to be treated with suspicion
	DMARCReject     = "fail-reject"     // or it to be refused
	DMARCList       = "fail-list"       // the owner wants it refused, but it came over a mailing list (RFC 9989 section 7.4)
	DMARCTrusted    = "fail-trusted"    // a sealer that we trust saw it pass (RFC 8617 section 7.2)

	// DNS does not answer, whether it failed depends on that, and if it did, the owner wants something done (RFC 9989 section 5.3.6).
	DMARCUnknown = "temperror-reject"
)

// Rule says what a result does. Empty fields match everything.
type Rule struct {
	Domain string // of From: "example.com", or ".example.com" for all below it
	Check  string // "spf", "dkim", "dmarc", "arc"
	Result string // "fail", "none", DMARCReject, ...
	Action Action
}

// DefaultRules honour what the owners of domains publish.
func DefaultRules() []Rule {
	return []Rule{
		{Check: "dmarc", Result: DMARCReject, Action: Refuse},
		{Check: "dmarc", Result: DMARCQuarantine, Action: Junk},
		{Check: "dmarc", Result: DMARCList, Action: Junk},
		{Check: "dmarc", Result: DMARCUnknown, Action: Defer},
	}
}

func (r Rule) matches(domain, check, result string) bool {
	return (r.Check == "" || r.Check == check) && (r.Result == "" || r.Result == result) && r.of(domain)
}

func (r Rule) of(domain string) bool {
	switch {
	case r.Domain == "":
		return true
	case r.Domain[0] == '.':
		return len(domain) > len(r.Domain) && strings.EqualFold(domain[len(domain)-len(r.Domain):], r.Domain)
	}
	return strings.EqualFold(domain, r.Domain)
}

// Finding is one result, and what it did.
type Finding struct {
	Check, Result string
	Reason        string // in words
	Action        Action
}

// decide gives each finding the action of the first rule that matches it, and returns the strictest.
func decide(rules []Rule, domain string, findings []Finding) Action {
	if rules == nil {
		rules = DefaultRules()
	}
	worst := Accept
	for i := range findings {
		f := &findings[i]
		for _, r := range rules {
			if r.matches(domain, f.Check, f.Result) {
				f.Action = r.Action
				break
			}
		}
		worst = max(worst, f.Action)
	}
	return worst
}
