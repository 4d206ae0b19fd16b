package smtp

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// XFACTS carries what is known about a session from one of our rooms to another, as a parameter of MAIL:
//
//	XFACTS=name:value[;name:value...]
//
// Each value is xtext (RFC 3461 section 4) in which ";" and ":" are encoded too. Names are id, addr, local, name,
// helo, proto, tls, login, mech, start, and f.NAME for each Fact. A name that is not known is passed over.

// maxFacts is how many facts XFACTS may bring.
const maxFacts = 200

// usualFactsOctets is what most sessions need.
const usualFactsOctets = 400

var errFacts = errors.New("XFACTS must be name:value;... with values in xtext")

func encodeFacts(s *mail.Session) string {
	b := make([]byte, 0, usualFactsOctets)
	put := func(name, value string) {
		if value == "" {
			return
		}
		if len(b) > 0 {
			b = append(b, ';')
		}
		b = append(append(b, name...), ':')
		b = appendFactText(b, value)
	}
	put("id", s.ID)
	put("addr", addrString(s.RemoteAddr))
	put("local", addrString(s.LocalAddr))
	put("name", s.RemoteName)
	put("helo", s.Hello)
	switch {
	case s.LMTP:
		put("proto", "LMTP")
	case s.Extended:
		put("proto", "ESMTP")
	case s.Hello != "":
		put("proto", "SMTP")
	}
	if s.TLS != nil {
		put("tls", strconv.FormatUint(uint64(s.TLS.Version), 16)+","+strconv.FormatUint(uint64(s.TLS.CipherSuite), 16)+","+s.TLS.ServerName)
	}
	put("login", s.Login.Account)
	put("mech", s.Login.Mechanism)
	if !s.Start.IsZero() {
		put("start", s.Start.UTC().Format(time.RFC3339Nano))
	}
	for _, f := range s.Facts[:min(len(s.Facts), maxFacts)] {
		if f.Value != "" {
			name := appendFactText(make([]byte, 0, 64), f.Name)
			put("f."+string(name), f.Value)
		}
	}
	return string(b)
}

// appendFactText writes xtext (RFC 3461 section 4) in which the octets that part facts from each other are encoded too.
func appendFactText(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < '!', c > '~', c == '+', c == '=', c == ';', c == ':':
			dst = append(dst, '+', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func addrString(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.String()
	}
	return ""
}

// applyFacts sets the fields of s to what v says.
func applyFacts(s *mail.Session, v string) error {
	for n, item := range strings.Split(v, ";") {
		name, enc, ok := strings.Cut(item, ":")
		value, err := mail.DecodeXtext(enc)
		if !ok || err != nil || n >= maxFacts+16 {
			return errFacts
		}
		if err := applyFact(s, name, value); err != nil {
			return err
		}
	}
	return nil
}

func applyFact(s *mail.Session, name, value string) error {
	switch name {
	case "id":
		s.ID = value
	case "addr", "local":
		ap, err := netip.ParseAddrPort(value)
		if err != nil {
			return errFacts
		}
		if name == "addr" {
			s.RemoteAddr = net.TCPAddrFromAddrPort(ap)
		} else {
			s.LocalAddr = net.TCPAddrFromAddrPort(ap)
		}
	case "name":
		s.RemoteName = value
	case "helo":
		s.Hello = value
	case "proto":
		s.LMTP, s.Extended = value == "LMTP", value != "SMTP"
	case "tls":
		return applyTLS(s, value)
	case "login":
		s.Login.Account = value
	case "mech":
		s.Login.Mechanism = value
	case "start":
		t, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return errFacts
		}
		s.Start = t
	default:
		if fact, ok := strings.CutPrefix(name, "f."); ok {
			fact, err := mail.DecodeXtext(fact)
			if err != nil {
				return errFacts
			}
			s.SetFact(fact, value)
		}
	}
	return nil
}

func applyTLS(s *mail.Session, v string) error {
	part := strings.SplitN(v, ",", 3)
	if len(part) != 3 {
		return errFacts
	}
	version, err1 := strconv.ParseUint(part[0], 16, 16)
	suite, err2 := strconv.ParseUint(part[1], 16, 16)
	if err1 != nil || err2 != nil {
		return errFacts
	}
	s.TLS = &tls.ConnectionState{
		Version: uint16(version), CipherSuite: uint16(suite), ServerName: part[2], HandshakeComplete: true,
	}
	return nil
}
