package smtp_test

import (
	"context"
	"errors"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

const trustedHello = `
	S: 220 *
	C: LHLO a.test
	S: 250-mx.test
	S: 250-PIPELINING
	S: 250-CHUNKING
	S: 250-XCLIENT *
	S: 250-XFORWARD *
	S: 250-XFACTS
	S: 250-XDELIVERY
	S: 250-XFOLDER
	S: 250-XFAILED
	S: 250-XTRACE
	S: 250-XAMEND
	S: 250-XPREPARE
	S: 250-XFOUND
	S: 250 XSETTLED
	C: XFOUND f.dkim:pass
	S: 503 RCPT first
	C: XAMEND 0
	S: 503 RCPT first
	C: XPREPARE
	S: 503 MAIL first
	C: MAIL FROM:<>
`

// TestLastWords: XAMEND and XPREPARE, what they refuse, and what they do.
func TestLastWords(t *testing.T) {
	for _, c := range []struct {
		name              string
		amends, prepares  bool
		script            string
		to                []string // of the one message that is taken
		aborted, prepared int
	}{
		{"amended", true, false, `
			S: 250 OK XAMEND
			C: XAMEND 0
			S: 503 RCPT first
			c: RCPT TO:<c@d.test>\r\nRCPT TO:<e@d.test>\r\nBDAT 3\r\nx\r\n
			S: 250 OK
			S: 250 OK
			S: 250 *
			C: XAMEND 2 XDROP
			S: 501 *
			C: XAMEND x
			S: 501 *
			C: XAMEND 1 XDROP=1
			S: 501 *
			C: XAMEND 1 XDROP XOTHER
			S: 555 *
			C: XAMEND 1 XFOLDER=+0
			S: 501 *
			c: XAMEND 0 XDROP\r\nXAMEND 1 XFOLDER=In+20here\r\nBDAT 0 LAST\r\n
			S: 250 OK
			S: 250 OK
			S: 250 OK
			S: 250 OK`, []string{"e@d.test In here"}, 0, 0},
		{"cannot be amended", false, true, `
			S: 250 OK XPREPARE
			c: RCPT TO:<c@d.test>\r\nXAMEND 0 XDROP\r\nXAMEND 0\r\nBDAT 2 LAST\r\n\r\n
			S: 250 OK
			S: 502 *
			S: 502 *
			S: 502 *`, nil, 1, 0},
		{"prepared", true, true, `
			S: 250 OK XAMEND XPREPARE
			C: XPREPARE
			S: 503 RCPT first
			c: RCPT TO:<c@d.test>\r\nRCPT TO:<e@d.test>\r\nBDAT 3\r\nx\r\nXPREPARE\r\nXPREPARE\r\nXPREPARE x\r\n
			S: 250 OK
			S: 250 OK
			S: 250 *
			S: 250 OK
			S: 250 OK
			S: 503 Not after XPREPARE
			S: 501 *
			c: XAMEND 0\r\nBDAT 6 LAST\r\nQUIT\r\nBDAT 0\r\nXTRACE 6\r\nQUIT\r\nRCPT TO:<x@d.test>\r\nDATA\r\nBDAT 0 LAST\r\n
			S: 503 Not after XPREPARE
			S: 503 Not after XPREPARE
			S: 503 Not after XPREPARE
			S: 503 *
			S: 503 *
			S: 503 *
			S: 250 OK
			S: 250 OK`, []string{"c@d.test ", "e@d.test "}, 0, 1},
		{"prepared and given up", true, true, `
			S: 250 *
			c: RCPT TO:<c@d.test>\r\nBDAT 3\r\nx\r\nXPREPARE\r\nRSET\r\n
			S: 250 OK
			S: 250 *
			S: 250 OK
			S: 250 OK`, nil, 1, 1},
		{"prepared with an open line end", true, true, `
			S: 250 *
			c: RCPT TO:<c@d.test>\r\nBDAT 2\r\nx\rXPREPARE\r\nBDAT 0 LAST\r\n
			S: 250 OK
			S: 250 *
			S: 554 *
			S: 554 *`, nil, 1, 0},
		{"cannot prepare", true, false, `
			S: 250 *
			c: RCPT TO:<c@d.test>\r\nBDAT 3\r\nx\r\nXPREPARE\r\nBDAT 0 LAST\r\n
			S: 250 OK
			S: 250 *
			S: 502 *
			S: 502 *`, nil, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := &mailtest.Recorder{Amends: c.amends, Prepares: c.prepares}
			smtptest.Script(t, &smtp.Server{LMTP: true, Door: rec, Hostname: "mx.test", Trusted: trustAll, MaxErrors: 1000,
				Extensions: smtp.ExtPipelining | smtp.ExtChunking}, trustedHello+c.script)
			var to []string
			for _, m := range rec.Messages() {
				for _, r := range m.To {
					to = append(to, r.Address.String()+" "+r.Folder)
				}
			}
			if len(to) != len(c.to) || len(to) > 0 && to[0] != c.to[0] {
				t.Errorf("taken for %q, want %q", to, c.to)
			}
			if a, p := rec.Counts(); a != c.aborted || p != c.prepared {
				t.Errorf("%d aborted, %d prepared; want %d, %d", a, p, c.aborted, c.prepared)
			}
		})
	}
}

