package house

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/management"
)

// bans shows the bans of the guard to management.
type bans struct{ a *guard.Abuse }

var _ management.Bans = bans{}

func ban(x guard.Ban) management.Ban {
	return management.Ban{Network: x.Network.String(), Reason: x.Reason, Since: x.Since, Until: x.Until, Automatic: x.Automatic}
}

func (b bans) Bans(context.Context) ([]management.Ban, error) {
	var out []management.Ban
	for _, x := range b.a.List() {
		out = append(out, ban(x))
	}
	return out, nil
}

func (b bans) Ban(ctx context.Context, a management.BanArgs) (management.Ban, error) {
	p, err := networkArg(a.Network)
	if err != nil {
		return management.Ban{}, err
	}
	x := guard.Ban{Network: p, Reason: a.Reason, Since: time.Now()}
	if a.For > 0 {
		x.Until = x.Since.Add(a.For)
	}
	err = b.a.Add(ctx, x)
	switch {
	case errors.Is(err, guard.ErrOwnNetwork):
		return ban(x), &management.Error{Kind: management.Invalid, Thing: "ban", Cause: err.Error(),
			Remedy: "our own are loopback, [mta] trusted and [guard] own; take it out there first, if it is not ours any more"}
	case errors.Is(err, guard.ErrManyBans):
		return ban(x), &management.Error{Kind: management.Invalid, Thing: "ban", Cause: err.Error(), Remedy: "remove some, or ban whole networks"}
	}
	return ban(x), err
}

func (b bans) Unban(ctx context.Context, network string) error {
	p, err := networkArg(network)
	if err != nil {
		return err
	}
	if err := b.a.Remove(ctx, p); errors.Is(err, guard.ErrNoBan) {
		return &management.Error{Kind: management.NotFound, Thing: network, Cause: "is not banned", Remedy: "name it as \"samotop ban list\" does"}
	} else if err != nil {
		return err
	}
	return nil
}

// networkArg reads a network, or an address.
func networkArg(s string) (netip.Prefix, error) {
	s = strings.Trim(strings.TrimSpace(s), "[]")
	p, err := netip.ParsePrefix(s)
	if ip, aerr := netip.ParseAddr(s); aerr == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		p, err = ip.Prefix(ip.BitLen())
	}
	if err != nil || p.Addr().Is4In6() {
		return p, &management.Error{Kind: management.WrongUse, Thing: s, Cause: "is neither an address nor a network",
			Remedy: "write it as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/64"}
	}
	return p.Masked(), nil
}
