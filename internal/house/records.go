package house

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/samotop/samotop/internal/certs"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mailauth/keyring"
	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/management"
)

// How much a record is needed.
const (
	required    = "required"
	recommended = "recommended"
	optional    = "optional"
)

// Records lists what to publish for a domain, which must be one of ours where the accounts are open.
func (a about) Records(ctx context.Context, domain string) ([]management.Record, error) {
	if a.h.accounts != nil {
		d, err := a.h.accounts.Domain(ctx, domain)
		if err != nil {
			return nil, told(err)
		}
		domain = d.Name
	}
	return Records(a.h.conf, domain), nil
}

// Records lists the DNS records that a domain needs for its mail to come here, to be believed elsewhere, and for its
// people to be found.
func Records(c *config.Config, domain string) []management.Record {
	r := &records{c: c, domain: domain, d: domain + ".", host: c.Hostname + "."}
	r.add(required, r.d, "MX", "10 "+r.host, "mail for the domain comes to this machine (RFC 5321 section 5)")
	r.addresses()
	r.senders()
	r.keys()
	r.transport()
	r.programs()
	r.add(optional, r.d, "CAA", `0 issue "letsencrypt.org"`, "only this authority may issue certificates for the domain (RFC 8659); name the one that you use")
	return r.list
}

// records gathers them.
type records struct {
	c               *config.Config
	domain, d, host string
	list            []management.Record
}

func (r *records) add(need, name, kind, value, why string) {
	r.list = append(r.list, management.Record{Name: name, Type: kind, Value: value, Why: why, Need: need})
}

func (r *records) text(need, name, value, why string) {
	r.add(need, name, "TXT", quoted(value), why)
}

// quoted writes a text as strings of at most 255 octets (RFC 1035 section 3.3.14).
func quoted(text string) string {
	const most = 255
	var parts []string
	for len(text) > most {
		parts, text = append(parts, `"`+text[:most]+`"`), text[most:]
	}
	return strings.Join(append(parts, `"`+text+`"`), " ")
}

func (r *records) addresses() {
	for _, ip := range public(r.c) {
		kind := "AAAA"
		if ip.To4() != nil {
			kind = "A"
		}
		r.add(required, r.host, kind, ip.String(), "the address of this machine; set its reverse name to "+r.c.Hostname+", many hosts refuse mail without it")
	}
	if len(public(r.c)) == 0 {
		r.add(required, r.host, "A", "<public IPv4 address of this machine>", "and AAAA if it has IPv6; set the reverse name of the address to "+r.c.Hostname+", many hosts refuse mail without it")
	}
}

// senders are SPF and DMARC.
func (r *records) senders() {
	r.text(required, r.d, "v=spf1 mx -all", "only this machine sends mail of the domain (RFC 7208)")
	if r.c.Hostname != r.domain {
		r.text(recommended, r.host, "v=spf1 a -all", "the same for reports, which have no sender but the name of this machine (RFC 7208 section 2.3)")
	}
	r.text(required, "_dmarc."+r.d, "v=DMARC1; p=none; rua=mailto:postmaster@"+r.domain,
		"what others should do with forgeries, and whom to tell (RFC 9989); make it p=quarantine or p=reject when the reports show that your own mail passes")
}

func (r *records) keys() {
	if !r.c.MSA.DKIM {
		return
	}
	ring := &keyring.Ring{Dir: filepath.Join(r.c.Dir, config.DKIMDir)}
	keys, err := ring.List(r.domain)
	if err != nil {
		return // "samotop dkim list" says why
	}
	for _, k := range keys {
		switch k.State {
		case keyring.Active:
			r.text(required, k.Name+".", k.Record, "the key that signs what is sent ("+k.Algorithm+", RFC 6376)")
		case keyring.Next:
			r.text(recommended, k.Name+".", k.Record, "the key that will sign after \"samotop dkim rotate "+r.domain+"\" ("+k.Algorithm+")")
		case keyring.Old:
			r.text(recommended, k.Name+".", k.Record, "a key that has signed until "+k.Since.UTC().Format("2006-01-02")+": mail on its way is verified with it")
		}
	}
}

// transport lets others insist on TLS to this machine.
func (r *records) transport() {
	r.text(recommended, "_smtp._tls."+r.d, "v=TLSRPTv1; rua=mailto:postmaster@"+r.domain, "others tell when TLS to this machine fails (RFC 8460)")
	if p := stsPolicy(r.c); p != nil {
		r.text(recommended, mtasts.RecordName(r.domain)+".", mtasts.Record(p), "others insist on TLS as the policy says that this machine serves (RFC 8461, mode "+string(p.Mode)+"); publish it anew when [https] has changed")
		r.add(recommended, mtasts.Host(r.domain)+".", "CNAME", r.host, "where the policy is fetched, by HTTPS on port 443; the certificate has to hold this name and be signed by an authority that others know")
	} else {
		r.text(optional, "_mta-sts."+r.d, "v=STSv1; id=1", "others insist on TLS (RFC 8461), if https://mta-sts."+r.domain+"/.well-known/mta-sts.txt says \"version: STSv1, mode: enforce, mx: "+r.c.Hostname+", max_age: 604800\" in a line each; change the id with it. [https] in samotop.toml serves that file")
	}
	cert, err := certs.Load(r.c.TLS.Cert, r.c.TLS.Key)
	if err != nil {
		return
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	r.add(optional, "_25._tcp."+r.host, "TLSA", "3 1 1 "+hex.EncodeToString(sum[:]), "others know the key of this machine (DANE, RFC 7672); only in a zone signed with DNSSEC, and it must be changed before the key is")
}

// programs are how mail programs find the server.
func (r *records) programs() {
	srv := func(service string, ls []config.Listen, scheme string) {
		for _, l := range ls {
			if l.Scheme == scheme { // RFC 6186, RFC 8314 section 5.1
				r.add(recommended, service+"._tcp."+r.d, "SRV", "0 1 "+strconv.Itoa(int(l.Addr.Port()))+" "+r.host, "mail programs find the server (RFC 6186, RFC 8314)")
				return
			}
		}
	}
	srv("_submissions", r.c.MSA.Listen, "smtps")
	srv("_submission", r.c.MSA.Listen, "smtp")
	srv("_imaps", r.c.Mailbox.Listen, "imaps")
	srv("_pop3s", r.c.Mailbox.Listen, "pop3s")
	srv("_imap", r.c.Mailbox.Listen, "imap")
	if len(r.c.HTTPS.Listen) > 0 {
		r.add(recommended, autoconfigLabel+r.d, "CNAME", r.host, "Thunderbird and others fetch their settings here, which [https] serves, by HTTPS on port 443; the certificate has to hold this name")
		return
	}
	r.add(optional, autoconfigLabel+r.d, "CNAME", r.host, "Thunderbird and others look here for settings, if a web server on it has "+autoconfigPath+"; [https] in samotop.toml serves that file")
}

// public lists the public addresses that the configuration names.
func public(c *config.Config) []net.IP {
	var out []net.IP
	for _, l := range c.MTA.Listen {
		ip := net.IP(l.Addr.Addr().AsSlice())
		if ip != nil && ip.IsGlobalUnicast() && !ip.IsPrivate() {
			out = append(out, ip)
		}
	}
	return out
}
