package smtp_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

// settling gives transactions that have said their last word as long as every recipient's name begins with "s"; those that begin
// with "sf" go to a folder.
type settling struct{ *mailtest.Recorder }

func (d settling) Open(context.Context, *mail.Session) (mail.Receiver, error) { return d, nil }

func (d settling) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	tx, err := d.Recorder.Begin(ctx, s, from)
	return &settlingTx{Transaction: tx, settled: true}, err
}

type settlingTx struct {
	mail.Transaction
	settled bool
}

func (tx *settlingTx) Settled() bool { return tx.settled }

func (tx *settlingTx) Recipient(ctx context.Context, r *mail.Recipient) error {
	if strings.HasPrefix(r.Address.Local, "refused") {
		return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "no such user")
	}
	if strings.HasPrefix(r.Address.Local, "sf") {
		r.Targets = []mail.Target{{Address: r.Address, Folder: "In here", Note: "no; score=1.0"}}
	}
	tx.settled = tx.settled && strings.HasPrefix(r.Address.Local, "s")
	return tx.Transaction.Recipient(ctx, r)
}

// TestSettled: what XSETTLED says, to whom, and when.
func TestSettled(t *testing.T) {
	hello := strings.TrimSuffix(strings.TrimRight(trustedHello, "\n\t "), "C: MAIL FROM:<>")
	rec := &mailtest.Recorder{}
	smtptest.Script(t, &smtp.Server{LMTP: true, Door: settling{rec}, Hostname: "mx.test", Trusted: trustAll, MaxErrors: 1000,
		Extensions: smtp.ExtPipelining | smtp.ExtChunking}, hello+`
			C: MAIL FROM:<> XSETTLED=1
			S: 501 *
			c: MAIL FROM:<> XSETTLED\r\nRCPT TO:<s@d.test>\r\nRCPT TO:<refused@d.test>\r\nRCPT TO:<sf@d.test>\r\nBDAT 0 LAST\r\n
			S: 250 OK
			S: 250 XSETTLED OK
			S: 550 *
			S: 251 XSETTLED <sf@d.test>;folder=In+20here;note=no+3B+20score+3D1.0
			S: 250 OK
			S: 250 OK
			c: MAIL FROM:<>\r\nRCPT TO:<s@d.test>\r\nRSET\r\nMAIL FROM:<> XSETTLED\r\nRCPT TO:<s@d.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 0 LAST\r\n
			S: 250 OK
			S: 250 OK
			S: 250 OK
			S: 250 OK
			S: 250 XSETTLED OK
			S: 250 OK
			S: 250 OK
			S: 250 OK`)
	if n := len(rec.Messages()); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// A Link tells what is settled without waiting for the answer, which is read before the next; the connection serves on.
func TestSettledLink(t *testing.T) {
	facts, conns := "", 0
	rec := &mailtest.Recorder{}
	inner := settling{rec}
	door := mail.DoorFunc(func(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
		if s.Stage == mail.StageHello {
			conns++
		}
		return mail.ReceiverFunc(func(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
			tx, err := inner.Begin(ctx, s, from)
			return &watched{tx.(*settlingTx), s, &facts}, err
		}), nil
	})
	for name, link := range map[string]mail.Door{"pipe": smtptest.OverPipe(t, door), "unix": smtptest.OverUnix(t, door)} {
		t.Run(name, func(t *testing.T) {
			facts, conns = "", 0
			before := len(rec.Messages())
			for i := range 20 {
				to := []string{"s1@d.test", "sf@d.test", "refused@d.test"}
				if i%5 == 4 {
					to = append(to, "c@d.test")
				}
				settled := sendSettled(t, link, i, to)
				if settled != (i%5 != 4) {
					t.Fatalf("message %d: settled is %v", i, settled)
				}
			}
			sendSettled(t, link, 20, []string{"c@d.test"}) // what was told before it has arrived
			if n := len(rec.Messages()) - before; n != 21 {
				t.Fatalf("%d messages have arrived", n)
			}
			sendSettled(t, link, 21, []string{"s1@d.test"}) // this one with company that does not come
			for end := time.Now().Add(20 * time.Second); len(rec.Messages())-before < 22 && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			got := rec.Messages()[before:]
			if len(got) != 22 {
				t.Fatalf("%d messages have arrived", len(got))
			}
			sendSettled(t, link, 22, []string{"c@d.test"}) // the connection serves on
			for i, m := range got[:20] {
				content, to := "", 2
				if i%5 == 4 {
					content, to = fmt.Sprintf("message %d\r\n", i), 3
				}
				if string(m.Content) != content || len(m.To) != to {
					t.Errorf("message %d: %q to %d", i, m.Content, len(m.To))
				}
			}
			if facts != strings.Repeat("pass ", 23) {
				t.Errorf("known at the end: %q", facts)
			}
			if conns != 1 {
				t.Errorf("%d connections", conns)
			}
		})
	}
}

type watched struct {
	*settlingTx
	s     *mail.Session
	facts *string
}

func (w *watched) Commit(ctx context.Context) ([]mail.Reply, error) {
	*w.facts += w.s.Fact("dkim") + " "
	return w.settlingTx.Commit(ctx)
}

func sendSettled(t *testing.T, link mail.Door, i int, to []string) (settled bool) {
	t.Helper()
	ctx, s := t.Context(), &mail.Session{ID: "x"}
	r, err := link.Open(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(ctx, s, mail.Sender{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	accepted := 0
	for _, a := range to {
		rcpt := &mail.Recipient{Address: addr(a)}
		if err := tx.Recipient(ctx, rcpt); err != nil {
			if !strings.HasPrefix(a, "refused") {
				t.Fatal(err)
			}
			continue
		}
		accepted++
		if strings.HasPrefix(a, "sf") && (len(rcpt.Targets) != 1 || rcpt.Targets[0].Folder != "In here" || rcpt.Targets[0].Note != "no; score=1.0") {
			t.Errorf("targets of %s: %+v", a, rcpt.Targets)
		}
	}
	s.SetFact("dkim", "pass")
	settler, ok := tx.(mail.Settler)
	if settled = ok && settler.Settled(); !settled {
		if _, err := fmt.Fprintf(tx, "message %d\r\n", i); err != nil {
			t.Fatal(err)
		}
	}
	replies, err := tx.Commit(ctx)
	if err != nil || len(replies) != accepted || !mail.Agree(replies).Positive() {
		t.Fatalf("message %d: %v %v", i, replies, err)
	}
	return settled
}
