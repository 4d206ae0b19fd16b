package main

import (
	"fmt"
	"strings"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type dnsCmd struct {
	Show  dnsShowCmd  `cmd:"" help:"Print the records to publish for a domain, and why each."`
	Check dnsCheckCmd `cmd:"" help:"Look whether the records of a domain are live."`
}

type dnsShowCmd struct {
	Domain string `arg:"" help:"A domain of the house."`
	jsonFlag
}

func (dnsShowCmd) Help() string {
	return `The lines can be put into a zone file as they are.

Example:
  samotop dns show example.org`
}

func (c *dnsShowCmd) Run(e *env) error {
	rs, err := e.records("dns/show", management.NameArgs{Name: c.Domain})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, rs)
	}
	for _, r := range rs {
		fmt.Fprintf(e.stdout, "; %s: %s\n%s IN %s %s\n", r.Need, r.Why, r.Name, r.Type, r.Value)
	}
	return nil
}

func (e *env) records(verb string, args any) (rs []management.Record, err error) {
	err = each(e, house.Accounts, verb, args, func(r management.Record) error {
		rs = append(rs, r)
		return nil
	})
	return rs, err
}

type dnsCheckCmd struct {
	Domain   string `arg:"" help:"A domain of the house."`
	Resolver string `help:"Ask this name server instead of the configured one." placeholder:"ADDRESS[:PORT]"`
	jsonFlag
}

func (dnsCheckCmd) Help() string {
	return `Each record of "samotop dns show" is looked for, with what it means: whether SPF covers this machine, whether the addresses have our
name, and whether the MTA-STS policy can be fetched, with a certificate that others believe, and allows this machine. States: live, missing,
different (what is there instead follows), unknown (no answer). Exit status 1 if a record that is required is not live.

Example:
  samotop dns check example.org --resolver 9.9.9.9`
}

func (c *dnsCheckCmd) Run(e *env) error {
	rs, err := e.records("dns/check", management.CheckArgs{Name: c.Domain, Resolver: c.Resolver})
	if err != nil {
		return err
	}
	bad := 0
	for _, r := range rs {
		if r.Need == "required" && r.State != "live" {
			bad++
		}
	}
	if c.JSON {
		err = printJSON(e.stdout, rs)
	} else {
		err = c.print(e, rs)
	}
	if err == nil && bad > 0 {
		err = fmt.Errorf("dns check %s: %d required records are not live; publish what \"samotop dns show %s\" prints, and wait until caches have forgotten", c.Domain, bad, c.Domain)
	}
	return err
}

func (c *dnsCheckCmd) print(e *env, rs []management.Record) error {
	for _, r := range rs {
		if _, err := fmt.Fprintf(e.stdout, "%-9s %-11s %s %s %s\n", r.State, r.Need, r.Name, r.Type, abbreviated(r.Value)); err != nil {
			return err
		}
		if r.Found != "" {
			fmt.Fprintf(e.stdout, "          found: %s\n", abbreviated(printableText(r.Found)))
		}
		if r.State != "live" {
			fmt.Fprintf(e.stdout, "          %s\n", r.Why)
		}
	}
	return nil
}

// abbreviated shows the beginning of a long value: a key is not for reading.
func abbreviated(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
