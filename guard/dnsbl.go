package guard

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/resolver"
)

// DNSBL is a list in DNS, of addresses or of domains, of bad senders or, with a weight below zero, of good ones (RFC 5782).
type DNSBL struct {
	Zone    string
	Weight  float64        // of its answer in the score
	Answers []netip.Prefix // that count; none: all of 127.0.0.0/8 but 127.255.255.0/24, by which lists tell of trouble
	Domains bool           // it lists the domains of senders (RFC 5782 section 3); else addresses (sections 2.1 and 2.4)
}

// Limits of questions to lists.
const (
	dnsblTime     = 3 * time.Second  // for all lists together; what has not answered then says nothing
	dnsblFailures = 3                // in a row, then a list is left alone for a while
	dnsblPause    = 10 * time.Second // the first; doubled each time it fails again
	dnsblMaxPause = 10 * time.Minute
	dnsblProbe    = time.Hour // so often it is looked whether a list lists everybody
)

var (
	dnsblAnswers = netip.MustParsePrefix("127.0.0.0/8") // RFC 5782 section 2.1
	dnsblTrouble = netip.MustParsePrefix("127.255.255.0/24")
)

// DNSBLs is a Judge by lists in DNS. A list that does not answer says nothing and is soon not waited for, one that lists
// everybody is not believed: no list keeps mail back by dying.
type DNSBLs struct {
	resolver resolver.Resolver
	own      []netip.Prefix
	now      func() time.Time
	log      *slog.Logger
	lists    []*dnsbl
}

type dnsbl struct {
	DNSBL
	mu       sync.Mutex
	failures int
	paused   time.Time
	probed   time.Time
	bad      bool // it lists everybody
}

// DNSBLConfig of NewDNSBLs. Resolver is required.
type DNSBLConfig struct {
	Resolver resolver.Resolver
	Lists    []DNSBL
	Own      []netip.Prefix   // are not asked about
	Clock    func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: none
}

