package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
)

type quickstartCmd struct {
	Address  string `arg:"" help:"The first account; its domain becomes the house's first."`
	Listen   string `help:"Listen on this address of the machine (default: on all)." placeholder:"IP"`
	PortBase int    `help:"Every standard port P listens on N+P, such as 10025 for SMTP with 10000." placeholder:"N"`
	Hostname string `help:"Full name of this machine (default: mx. and the domain)." placeholder:"H"`
	ACME     bool   `name:"acme" help:"Get the certificate from Let's Encrypt and renew it; with this you agree to its terms. Port 80 must be reached from outside."`
	Email    string `help:"With --acme: where the authority may write to." placeholder:"ADDRESS"`
	passwordFlag
}

func (quickstartCmd) Help() string {
	return `Writes samotop.toml with its comments, makes a key with a self-signed certificate, creates the domain and the
account, an admin. Prints the password (unless one is given), the DNS records to publish, and the next command. A
directory that holds a house already is not touched.

Example:
  samotop quickstart --dir /var/lib/samotop alice@example.org
  samotop quickstart --hostname mx.example.org --acme --email alice@example.org alice@example.org`
}

func (c *quickstartCmd) Run(e *env) error {
	dir, err := e.house()
	if err != nil {
		return err
	}
	pw, err := c.read(e)
	if err != nil {
		return err
	}
	done, err := house.Create(e.ctx, house.CreateOptions{Dir: dir, Listen: c.Listen, PortBase: c.PortBase,
		Hostname: c.Hostname, Address: c.Address, Password: pw, ACME: c.ACME, Email: c.Email})
	if err != nil {
		return err
	}
	cf := done.Config
	fmt.Fprintf(e.stdout, "The house is made in %s.\n\n", cf.Dir)
	fmt.Fprintf(e.stdout, "Account  %s (admin)\n", done.Address)
	if done.Password != "" {
		fmt.Fprintf(e.stdout, "Password %s\n", done.Password)
	}
	_, domain, _ := strings.Cut(done.Address, "@")
	fmt.Fprintf(e.stdout, "\nDNS records to publish (again with \"samotop dns show %s\"):\n", domain)
	printRecords(e, house.Records(cf, domain))
	if c.ACME {
		fmt.Fprintf(e.stdout, "\nThe certificate %s is self-signed until the house serves and gets another by ACME, for the same key.\n", cf.TLS.Cert)
	} else {
		fmt.Fprintf(e.stdout, "\nThe certificate %s is self-signed; put a real one in its place when you have it, or begin with --acme.\n", cf.TLS.Cert)
	}
	fmt.Fprintf(e.stdout, "The settings are in %s, with their comments.\n",
		filepath.Join(cf.Dir, config.FileName))
	fmt.Fprintf(e.stdout, "\nNext: samotop serve --dir %s\n", cf.Dir)
	return nil
}

func printRecords(e *env, rs []management.Record) {
	name, kind := 0, 0
	for _, r := range rs {
		name, kind = max(name, len(r.Name)), max(kind, len(r.Type))
	}
	for _, r := range rs {
		fmt.Fprintf(e.stdout, "  %-*s IN %-*s %s\n", name, r.Name, kind, r.Type, r.Value)
	}
}
