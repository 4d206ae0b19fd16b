package main

import (
	"fmt"
	"strings"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type dkimCmd struct {
	List   dkimListCmd   `cmd:"" help:"List the keys, and the records to publish for them."`
	Rotate dkimRotateCmd `cmd:"" help:"Exchange the keys of a domain, one step at a time."`
}

type dkimListCmd struct {
	Domain string `arg:"" optional:"" help:"Only of this domain."`
	jsonFlag
}

func (dkimListCmd) Help() string {
	return `Keys are files in the directory dkim of the house. What is active signs; next is to be published and will sign after
"samotop dkim rotate"; old has ceased to sign and stays published until mail on its way has arrived.

Example:
  samotop dkim list example.org`
}

func (c *dkimListCmd) Run(e *env) error {
	t := newTable(e.stdout, c.JSON, "domain\tselector\talgorithm\tstate\tsince\trecord", func(k management.Key) string {
		return strings.Join([]string{k.Domain, k.Selector, k.Algorithm, k.State, stamp(k.Since), zoneLine(k.Name, k.Record)}, "\t")
	})
	return t.end(each(e, house.Accounts, "dkim/list", management.NameArgs{Name: c.Domain}, t.add))
}

// zoneLine writes a TXT record for a zone file: in strings of at most 255 octets (RFC 1035 section 3.3.14).
func zoneLine(name, text string) string {
	return name + ". IN TXT " + quoteText(text)
}

func quoteText(text string) string {
	const most = 255
	var parts []string
	for len(text) > most {
		parts, text = append(parts, `"`+text[:most]+`"`), text[most:]
	}
	return strings.Join(append(parts, `"`+text+`"`), " ")
}

type dkimRotateCmd struct {
	Domain string `arg:"" help:"Whose keys."`
	Force  bool   `help:"Let the next keys sign although their records cannot be seen in DNS."`
	jsonFlag
}

func (dkimRotateCmd) Help() string {
	return `The first call makes the next keys and shows their records. Once those are published, the second lets them sign; the
keys that signed before stay published for two weeks, after which a later call removes them. Running it from time to time
does all of it.

Example:
  samotop dkim rotate example.org`
}

func (c *dkimRotateCmd) Run(e *env) error {
	var r management.Rotated
	if err := e.call(house.Accounts, "dkim/rotate", management.RotateArgs{Domain: c.Domain, Force: c.Force}, &r); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	for _, part := range []struct {
		text string
		keys []management.Key
		show bool
	}{
		{"Made; publish these records, then run it again:", r.Made, true},
		{"Signing from now on, with these records:", r.Active, true},
		{"Signs no more; leave the record published for two weeks:", r.Old, false},
		{"Removed; its record can be taken out of DNS:", r.Removed, false},
	} {
		if len(part.keys) == 0 {
			continue
		}
		fmt.Fprintln(e.stdout, part.text)
		for _, k := range part.keys {
			line := k.Name + "."
			if part.show {
				line = zoneLine(k.Name, k.Record)
			}
			fmt.Fprintln(e.stdout, "  "+line)
		}
	}
	return nil
}
