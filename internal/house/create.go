package house

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/net/idna"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/internal/certs"
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mail"
)

// CreateOptions says what house to make.
type CreateOptions struct {
	Dir      string
	Listen   string // an address of this machine; "": all of them
	PortBase int    // every standard port P listens on PortBase+P
	Hostname string // "": mx. and the domain of Address
	Address  string // the first account, an admin; its domain becomes the house's first
	Password string // "": one is made
	ACME     bool   // get the certificate from Let's Encrypt; who asks for it agrees to its terms
	Email    string // where the authority may write to; "": nowhere
	Hash     accounts.HashParams
}

// Created is what Create made.
type Created struct {
	Config   *config.Config
	Address  string // canonical
	Password string // only if it was made here
}

// ErrHouseExists: the directory holds a house already.
var ErrHouseExists = errors.New("there is a house already")

const maxStandardPort = 9999 // of what a house listens on, now or later

// Create makes a house: the configuration with its comments, a self-signed certificate, the domain, the account.
// It never touches a directory that holds a house. What was begun and failed is taken away again.
func Create(ctx context.Context, o CreateOptions) (*Created, error) {
	text, hostname, domain, err := o.configuration()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	switch _, err := os.Stat(filepath.Join(dir, config.FileName)); {
	case err == nil:
		return nil, fmt.Errorf("%s: %w; nothing was changed; serve it with \"samotop serve --dir %s\", or name another directory with --dir", dir, ErrHouseExists, dir)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil { // spool is for everybody; all else in it is ours alone
		return nil, err
	}
	if err := emptyEnough(dir); err != nil {
		return nil, err
	}
	done, err := o.build(ctx, dir, text, hostname, domain)
	if err != nil {
		for _, n := range ours {
			if n != config.SpoolDir { // which may have been there before
				err = errors.Join(err, os.RemoveAll(filepath.Join(dir, n)))
			}
		}
		return nil, err
	}
	return done, nil
}

// ours is what a house keeps in its directory, beside the drop-ins, which belong to the owner from the beginning.
var ours = []string{config.FileName, config.TLSDir, config.ACMEDir, config.DKIMDir, config.RunDir, config.SpoolDir, accountsDB, mailsDB, queueDB, journalDB, evidenceDB}

// emptyEnough refuses a directory with databases whose configuration is gone. Empty directories may be there, where volumes are
// mounted, and so may dropped mail.
func emptyEnough(dir string) error {
	for _, n := range ours {
		if n == config.SpoolDir {
			continue
		}
		if left, err := os.ReadDir(filepath.Join(dir, n)); err == nil && len(left) > 0 {
			return fmt.Errorf("%s: holds %s but no %s: the rest of another house; nothing was changed; put its %s back, or name another directory with --dir",
				dir, n, config.FileName, config.FileName)
		}
	}
	return nil
}

func (o *CreateOptions) build(ctx context.Context, dir, text, hostname, domain string) (*Created, error) {
	cert, key := filepath.Join(dir, config.TLSDir, config.CertName), filepath.Join(dir, config.TLSDir, config.KeyName)
	hosts := []string{hostname, "localhost", "127.0.0.1", "::1"}
	if err := certs.Write(cert, key, certs.Request{Hosts: hosts}); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, config.DropInDir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	tmp := filepath.Join(dir, config.FileName)
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return nil, err
	}
	c, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	h, err := Open(ctx, Options{Config: c, Rooms: Accounts, Hash: o.Hash})
	if err != nil {
		return nil, err
	}
	done := &Created{Config: c}
	if err = h.firstAccount(ctx, o, domain, done); err == nil {
		err = h.prepareSpool() // mail may be dropped before the first start
	}
	return done, errors.Join(err, h.Close())
}

func (h *House) firstAccount(ctx context.Context, o *CreateOptions, domain string, done *Created) (err error) {
	password := o.Password
	if password == "" {
		if password, err = h.accounts.GeneratePassword(); err != nil {
			return err
		}
		done.Password = password
	}
	if _, err := h.people().AddDomain(ctx, domain); err != nil {
		return err
	}
	a, err := h.accounts.AddAccount(ctx, o.Address, accounts.Options{Password: password, Admin: true})
	done.Address = a.Address.String()
	return err
}

