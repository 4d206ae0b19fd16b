package config

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Content says who has an opinion on the content of mail.
type Content struct {
	LearnOff      bool    `json:",omitzero"` // the learning filter is not asked; it learns all the same
	LearnWeight   float64 `json:",omitzero"` // points of its surest verdict; 0: the default
	LearnMessages int64   `json:",omitzero"` // of each kind before it is asked; 0: the default

	Filters []ContentFilter `json:",omitempty"`

	PolicyListen    string `json:",omitzero"` // loopback address of the policy server for Postfix, beside its socket; "": none
	SocketmapListen string `json:",omitzero"` // the same of socketmap
}

// ContentFilter is one [[guard.filter]]: a program that is asked about content.
type ContentFilter struct {
	Name             string
	URL              string        `json:",omitzero"` // of rspamd's /checkv2
	Password         string        `json:"-"`
	Network, Address string        `json:",omitzero"` // of a milter
	Timeout          time.Duration `json:",omitzero"`
	Weight           float64       `json:",omitzero"`
	MaxBytes         int64         `json:",omitzero"`
	InFlight         int64         `json:",omitzero"`
	Required         bool          `json:",omitzero"`
}

// MaxContentFilters is how many programs may be asked about one message.
const MaxContentFilters = 10

type rawFilter struct {
	Name     *string  `toml:"name"`
	URL      *string  `toml:"url"`
	Password *string  `toml:"password"`
	Milter   *string  `toml:"milter"`
	Timeout  *string  `toml:"timeout"`
	Weight   *float64 `toml:"weight"`
	MaxBytes *int64   `toml:"max_bytes"`
	InFlight *int64   `toml:"in_flight"`
	Away     *string  `toml:"away"`
}

type rawContent struct {
	Learn         *bool    `toml:"learn"`
	LearnWeight   *float64 `toml:"learn_weight"`
	LearnMessages *int64   `toml:"learn_messages"`

	PolicyListen    *string `toml:"policy_listen"`
	SocketmapListen *string `toml:"socketmap_listen"`

	Filter []rawFilter `toml:"filter"`
}

func (r *rawContent) merge(later *rawContent) {
	over(&r.Learn, later.Learn)
	over(&r.LearnWeight, later.LearnWeight)
	over(&r.LearnMessages, later.LearnMessages)
	over(&r.PolicyListen, later.PolicyListen)
	over(&r.SocketmapListen, later.SocketmapListen)
	r.Filter = append(r.Filter, later.Filter...)
}

// content reads what [guard] says of content.
func (l *loader) content(r *rawContent) (c Content) {
	c.LearnOff = r.Learn != nil && !*r.Learn
	if r.LearnWeight != nil && (*r.LearnWeight <= 0 || *r.LearnWeight > 1000) {
		l.fault("guard.learn_weight", "write points such as 6, or learn = false", "%g adds nothing to the score", *r.LearnWeight)
	}
	c.LearnWeight = value(r.LearnWeight)
	c.LearnMessages = l.limit("guard.learn_messages", value(r.LearnMessages), r.LearnMessages != nil, 1, 1_000_000)
	c.PolicyListen = l.loopback("guard.policy_listen", r.PolicyListen)
	c.SocketmapListen = l.loopback("guard.socketmap_listen", r.SocketmapListen)
	if len(r.Filter) > MaxContentFilters {
		l.fault("guard.filter", "take some out: each message waits for all of them", "%d filters, more than %d", len(r.Filter), MaxContentFilters)
		return c
	}
	for i := range r.Filter {
		if f, ok := l.filter(&r.Filter[i]); ok {
			c.Filters = append(c.Filters, f)
		}
	}
	return c
}

// loopback reads an address that only programs of this machine can reach: who may ask is not checked.
func (l *loader) loopback(key string, v *string) string {
	s := value(v)
	if s == "" {
		return ""
	}
	if ap, err := netip.ParseAddrPort(s); err != nil || !ap.Addr().IsLoopback() || ap.Port() == 0 {
		l.fault(key, "write it as \"127.0.0.1:10031\", or use the socket in DIR/run", "%q is no loopback address with a port", s)
	}
	return s
}

// filter reads one [[guard.filter]].
func (l *loader) filter(r *rawFilter) (f ContentFilter, ok bool) {
	const key = "guard.filter"
	f = ContentFilter{Name: value(r.Name), URL: value(r.URL), Password: value(r.Password), Timeout: l.span(key+".timeout", r.Timeout, time.Second, 5*time.Minute),
		Weight: value(r.Weight), MaxBytes: l.limit(key+".max_bytes", value(r.MaxBytes), r.MaxBytes != nil, 1024, 1<<40),
		InFlight: l.limit(key+".in_flight", value(r.InFlight), r.InFlight != nil, 1, 10_000)}
	if f.Name == "" {
		f.Name = "rspamd"
		if f.URL == "" {
			f.Name = "milter"
		}
	}
	switch away := value(r.Away); away {
	case "", "accept":
	case "defer":
		f.Required = true
	default:
		l.fault(key+".away", "write away = \"accept\" or \"defer\"", "%s: %q is not known", f.Name, away)
		return f, false
	}
	if f.Weight < 0 || f.Weight > 100 {
		l.fault(key+".weight", "write what its score is multiplied by, such as 0.8", "%s: %g is out of range", f.Name, f.Weight)
		return f, false
	}
	milter := value(r.Milter)
	switch {
	case (f.URL == "") == (milter == ""):
		l.fault(key, "write url = \"http://127.0.0.1:11333/checkv2\" for rspamd, or milter = \"unix:/run/clamav/clamav-milter.ctl\"", "%s: it needs either url or milter", f.Name)
		return f, false
	case f.URL != "":
		u, err := url.Parse(f.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			l.fault(key+".url", "write it as \"http://127.0.0.1:11333/checkv2\"", "%q is no URL of HTTP", f.URL)
			return f, false
		}
		return f, true
	}
	if path, is := strings.CutPrefix(milter, "unix:"); is && strings.HasPrefix(path, "/") {
		f.Network, f.Address = "unix", path
		return f, true
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(milter, "tcp:"))
	if err != nil || host == "" || port == "" {
		l.fault(key+".milter", "write it as \"unix:/run/program/socket\" or \"tcp:127.0.0.1:8891\"", "%q is neither", milter)
		return f, false
	}
	f.Network, f.Address = "tcp", net.JoinHostPort(host, port)
	return f, true
}
