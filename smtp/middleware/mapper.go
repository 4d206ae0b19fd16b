package middleware

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/samotop/samotop/mail"
)

// Rule turns addresses that match into others.
type Rule struct {
	// Pattern is a regular expression for the whole address, local part and domain, without regard to case.
	Pattern string
	// Replace is the new address; $1 or ${name} stand for what a group matched.
	Replace string
}

// Mapper is ordered rules on recipients; the first that matches decides. It makes "smart mailboxes": sales+anything
// and every spelling of a name go where they belong. Make it with NewMapper.
type Mapper struct {
	rules []compiled
}

type compiled struct {
	re      *regexp.Regexp
	replace string
}

// maxRules bounds the work for one recipient.
const maxRules = 10_000

// NewMapper compiles the rules. A rule that cannot make a valid address is reported now, not when mail comes.
func NewMapper(rules ...Rule) (*Mapper, error) {
	if len(rules) > maxRules {
		return nil, fmt.Errorf("middleware: mapper: %d rules are more than %d", len(rules), maxRules)
	}
	m := &Mapper{}
	for i, r := range rules {
		re, err := regexp.Compile("(?i)^(?:" + r.Pattern + ")$")
		if err == nil {
			err = sample(re, r.Replace)
		}
		if err != nil {
			return nil, fmt.Errorf("middleware: mapper: rule %d (%s): %w", i+1, r.Pattern, err)
		}
		m.rules = append(m.rules, compiled{re, r.Replace})
	}
	return m, nil
}

var reference = regexp.MustCompile(`\$(?:\{(\w+)\}|(\w+)|(\$))`)

// sample tries the replacement with a letter for each group: what is no address then never is one.
func sample(re *regexp.Regexp, replace string) error {
	_, err := sampleOf(re, replace)
	return err
}

func sampleOf(re *regexp.Regexp, replace string) (mail.Address, error) {
	var bad error
	text := reference.ReplaceAllStringFunc(replace, func(ref string) string {
		m := reference.FindStringSubmatch(ref)
		name := m[1] + m[2]
		if m[3] == "$" {
			return "$"
		}
		if !hasGroup(re, name) {
			bad = fmt.Errorf("the pattern has no group %q", name)
		}
		if name == "0" { // the whole address
			return "x@x.test"
		}
		return "x"
	})
	if bad != nil {
		return mail.Address{}, bad
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		return a, fmt.Errorf("%q never makes an address: %w", replace, err)
	}
	return a, nil
}

func hasGroup(re *regexp.Regexp, name string) bool {
	if re.SubexpIndex(name) >= 0 {
		return true
	}
	n := 0
	if _, err := fmt.Sscanf(name+" ", "%d ", &n); err != nil || fmt.Sprint(n) != name {
		return false
	}
	return n <= re.NumSubexp()
}

// Map gives the address that a is turned into, and whether a rule matched. What a rule makes of this very address may
// be invalid; then there is an error.
func (m *Mapper) Map(a mail.Address) (mail.Address, bool, error) {
	s := a.String()
	for _, r := range m.rules {
		at := r.re.FindStringSubmatchIndex(s)
		if at == nil {
			continue
		}
		to, err := mail.ParseAddress(string(r.re.ExpandString(nil, r.replace, s, at)))
		if err != nil {
			return a, true, errors.Join(fmt.Errorf("middleware: mapper: %s", r.re), err)
		}
		return to, true, nil
	}
	return a, false, nil
}

// Wrap is the mail.Middleware: recipients reach the next Door with their new address.
func (m *Mapper) Wrap(next mail.Door) mail.Door {
	return transactions(next, func(ctx context.Context, s *mail.Session, from mail.Sender, r mail.Receiver) (mail.Transaction, error) {
		tx, err := r.Begin(ctx, s, from)
		if err != nil {
			return nil, err
		}
		return like(&mapped{Transaction: tx, m: m}, tx), nil
	})
}

type mapped struct {
	mail.Transaction
	m *Mapper
}

func (tx *mapped) Recipient(ctx context.Context, r *mail.Recipient) error {
	to, changed, err := tx.m.Map(r.Address)
	if err != nil {
		return mail.NewReply(550, mail.Enhanced{5, 1, 3}, "Address leads nowhere").Because(err)
	}
	if changed {
		if r.Original == "" { // RFC 3461 section 4.2: reports speak of the address that was meant
			r.Original = "rfc822;" + r.Address.String()
			if r.Address.UTF8() {
				r.Original = "utf-8;" + r.Address.String()
			}
		}
		r.Address = to
	}
	return tx.Transaction.Recipient(ctx, r)
}

// Sample is what a rule makes of an address whose groups are a letter each.
func (r Rule) Sample() (mail.Address, error) {
	re, err := regexp.Compile("(?i)^(?:" + r.Pattern + ")$")
	if err != nil {
		return mail.Address{}, err
	}
	return sampleOf(re, r.Replace)
}
