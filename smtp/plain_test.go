package smtp_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

// linkWithout serves a door by LMTP with fewer extensions than our rooms have, as others' servers do, which a house cannot tell from
// its own rooms before they speak.
func linkWithout(t *testing.T, door mail.Door, missing smtp.Extension) *smtp.Link {
	srv := &smtp.Server{Door: door, LMTP: true, Hostname: "other.test", Extensions: smtp.DefaultExtensions &^ missing}
	ctx, cancel := context.WithCancel(t.Context())
	link := &smtp.Link{Dialer: smtp.Dialer{LMTP: true, Trusted: true, Hello: "link.test"}, Connect: func(context.Context) (net.Conn, error) {
		c, s := smtptest.Pipe()
		go srv.ServeConn(ctx, s)
		return c, nil
	}}
	t.Cleanup(func() { _ = link.Close(); _ = srv.Shutdown(ctx); cancel() })
	return link
}

// TestNeedlessUTF8: what came with SMTPUTF8 goes to a server without it if nothing in it needs that, and is refused otherwise,
// wherever the octets are that need it.
func TestNeedlessUTF8(t *testing.T) {
	long := strings.Repeat("text that fills a line\r\n", 8000)
	part := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + long + "--b\r\nContent-Disposition: attachment; filename=%\r\n\r\nx\r\n--b--\r\n"
	for _, c := range []struct {
		name, from, to, content string
		want                    string // "" is taken
		rcpt                    bool   // refused at RCPT, or at MAIL
		got                     string // the envelope as it arrives
	}{
		{"plain", "a@b.test", "c@d.test", "Subject: x\r\n\r\nhello\r\n", "", false, "a@b.test c@d.test"},
		{"body", "a@b.test", "c@d.test", "Subject: x\r\n\r\nhéllo\r\n", "", false, "a@b.test c@d.test"},
		{"no header", "a@b.test", "c@d.test", "\r\nhéllo\r\n", "", false, "a@b.test c@d.test"},
		{"header", "a@b.test", "c@d.test", "X: y\r\nSubject: é\r\n\r\nhello\r\n", "550 5.6.7", false, ""},
		{"no end of header", "a@b.test", "c@d.test", "X: y\r\né", "550 5.6.7", false, ""},
		{"long", "a@b.test", "c@d.test", "Subject: x\r\n\r\n" + long + "é\r\n", "", false, "a@b.test c@d.test"},
		{"long header", "a@b.test", "c@d.test", "X: " + strings.Repeat("y\r\n ", 60000) + "é\r\n\r\nhello\r\n", "550 5.6.7", false, ""},
		{"part", "a@b.test", "c@d.test", strings.Replace(part, "%", "x", 1), "", false, "a@b.test c@d.test"},
		{"header of a part", "a@b.test", "c@d.test", strings.Replace(part, "%", "é", 1), "550 5.6.7", false, ""},
		{"domains", "a@bücher.test", "c@bücher.test", "Subject: x\r\n\r\nhello\r\n", "", false, "a@xn--bcher-kva.test c@xn--bcher-kva.test"},
		{"sender", "ä@b.test", "c@d.test", "Subject: x\r\n\r\nhello\r\n", "553 5.6.7", true, ""},
		{"recipient", "a@b.test", "ç@d.test", "Subject: x\r\n\r\nhello\r\n", "553 5.6.7", true, ""},
	} {
		for name, missing := range map[string]smtp.Extension{"BDAT": smtp.ExtSMTPUTF8, "DATA": smtp.ExtSMTPUTF8 | smtp.ExtChunking} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				rec := &mailtest.Recorder{}
				link := linkWithout(t, rec, missing)
				for n := range 2 { // a refusal must leave the link fit for more
					rcpt, err := sendUTF8(t.Context(), link, c.from, c.to, c.content)
					got := ""
					if err != nil {
						got = mail.AsReply(err).String()
					}
					if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") || rcpt != c.rcpt {
						t.Fatalf("%q at RCPT %v, want %q", got, rcpt, c.want)
					}
					m := rec.Messages()
					if c.want != "" {
						if len(m) != 0 {
							t.Fatalf("taken in spite of it: %+v", m)
						}
						continue
					}
					if len(m) != n+1 {
						t.Fatalf("%d messages", len(m))
					}
					if got := m[n].From.Address.String() + " " + m[n].To[0].Address.String(); got != c.got || m[n].From.UTF8 {
						t.Errorf("envelope %q, UTF8 %v", got, m[n].From.UTF8)
					}
					if !bytes.HasSuffix(m[n].Content, []byte(c.content)) || !bytes.Contains(m[n].Content, []byte("for <??>")) {
						t.Errorf("content of %d octets, sent %d: %.100q", len(m[n].Content), len(c.content), m[n].Content)
					}
				}
			})
		}
	}
}

// sendUTF8 sends a message for which SMTPUTF8 was asked, and says whether it was refused before its content.
func sendUTF8(ctx context.Context, door mail.Door, from, to, content string) (rcpt bool, err error) {
	s := &mail.Session{}
	r, err := door.Open(ctx, s)
	if err != nil {
		return true, err
	}
	tx, err := r.Begin(ctx, s, mail.Sender{Address: addr(from), UTF8: true, Body: mail.Body8Bit})
	if err != nil {
		return true, err
	}
	defer tx.Abort() //nolint:errcheck // committed or given up
	if err := tx.Recipient(ctx, &mail.Recipient{Address: addr(to)}); err != nil {
		return true, err
	}
	tx.Trace(mail.Field{Name: "Received", Value: "by x for <éé>"})
	for p := []byte(content); len(p) > 0; {
		n := min(len(p), 1<<10+7)
		if _, err := tx.Write(p[:n]); err != nil {
			return false, err
		}
		p = p[n:]
	}
	replies, err := tx.Commit(ctx)
	if err == nil && !replies[0].Positive() {
		err = &replies[0]
	}
	return false, err
}
