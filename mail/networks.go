package mail

import "net/netip"

// Networks says how much of an IP address makes a network: whose addresses are one peer's, where single addresses are too easily
// changed. The zero value is usable.
type Networks struct {
	IPv4Bits int // 0: DefaultIPv4Bits; from MinIPv4Bits to 32
	IPv6Bits int // 0: DefaultIPv6Bits; from MinIPv6Bits to 64
}

// Defaults and limits of Networks.
const (
	DefaultIPv4Bits, MinIPv4Bits, MaxIPv4Bits = 24, 16, 32 // wider ones have hundreds of owners
	DefaultIPv6Bits, MinIPv6Bits, MaxIPv6Bits = 48, 32, 64 // what one customer is given is a /48, a /56 or a /64 (RFC 6177)
)

// Of returns the network of an address, IPv4-mapped ones unmapped; the zero Prefix of the zero Addr. Values out of range count as the
// closest in it.
func (n Networks) Of(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := within(n.IPv6Bits, DefaultIPv6Bits, MinIPv6Bits, MaxIPv6Bits)
	if ip.Is4() {
		bits = within(n.IPv4Bits, DefaultIPv4Bits, MinIPv4Bits, MaxIPv4Bits)
	}
	p, _ := ip.Prefix(bits) //nolint:errcheck // it fits; of the zero Addr it is zero
	return p
}

func within(v, zero, least, most int) int {
	if v == 0 {
		return zero
	}
	return min(max(v, least), most)
}
