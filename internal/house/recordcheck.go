package house

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/dmarc"
	"github.com/samotop/samotop/mailauth/spf"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/resolver"
)

// States of a record.
const (
	stateLive      = "live"
	stateMissing   = "missing"
	stateDifferent = "different"
	stateUnknown   = "unknown"
)

// CheckRecords looks for each record in DNS, all at the same time, and for the reverse names of our addresses.
func (a about) CheckRecords(ctx context.Context, args management.CheckArgs) ([]management.Record, error) {
	list, err := a.Records(ctx, args.Name)
	if err != nil {
		return nil, err
	}
	dns, err := a.checkResolver(args.Resolver)
	if err != nil {
		return nil, err
	}
	roots, err := a.h.clientTLS()
	if err != nil {
		return nil, err
	}
	k := recordChecker{dns: dns, hostname: a.h.conf.Hostname}
	list = append(list, k.reverse(ctx)...)
	var wg sync.WaitGroup
	var policy []management.Record
	wg.Go(func() {
		policy = policyChecker{recordChecker: k, conf: a.h.conf, tls: roots}.policy(ctx, strings.TrimSuffix(list[0].Name, "."))
	})
	for i := range list {
		if list[i].State == "" {
			wg.Go(func() { list[i].State, list[i].Found = k.check(ctx, &list[i]) })
		}
	}
	wg.Wait()
	return append(list, policy...), nil
}

func (a about) checkResolver(server string) (*resolver.Client, error) {
	if server != "" {
		c, err := resolver.New(resolver.Config{Servers: []string{server}})
		if err != nil {
			return nil, &management.Error{Kind: management.WrongUse, Thing: "resolver " + server, Cause: "is not an address", Remedy: "write it as 192.0.2.1 or 192.0.2.1:53"}
		}
		return c, nil
	}
	r, err := a.h.resolver()
	if err != nil {
		return nil, err
	}
	c, ok := r.(*resolver.Client)
	if !ok {
		return nil, errors.New("dns check: the resolver of the house cannot be asked for every type")
	}
	return c, nil
}

type recordChecker struct {
	dns      *resolver.Client
	hostname string
}

// check returns the state of one record, and what was found in its place.
func (k recordChecker) check(ctx context.Context, r *management.Record) (state, found string) {
	have, _, err := k.records(ctx, r)
	switch {
	case errors.Is(err, resolver.ErrNoName), errors.Is(err, resolver.ErrNoData):
		return stateMissing, ""
	case err != nil:
		return stateUnknown, err.Error()
	case strings.HasPrefix(r.Value, "<"): // whatever the address is
		return stateLive, strings.Join(have, ", ")
	}
	if r.Type == "TXT" {
		return k.text(ctx, r, have)
	}
	want := strings.ToLower(r.Value)
	for _, h := range have {
		if h = strings.ToLower(h); h == want || r.Type == "MX" && target(h) == target(want) || r.Type == "SRV" && target(h) == target(want) && port(h) == port(want) {
			return stateLive, ""
		}
	}
	if r.Type == "CAA" || r.Type == "CNAME" { // of the owner's own choice
		return stateLive, strings.Join(have, ", ")
	}
	return stateDifferent, strings.Join(have, ", ")
}

func (k recordChecker) records(ctx context.Context, r *management.Record) ([]string, resolver.Answer, error) {
	name := strings.TrimSuffix(r.Name, ".")
	switch r.Type {
	case "TXT":
		return k.dns.TXT(ctx, name)
	case "CNAME": // an address does as well
		ips, ans, err := k.dns.Addrs(ctx, name, resolver.AnyFamily)
		var out []string
		for _, ip := range ips {
			out = append(out, ip.String())
		}
		return out, ans, err
	}
	return k.dns.Records(ctx, name, r.Type)
}

func target(value string) string { return value[strings.LastIndexByte(value, ' ')+1:] }

func port(srv string) string {
	f := strings.Fields(srv)
	if len(f) != 4 {
		return ""
	}
	return f[2]
}

// text compares what a text means, not how it is written.
func (k recordChecker) text(ctx context.Context, r *management.Record, have []string) (state, found string) {
	want := strings.ReplaceAll(strings.Trim(r.Value, `"`), `" "`, "")
	version, _, _ := strings.Cut(strings.ReplaceAll(want, " ", ";"), ";")
	var same []string
	for _, h := range have {
		if len(h) >= len(version) && strings.EqualFold(h[:len(version)], version) {
			same = append(same, h)
		}
	}
	list := strings.Join(same, " | ")
	switch {
	case len(same) == 0:
		return stateMissing, ""
	case strings.EqualFold(version, "v=DKIM1"):
		if slices.ContainsFunc(same, func(s string) bool { return keyPart(s) == keyPart(want) }) {
			return stateLive, ""
		}
		return stateDifferent, list
	case len(same) > 1: // RFC 7208 section 4.5, RFC 9989 section 4.7, RFC 8460 section 3, RFC 8461 section 3.1
		return stateDifferent, "there must be one, and there are several: " + list
	case strings.EqualFold(version, "v=spf1"):
		return k.spf(ctx, strings.TrimSuffix(r.Name, "."), same[0])
	case strings.EqualFold(version, "v=DMARC1"):
		if _, err := dmarc.Parse(same[0]); err != nil {
			return stateDifferent, err.Error() + ": " + same[0]
		}
	}
	return stateLive, same[0]
}

// spf asks whether this machine may send for a domain.
func (k recordChecker) spf(ctx context.Context, domain, record string) (state, found string) {
	ips, _, err := k.dns.Addrs(ctx, k.hostname, resolver.AnyFamily)
	if err != nil {
		return stateLive, record + " (whether it covers this machine is not known: " + err.Error() + ")"
	}
	for _, ip := range ips {
		res := (&spf.Checker{Resolver: k.dns, Receiver: k.hostname}).Check(ctx, ip, k.hostname, mail.Address{Local: "postmaster", Domain: domain})
		switch res.Status {
		case spf.Pass:
		case spf.TempError:
			return stateUnknown, fmt.Sprint(res.Err)
		default:
			return stateDifferent, fmt.Sprintf("%s: it gives %s for our address %v", record, res.Status, ip)
		}
	}
	return stateLive, record
}

// reverse checks the names of the addresses that our own name has.
func (k recordChecker) reverse(ctx context.Context) []management.Record {
	ips, _, err := k.dns.Addrs(ctx, k.hostname, resolver.AnyFamily)
	if err != nil {
		return nil // the record of the address itself tells
	}
	var out []management.Record
	for _, ip := range ips {
		r := management.Record{Name: ip.String(), Type: "PTR", Value: k.hostname + ".", Need: recommended, State: stateLive,
			Why: "the reverse name, which the provider of the address sets: many hosts refuse mail without it"}
		name, _, err := resolver.Confirm(ctx, k.dns, ip)
		switch {
		case errors.Is(err, resolver.ErrNoName), errors.Is(err, resolver.ErrNoData):
			r.State = stateMissing
		case err != nil:
			r.State, r.Found = stateUnknown, err.Error()
		case !strings.EqualFold(name, k.hostname):
			r.Found = name + "."
		}
		out = append(out, r)
	}
	return out
}
