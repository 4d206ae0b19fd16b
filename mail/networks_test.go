package mail_test

import (
	"net/netip"
	"testing"

	"github.com/samotop/samotop/mail"
)

func TestNetworks(t *testing.T) {
	for _, c := range []struct {
		n        mail.Networks
		ip, want string
	}{
		{ip: "192.0.2.77", want: "192.0.2.0/24"},
		{ip: "::ffff:192.0.2.77", want: "192.0.2.0/24"},
		{ip: "2001:db8:1:2:3::4%eth0", want: "2001:db8:1::/48"},
		{mail.Networks{IPv4Bits: 28, IPv6Bits: 64}, "192.0.2.77", "192.0.2.64/28"},
		{mail.Networks{IPv4Bits: 28, IPv6Bits: 56}, "2001:db8:1:2ff::4", "2001:db8:1:200::/56"},
		{mail.Networks{IPv4Bits: 1, IPv6Bits: 1}, "192.0.2.77", "192.0.0.0/16"},
		{mail.Networks{IPv4Bits: 99, IPv6Bits: 99}, "192.0.2.77", "192.0.2.77/32"},
		{mail.Networks{IPv4Bits: 99, IPv6Bits: 99}, "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
	} {
		if got := c.n.Of(netip.MustParseAddr(c.ip)).String(); got != c.want {
			t.Errorf("%+v %s: %s, want %s", c.n, c.ip, got, c.want)
		}
	}
	if p := (mail.Networks{}).Of(netip.Addr{}); p.IsValid() {
		t.Error(p)
	}
}