// TestLinkLastWords: folders travel, and a door that refuses an amendment gets no mail by it.
func TestLinkLastWords(t *testing.T) {
	rec := &mailtest.Recorder{Amends: true, Prepares: true}
	begin := func(d mail.Door) mail.Transaction {
		t.Helper()
		r, err := d.Open(t.Context(), &mail.Session{})
		if err != nil {
			t.Fatal(err)
		}
		tx, err := r.Begin(t.Context(), &mail.Session{}, mail.Sender{})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Recipient(t.Context(), &mail.Recipient{Address: mail.Address{Local: "c", Domain: "d.test"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Write([]byte("x\r\n")); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	tx := begin(smtptest.OverPipe(t, rec))
	if err := tx.(mail.Amender).Amend(0, "Junk; ü=1", false); err != nil {
		t.Fatal(err)
	}
	tx.Trace(mail.Field{Name: "Late", Value: "1"})
	if replies, err := tx.(mail.Preparer).Prepare(t.Context()); err != nil || len(replies) != 1 {
		t.Fatal(replies, err)
	}
	if err := tx.(mail.Amender).Amend(0, "", false); err == nil {
		t.Error("amended after it was prepared")
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := rec.Messages(); len(m) != 1 || m[0].To[0].Folder != "Junk; ü=1" || string(m[0].Content) != "Late: 1\r\nx\r\n" {
		t.Errorf("%+v", m)
	}

	tx = begin(smtptest.OverPipe(t, refusing{rec}))
	if err := tx.(mail.Amender).Amend(0, "", true); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); mail.AsReply(err).Code != 451 {
		t.Error("a refused amendment:", err)
	}
	if len(rec.Messages()) != 1 {
		t.Error("the message was taken in spite of it")
	}
}

// refusing gives transactions that refuse every amendment.
type refusing struct{ *mailtest.Recorder }

func (r refusing) Open(ctx context.Context, s *mail.Session) (mail.Receiver, error) { return r, nil }

func (r refusing) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	tx, err := r.Recorder.Begin(ctx, s, from)
	return struct {
		mail.Transaction
		noAmend
	}{tx, noAmend{}}, err
}

type noAmend struct{}

func (noAmend) Amend(int, string, bool) error { return errors.New("the folder is gone") }

// Facts that become known with the content reach who judges it behind a Link, and nothing else of the session does.
func TestLateFacts(t *testing.T) {
	var s *mail.Session
	got := ""
	rec := &mailtest.Recorder{OnCommit: func(to []mail.Recipient) ([]mail.Reply, error) {
		got = s.Fact("spf") + " " + s.Fact("dkim") + " " + s.Fact("dkim_domains") + " " + s.Login.Account
		return []mail.Reply{mail.OK()}, nil
	}}
	door := mail.DoorFunc(func(ctx context.Context, x *mail.Session) (mail.Receiver, error) {
		r, err := rec.Open(ctx, x)
		return mail.ReceiverFunc(func(ctx context.Context, x *mail.Session, from mail.Sender) (mail.Transaction, error) {
			s = x
			return r.Begin(ctx, x, from)
		}), err
	})
	link := smtptest.OverPipe(t, door)
	ctx := t.Context()
	for _, want := range []string{"pass pass a.test b.test ", "pass   "} {
		session := &mail.Session{ID: "x"}
		session.SetFact("spf", "pass")
		r, err := link.Open(ctx, session)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := r.Begin(ctx, session, mail.Sender{})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Recipient(ctx, &mail.Recipient{Address: mail.Address{Local: "c", Domain: "d.test"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Write([]byte("x\r\n")); err != nil {
			t.Fatal(err)
		}
		if want != "pass   " {
			session.SetFact("dkim", "pass")
			session.SetFact("dkim_domains", "a.test b.test")
		}
		session.Login.Account = ""
		if _, err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("known at the end: %q, want %q", got, want)
		}
	}
	smtptest.Script(t, &smtp.Server{LMTP: true, Door: rec, Hostname: "mx.test", Trusted: trustAll, MaxErrors: 1000,
		Extensions: smtp.ExtPipelining | smtp.ExtChunking}, trustedHello+`
			S: 250 *
			C: RCPT TO:<c@d.test>
			S: 250 OK
			C: XFOUND
			S: 501 *
			C: XFOUND login:admin@d.test
			S: 501 *
			C: XFOUND f.a:b;addr:192.0.2.1
			S: 501 *
			C: XFOUND f.a
			S: 501 *
			c: XFOUND f.a:b\r\nBDAT 0 LAST\r\n
			S: 501 *
			S: 501 *`)
}
