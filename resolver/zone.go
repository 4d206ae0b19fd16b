package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Zone answers from the text of a zone file (RFC 1035 section 5.1), for tests and for dry runs: in process with
// Resolver, or over sockets with Serve. It is safe for concurrent use.
type Zone struct {
	mu        sync.Mutex
	rrs       map[string][]dns.RR // by canonical name
	names     map[string]bool     // with those that exist only because something is below them
	authentic bool
	failing   map[string]failure
	asked     map[question]int
}

type failure struct {
	rcode int
	bogus bool
	mute  bool
}

// ParseZone reads zone text; relative names are completed with the root, so the example's final dots can be left out:
//
//	example.org        MX 10 mx.example.org
//	mx.example.org     A  192.0.2.1
func ParseZone(text string) (*Zone, error) {
	z := &Zone{rrs: map[string][]dns.RR{}, names: map[string]bool{}, failing: map[string]failure{}, asked: map[question]int{}}
	zp := dns.NewZoneParser(strings.NewReader(text), ".", "")
	zp.SetDefaultTTL(300)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		name := strings.ToLower(rr.Header().Name)
		z.rrs[name] = append(z.rrs[name], rr)
		for n := name; n != "."; {
			z.names[n] = true
			i, end := dns.NextLabel(n, 0)
			if end {
				break
			}
			n = n[i:]
		}
	}
	if err := zp.Err(); err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	return z, nil
}

// SetAuthentic makes all answers carry AD, as if every name were signed.
func (z *Zone) SetAuthentic(on bool) { z.mu.Lock(); z.authentic = on; z.mu.Unlock() }

// Fail makes questions for the name fail: with ErrTemporary or ErrBogus, or with context.DeadlineExceeded by never
// being answered. nil mends it.
func (z *Zone) Fail(name string, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	key := strings.ToLower(dns.Fqdn(name))
	switch {
	case err == nil:
		delete(z.failing, key)
	case errors.Is(err, ErrBogus):
		z.failing[key] = failure{rcode: dns.RcodeServerFailure, bogus: true}
	case errors.Is(err, context.DeadlineExceeded):
		z.failing[key] = failure{mute: true}
	default:
		z.failing[key] = failure{rcode: dns.RcodeServerFailure}
	}
}

// Asked returns how often a question came, such as ("example.org", "MX").
func (z *Zone) Asked(name, typ string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[question{strings.ToLower(dns.Fqdn(name)), dns.StringToType[typ]}]
}

// Resolver returns a Client that asks the zone in process. Of cfg the fields about servers mean nothing.
func (z *Zone) Resolver(cfg Config) *Client {
	return newClient(cfg, func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		if a := z.answer(q); a != nil {
			return a, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

// Serve answers on the sockets until ctx ends, and closes them. Each may be nil.
func (z *Zone) Serve(ctx context.Context, udp net.PacketConn, tcp net.Listener) error {
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := z.answer(q)
		if a == nil {
			return
		}
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			size := dns.MinMsgSize
			if o := q.IsEdns0(); o != nil {
				size = int(o.UDPSize())
			}
			a.Truncate(size)
		}
		_ = w.WriteMsg(a)
	})
	var servers []*dns.Server
	if udp != nil {
		servers = append(servers, &dns.Server{PacketConn: udp, Handler: h})
	}
	if tcp != nil {
		servers = append(servers, &dns.Server{Listener: tcp, Handler: h, ReadTimeout: time.Minute})
	}
	errs := make(chan error, len(servers))
	for _, s := range servers {
		go func() { errs <- s.ActivateAndServe() }()
	}
	stop := context.AfterFunc(ctx, func() {
		if udp != nil {
			_ = udp.Close()
		}
		if tcp != nil {
			_ = tcp.Close()
		}
	})
	defer stop()
	var first error
	for range servers {
		if err := <-errs; err != nil && ctx.Err() == nil && first == nil {
			first = err
		}
	}
	return first
}

// answer makes the answer a recursive server would give; nil: none ever comes.
func (z *Zone) answer(q *dns.Msg) *dns.Msg {
	z.mu.Lock()
	defer z.mu.Unlock()
	a := new(dns.Msg)
	a.SetReply(q)
	a.RecursionAvailable = true
	if len(q.Question) != 1 {
		a.Rcode = dns.RcodeFormatError
		return a
	}
	name, t := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	z.asked[question{name, t}]++
	a.AuthenticatedData = z.authentic && (q.AuthenticatedData || q.IsEdns0() != nil && q.IsEdns0().Do())
	for range 32 { // a loop of aliases is passed on, cut
		if f, ok := z.failing[name]; ok {
			if f.mute {
				return nil
			}
			a.Rcode, a.Answer, a.AuthenticatedData = f.rcode, nil, false
			if f.bogus {
				opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
				opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus})
				a.Extra = append(a.Extra, opt)
			}
			return a
		}
		rrs, exists := z.at(name)
		alias := ""
		for _, rr := range rrs {
			if cn, ok := rr.(*dns.CNAME); ok && t != dns.TypeCNAME {
				alias = cn.Target
			}
			if rr.Header().Rrtype == t || alias != "" {
				a.Answer = append(a.Answer, rr)
			}
		}
		if alias == "" {
			if !exists {
				a.Rcode = dns.RcodeNameError
			}
			if len(a.Answer) == 0 || a.Answer[len(a.Answer)-1].Header().Rrtype != t {
				a.Ns = append(a.Ns, z.soa(name))
			}
			return a
		}
		name = strings.ToLower(alias)
	}
	return a
}

// at returns the records of a name, from a wildcard if need be (RFC 4592), and whether the name exists.
func (z *Zone) at(name string) ([]dns.RR, bool) {
	if rrs := z.rrs[name]; rrs != nil || z.names[name] {
		return rrs, true
	}
	for n := name; ; {
		i, end := dns.NextLabel(n, 0)
		if end {
			return nil, false
		}
		n = n[i:]
		if wild := z.rrs["*."+n]; wild != nil {
			out := make([]dns.RR, len(wild))
			for i, rr := range wild {
				out[i] = dns.Copy(rr)
				out[i].Header().Name = name
			}
			return out, true
		}
		if z.names[n] {
			return nil, false
		}
	}
}

func (z *Zone) soa(name string) dns.RR {
	for n := name; ; {
		for _, rr := range z.rrs[n] {
			if rr.Header().Rrtype == dns.TypeSOA {
				return rr
			}
		}
		i, end := dns.NextLabel(n, 0)
		if end {
			break
		}
		n = n[i:]
	}
	return &dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
		Ns: "ns.invalid.", Mbox: "hostmaster.invalid.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 60}
}
