package mail_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

func TestReceived(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 5, 0, 0, time.FixedZone("", 3600))
	to := mail.Address{Local: "alice", Domain: "example.test"}
	v4 := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 99}
	v6 := &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 99}
	for _, c := range []struct {
		s    mail.Session
		to   *mail.Address
		want string
	}{
		{mail.Session{Hello: "client.test", Extended: true, RemoteAddr: v4, RemoteName: "rev.test"}, &to,
			"from client.test (rev.test [192.0.2.1])\r\n\tby mx.test with ESMTP id ID\r\n\tfor <alice@example.test>;\r\n\tSun, 22 Nov 2026 09:05:00 +0100"},
		{mail.Session{Hello: "evil) by x; (\r\n", RemoteAddr: v6}, nil,
			"from evil__by_x_____ ([IPv6:2001:db8::1])\r\n\tby mx.test with SMTP id ID;\r\n\tSun, 22 Nov 2026 09:05:00 +0100"},
		{mail.Session{LMTP: true, Extended: true, TLS: &tls.ConnectionState{CipherSuite: tls.TLS_AES_128_GCM_SHA256}, RemoteAddr: &net.UnixAddr{Name: "@", Net: "unix"}}, nil,
			"from unknown (local)\r\n\tby mx.test with LMTPS tls TLS_AES_128_GCM_SHA256 id ID;\r\n\tSun, 22 Nov 2026 09:05:00 +0100"},
	} {
		if got := mail.Received(&c.s, "mx.test", "ID", c.to, false, now); got.Value != c.want {
			t.Errorf("got  %q\nwant %q", got.Value, c.want)
		}
	}
}
