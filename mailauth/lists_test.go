package mailauth_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
)

// A List-Id that was added after the signature is nobody's word.
func TestSignedLists(t *testing.T) {
	dns, key := keys(t)
	const list, plain = "List-Id: <l.spf.test>\r\n", "From: a@spf.test\r\nSubject: x\r\n\r\nbody\r\n"
	for _, c := range []struct{ name, msg, domains, lists string }{
		{"signed", signed(t, key, list+plain), "spf.test", "spf.test"},
		{"added", list + signed(t, key, plain), "spf.test", ""},
		{"broken", signed(t, key, list+plain) + "more\r\n", "", ""},
	} {
		end := &sink{}
		checker := &mailauth.Checker{Resolver: dns, ID: "mx.test", Rules: []mailauth.Rule{}, Clock: func() time.Time { return now }}
		door, err := mail.Chain(end, checker.Middleware())
		if err != nil {
			t.Fatal(err)
		}
		s := &mail.Session{Hello: "client.test", RemoteAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.9:1"))}
		deliver(t, door, s, "x@none.test", c.msg)
		if got, lists := s.Fact("dkim_domains"), s.Fact("dkim_lists"); got != c.domains || lists != c.lists {
			t.Errorf("%s: signed by %q, the List-Id by %q; want %q, %q", c.name, got, lists, c.domains, c.lists)
		}
	}
}
