package config

import (
	"net/netip"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// Guard says what is done about senders whom nobody has decided about, and about abuse. Zero: the defaults of package
// guard; what is negative is never done.
type Guard struct {
	Junk          float64        `json:",omitzero"` // score from which mail is filed as junk
	Defer         float64        `json:",omitzero"` // put off at RCPT
	Refuse        float64        `json:",omitzero"` // refused
	Greylist      string         `json:",omitzero"` // off, suspicious, all
	GreylistDelay time.Duration  `json:",omitzero"`
	Own           []netip.Prefix `json:",omitzero"` // networks that are never banned, limited or greylisted, beside loopback and [mta] trusted
	Networks      mail.Networks  `json:",omitzero"` // what of an address is one peer's network
	DNSBL         []DNSBL        `json:",omitzero"`

	Ban                  time.Duration `json:",omitzero"` // how long the first automatic ban lasts
	Connections          int64         `json:",omitzero"` // of one address in a minute
	Messages             int64         `json:",omitzero"` // of one address in a minute, from strangers
	UnknownRecipients    int64         `json:",omitzero"` // of one address in an hour, before it is banned
	WrongPasswords       int64         `json:",omitzero"` // the same
	MessagesPerHour      int64         `json:",omitzero"` // that one account may send
	MessagesPerDay       int64         `json:",omitzero"`
	RecipientsPerHour    int64         `json:",omitzero"`
	RecipientsPerDay     int64         `json:",omitzero"`
	ReputationEntries    int64         `json:",omitzero"`
	ReputationHalfLife   time.Duration `json:",omitzero"`
	OutgoingUnusualAlarm *bool         `json:",omitempty"` // the owner is told of unusual networks and bursts; nil: yes

	Content
}

// DNSBL is one [[guard.dnsbl]]: a list of addresses or domains in DNS (RFC 5782).
type DNSBL struct {
	Zone    string
	Weight  float64  // of its answer in the score; below zero: a list of good ones
	Answers []string `json:",omitempty"` // addresses or networks of 127.0.0.0/8 that count; none: all but those that mean trouble
	Domains bool     `json:",omitzero"`  // it lists domains of senders, not addresses
}

// MaxDNSBLs is how many lists may be asked.
const MaxDNSBLs = 50

type rawGuard struct {
	Junk          *float64   `toml:"junk"`
	Defer         *float64   `toml:"defer"`
	Refuse        *float64   `toml:"refuse"`
	Greylist      *string    `toml:"greylist"`
	GreylistDelay *string    `toml:"greylist_delay"`
	Own           *[]string  `toml:"own"`
	IPv4Bits      *int64     `toml:"network_ipv4"`
	IPv6Bits      *int64     `toml:"network_ipv6"`
	DNSBL         []rawDNSBL `toml:"dnsbl"`

	Ban                *string `toml:"ban"`
	Connections        *int64  `toml:"connections_per_minute"`
	Messages           *int64  `toml:"messages_per_minute"`
	UnknownRecipients  *int64  `toml:"unknown_recipients"`
	WrongPasswords     *int64  `toml:"wrong_passwords"`
	MessagesPerHour    *int64  `toml:"sent_messages_per_hour"`
	MessagesPerDay     *int64  `toml:"sent_messages_per_day"`
	RecipientsPerHour  *int64  `toml:"sent_recipients_per_hour"`
	RecipientsPerDay   *int64  `toml:"sent_recipients_per_day"`
	ReputationEntries  *int64  `toml:"reputation_entries"`
	ReputationHalfLife *string `toml:"reputation_half_life"`
	Alarm              *bool   `toml:"alarm"`

	rawContent
}

type rawDNSBL struct {
	Zone    *string   `toml:"zone"`
	Weight  *float64  `toml:"weight"`
	Answers *[]string `toml:"answers"`
	Of      *string   `toml:"of"`
}

func (r *rawGuard) merge(later *rawGuard) {
	over(&r.Junk, later.Junk)
	over(&r.Defer, later.Defer)
	over(&r.Refuse, later.Refuse)
	over(&r.Greylist, later.Greylist)
	over(&r.GreylistDelay, later.GreylistDelay)
	over(&r.Own, later.Own)
	over(&r.IPv4Bits, later.IPv4Bits)
	over(&r.IPv6Bits, later.IPv6Bits)
	r.DNSBL = append(r.DNSBL, later.DNSBL...)
	over(&r.Ban, later.Ban)
	for _, p := range [][2]**int64{{&r.Connections, &later.Connections}, {&r.Messages, &later.Messages},
		{&r.UnknownRecipients, &later.UnknownRecipients}, {&r.WrongPasswords, &later.WrongPasswords},
		{&r.MessagesPerHour, &later.MessagesPerHour}, {&r.MessagesPerDay, &later.MessagesPerDay},
		{&r.RecipientsPerHour, &later.RecipientsPerHour}, {&r.RecipientsPerDay, &later.RecipientsPerDay},
		{&r.ReputationEntries, &later.ReputationEntries}} {
		over(p[0], *p[1])
	}
	over(&r.ReputationHalfLife, later.ReputationHalfLife)
	over(&r.Alarm, later.Alarm)
	r.rawContent.merge(&later.rawContent)
}

// guard reads [guard].
func (l *loader) guard() Guard {
	r := &l.raw.Guard
	g := Guard{Junk: l.threshold("guard.junk", r.Junk), Defer: l.threshold("guard.defer", r.Defer), Refuse: l.threshold("guard.refuse", r.Refuse),
		Greylist: value(r.Greylist), OutgoingUnusualAlarm: r.Alarm}
	switch g.Greylist {
	case "", "off", "suspicious", "all":
	default:
		l.fault("guard.greylist", "write \"off\", \"suspicious\" or \"all\"", "%q is not known", g.Greylist)
	}
	g.GreylistDelay = l.span("guard.greylist_delay", r.GreylistDelay, time.Second, time.Hour)
	g.Ban = l.span("guard.ban", r.Ban, time.Minute, 30*24*time.Hour)
	g.ReputationHalfLife = l.span("guard.reputation_half_life", r.ReputationHalfLife, time.Hour, 365*24*time.Hour)
	for _, s := range value(r.Own) {
		if p, ok := l.network("guard.own", s); ok {
			g.Own = append(g.Own, p)
		}
	}
	for _, x := range []struct {
		key string
		raw *int64
		to  *int64
	}{{"connections_per_minute", r.Connections, &g.Connections}, {"messages_per_minute", r.Messages, &g.Messages},
		{"unknown_recipients", r.UnknownRecipients, &g.UnknownRecipients}, {"wrong_passwords", r.WrongPasswords, &g.WrongPasswords},
		{"sent_messages_per_hour", r.MessagesPerHour, &g.MessagesPerHour}, {"sent_messages_per_day", r.MessagesPerDay, &g.MessagesPerDay},
		{"sent_recipients_per_hour", r.RecipientsPerHour, &g.RecipientsPerHour}, {"sent_recipients_per_day", r.RecipientsPerDay, &g.RecipientsPerDay}} {
		*x.to = l.limit("guard."+x.key, value(x.raw), x.raw != nil, -1, 1_000_000_000)
		if x.raw != nil && *x.raw == 0 {
			l.fault("guard."+x.key, "write -1 for no limit, or take the line out to use the default", "is 0")
		}
	}
	g.ReputationEntries = l.limit("guard.reputation_entries", value(r.ReputationEntries), r.ReputationEntries != nil, 1024, 16<<20)
	g.Networks = mail.Networks{IPv4Bits: int(l.limit("guard.network_ipv4", value(r.IPv4Bits), r.IPv4Bits != nil, mail.MinIPv4Bits, mail.MaxIPv4Bits)),
		IPv6Bits: int(l.limit("guard.network_ipv6", value(r.IPv6Bits), r.IPv6Bits != nil, mail.MinIPv6Bits, mail.MaxIPv6Bits))}
	g.DNSBL = l.dnsbls(r.DNSBL)
	g.Content = l.content(&r.rawContent)
	return g
}

// threshold reads a score; 0 would let nothing through, and -1 means never.
func (l *loader) threshold(key string, v *float64) float64 {
	if v != nil && (*v == 0 || *v < -1 || *v > 1000) {
		l.fault(key, "write a score such as 5, or -1 for never", "%g is no threshold", *v)
	}
	return value(v)
}

// span reads a time. "0s" switches off what it is about.
func (l *loader) span(key string, v *string, least, most time.Duration) time.Duration {
	if v == nil {
		return 0
	}
	d, err := time.ParseDuration(*v)
	switch {
	case err != nil:
		l.fault(key, "write it with a unit, such as \"90s\", \"5m\" or \"24h\"", "%q is not a time", *v)
	case d == 0:
		return -1
	case d < least || d > most:
		l.fault(key, "take the line out to use the default", "%s is not between %s and %s", d, least, most)
	}
	return d
}

// network reads a network or an address.
func (l *loader) network(key, s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	if a, aerr := netip.ParseAddr(s); err != nil && aerr == nil && a.Zone() == "" {
		p, err = a.Unmap().Prefix(a.Unmap().BitLen())
	}
	if err != nil {
		l.fault(key, "write a network or an address, such as \"192.0.2.7\" or \"2001:db8::/32\"", "%q is not a network", s)
		return p, false
	}
	return p.Masked(), true
}

// dnsbls reads [[guard.dnsbl]].
func (l *loader) dnsbls(in []rawDNSBL) (out []DNSBL) {
	const key = "guard.dnsbl"
	if len(in) > MaxDNSBLs {
		l.fault(key, "take some out: each costs a question for each new sender", "%d lists, more than %d", len(in), MaxDNSBLs)
		return nil
	}
	for _, r := range in {
		zone, ok := ruleDomain(value(r.Zone))
		if !ok || zone[0] == '.' {
			l.fault(key, "write zone = \"zen.spamhaus.org\", or another list that you may use", "zone %q is not a domain", value(r.Zone))
			continue
		}
		x := DNSBL{Zone: zone, Weight: 5}
		if r.Weight != nil {
			x.Weight = *r.Weight
		}
		if x.Weight == 0 || x.Weight < -1000 || x.Weight > 1000 {
			l.fault(key, "write what its answer adds to the score, such as 5; a list of good senders has a weight below zero", "%s: weight %g has no effect", zone, x.Weight)
			continue
		}
		switch of := value(r.Of); of {
		case "", "address":
		case "domain":
			x.Domains = true
		default:
			l.fault(key, "write of = \"address\" or \"domain\"", "%s: it cannot be a list of %q", zone, of)
			continue
		}
		for _, s := range value(r.Answers) {
			p, ok := l.network(key, s)
			if ok && !strings.HasPrefix(p.Addr().String(), "127.") { // RFC 5782 section 2.1
				l.fault(key, "write addresses or networks in 127.0.0.0/8, as the list documents them", "%s: %q is no answer of a list", zone, s)
				continue
			}
			x.Answers = append(x.Answers, s)
		}
		out = append(out, x)
	}
	return out
}
