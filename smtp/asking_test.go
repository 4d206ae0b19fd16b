package smtp_test

import (
	"context"
	"net"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

// asking is a link that asks servers which play scripts, one for each connection.
func asking(t *testing.T, scripts ...string) *smtp.Link {
	n := 0
	link := &smtp.Link{AskOnly: true, Dialer: smtp.Dialer{LMTP: true, Trusted: true, Hello: "me.test"}, Connect: func(context.Context) (net.Conn, error) {
		if n == len(scripts) {
			return nil, net.ErrClosed
		}
		n++
		return smtptest.Serve(t, scripts[n-1]), nil
	}}
	t.Cleanup(func() { link.Close() })
	return link
}

// asked is what a server says about recipients, and to the end of a message that is not shown to it.
func asked(t *testing.T, link *smtp.Link, s *mail.Session, from mail.Sender, to ...string) (answers []string) {
	t.Helper()
	r, err := link.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(t.Context(), s, from)
	if err != nil {
		return []string{mail.AsReply(err).String()}
	}
	defer tx.Abort() //nolint:errcheck // committed or given up
	for _, x := range to {
		err := tx.Recipient(t.Context(), &mail.Recipient{Address: addr(x), DeliveryID: "1", Notify: mail.NotifySuccess})
		if err == nil {
			answers = append(answers, "taken")
			continue
		}
		answers = append(answers, mail.AsReply(err).String())
	}
	tx.Trace(mail.Field{Name: "X", Value: "y"})
	if _, err := tx.Write([]byte("Subject: secret\r\n\r\nsecret\r\n")); err != nil {
		t.Fatal(err)
	}
	replies, err := tx.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range replies {
		answers = append(answers, "end "+r.String())
	}
	return answers
}

// TestAskOnly: a foreign server hears the envelope, for whom it is by XCLIENT, and never the content.
func TestAskOnly(t *testing.T) {
	const hello = "S: 220 far\nC: LHLO me.test\nS: 250-far\nS: 250-PIPELINING\nS: 250-XCLIENT ADDR PORT HELO TTL\nS: 250 DSN\n"
	link := asking(t, hello+`
		C: XCLIENT ADDR=192.0.2.1 PORT=4444 HELO=mail.x.test
		S: 220 far
		C: LHLO me.test
		S: 250-far
		S: 250-PIPELINING
		S: 250 XCLIENT ADDR PORT HELO TTL
		C: MAIL FROM:<a@b.test>
		S: 250 2.1.0 ok
		C: RCPT TO:<c@d.test>
		S: 250 2.1.5 ok
		C: RCPT TO:<e@d.test>
		S: 550 5.1.1 nobody
		C: RSET
		C: MAIL FROM:<a@b.test>
		S: 250 2.0.0 ok
		S: 250 2.1.0 ok
		C: RCPT TO:<c@d.test>
		S: 450 4.7.1 not now
		C: XCLIENT ADDR=IPV6:2001:db8::1 PORT=25 HELO=[UNAVAILABLE]
		S: 220 far
		C: LHLO me.test
		S: 250-far
		S: 250 XCLIENT ADDR PORT HELO TTL
		C: MAIL FROM:<a@b.test>
		S: 550 5.7.1 not from there
	`)
	s := &mail.Session{RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4444}, Hello: "mail.x.test"}
	from := mail.Sender{Address: addr("a@b.test"), Body: mail.BodyBinary, RequireTLS: true, EnvelopeID: "e"} // which the content needs, not the question
	is := func(got []string, want ...string) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%q, want %q", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q, want %q", got[i], want[i])
			}
		}
	}
	is(asked(t, link, s, from, "c@d.test", "e@d.test"), "taken", "550 5.1.1 nobody", "end 250 2.0.0 OK")
	is(asked(t, link, s, from, "c@d.test"), "450 4.7.1 not now")
	other := &mail.Session{RemoteAddr: &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 25}}
	is(asked(t, link, other, from, "c@d.test"), "550 5.7.1 not from there")
}

// TestAskAgain: a connection that lay idle and is gone is replaced; a server without XCLIENT is asked without.
func TestAskAgain(t *testing.T) {
	const hello = "S: 220 far\nC: LHLO me.test\nS: 250 far\n"
	one := "C: MAIL FROM:<a@b.test>\nS: 250 ok\nC: RCPT TO:<c@d.test>\nS: 250 ok\n"
	link := asking(t, hello+one+"C: RSET\nC: MAIL FROM:<a@b.test>\nS: 421 4.4.2 too long\n", hello+one)
	s := &mail.Session{RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4444}}
	for range 2 {
		if got := asked(t, link, s, mail.Sender{Address: addr("a@b.test")}, "c@d.test"); len(got) != 2 || got[1] != "end 250 2.0.0 OK" {
			t.Fatal(got)
		}
	}
	// Who cannot be named does not pass for who was named before.
	const named = "S: 220 far\nC: LHLO me.test\nS: 250-far\nS: 250 XCLIENT ADDR\n"
	const first = "C: XCLIENT ADDR=192.0.2.1\nS: 220 far\nC: LHLO me.test\nS: 250-far\nS: 250 XCLIENT ADDR\n"
	link = asking(t, named+first+one, named+one+"C: XCLIENT ADDR=192.0.2.1\nS: 550 5.7.0 no\nC: RSET\n"+"C: MAIL FROM:<a@b.test>\nS: 250 ok\nS: 250 ok\nC: RCPT TO:<c@d.test>\nS: 250 ok\n")
	for _, who := range []*mail.Session{s, {}, s} {
		if got := asked(t, link, who, mail.Sender{Address: addr("a@b.test")}, "c@d.test"); len(got) != 2 || got[0] != "taken" {
			t.Fatal(got)
		}
	}
	if got := asked(t, asking(t), s, mail.Sender{Address: addr("a@b.test")}, "c@d.test"); len(got) != 1 || got[0][:4] != "451 " {
		t.Error(got)
	}
}
