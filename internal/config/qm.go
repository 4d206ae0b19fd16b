package config

import (
	"net/netip"
	"time"

	"github.com/samotop/samotop/mail"
)

// QM is mail on its way to other servers.
type QM struct {
	SRS           bool          // mail of others that is sent on leaves under a reverse-path of ours
	ReportCopy    string        `json:",omitzero"` // who gets a copy of each report of failure, without the original's text; "" nobody
	SuppressAfter int           `json:",omitzero"` // refusals for good after which an address is written to no more; 0: never
	Connections   int           `json:",omitzero"` // to other servers at once; 0: the default
	PerDomain     int           `json:",omitzero"` // of them, to one destination; 0: the default
	Interval      time.Duration `json:",omitzero"` // between two messages to one destination at least
}

// HTTPS is our web server, which serves nothing but our MTA-STS policy (RFC 8461) and the settings for mail programs.
type HTTPS struct {
	Listen []Listen
	Mode   string        `json:",omitzero"` // of the policy: testing, enforce or none
	MaxAge time.Duration `json:",omitzero"`
	MX     []string      `json:",omitzero"` // names of the policy; never empty where Listen is not
}

type rawQM struct {
	SRS            *bool   `toml:"srs"`
	ReportCopy     *string `toml:"report_copy"`
	SuppressAfter  *int64  `toml:"suppress_after"`
	MaxConnections *int64  `toml:"max_connections"`
	PerDestination *int64  `toml:"max_connections_per_destination"`
	Interval       *string `toml:"interval"`

	Route []rawRoute `toml:"route"`
}

type rawHTTPS struct {
	Listen *[]string `toml:"listen"`
	MTASTS *string   `toml:"mta_sts"`
	MaxAge *string   `toml:"max_age"`
	MX     *[]string `toml:"mx"`
}

// merge leaves the routes alone, whose order the loader keeps.
func (r *rawQM) merge(later *rawQM) {
	over(&r.SRS, later.SRS)
	over(&r.ReportCopy, later.ReportCopy)
	over(&r.SuppressAfter, later.SuppressAfter)
	over(&r.MaxConnections, later.MaxConnections)
	over(&r.PerDestination, later.PerDestination)
	over(&r.Interval, later.Interval)
}

func (r *rawHTTPS) merge(later *rawHTTPS) {
	over(&r.Listen, later.Listen)
	over(&r.MTASTS, later.MTASTS)
	over(&r.MaxAge, later.MaxAge)
	over(&r.MX, later.MX)
}

func (l *loader) qm() QM {
	r := &l.raw.QM
	number := func(key string, n *int64, least, most int64) int {
		return int(l.limit("qm."+key, value(n), n != nil, least, most))
	}
	c := QM{SRS: r.SRS == nil || *r.SRS, ReportCopy: text(r.ReportCopy),
		SuppressAfter: number("suppress_after", r.SuppressAfter, 0, 1000),
		Connections:   number("max_connections", r.MaxConnections, 1, 100_000),
		PerDomain:     number("max_connections_per_destination", r.PerDestination, 1, 10_000)}
	if c.ReportCopy != "" {
		if _, err := mail.ParseAddress(c.ReportCopy); err != nil {
			l.fault("qm.report_copy", "write report_copy = \"postmaster@example.org\"", "%q is not an address", c.ReportCopy)
		}
	}
	if s := text(r.Interval); s != "" {
		var err error
		if c.Interval, err = time.ParseDuration(s); err != nil || c.Interval < 0 || c.Interval > time.Hour {
			l.fault("qm.interval", "write interval = \"500ms\", at most \"1h\"", "%q is not a time", s)
		}
	}
	return c
}

const (
	defaultPolicyAge = 7 * 24 * time.Hour
	minPolicyAge     = 24 * time.Hour
	maxPolicyAge     = 31557600 * time.Second // RFC 8461 section 3.2
)

func (l *loader) https(hostname string) HTTPS {
	r := &l.raw.HTTPS
	if r.Listen == nil {
		return HTTPS{}
	}
	c := HTTPS{Mode: "testing", MaxAge: defaultPolicyAge, MX: []string{hostname},
		Listen: l.listen("https.listen", r.Listen, []string{"https"}, Listen{"https", netip.AddrPortFrom(netip.Addr{}, 443)})}
	if s := text(r.MTASTS); s != "" {
		c.Mode = s
	}
	switch c.Mode {
	case "testing", "enforce", "none":
	default:
		l.fault("https.mta_sts", "write mta_sts = \"testing\", and \"enforce\" when reports show no failures, or \"none\"", "%q is not a mode", c.Mode)
	}
	if s := text(r.MaxAge); s != "" {
		var err error
		if c.MaxAge, err = time.ParseDuration(s); err != nil || c.MaxAge < minPolicyAge || c.MaxAge > maxPolicyAge {
			l.fault("https.max_age", "write max_age = \"168h\", at least \"24h\" and at most a year", "%q is not such a time", s)
		}
	}
	if r.MX != nil && len(*r.MX) > 0 {
		c.MX = nil
		for _, s := range *r.MX {
			name, ok := routeDomain(s)
			if !ok || name == "*" {
				l.fault("https.mx", "write the names of the domain's MX records, such as \"mx.example.org\" or \"*.example.org\"", "%q is not a name", s)
				continue
			}
			if name[0] == '.' {
				name = "*" + name
			}
			c.MX = append(c.MX, name)
		}
	}
	return c
}