// configuration checks the options and writes samotop.toml.
func (o *CreateOptions) configuration() (text, hostname, domain string, err error) {
	a, err := mail.ParseAddress(o.Address)
	if err != nil || a.Domain == "" || a.IsLiteral() {
		return "", "", "", &UsageError{fmt.Sprintf("%q is not an address: write it as name@domain", o.Address)}
	}
	domain = strings.ToLower(a.Domain)
	if d, err := idna.Lookup.ToASCII(domain); err == nil {
		domain = d
	}
	hostname = o.Hostname
	if hostname == "" {
		hostname = "mx." + domain
	}
	listen := ""
	if o.Listen != "" {
		ip, err := netip.ParseAddr(strings.Trim(o.Listen, "[]"))
		if err != nil {
			return "", "", "", &UsageError{fmt.Sprintf("--listen %q: not an address of this machine, such as 127.0.0.1", o.Listen)}
		}
		if !ip.IsUnspecified() {
			listen = ip.String()
			if ip.Is6() {
				listen = "[" + listen + "]"
			}
		}
	}
	if _, err := mail.ParseAddress(o.Email); o.Email != "" && err != nil {
		return "", "", "", &UsageError{fmt.Sprintf("--email %q is not an address", o.Email)}
	}
	if o.PortBase < 0 || o.PortBase > 65535-maxStandardPort {
		return "", "", "", &UsageError{fmt.Sprintf("--port-base %d: not between 0 and %d", o.PortBase, 65535-maxStandardPort)}
	}
	loopback := "127.0.0.1"
	if ip, err := netip.ParseAddr(strings.Trim(o.Listen, "[]")); err == nil && ip.IsLoopback() {
		loopback = listen
	}
	var b strings.Builder
	err = template.Must(template.New(config.FileName).Funcs(template.FuncMap{"port": func(p int) int { return o.PortBase + p }}).
		Parse(fileTemplate)).Execute(&b, map[string]any{"Hostname": hostname, "Listen": listen, "Loopback": loopback, "Domain": domain,
		"ACME": o.ACME, "Email": o.Email})
	return b.String(), hostname, domain, err
}

