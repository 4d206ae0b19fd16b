package smtp

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/samotop/samotop/mail"
)

// attributes reads NAME=xtext pairs, as Postfix's XCLIENT and XFORWARD have them.
func attributes(arg string, f func(name, value string, known bool) bool) *mail.Reply {
	words := strings.Fields(arg)
	if len(words) == 0 || len(words) > maxParams {
		return syntax("Say NAME=value ...")
	}
	for _, w := range words {
		name, enc, ok := strings.Cut(w, "=")
		value, err := mail.DecodeXtext(enc)
		if !ok || err != nil || strings.ContainsAny(value, "\r\n\x00") {
			return syntax("Say NAME=value ... with values in xtext")
		}
		known := value != "[UNAVAILABLE]" && value != "[TEMPUNAVAIL]"
		if !known {
			value = ""
		}
		if !f(strings.ToUpper(name), value, known) {
			return syntax("Attribute " + name + " is not known or its value is bad")
		}
	}
	return nil
}

// xclient makes this the session of the client that a trusted peer names; it begins anew, with the banner.
func (ses *session) xclient(arg string) {
	s := ses.s
	s.Hello, s.Extended, s.Login, s.RemoteName = "", false, mail.Identity{}, ""
	remote, local := addrPort(s.RemoteAddr), addrPort(s.LocalAddr)
	hello, esmtp := "", true
	r := attributes(arg, func(name, value string, known bool) bool {
		ok := true
		switch name {
		case "NAME":
			s.RemoteName = value
		case "ADDR":
			remote, ok = withAddr(remote, value, known)
		case "PORT":
			remote, ok = withPort(remote, value, known)
		case "DESTADDR":
			local, ok = withAddr(local, value, known)
		case "DESTPORT":
			local, ok = withPort(local, value, known)
		case "HELO":
			hello = value
		case "PROTO":
			esmtp = strings.EqualFold(value, "ESMTP") || !known
		case "LOGIN":
			s.Login.Account = value
		default:
			ok = false
		}
		return ok
	})
	if r != nil {
		ses.refuse(r)
		return
	}
	if remote.IsValid() {
		s.RemoteAddr = net.TCPAddrFromAddrPort(remote)
	}
	if local.IsValid() {
		s.LocalAddr = net.TCPAddrFromAddrPort(local)
	}
	s.Trusted = ses.srv.Trusted(s.RemoteAddr) && remote == addrPort(ses.s.RemoteAddr)
	s.Facts = nil
	ses.abort()
	ses.s = s
	ses.st.introduced()
	ses.barred, ses.forward = nil, nil
	ses.st.rules.trusted = s.Trusted
	ses.s.Hello, ses.s.Extended = hello, hello != "" && esmtp
	ses.greet()
	ses.st.authed = s.Login.Account != ""
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}

func withAddr(ap netip.AddrPort, value string, known bool) (netip.AddrPort, bool) {
	if !known {
		return ap, true
	}
	if len(value) > 5 && strings.EqualFold(value[:5], "IPV6:") {
		value = value[5:]
	}
	ip, err := netip.ParseAddr(value)
	return netip.AddrPortFrom(ip, ap.Port()), err == nil
}

func withPort(ap netip.AddrPort, value string, known bool) (netip.AddrPort, bool) {
	if !known {
		return ap, true
	}
	n, err := strconv.ParseUint(value, 10, 16)
	return netip.AddrPortFrom(ap.Addr(), uint16(n)), err == nil
}

// xforward notes what a trusted peer says of its own client, as facts of the next transaction.
func (ses *session) xforward(arg string) {
	var facts []mail.Fact
	r := attributes(arg, func(name, value string, known bool) bool {
		switch name {
		case "NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE":
			if known {
				facts = append(facts, mail.Fact{Name: "xforward." + strings.ToLower(name), Value: value})
			}
			return true
		}
		return false
	})
	if r != nil {
		ses.refuse(r)
		return
	}
	if len(ses.forward)+len(facts) > maxParams {
		ses.refuse(syntax("Too many attributes"))
		return
	}
	ses.forward = append(ses.forward, facts...)
	ses.reply(&replyOK)
}
