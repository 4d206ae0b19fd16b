// Package resolver asks the Domain Name System what a mail server needs to know: MX, A and AAAA, TXT, PTR and TLSA
// records, each with the canonical name it was found at, its time to live, and whether it is authentic.
//
//	r, err := resolver.New(resolver.Config{Servers: []string{"127.0.0.1:53"}, TrustAD: true})
//	mx, ans, err := r.MX(ctx, "example.org")
//	switch {
//	case errors.Is(err, resolver.ErrNoName): // NXDOMAIN
//	case errors.Is(err, resolver.ErrNoData): // the name is there, without MX
//	case err != nil:                         // temporary: ask again later
//	}
//
// Promises. A Client is safe for concurrent use. Answers are bounded in octets, records and aliases, the cache in
// entries; one question is asked once however many wait for it. An answer that came cut short over UDP is asked for
// again over TCP. Authentic is set only if Config.TrustAD says that the way to the servers is safe and they said so
// themselves (RFC 6840 section 5.8). Names are absolute: no search list is ever tried.
package resolver

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Errors. They are wrapped with the question; test with errors.Is.
var (
	ErrNoName    = errors.New("no such name (NXDOMAIN)")
	ErrNoData    = errors.New("the name has no such record")
	ErrTemporary = errors.New("no usable answer, try again later")
	ErrBogus     = errors.New("the answer failed DNSSEC validation") // also ErrTemporary: it may be mended
	ErrNotCached = errors.New("the answer is not known yet")         // also ErrTemporary; only with OnlyCached
	ErrBadName   = errors.New("not a domain name")
)

// Family says which addresses are asked for.
type Family uint8

const (
	AnyFamily Family = iota // A and AAAA
	IPv4                    // A
	IPv6                    // AAAA
)

// MX is one mail exchanger (RFC 5321 section 5). Host is without the final dot; "" is the null MX (RFC 7505).
type MX struct {
	Preference uint16
	Host       string
}

// TLSA is a TLSA record (RFC 6698 section 2).
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte
}

// Answer is what goes with the records.
type Answer struct {
	Authentic bool          // validated by a resolver that we trust; all of it, aliases included
	TTL       time.Duration // the least of all records used; of an error: how long it holds
	Name      string        // where the records are: the end of Chain, or what was asked; lower case, no final dot
	Chain     []string      // aliases followed, in order, the last being Name; empty if there is no CNAME
}

// Resolver is what others depend on. It is safe for concurrent use. With an error Answer is still filled in as far
// as it is known: Authentic of ErrNoName and ErrNoData means that the denial is authentic.
type Resolver interface {
	// MX returns the mail exchangers, sorted by preference. What having none means is for the caller (implicit MX,
	// RFC 5321 section 5.1).
	MX(ctx context.Context, domain string) ([]MX, Answer, error)
	// Addrs returns addresses, IPv6 first. With AnyFamily an error is returned only if no family gave any; then
	// ErrTemporary wins over ErrNoData. Authentic means that every family asked for was.
	Addrs(ctx context.Context, host string, f Family) ([]netip.Addr, Answer, error)
	// TXT returns the strings of each record joined.
	TXT(ctx context.Context, name string) ([]string, Answer, error)
	// PTR returns the names of an address, which anybody may claim: see Confirm.
	PTR(ctx context.Context, ip netip.Addr) ([]string, Answer, error)
	// TLSA returns the records of a name such as _25._tcp.mx.example.org.
	TLSA(ctx context.Context, name string) ([]TLSA, Answer, error)
}

// MaxConfirmNames is how many names of an address Confirm looks at.
const MaxConfirmNames = 10

// Confirm returns the forward-confirmed name of an address: one of its PTR names that has the address as its own.
// ErrNoName or ErrNoData: there is none. ErrTemporary: it could not be found out.
func Confirm(ctx context.Context, r Resolver, ip netip.Addr) (string, Answer, error) {
	ip = ip.Unmap()
	names, rev, err := r.PTR(ctx, ip)
	if err != nil {
		return "", rev, err
	}
	f := IPv6
	if ip.Is4() {
		f = IPv4
	}
	var temporary error
	for i, name := range names {
		if i == MaxConfirmNames {
			break
		}
		addrs, fwd, err := r.Addrs(ctx, name, f)
		if errors.Is(err, ErrTemporary) {
			temporary = err
		}
		for _, a := range addrs {
			if a.Unmap() == ip {
				fwd.Authentic = fwd.Authentic && rev.Authentic
				fwd.TTL = min(fwd.TTL, rev.TTL)
				return name, fwd, nil
			}
		}
	}
	if temporary != nil {
		return "", rev, temporary
	}
	return "", rev, ErrNoData
}