// UsageError is about what was asked for, not about what happened.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// fileTemplate is what a new house begins with. What a commented line shows is the default where there is one.
const fileTemplate = `# The configuration of this house: policy and topology. It belongs to you: samotop reads it and never changes it.
# Files in samotop.d/*.toml are read after it, in name order; what they set replaces what stands here.
# Check it with "samotop check-config"; a change takes effect at the next start. People, domains and aliases are not
# here: see "samotop account", "samotop domain", "samotop alias".

# The full name of this machine, as in the MX record, in EHLO and in the certificate.
hostname = "{{.Hostname}}"

[tls]
# PEM files, relative to this directory. They are taken up anew when they change; no restart is needed.
cert = "tls/cert.pem" # made with the house, self-signed
key = "tls/key.pem"
# ca = "ca.pem" # trusted besides the system's authorities when we connect to others
# client_ca = "people.pem" # people may log in (EXTERNAL) by certificates of this authority that hold their address

{{if .ACME}}[tls.acme] # the certificate is got and renewed by ACME; the key stays as it is, so that TLSA records stay true
agree = true # to the terms of the authority
{{if .Email}}email = "{{.Email}}" # where it may write to
{{else}}# email = "you@{{.Domain}}" # where it may write to
{{end}}{{else}}# [tls.acme] # get the certificate by ACME and renew it; the key stays as it is, so that TLSA records stay true
# agree = true # to the terms of the authority
# email = "you@{{.Domain}}" # where it may write to
{{end}}# directory = "https://acme-v02.api.letsencrypt.org/directory"
# http = ":80" # the authority asks here (HTTP-01); or tls_alpn = ":443" (TLS-ALPN-01)
# dns_server = "192.0.2.53:53" # or by dynamic updates of the zone there (DNS-01, RFC 2136), with dns_key = "name" and dns_key_file = "tsig.key"

[dns]
# resolver = ["127.0.0.1:53"] # default: what /etc/resolv.conf says
# tls = "dns.example.net" # ask by DNS over TLS, port 853; the name in the resolver's certificate
# trust_ad = false # believe that this resolver validates DNSSEC: only for one on this machine or a safe network

[mta] # mail from other servers
listen = ["smtp://{{.Listen}}:{{port 25}}"]
# max_message_bytes = 52428800
# max_recipients = 1000 # of one message
# max_connections = 2000
# max_connections_per_address = 50
# trusted = [] # addresses of machines in front of this one, whose XCLIENT is believed; it lets nobody relay
# proxy = false # those machines begin each connection with the PROXY protocol, version 1 or 2 (HAProxy: send-proxy); also in
#               # [msa] and, for IMAP and POP3, in [mailbox]. Without the header theirs are closed; that of anybody else is not believed
# checks = true # SPF, DKIM, DMARC, ARC and the reverse name; false: none. Or what results do, before the defaults:
# checks = ["spf=fail junk", "example.org dmarc=fail-list accept"] # [DOMAIN] CHECK[=RESULT] accept, junk, defer or refuse
# sealers = [] # domains whose ARC seals are believed: mailing lists and forwarders that you trust

[msa] # mail from our own people, who log in: smtps is TLS from the first octet, smtp is STARTTLS
listen = ["smtps://{{.Listen}}:{{port 465}}", "smtp://{{.Listen}}:{{port 587}}"]
# dkim = true # sign what they send, with the keys of "samotop dkim list"
# local = true # programs on this machine may send by the command sendmail, as the user they run as: user@local_domain
# local_domain = "{{.Hostname}}" # of such users' addresses, and of recipients without a domain
# trusted_users = [] # users of this machine, such as "www-data", who may send as anybody (sendmail -f); root may

[reports] # of mail authentication: what others say of our mail ("samotop reports list"), and what we tell them
# dmarc = true # tell the owners of domains, who ask for it, daily about mail in their name
# failures = false # tell them, if they ask for it, about each message that fails, with its header but for the recipients
# addresses = ["postmaster@"] # whose mail is looked through for reports to us

# [https] # a web server for two files: the MTA-STS policy, by which others insist on TLS to this machine (RFC 8461), and mail programs' settings
# listen = ["https://{{.Listen}}:{{port 443}}"]
# mta_sts = "testing" # then "enforce"; or "none" for some weeks before the records are taken away
# max_age = "168h" # how long others keep the policy
# mx = ["{{.Hostname}}"] # names of the MX records; then see "samotop dns show"

[guard] # who may write to people here, and what is done with mail that is not wanted, and about abuse: docs/guard.md
# learn = true # the filter that learns from mail that is moved to Junk and back (docs/junk.md)
# learn_messages = 20 # of each kind that must be learned before it says anything
# learn_weight = 6.0 # points when it is sure
# policy_listen = "127.0.0.1:10031" # a Postfix in front asks about recipients; also on the socket run/policy.sock
# socketmap_listen = "127.0.0.1:10032" # and about domains, mailboxes and aliases; also on run/socketmap.sock
# junk = 5.0 # score from which mail goes to the folder Junk; -1: never
# refuse = 15.0 # from which it is refused
# defer = -1 # from which it is put off at RCPT
# greylist = "suspicious" # put off new senders: "suspicious" ones, "all", or "off"; greylist_delay = "1m"
# own = [] # networks that are never banned, limited nor greylisted, beside loopback and [mta] trusted
# network_ipv4 = 24 # bits of an address that make one peer's network, 16 to 32; network_ipv6 = 48: 32 to 64
# ban = "1h" # the first automatic ban of who guesses; "0s": none
# unknown_recipients = 50 # of an address in an hour, then it is banned; wrong_passwords = 50: the same
# connections_per_minute = 3000 # of an address; messages_per_minute = -1; -1: no limit
# sent_messages_per_hour = 20000 # of an account; sent_messages_per_day = 50000, sent_recipients_per_hour = 50000, sent_recipients_per_day = 200000
# alarm = true # tell the owner of an account of unusual sending
# reputation_entries = 262144 # 32 octets each; reputation_half_life = "720h"

# [[guard.dnsbl]] # a list in DNS that you may use; several tables for several lists
# zone = "zen.example.net"
# weight = 5.0 # of its answer in the score; below zero: a list of good senders
# answers = ["127.0.0.2/31"] # that count; default: all
# of = "address" # or "domain": of the sender

# [[guard.filter]] # a program that judges content too: rspamd, or a milter
# url = "http://127.0.0.1:11333/checkv2" # or milter = "unix:/run/clamav/clamav-milter.ctl"
# timeout = "20s"
# away = "accept" # or "defer": put mail off while it cannot be asked

[journal] # what happened to each message, for "samotop why"
# days = 30
# max_bytes = 536870912

[mailbox] # IMAP and POP3 for mail programs; LMTP for programs on this machine, also on the socket run/lmtp.sock
listen = ["imap://{{.Listen}}:{{port 143}}", "imaps://{{.Listen}}:{{port 993}}", "pop3://{{.Listen}}:{{port 110}}", "pop3s://{{.Listen}}:{{port 995}}",
  "lmtp://{{.Loopback}}:{{port 24}}"]
# plaintext_loopback = false # let programs on this machine log in without TLS

# [oauth] # people may log in by tokens of this OpenID issuer (OAUTHBEARER, XOAUTH2), where it has keys for JWTs
# issuer = "https://id.example.org" # as it stands in the tokens
# audience = ["mail"] # for whom the tokens of mail programs are made
# claim = "email" # which claim holds the address of the account
# scope = "mail" # what mail programs should ask for; default: nothing is told

[qm] # mail on its way to other servers
# srs = true # what an alias or list sends on leaves under a path of ours (SRS), so that SPF does not take us for a forger
# max_connections = 100 # at once; of them to one destination: max_connections_per_destination = 20
# interval = "0s" # between two messages to one destination at least
# suppress_after = 0 # an address elsewhere that has refused so often in a row, because nobody is there, is written to no more: see "samotop suppress"
# report_copy = "postmaster@{{.Domain}}" # gets a copy of each report of failure, with the header of the message

# Where mail that our people send, or that an alias sends on, goes; the first match wins, otherwise the MX records
# of its domain are asked.
# [[qm.route]]
# domain = "*" # or "example.org", or ".example.org" for all below it
# to = "smtp://relay.example.net:25" # smtp: smtps: lmtp: unix:/path (LMTP), exec:/path (a child, LMTP), or "mx"
# sender = "example.org" # only from this domain, or .example.org, or "<>"; account = "user@example.org": only of who logged in so
# user = "me" # to log in as, with password_file = "relay.password"
# tls = "verified" # or "encrypted", "opportunistic", "off"
# fallback = "smtp://other.example.net:25" # tried last from the fallback_after = 3rd attempt on
# max_connections = 5 # at once; interval = "1s": between two messages; hello = "name" and source = "192.0.2.1": how we appear
`
