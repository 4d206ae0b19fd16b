package mailauth

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/resolver"
)

// Reverse is what the reverse look-up of a client's address gave (RFC 8601 section 2.7.3, method iprev).
type Reverse struct {
	Result string // "pass": a name of the address leads back to it; "fail", "temperror"; "": there was no address to ask for
	Name   string // that name; "" unless pass
	Err    error
}

// reverse does what Reverse does, in a goroutine of its own if it has to ask; wait waits for it.
func (c *Checker) reverse(ctx context.Context, ip netip.Addr, to *Reverse) (wait func()) {
	*to = c.Reverse(resolver.OnlyCached(ctx), ip)
	if !errors.Is(to.Err, resolver.ErrNotCached) {
		return func() {}
	}
	var group sync.WaitGroup
	group.Go(func() { *to = c.Reverse(ctx, ip) })
	return group.Wait
}

// Reverse looks for a forward-confirmed name of an address.
func (c *Checker) Reverse(ctx context.Context, ip netip.Addr) Reverse {
	if !ip.IsValid() {
		return Reverse{}
	}
	ctx, cancel := c.limit(ctx)
	defer cancel()
	name, _, err := resolver.Confirm(ctx, c.Resolver, ip)
	switch {
	case err == nil:
		return Reverse{Result: "pass", Name: name}
	case errors.Is(err, resolver.ErrNoName), errors.Is(err, resolver.ErrNoData), errors.Is(err, resolver.ErrBadName):
		return Reverse{Result: "fail", Err: err}
	}
	return Reverse{Result: "temperror", Err: err}
}

// method is the reverse look-up as Authentication-Results has it.
func (r Report) iprev() authres.Method {
	return authres.Method{Name: "iprev", Result: r.Reverse.Result, Comment: r.Reverse.Name,
		Properties: []authres.Property{{Type: "policy", Name: "iprev", Value: r.Facts.IP.String()}}}
}

func (r Reverse) finding() Finding {
	f := Finding{Check: "fcrdns", Result: r.Result, Reason: r.Name}
	if r.Err != nil {
		f.Reason = r.Err.Error()
	}
	return f
}
