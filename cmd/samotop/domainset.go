package main

import (
	"fmt"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type domainSetCmd struct {
	Domain     string  `arg:"" help:"Its name."`
	Separators *string `help:"What may part a name from its detail, as in alice+lists: some of +-_=.~#! (default: +), or none; empty for the default." placeholder:"OCTETS"`
	AliasOf    *string `name:"alias-of" help:"Another domain of the house whose addresses this one has too; empty: it has its own again." placeholder:"DOMAIN"`
}

func (domainSetCmd) Help() string {
	return `A domain that is another name of one has no addresses of its own: everything@example.net is @example.org. To catch what
nobody has, see "samotop alias add --help".

Examples:
  samotop domain set example.org --separators +-
  samotop domain set example.net --alias-of example.org

Example:
  samotop domain set example.net --alias-of ""`
}

func (c *domainSetCmd) Run(e *env) error {
	if c.Separators == nil && c.AliasOf == nil {
		return &house.UsageError{Text: "domain set: nothing to change was given; see \"samotop domain set --help\""}
	}
	return e.call(house.Accounts, "domain/set", management.DomainArgs{Name: c.Domain, Separators: c.Separators, AliasOf: c.AliasOf}, nil)
}

type domainRuleCmd struct {
	Add    domainRuleAddCmd    `cmd:"" help:"Add a rule that turns addresses into others."`
	List   domainRuleListCmd   `cmd:"" help:"List the rules of a domain in their order."`
	Remove domainRuleRemoveCmd `cmd:"" help:"Remove a rule."`
}

type domainRuleAddCmd struct {
	Domain  string `arg:"" help:"The domain."`
	Pattern string `arg:"" help:"A regular expression (RE2) for the whole address, or without an @ for what stands before it."`
	Replace string `arg:"" name:"replacement" help:"The new address; $1 stands for what the first group matched. Without an @ it is in the same domain."`
	At      int    `help:"Put it in front of the rule with this number (default: behind all)." placeholder:"N"`
}

func (domainRuleAddCmd) Help() string {
	return fmt.Sprintf(`Rules are asked about addresses that are no account, alias or list, before what stands behind a separator is cut off and
before the catch-all. The first that matches decides; case does not matter. The log and "samotop why" show what became of an
address, and "samotop alias test ADDRESS" tries it. A domain has at most %d rules.

Examples:
  samotop domain rule add example.org 'sales-.*' sales
  samotop domain rule add example.org '(\w+)\.(\w+)' '$2.$1@people.example.org'

Example:
  samotop domain rule add example.org 'order-(\d+)' 'orders+$1' --at 1`, accounts.MaxMapRules)
}

func (c *domainRuleAddCmd) Run(e *env) error {
	if c.At < 0 {
		return &house.UsageError{Text: fmt.Sprintf("--at %d: rules are counted from 1", c.At)}
	}
	var d management.Domain
	err := e.call(house.Accounts, "domain/rule-add", management.RuleArgs{Domain: c.Domain, Number: c.At,
		MapRule: management.MapRule{Pattern: c.Pattern, Replace: c.Replace}}, &d)
	if err != nil {
		return err
	}
	at := c.At
	if at == 0 {
		at = len(d.Rules)
	}
	fmt.Fprintf(e.stdout, "Rule %d of %s: %s -> %s\n", at, d.Name, c.Pattern, c.Replace)
	return nil
}

type domainRuleListCmd struct {
	Domain string `arg:"" help:"The domain."`
	jsonFlag
}

func (domainRuleListCmd) Help() string {
	return `Example:
  samotop domain rule list example.org`
}

func (c *domainRuleListCmd) Run(e *env) error {
	var d management.Domain
	if err := e.call(house.Accounts, "domain/show", management.NameArgs{Name: c.Domain}, &d); err != nil {
		return err
	}
	n := 0
	t := newTable(e.stdout, c.JSON, "rule\tpattern\treplacement", func(r management.MapRule) string {
		n++
		return fmt.Sprintf("%d\t%s\t%s", n, r.Pattern, r.Replace)
	})
	for _, r := range d.Rules {
		if err := t.add(r); err != nil {
			return err
		}
	}
	return t.end(nil)
}

type domainRuleRemoveCmd struct {
	Domain string `arg:"" help:"The domain."`
	Number int    `arg:"" help:"Its number in \"samotop domain rule list\"."`
}

func (domainRuleRemoveCmd) Help() string {
	return `Example:
  samotop domain rule remove example.org 2`
}

func (c *domainRuleRemoveCmd) Run(e *env) error {
	return e.call(house.Accounts, "domain/rule-remove", management.RuleArgs{Domain: c.Domain, Number: c.Number}, nil)
}
