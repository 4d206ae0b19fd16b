package accounts

import (
	"fmt"
	"regexp/syntax"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp/middleware"
)

// Limits of rules that map addresses. Their expressions are RE2: matching takes time linear in the address, which is short.
const (
	MaxMapRules       = 100    // of one domain
	MaxHouseMapRules  = 10_000 // of all domains together: they are held in memory
	MaxPatternOctets  = 512
	MaxReplaceOctets  = 512
	maxPatternProgram = 4000 // instructions of a compiled pattern
	MaxMapDepth       = 16   // rules that an address may be led through, one after the other
)

// MapRule turns addresses that match into another. The expression is matched against the whole address without regard to
// case, or, when it has no @, against the local part of the domain's addresses; Replace may hold $1 or ${name} for what a
// group matched, and is in the same domain when it has no @.
type MapRule struct {
	Pattern string
	Replace string
}

// Rewrite is what a rule made of an address.
type Rewrite struct {
	From, To mail.Address
	Rule     int // of the domain of From, the first is 1
}

func (r Rewrite) String() string {
	return fmt.Sprintf("%s is now %s, by rule %d of %s", r.From.Path(), r.To.Path(), r.Rule, r.From.Domain)
}

type compiledRule struct{ m *middleware.Mapper }

// whole is the rule for whole addresses.
func (r MapRule) whole(domain string) middleware.Rule {
	out := middleware.Rule{Pattern: r.Pattern, Replace: r.Replace}
	if !strings.Contains(r.Pattern, "@") {
		out.Pattern = "(?:" + r.Pattern + ")@" + strings.ReplaceAll(domain, ".", `\.`)
	}
	if !strings.Contains(r.Replace, "@") {
		out.Replace += "@" + domain
	}
	return out
}

// check reads a rule as somebody gave it, and says what is wrong with it.
func (r MapRule) check(domain string) (compiledRule, error) {
	switch {
	case r.Pattern == "" || r.Replace == "":
		return compiledRule{}, refuse(ErrInvalid, "a rule needs a pattern and a replacement")
	case len(r.Pattern) > MaxPatternOctets || len(r.Replace) > MaxReplaceOctets:
		return compiledRule{}, refuse(ErrInvalid, "rule %.40q: a pattern may have %d octets, a replacement %d", r.Pattern, MaxPatternOctets, MaxReplaceOctets)
	}
	// Alone, so that no bracket in it closes one of ours.
	expr, err := syntax.Parse(r.Pattern, syntax.Perl)
	if err == nil {
		var prog *syntax.Prog
		if prog, err = syntax.Compile(expr.Simplify()); err == nil && len(prog.Inst) > maxPatternProgram {
			return compiledRule{}, refuse(ErrInvalid, "rule %q repeats too much: use smaller counts", r.Pattern)
		}
	}
	if err != nil {
		return compiledRule{}, refuse(ErrInvalid, "rule %q is not a regular expression: %v", r.Pattern, err)
	}
	m, err := middleware.NewMapper(r.whole(domain))
	if err != nil {
		return compiledRule{}, refuse(ErrInvalid, "rule %q -> %q: %v", r.Pattern, r.Replace, unwrapAll(err))
	}
	return compiledRule{m}, nil
}

// unwrapAll leaves out what libraries put before the reason.
func unwrapAll(err error) string {
	_, text, ok := strings.Cut(err.Error(), "): ")
	if !ok {
		return err.Error()
	}
	return text
}

// compile makes the rules of a domain usable.
func (d *Domain) compile() error {
	d.compiled = make([]compiledRule, 0, len(d.Rules))
	for i, r := range d.Rules {
		c, err := r.check(d.Name)
		if err != nil {
			return fmt.Errorf("accounts: rule %d of domain %s: %w", i+1, d.Name, err)
		}
		d.compiled = append(d.compiled, c)
	}
	return nil
}

var replyNowhere = mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 1, 3}, Text: "A rule makes no valid address of this one"}

// rewrite asks the rules of a domain about an address in it; nil: none matches.
func (d *Domain) rewrite(local string) (*Rewrite, error) {
	if len(d.compiled) == 0 {
		return nil, nil
	}
	from := mail.Address{Local: local, Domain: d.Name}
	for i, c := range d.compiled {
		to, hit, err := c.m.Map(from)
		if !hit {
			continue
		}
		if err != nil {
			return nil, replyNowhere.Because(err)
		}
		return &Rewrite{From: from, To: to, Rule: i + 1}, nil
	}
	return nil, nil
}
