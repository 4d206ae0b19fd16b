package resolver

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

type question struct {
	name string // canonical
	typ  uint16
}

func (q question) String() string { return q.name + " " + typeName(q.typ) }

// found is what is known about a question.
type found struct {
	rrs   []dns.RR
	ans   Answer
	err   error
	until time.Time
}

type onlyCached struct{}

// OnlyCached makes a Client answer from its cache alone, with ErrNotCached where that has nothing: for those who would
// wait for an answer elsewhere. Resolvers of other kinds ask as ever.
func OnlyCached(ctx context.Context) context.Context {
	return context.WithValue(ctx, onlyCached{}, true)
}

func (c *Client) lookup(ctx context.Context, name string, t uint16) ([]dns.RR, Answer, error) {
	name, err := canonical(name)
	if err != nil {
		return nil, Answer{}, err
	}
	q := question{name, t}
	now := c.cfg.Clock()
	if f, ok := c.cache.get(q, now); ok {
		ans := f.ans
		ans.TTL = f.until.Sub(now)
		return f.rrs, ans, f.err
	}
	if ctx.Value(onlyCached{}) != nil {
		return nil, Answer{}, fmt.Errorf("look up %v: %w (%w)", q, ErrNotCached, ErrTemporary)
	}
	f, err := c.flights.do(ctx, q, func() found { return c.find(ctx, q) })
	if err != nil {
		return nil, Answer{}, fmt.Errorf("look up %v: %w: %w", q, ErrTemporary, err)
	}
	return f.rrs, f.ans, f.err
}

// find asks, for everybody who waits for the question: so the end of one caller's context does not end it.
func (c *Client) find(ctx context.Context, q question) found {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timeout*time.Duration(4*c.cfg.Attempts))
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return found{err: fmt.Errorf("look up %v: %w: %w", q, ErrTemporary, ctx.Err())}
	}
	f := c.follow(ctx, q)
	if f.err != nil {
		f.err = fmt.Errorf("look up %v: %w", q, f.err)
	}
	if f.ans.TTL > 0 {
		f.until = c.cfg.Clock().Add(f.ans.TTL)
		c.cache.put(q, f)
	}
	return f
}

// follow asks for the name and, where a server gives an alias without what it stands for, for that in turn.
func (c *Client) follow(ctx context.Context, q question) found {
	f := found{ans: Answer{Authentic: true, TTL: c.cfg.MaxTTL, Name: plain(q.name)}}
	name := q.name
	for {
		before := len(f.ans.Chain)
		msg, err := c.ask(ctx, question{name, q.typ})
		if err != nil {
			f.err, f.ans.TTL, f.ans.Authentic = err, min(f.ans.TTL, c.cfg.FailureTTL), false
			return f
		}
		done := c.read(msg, q.typ, &name, &f)
		if done || len(f.ans.Chain) == before {
			return f
		}
	}
}

// ask sends one question and sorts out the answers that are none.
func (c *Client) ask(ctx context.Context, q question) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.typ)
	m.AuthenticatedData = c.cfg.TrustAD // RFC 6840 section 5.7: tell us
	m.SetEdns0(udpOctets, false)
	a, err := c.exchange(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemporary, err)
	}
	switch a.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		return a, nil
	case dns.RcodeServerFailure:
		if c.cfg.TrustAD && bogus(a) {
			return nil, fmt.Errorf("%w (%w)", ErrBogus, ErrTemporary)
		}
	}
	return nil, fmt.Errorf("%w: name server says %s", ErrTemporary, dns.RcodeToString[a.Rcode])
}

// bogus reports whether a failure says that validation was the cause (RFC 8914 section 4).
func bogus(a *dns.Msg) bool {
	opt := a.IsEdns0()
	if opt == nil {
		return false
	}
	for _, o := range opt.Option {
		e, ok := o.(*dns.EDNS0_EDE)
		if !ok {
			continue
		}
		switch e.InfoCode {
		case dns.ExtendedErrorCodeDNSBogus, dns.ExtendedErrorCodeSignatureExpired, dns.ExtendedErrorCodeSignatureNotYetValid,
			dns.ExtendedErrorCodeDNSKEYMissing, dns.ExtendedErrorCodeRRSIGsMissing, dns.ExtendedErrorCodeNSECMissing,
			dns.ExtendedErrorCodeNoZoneKeyBitSet:
			return true
		}
	}
	return false
}

// read takes in one answer, following its aliases from *name. It returns true if that settles the question.
func (c *Client) read(msg *dns.Msg, t uint16, name *string, f *found) bool {
	f.ans.Authentic = f.ans.Authentic && c.cfg.TrustAD && msg.AuthenticatedData
	rrs := msg.Answer
	if len(rrs) > c.cfg.MaxRecords {
		c.cfg.Log.Warn("dns answer has too many records, the rest is not looked at", "name", *name, "records", len(rrs))
		rrs = rrs[:c.cfg.MaxRecords]
	}
	for {
		alias := ""
		for _, rr := range rrs {
			h := rr.Header()
			if !strings.EqualFold(h.Name, *name) || h.Class != dns.ClassINET {
				continue
			}
			if h.Rrtype == t {
				f.rrs = append(f.rrs, rr)
				f.ans.TTL = min(f.ans.TTL, seconds(h.Ttl))
			} else if cn, ok := rr.(*dns.CNAME); ok && alias == "" {
				alias = cn.Target
				f.ans.TTL = min(f.ans.TTL, seconds(h.Ttl))
			}
		}
		if len(f.rrs) > 0 {
			f.err = nil
			return true
		}
		if alias == "" {
			break
		}
		if len(f.ans.Chain) == c.cfg.MaxAliases {
			f.err = fmt.Errorf("%w: more than %d aliases, or a loop", ErrTemporary, c.cfg.MaxAliases)
			f.ans.TTL = max(min(f.ans.TTL, c.cfg.MaxNegativeTTL), c.cfg.FailureTTL)
			return true
		}
		target, err := canonical(alias)
		if err != nil {
			f.err = ErrNoData
			return true
		}
		*name = target
		f.ans.Name = plain(target)
		f.ans.Chain = append(f.ans.Chain, f.ans.Name)
	}
	return c.deny(msg, f)
}

// deny takes in an answer without records of the type (RFC 2308). It returns false if it ends in an alias that
// nothing is said about.
func (c *Client) deny(msg *dns.Msg, f *found) bool {
	ttl := time.Duration(-1)
	for _, rr := range msg.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			ttl = min(seconds(soa.Hdr.Ttl), seconds(soa.Minttl)) // RFC 2308 section 5
		}
	}
	f.err = ErrNoData
	if msg.Rcode == dns.RcodeNameError {
		f.err = ErrNoName
	} else if ttl < 0 && len(msg.Answer) > 0 && len(f.ans.Chain) > 0 && !strings.EqualFold(plain(msg.Question[0].Name), f.ans.Name) {
		return false // f.err holds unless the question that follows says otherwise
	}
	if ttl < 0 {
		ttl = c.cfg.FailureTTL
	}
	f.ans.TTL = min(f.ans.TTL, ttl, c.cfg.MaxNegativeTTL)
	return true
}

func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 { // RFC 2181 section 8
		return 0
	}
	return time.Duration(ttl) * time.Second
}
