package mail

import (
	"crypto/tls"
	"net"
	"time"
)

// Stage says at which point a Door is asked.
type Stage uint8

const (
	StageConnect Stage = iota // the connection is new, nothing was said
	StageHello                // EHLO, HELO or LHLO was understood
	StageTLS                  // STARTTLS is complete; the peer has to say EHLO again
	StageAuth                 // the peer has authenticated
)

// Session holds the facts about one connection. The server owns it, fills it in and shows it to the Door at each
// Stage; a Door reads it and may add Facts. It must not be kept after the connection has ended, nor be used from
// several goroutines.
type Session struct {
	ID         string   // trace id, the same through all rooms
	Service    string   // name of the listener's service: "mta", "msa", "mailbox"
	LMTP       bool     // the protocol is LMTP (RFC 2033)
	Stage      Stage    // why the Door is asked now
	LocalAddr  net.Addr // where the peer connected to
	RemoteAddr net.Addr // who connected, after PROXY and XCLIENT from trusted peers
	RemoteName string   // reverse name, forward-confirmed; empty if unknown
	Hello      string   // argument of EHLO, HELO or LHLO; empty before
	Extended   bool     // EHLO or LHLO, not HELO
	TLS        *tls.ConnectionState
	Login      Identity  // who has authenticated; zero if nobody
	Trusted    bool      // a peer of ours: may send XCLIENT, XFORWARD, XFACTS, XDELIVERY, XTRACE
	Start      time.Time // when the connection was made
	Facts      []Fact    // what earlier doors found, in order; travels as XFACTS between our rooms
}

// Fact is one finding about a session or message, such as {"spf", "pass"}.
type Fact struct{ Name, Value string }

// Fact returns the last value of the named fact, or "".
func (s *Session) Fact(name string) string {
	for i := len(s.Facts) - 1; i >= 0; i-- {
		if s.Facts[i].Name == name {
			return s.Facts[i].Value
		}
	}
	return ""
}

// SetFact adds a fact, replacing an earlier one of that name.
func (s *Session) SetFact(name, value string) {
	for i := range s.Facts {
		if s.Facts[i].Name == name {
			s.Facts[i].Value = value
			return
		}
	}
	s.Facts = append(s.Facts, Fact{name, value})
}

// With returns the "with" protocol of a Received field (RFC 3848, RFC 6531 section 4.3).
func (s *Session) With(utf8 bool) string {
	p := "SMTP"
	switch {
	case s.LMTP:
		p = "LMTP"
	case s.Extended || utf8:
		p = "ESMTP"
	}
	if utf8 {
		if !s.LMTP {
			p = "SMTP"
		}
		p = "UTF8" + p
	}
	if p == "SMTP" {
		return p
	}
	if s.TLS != nil {
		p += "S"
	}
	if s.Login.Account != "" {
		p += "A"
	}
	return p
}

// Identity is who has authenticated. The zero Identity is nobody.
type Identity struct {
	Account   string // canonical address of the account
	Mechanism string // SASL mechanism, "" if it came from a trusted peer
}
