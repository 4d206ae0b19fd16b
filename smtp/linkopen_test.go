package smtp_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

const pipelinedHello = "S: 220 x\nC: LHLO me.test\nS: 250-x\nS: 250-PIPELINING\nS: 250-CHUNKING\nS: 250-XAMEND\nS: 250 XPREPARE\n"

// peers is a link to servers that play scripts, one for each connection.
func peers(t *testing.T, scripts ...string) *smtp.Link {
	n := 0
	link := &smtp.Link{Dialer: smtp.Dialer{LMTP: true, Trusted: true, Hello: "me.test"}, Connect: func(context.Context) (net.Conn, error) {
		if n == len(scripts) {
			return nil, net.ErrClosed
		}
		n++
		return smtptest.Serve(t, pipelinedHello+scripts[n-1]), nil
	}}
	t.Cleanup(func() {
		if n < len(scripts) {
			t.Errorf("%d connections, not %d", n, len(scripts))
		}
	})
	return link
}

// transact sends one message on a link and returns what was refused, or "".
func transact(t *testing.T, link *smtp.Link, content string, amend bool) string {
	t.Helper()
	r, err := link.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(t.Context(), &mail.Session{}, mail.Sender{Address: addr("a@b.test")})
	if err != nil {
		return mail.AsReply(err).String()
	}
	defer tx.Abort() //nolint:errcheck // committed or given up
	if err := tx.Recipient(t.Context(), &mail.Recipient{Address: addr("c@d.test")}); err != nil {
		return mail.AsReply(err).String()
	}
	if _, err := tx.Write([]byte(content)); err != nil {
		return mail.AsReply(err).String()
	}
	if a, ok := tx.(mail.Amender); amend && ok {
		if err := a.Amend(0, "Junk", false); err != nil {
			return mail.AsReply(err).String()
		}
	}
	replies, err := tx.Commit(t.Context())
	if err != nil {
		return mail.AsReply(err).String()
	}
	if !replies[0].Positive() {
		return replies[0].String()
	}
	return ""
}

const (
	// The first transaction tells what the peer can, so MAIL goes alone.
	firstAlone = "C: MAIL FROM:<a@b.test>\nS: 250 OK XAMEND\nC: RCPT TO:<c@d.test>\nS: 250 OK\nc: BDAT 3 LAST\\r\\nx\\r\\n\nS: 250 OK\n"
	// From then on it waits for RCPT.
	together = "c: MAIL FROM:<a@b.test>\\r\\nRCPT TO:<c@d.test>\\r\\n\n"
	content  = "c: BDAT 3 LAST\\r\\nx\\r\\n\nS: 250 OK\n"
)

// TestLinkTogether: MAIL and the first RCPT go in one packet, and what may happen to them.
func TestLinkTogether(t *testing.T) {
	for _, c := range []struct {
		name    string
		scripts []string
		amend   bool
		want    []string // the beginning of what each message is refused with; "" is taken
	}{
		{"taken", []string{firstAlone + together + "S: 250 OK XAMEND\nS: 250 OK\n" + content}, false, []string{"", ""}},
		{"amended", []string{firstAlone + together + "S: 250 OK XAMEND\nS: 250 OK\nc: XAMEND 0 XFOLDER=Junk\\r\\nBDAT 3 LAST\\r\\nx\\r\\n\nS: 250 OK\nS: 250 OK\n"},
			true, []string{"", ""}},
		{"MAIL is refused", []string{firstAlone + together + "S: 452 full\nS: 503 no MAIL\n" + together + "S: 250 OK XAMEND\nS: 250 OK\n" + content}, false,
			[]string{"", "452", ""}},
		{"RCPT is refused", []string{firstAlone + together + "S: 250 OK XAMEND\nS: 550 nobody\nC: RSET\n" + together + "S: 250 OK\nS: 250 OK XAMEND\nS: 250 OK\n" + content},
			false, []string{"", "550", ""}},
		{"the connection was closed", []string{firstAlone + together + "S: EOF", together + "S: 250 OK XAMEND\nS: 250 OK\n" + content}, false, []string{"", ""}},
		{"the server goes", []string{firstAlone + together + "S: 421 bye\nS: EOF", together + "S: 250 OK XAMEND\nS: 250 OK\n" + content}, false, []string{"", ""}},
		{"the server goes for good", []string{firstAlone + together + "S: 421 bye\nS: EOF"}, false, []string{"", "451"}},
		{"cannot any more", []string{firstAlone + together + "S: 250 OK\nS: 250 OK\nC: RSET\n" + together + "S: 250 OK\nS: 250 OK\nS: 250 OK\n" + content}, true,
			[]string{"", "451 4.3.5", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			link := peers(t, c.scripts...)
			for i, want := range c.want {
				if got := transact(t, link, "x\r\n", c.amend && i > 0); (got == "") != (want == "") || !strings.HasPrefix(got, want) {
					t.Errorf("message %d: %q, not %q", i, got, want)
				}
			}
		})
	}
}

// TestLinkBegunOnly: a transaction that never gets a recipient leaves nothing behind.
func TestLinkBegunOnly(t *testing.T) {
	rec := &mailtest.Recorder{}
	link := smtptest.OverPipe(t, rec).(*smtp.Link)
	if got := transact(t, link, "x\r\n", false); got != "" {
		t.Fatal(got)
	}
	r, _ := link.Open(t.Context(), nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			tx, err := r.Begin(t.Context(), &mail.Session{}, mail.Sender{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := tx.Commit(t.Context()); mail.AsReply(err).Code != 554 {
				t.Error(err)
			}
			_ = tx.Abort()
		})
	}
	wg.Wait()
	if got := transact(t, link, "x\r\n", false); got != "" || len(rec.Messages()) != 2 {
		t.Error(got, len(rec.Messages()))
	}
}
