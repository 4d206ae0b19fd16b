package qm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/resolver"
)

// place to connect to.
type host struct {
	name    string // for TLS and the log; "" for an address literal
	network string
	address string
	via     *hop // how it is spoken to
	safe    bool // DNSSEC vouches for the way from the domain to the name
}

// here reports whether a host is a socket or a program of this machine that takes mail by LMTP, which is delivery: there is no
// way for REQUIRETLS to protect (RFC 8689 section 4.2.1 is about the next server).
func (h *host) here() bool { return h.network == "unix" || h.network == "exec" }

var (
	errNullMX  = mail.NewReply(556, mail.Enhanced{5, 1, 10}, "Domain does not accept mail (null MX, RFC 7505)")
	errNoHost  = mail.NewReply(550, mail.Enhanced{5, 1, 2}, "Domain does not exist")
	errNoRoute = mail.NewReply(550, mail.Enhanced{5, 4, 4}, "No mail server of the domain has an address")
	errSelf    = mail.NewReply(554, mail.Enhanced{5, 4, 6}, "Mail loops back to us: the domain's mail servers are this host, which does not take its mail")
	errDNS     = mail.NewReply(451, mail.Enhanced{4, 4, 3}, "Mail servers of the domain cannot be looked up at the moment")
)

// hosts returns where the mail of a line goes, in the order to try; a *mail.Reply says why nowhere.
func (q *QM) hosts(ctx context.Context, l *line) ([]host, error) {
	if l.hop.via != viaMX {
		return []host{l.hop.place()}, nil
	}
	domain := l.domain()
	if ip, ok := (mail.Address{Local: "x", Domain: domain}).Literal(); ok { // RFC 5321 section 4.1.3
		return []host{{network: "tcp", address: net.JoinHostPort(ip.String(), "25"), via: &l.hop}}, nil
	}
	mx, ans, err := q.cfg.Resolver.MX(ctx, domain)
	switch {
	case errors.Is(err, resolver.ErrNoName), errors.Is(err, resolver.ErrBadName):
		return nil, errNoHost.Because(err)
	case errors.Is(err, resolver.ErrNoData):
		mx = []resolver.MX{{Host: domain}} // RFC 5321 section 5.1: implicit MX
	case err != nil:
		return nil, errDNS.Because(err)
	case len(mx) == 1 && mx[0].Host == "": // RFC 7505 section 3
		return nil, errNullMX
	}
	mx, self := q.beforeSelf(mx)
	if len(mx) == 0 && self {
		return nil, errSelf
	}
	q.shuffle(mx)
	hosts, err := q.addresses(ctx, mx)
	for i := range hosts {
		hosts[i].via, hosts[i].safe = &l.hop, ans.Authentic
	}
	return hosts, err
}

// beforeSelf leaves out this host and all that are preferred no more than it (RFC 5321 section 5.1).
func (q *QM) beforeSelf(mx []resolver.MX) (_ []resolver.MX, self bool) {
	for _, m := range mx {
		if strings.EqualFold(m.Host, strings.TrimSuffix(q.cfg.Hostname, ".")) {
			return slices.DeleteFunc(slices.Clone(mx), func(o resolver.MX) bool { return o.Preference >= m.Preference }), true
		}
	}
	return slices.Clone(mx), false
}

// shuffle puts hosts of equal preference into random order (RFC 5321 section 5.1).
func (q *QM) shuffle(mx []resolver.MX) {
	for i := len(mx) - 1; i > 0; i-- {
		j := int(q.random() % uint64(i+1))
		mx[i], mx[j] = mx[j], mx[i]
	}
	slices.SortStableFunc(mx, func(a, b resolver.MX) int { return int(a.Preference) - int(b.Preference) })
}

// addresses looks up the hosts, IPv6 and IPv4 in turn, so that the limit never hides a whole family.
func (q *QM) addresses(ctx context.Context, mx []resolver.MX) ([]host, error) {
	limit := q.cfg.Limits.MaxHosts
	var hosts []host
	var temporary error
	self := false
	for i, m := range mx {
		if len(hosts) >= limit || i >= limit {
			break
		}
		ips, _, err := q.cfg.Resolver.Addrs(ctx, m.Host, resolver.AnyFamily)
		if err != nil && !errors.Is(err, resolver.ErrNoName) && !errors.Is(err, resolver.ErrNoData) && !errors.Is(err, resolver.ErrBadName) {
			temporary = err
		}
		for _, ip := range alternate(ips) {
			if len(hosts) >= limit {
				break
			}
			if ip = ip.Unmap(); ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast() {
				self = true // what the world may say of its servers cannot be meant: it leads to ourselves or nowhere
				continue
			}
			hosts = append(hosts, host{name: m.Host, network: "tcp", address: net.JoinHostPort(ip.String(), "25")})
		}
	}
	switch {
	case len(hosts) > 0:
		return hosts, nil
	case temporary != nil:
		return nil, errDNS.Because(temporary)
	case self:
		return nil, errSelf
	}
	return nil, errNoRoute
}

func alternate(ips []netip.Addr) []netip.Addr {
	var four, six, out []netip.Addr
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			four = append(four, ip)
		} else {
			six = append(six, ip)
		}
	}
	for len(four)+len(six) > 0 {
		if len(six) > 0 {
			out, six = append(out, six[0]), six[1:]
		}
		if len(four) > 0 {
			out, four = append(out, four[0]), four[1:]
		}
	}
	return out
}