// NewDNSBLs makes the Judge.
func NewDNSBLs(c DNSBLConfig) *DNSBLs {
	d := &DNSBLs{resolver: c.Resolver, own: c.Own, now: c.Clock, log: c.Log}
	if d.now == nil {
		d.now = time.Now
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	for _, l := range c.Lists {
		d.lists = append(d.lists, &dnsbl{DNSBL: l})
	}
	return d
}

// Judge asks all lists at the same time.
func (d *DNSBLs) Judge(ctx context.Context, m *Message, to mail.Address) (o Opinion) {
	if !to.IsNull() || len(d.lists) == 0 || contains(d.own, m.IP) {
		return o
	}
	ctx, cancel := context.WithTimeout(ctx, dnsblTime)
	defer cancel()
	said := make([]netip.Addr, len(d.lists))
	var wg sync.WaitGroup
	for i, l := range d.lists {
		if name := l.question(m); name != "" && l.ready(d.now()) {
			wg.Go(func() { said[i] = d.ask(ctx, l, name) })
		}
	}
	wg.Wait()
	for i, l := range d.lists {
		if said[i].IsValid() {
			o.Say(l.Weight, "%s says %s", l.Zone, said[i])
		}
	}
	return o
}

// question is the name that is asked for; "": there is nothing to ask.
func (l *dnsbl) question(m *Message) string {
	if !l.Domains {
		return reversed(m.IP) + l.Zone
	}
	domain := strings.ToLower(m.From.Address.Domain)
	if domain == "" || m.From.Address.IsLiteral() || len(domain)+1+len(l.Zone) > 253 {
		return ""
	}
	return domain + "." + l.Zone
}

// reversed writes an address as lists have it, with a dot at the end (RFC 5782 sections 2.1 and 2.4).
func reversed(ip netip.Addr) string {
	ip = ip.Unmap()
	var b []byte
	if ip.Is4() {
		a := ip.As4()
		for i := len(a) - 1; i >= 0; i-- {
			b = append(strconv.AppendUint(b, uint64(a[i]), 10), '.')
		}
		return string(b)
	}
	const digits = "0123456789abcdef"
	a := ip.As16()
	for i := len(a) - 1; i >= 0; i-- {
		b = append(b, digits[a[i]&15], '.', digits[a[i]>>4], '.')
	}
	return string(b)
}

func (l *dnsbl) ready(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !now.Before(l.paused)
}

// ask returns the answer that counts, or the zero Addr.
func (d *DNSBLs) ask(ctx context.Context, l *dnsbl, name string) netip.Addr {
	answers, _, err := d.resolver.Addrs(ctx, name, resolver.IPv4)
	if err != nil && !errors.Is(err, resolver.ErrNoName) && !errors.Is(err, resolver.ErrNoData) && !errors.Is(err, resolver.ErrBadName) {
		d.failed(ctx, l, err)
		return netip.Addr{}
	}
	l.mu.Lock()
	l.failures = 0
	l.mu.Unlock()
	var found netip.Addr
	for _, a := range answers {
		switch a = a.Unmap(); {
		case !dnsblAnswers.Contains(a): // somebody else has the domain now
		case len(l.Answers) > 0:
			if slices.ContainsFunc(l.Answers, func(p netip.Prefix) bool { return p.Contains(a) }) {
				found = a
			}
		case dnsblTrouble.Contains(a):
			d.failed(ctx, l, errors.New("it says "+a.String()+", which means that it does not serve this resolver"))
		default:
			found = a
		}
	}
	if found.IsValid() && d.listsAll(ctx, l) {
		return netip.Addr{}
	}
	return found
}

// failed leaves a list alone that fails all the time.
func (d *DNSBLs) failed(ctx context.Context, l *dnsbl, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures++
	if l.failures < dnsblFailures {
		return
	}
	pause := min(dnsblPause<<min(l.failures-dnsblFailures, 10), dnsblMaxPause)
	l.paused = d.now().Add(pause)
	d.log.LogAttrs(ctx, slog.LevelWarn, "list is not asked for a while", slog.String("zone", l.Zone), slog.Duration("pause", pause), slog.Any("err", err))
}

// listsAll reports whether a list lists what none may (RFC 5782 sections 5 and 3): its owner has closed it.
func (d *DNSBLs) listsAll(ctx context.Context, l *dnsbl) bool {
	now := d.now()
	l.mu.Lock()
	probe, bad := now.Sub(l.probed) >= dnsblProbe, l.bad
	l.mu.Unlock()
	if !probe {
		return bad
	}
	name := reversed(netip.AddrFrom4([4]byte{127, 0, 0, 1})) + l.Zone
	if l.Domains {
		name = "invalid." + l.Zone
	}
	answers, _, err := d.resolver.Addrs(ctx, name, resolver.IPv4)
	if errors.Is(err, resolver.ErrTemporary) {
		return true // not believed unless it can be verified
	}
	bad = slices.ContainsFunc(answers, func(a netip.Addr) bool { return dnsblAnswers.Contains(a.Unmap()) })
	l.mu.Lock()
	l.probed, l.bad = now, bad
	l.mu.Unlock()
	if bad {
		d.log.LogAttrs(ctx, slog.LevelWarn, "list lists everybody and is not believed: take it out of [[guard.dnsbl]]", slog.String("zone", l.Zone))
	}
	return bad
}

// Looks is a Judge of what can be seen of a peer: its reverse name, and what it says its own name is.
type Looks struct {
	Hostname string // our own, as which nobody else says hello
	Own      []netip.Prefix
}

// What looks are worth. Alone they file nothing as junk.
const (
	noReverse     = 1.5 // no name leads back to the address: hardly any honest server is so
	helloIsUs     = 3   // it says that it is we
	helloNoDomain = 1   // what it says is no full name (RFC 5321 section 4.1.4)
	helloWrongIP  = 1.5 // it says an address literal that is not its own
)

// Judge looks. It asks nobody: the facts are there.
func (l Looks) Judge(_ context.Context, m *Message, to mail.Address) (o Opinion) {
	if !to.IsNull() || contains(l.Own, m.IP) {
		return o
	}
	if m.Session.Fact("fcrdns") == "fail" {
		o.Say(noReverse, "no reverse name")
	}
	hello := strings.TrimSuffix(m.Session.Hello, ".")
	literal, isLiteral := mail.Address{Local: "x", Domain: hello}.Literal()
	switch {
	case hello == "":
	case isLiteral:
		if literal.Unmap() != m.IP.Unmap() {
			o.Say(helloWrongIP, "says it is %s", hello)
		}
	case strings.EqualFold(hello, l.Hostname):
		o.Say(helloIsUs, "says it is this server")
	case !strings.Contains(hello, "."), !mail.IsDomain(hello):
		o.Say(helloNoDomain, "says no full name")
	}
	return o
}
