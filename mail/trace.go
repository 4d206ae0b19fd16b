package mail

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Received makes the Received field that a receiving host adds (RFC 5321 section 4.4), with the tls clause of RFC
// 8314 section 4.3. host is our name, id the message's id in our logs; to is named only if it is not nil, which it
// must be for a message to several recipients (RFC 5321 section 7.6).
func Received(s *Session, host, id string, to *Address, utf8 bool, now time.Time) Field {
	var b strings.Builder
	b.Grow(320) // of most
	b.WriteString("from ")
	if s.Hello == "" {
		b.WriteString("unknown")
	} else {
		b.WriteString(clauseText(s.Hello))
	}
	b.WriteString(" (")
	b.WriteString(peerText(s))
	b.WriteString(")\r\n\tby ")
	b.WriteString(clauseText(host))
	b.WriteString(" with ")
	b.WriteString(s.With(utf8))
	if s.TLS != nil {
		b.WriteString(" tls ")
		b.WriteString(tls.CipherSuiteName(s.TLS.CipherSuite))
	}
	b.WriteString(" id ")
	b.WriteString(clauseText(id))
	if to != nil && (utf8 || !to.UTF8()) {
		b.WriteString("\r\n\tfor ")
		b.WriteString(to.Path())
	}
	b.WriteString(";\r\n\t")
	b.WriteString(now.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	return Field{Name: "Received", Value: b.String()}
}

// peerText is the TCP-info of RFC 5321 section 4.4: the reverse name if it is known, and the address as a literal.
func peerText(s *Session) string {
	name := ""
	if s.RemoteName != "" {
		name = clauseText(s.RemoteName) + " "
	}
	ip, ok := IPOf(s.RemoteAddr)
	switch {
	case !ok:
		return name + "local"
	case ip.Is4():
		return name + "[" + ip.String() + "]"
	}
	return name + "[IPv6:" + ip.WithZone("").String() + "]"
}

// clauseText keeps what a peer said of itself from ending a clause, a comment or the field.
func clauseText(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`();\"<>,`, r) {
			return '_'
		}
		return r
	}, s)
}

// IPOf returns the IP address of a network address, IPv4-mapped ones unmapped; false for a Unix socket or pipe.
func IPOf(a net.Addr) (netip.Addr, bool) {
	switch a := a.(type) {
	case *net.TCPAddr:
		ip := a.AddrPort().Addr()
		return ip.Unmap(), ip.IsValid()
	case nil:
		return netip.Addr{}, false
	}
	ap, err := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap(), err == nil
}
