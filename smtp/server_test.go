package smtp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

const allExtensions = smtp.DefaultExtensions | smtp.ExtBinaryMIME | smtp.ExtDSN | smtp.ExtRequireTLS | smtp.ExtPriority |
	smtp.ExtDeliverBy | smtp.ExtFutureRelease | smtp.ExtRRVS | smtp.ExtNoSoliciting

func trustAll(net.Addr) bool { return true }

const hello = `
S: 220 mx.test ESMTP ready
C: EHLO a.test
S: 250-mx.test
S: 250-PIPELINING
S: 250-SIZE 52428800
S: 250-8BITMIME
S: 250-SMTPUTF8
S: 250-ENHANCEDSTATUSCODES
S: 250-CHUNKING
S: 250 LIMITS MAILMAX=1000 RCPTMAX=1000
`

const begun = `
S: 220 *
c: EHLO a.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n
S: 250-mx.test
S: 250-PIPELINING
S: 250-SIZE *
S: 250-8BITMIME
S: 250-SMTPUTF8
S: 250-ENHANCEDSTATUSCODES
S: 250-CHUNKING
S: 250 LIMITS *
S: 250 2.1.0 OK
S: 250 2.1.5 OK
`

// TestDialogues plays what is said for each rule of the session. The Recorder refuses "unknown" and keeps the rest;
// want is the content of the messages it has afterwards.
func TestDialogues(t *testing.T) {
	for _, c := range []struct {
		name   string
		srv    *smtp.Server
		script string
		want   []string
	}{
		{"one message", &smtp.Server{}, hello + `
			C: MAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME
			S: 250 2.1.0 OK
			C: RCPT TO:<unknown@d.test>
			S: 550 5.1.1 *
			C: RCPT TO:<c@d.test>
			S: 250 2.1.5 OK
			C: DATA
			S: 354 *
			c: Subject: x\r\n\r\n..dot\r\n...\r\n.\r\n
			S: 250 2.0.0 *
			C: QUIT
			S: 221 2.0.0 mx.test closing connection
			S: EOF`, []string{"Subject: x\r\n\r\n.dot\r\n..\r\n"}},
		{"pipelined", &smtp.Server{}, begun + `
			c: DATA\r\n
			S: 354 *
			c: x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n
			S: 250 *
			S: 250 2.1.0 OK
			S: 250 2.1.5 OK
			S: 354 *
			c: y\r\n.\r\nQUIT\r\n
			S: 250 *
			S: 221 *
			S: EOF`, []string{"x\r\n", "y\r\n"}},
		{"bare LF in a command", &smtp.Server{}, `
			S: 220 *
			c: EHLO a.test\nNOOP\r\n
			S: 500 5.5.2 *
			S: 250 2.0.0 OK`, nil},
		{"chunks", &smtp.Server{}, begun + `
			c: BDAT 3\r\nx\r\nBDAT 2\r\n.\rBDAT 1\r\n\nBDAT 0 LAST\r\n
			S: 250 2.0.0 3 octets received
			S: 250 2.0.0 2 octets received
			S: 250 2.0.0 1 octets received
			S: 250 2.0.0 *`, []string{"x\r\n.\r\n"}},
		{"bare LF in a chunk", &smtp.Server{}, begun + `
			c: BDAT 4\r\nx\n\r\nBDAT 3 LAST\r\ny\r\nNOOP\r\n
			S: 554 5.6.0 *
			S: 503 5.5.1 MAIL first
			S: 250 2.0.0 OK`, nil},
		{"binary", &smtp.Server{Extensions: allExtensions}, `
			S: 220 *
			c: EHLO a.test\r\nMAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<c@d.test>\r\n
			S: 250-mx.test
			S: 250-PIPELINING
			S: 250-SIZE *
			S: 250-8BITMIME
			S: 250-SMTPUTF8
			S: 250-ENHANCEDSTATUSCODES
			S: 250-CHUNKING
			S: 250-BINARYMIME
			S: 250-DSN
			S: 250-LIMITS *
			S: 250-MT-PRIORITY
			S: 250-DELIVERBY
			S: 250-FUTURERELEASE 1209600 *
			S: 250-RRVS
			S: 250 NO-SOLICITING
			S: 250 2.1.0 OK
			S: 250 2.1.5 OK
			C: DATA
			S: 503 5.5.1 Binary content needs BDAT
			c: BDAT 4 LAST\r\n\r\n\n\0
			S: 250 2.0.0 *`, []string{"\r\n\n\x00"}},
		{"refused chunk is no command", &smtp.Server{}, hello + `
			c: BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n
			S: 503 5.5.1 MAIL first
			S: 250 2.0.0 OK
			c: BDAT x\r\nQUIT\r\n
			S: 501 5.5.4 *
			S: EOF`, nil},
		{"order", &smtp.Server{}, `
			S: 220 *
			C: MAIL FROM:<a@b.test>
			S: 503 5.5.1 Say hello first
			C: LHLO a.test
			S: 500 5.5.2 *
			C: HELO a.test
			S: 250 mx.test
			C: RCPT TO:<c@d.test>
			S: 503 MAIL first
			C: DATA
			S: 503 MAIL first
			C: MAIL FROM:<a@b.test> SIZE=3
			S: 555 *
			C: MAIL FROM:<a@b.test>
			S: 250 OK
			C: DATA
			S: 503 RCPT first
			C: RCPT TO:<unknown@d.test>
			S: 550 *
			C: DATA
			S: 554 No valid recipients
			C: RSET
			S: 250 OK
			C: VRFY x
			S: 252 *
			C: EXPN x
			S: 502 *
			C: HELP
			S: 214 *
			C: FOO
			S: 500 *`, nil},
		{"addresses", &smtp.Server{}, hello + `
			C: MAIL FROM:a@b.test
			S: 501 5.1.7 *
			C: MAIL FROM:<a@@b.test>
			S: 501 5.1.7 *
			C: MAIL FROM:<postmaster>
			S: 501 5.1.7 *
			C: MAIL FROM:<ü@b.test>
			S: 553 5.6.7 *
			C: MAIL FROM:<ü@b.test> SMTPUTF8
			S: 250 2.1.0 OK
			C: RCPT TO:<>
			S: 501 5.1.3 *
			C: RCPT TO:<postmaster>
			S: 250 2.1.5 OK
			C: RCPT TO:<ö@d.test>
			S: 250 2.1.5 OK
			C: RCPT TO:<x@d.test> NOTIFY=NEVER
			S: 555 5.5.4 *`, nil},
		{"size", &smtp.Server{MaxMessageOctets: 5}, begun + `
			C: MAIL FROM:<a@b.test>
			S: 503 5.5.1 *
			C: DATA
			S: 354 *
			c: 12345\r\n.\r\n
			S: 552 5.3.4 *
			C: MAIL FROM:<a@b.test> SIZE=6
			S: 552 5.3.4 *`, nil},
		{"endless content", &smtp.Server{MaxMessageOctets: 5}, begun + `
			c: BDAT 1000000\r\n` + strings.Repeat("x", 140000) + `
			S: 552 5.3.4 *
			S: EOF`, nil},
		{"recipients", &smtp.Server{MaxRecipients: 1}, begun + `
			C: RCPT TO:<e@d.test>
			S: 452 4.5.3 *`, nil},
		{"errors", &smtp.Server{MaxErrors: 2}, `
			S: 220 *
			C: X
			S: 500 *
			C: X
			S: 500 *
			S: 421 4.7.0 *
			S: EOF`, nil},
		{"commands", &smtp.Server{MaxCommands: 2}, `
			S: 220 *
			C: NOOP
			S: 250 *
			C: NOOP
			S: 250 *
			C: NOOP
			S: 421 4.7.0 *
			S: EOF`, nil},
		{"commands between messages", &smtp.Server{MaxCommands: 2}, begun + `
			c: RSET\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nBDAT 0 LAST\r\nNOOP\r\nNOOP\r\nNOOP\r\n
			S: 250 *
			S: 250 *
			S: 250 *
			S: 250 *
			S: 250 *
			S: 250 *
			S: 421 4.7.0 *
			S: EOF`, []string{""}},
		{"transactions", &smtp.Server{MaxTransactions: 1}, begun + `
			C: RSET
			S: 250 *
			C: MAIL FROM:<a@b.test>
			S: 421 4.7.0 *
			S: EOF`, nil},
		{"long line", &smtp.Server{}, `
			S: 220 *
			C: NOOP ` + strings.Repeat("x", 4096) + `
			S: 500 5.5.2 Line too long
			C: NOOP ` + strings.Repeat("x", 100000) + `
			S: 500 5.5.2 Line too long
			C: NOOP
			S: 250 *`, nil},
		{"long content line", &smtp.Server{}, begun + `
			C: DATA
			S: 354 *
			C: ` + strings.Repeat("x", 200000) + `
			C: .
			S: 250 *`, []string{strings.Repeat("x", 200000) + "\r\n"}},
		{"LMTP", &smtp.Server{LMTP: true}, `
			S: 220 mx.test LMTP ready
			C: EHLO a.test
			S: 500 *
			C: HELO a.test
			S: 500 *
			c: LHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<unknown@d.test>\r\nRCPT TO:<e@d.test>\r\nDATA\r\n
			S: 250-mx.test
			S: 250-PIPELINING
			S: 250-SIZE *
			S: 250-8BITMIME
			S: 250-SMTPUTF8
			S: 250-ENHANCEDSTATUSCODES
			S: 250-CHUNKING
			S: 250 LIMITS *
			S: 250 2.1.0 OK
			S: 250 2.1.5 OK
			S: 550 5.1.1 *
			S: 250 2.1.5 OK
			S: 354 *
			c: x\r\n.\r\n
			S: 250 *
			S: 250 *
			C: MAIL FROM:<>
			S: 250 *
			C: DATA
			S: 503 5.5.1 *`, []string{"x\r\n"}},
		{"submission", &smtp.Server{RequireAuth: true, Auth: plain{}}, `
			S: 220 *
			c: EHLO a.test\r\nMAIL FROM:<>\r\n
			S: 250-mx.test
			S: 250-PIPELINING
			S: 250-SIZE *
			S: 250-8BITMIME
			S: 250-SMTPUTF8
			S: 250-ENHANCEDSTATUSCODES
			S: 250-CHUNKING
			S: 250-LIMITS *
			S: 250 AUTH PLAIN
			S: 530 5.7.0 Authentication required
			C: AUTH
			S: 501 *
			C: AUTH X
			S: 504 5.5.4 *
			C: AUTH PLAIN !
			S: 501 5.5.2 *
			C: AUTH PLAIN ` + strings.Repeat("AAAA", 3000) + `
			S: 535 5.7.8 *
			C: AUTH PLAIN ` + strings.Repeat("AAAA", 4000) + `
			S: 500 5.5.2 Line too long
			C: NOOP ` + strings.Repeat("AAAA", 3000) + `
			S: 500 5.5.2 Line too long
			C: AUTH PLAIN
			S: 334 
			C: *
			S: 501 5.7.0 *
			C: AUTH PLAIN AHgAeA==
			S: 535 5.7.8 *
			C: AUTH PLAIN
			S: 334 
			C: AGEAcHc=
			S: 235 2.7.0 *
			C: AUTH PLAIN AGEAcHc=
			S: 503 5.5.1 *
			C: MAIL FROM:<> AUTH=a@b.test
			S: 250 *
			C: QUIT
			S: 221 *`, nil},
		{"guessing", &smtp.Server{Auth: plain{}, MaxAuthFailures: 2}, `
			S: 220 *
			c: EHLO a.test\r\nAUTH PLAIN AHgAeA==\r\nAUTH PLAIN AHgAeA==\r\nNOOP\r\n
			S: 250-mx.test
			S: 250-PIPELINING
			S: 250-SIZE *
			S: 250-8BITMIME
			S: 250-SMTPUTF8
			S: 250-ENHANCEDSTATUSCODES
			S: 250-CHUNKING
			S: 250-LIMITS *
			S: 250 AUTH PLAIN
			S: 535 *
			S: 535 *
			S: 421 4.7.0 *
			S: EOF`, nil},
		{"own words", &smtp.Server{
			Extensions: smtp.ExtPipelining, Keywords: []string{"XFOO bar"}, MailParams: []string{"XM"}, RcptParams: []string{"XR"},
			Commands: map[string]smtp.CommandFunc{"XFOO": func(_ context.Context, _ *mail.Session, arg string) mail.Reply {
				return mail.Reply{Code: 250, Text: "foo\n" + arg}
			}},
		}, `
			S: 220 *
			C: EHLO a.test
			S: 250-mx.test
			S: 250-PIPELINING
			S: 250 XFOO bar
			C: xfoo baz
			S: 250-foo
			S: 250 baz
			C: MAIL FROM:<a@b.test> XM=1
			S: 250 OK
			C: RCPT TO:<c@d.test> XR
			S: 250 OK
			C: RCPT TO:<c@d.test> XM
			S: 555 *
			c: BDAT 6\r\nQUIT\r\nNOOP\r\n
			S: 502 *
			S: 250 OK`, nil},
		{"trace in front", &smtp.Server{LMTP: true, Extensions: smtp.ExtPipelining, Trusted: trustAll}, `
			S: 220 *
			C: LHLO a.test
			S: 250-mx.test
			S: 250-PIPELINING
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
			C: MAIL FROM:<> XTRACE=17
			S: 250 OK
			C: RCPT TO:<moved@d.test> XDELIVERY=1 XFOLDER=Junk
			S: 251 <e@d.test>;folder=Junk
			C: DATA
			S: 354 *
			c: A: 1\r\nBb: 2\r\n 3\r\nx\r\n.\r\n
			S: 250 *
			C: MAIL FROM:<> XTRACE=17
			S: 250 OK
			C: RCPT TO:<c@d.test>
			S: 250 OK
			C: DATA
			S: 354 *
			c: A: 1\r\n.\r\n
			S: 554 *`, []string{"A: 1\r\nBb: 2\r\n 3\r\nx\r\n"}},
		{"nobody trusts", &smtp.Server{}, hello + `
			C: XCLIENT ADDR=192.0.2.1
			S: 500 5.5.2 *
			C: MAIL FROM:<> XFACTS=helo:x
			S: 555 5.5.4 *
			c: XTRACE 6\r\nQUIT\r\nNOOP\r\n
			S: 500 5.5.2 *
			S: 250 *`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := recorder()
			c.srv.Door, c.srv.Hostname = rec, "mx.test"
			smtptest.Script(t, c.srv, c.script)
			got := rec.Messages()
			if len(got) != len(c.want) {
				t.Fatalf("%d messages, want %d", len(got), len(c.want))
			}
			for i, m := range got {
				if string(m.Content) != c.want[i] {
					t.Errorf("message %d is %.80q, want %.80q", i, m.Content, c.want[i])
				}
			}
		})
	}
}

func recorder() *mailtest.Recorder {
	return &mailtest.Recorder{OnRecipient: func(r *mail.Recipient) error {
		switch r.Address.Local {
		case "unknown":
			return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user")
		case "moved":
			r.Targets = []mail.Target{{Address: mail.Address{Local: "e", Domain: "d.test"}, Folder: r.Folder}}
		}
		return nil
	}}
}

// plain knows the user "a" with the password "pw".
type plain struct{}

func (plain) Mechanisms(*mail.Session) []string { return []string{"PLAIN"} }

func (plain) Start(_ context.Context, _ *mail.Session, mech string) (mail.Exchange, error) {
	if mech != "PLAIN" {
		return nil, mail.ErrMechanism
	}
	return plain{}, nil
}

func (plain) Next(_ context.Context, response []byte) ([]byte, bool, error) {
	switch string(response) {
	case "":
		return nil, false, nil
	case "\x00a\x00pw":
		return nil, true, nil
	}
	return nil, false, mail.ErrCredentials
}

func (plain) Identity() mail.Identity { return mail.Identity{Account: "a@b.test", Mechanism: "PLAIN"} }

func TestStartTLSDropsWhatWasInjected(t *testing.T) {
	conf := testTLS(t)
	rec := recorder()
	srv := &smtp.Server{Door: rec, Hostname: "mx.test", TLSConfig: conf, RequireTLS: true}
	client, server := smtptest.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeConn(context.Background(), server)
	}()
	err := smtptest.Play(client, 'C', `
		S: 220 *
		C: EHLO a.test
		S: 250-mx.test
		S: 250-PIPELINING
		S: 250-SIZE *
		S: 250-8BITMIME
		S: 250-SMTPUTF8
		S: 250-ENHANCEDSTATUSCODES
		S: 250-CHUNKING
		S: 250-LIMITS *
		S: 250 STARTTLS
		C: MAIL FROM:<a@b.test>
		S: 530 5.7.0 *
		c: STARTTLS\r\nNOOP injected\r\n
		S: 220 2.0.0 Ready to start TLS
		X: tls
		C: MAIL FROM:<a@b.test>
		S: 503 5.5.1 Say hello first
		C: EHLO a.test
		S: 250-mx.test
		S: 250-PIPELINING
		S: 250-SIZE *
		S: 250-8BITMIME
		S: 250-SMTPUTF8
		S: 250-ENHANCEDSTATUSCODES
		S: 250-CHUNKING
		S: 250 LIMITS *
		C: STARTTLS
		S: 503 5.5.1 *
		C: QUIT
		S: 221 *`, conf)
	if err != nil {
		t.Error(err)
	}
	client.Close()
	<-done
}

func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	conf, err := smtptest.TestTLS()
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// TestDoorRefuses: at each stage the Door's reply is what the peer reads.
func TestDoorRefuses(t *testing.T) {
	for _, c := range []struct {
		stage  mail.Stage
		err    error
		script string
	}{
		{mail.StageConnect, mail.NewReply(554, mail.Enhanced{5, 7, 1}, "Not you"), `
			S: 554 5.7.1 Not you
			C: EHLO a.test
			S: 503 5.5.1 *
			C: QUIT
			S: 221 *
			S: EOF`},
		{mail.StageConnect, errors.New("disk"), `
			S: 451 4.3.0 *
			C: QUIT
			S: 221 *`},
		{mail.StageConnect, mail.NewReply(421, mail.Enhanced{4, 3, 2}, "Later"), `
			S: 421 4.3.2 Later
			S: EOF`},
		{mail.StageHello, mail.NewReply(550, mail.Enhanced{5, 7, 1}, "Not you"), `
			S: 220 *
			C: EHLO a.test
			S: 550 5.7.1 Not you
			C: MAIL FROM:<>
			S: 503 5.5.1 *`},
	} {
		srv := &smtp.Server{Hostname: "mx.test", Door: mail.DoorFunc(func(_ context.Context, s *mail.Session) (mail.Receiver, error) {
			if s.Stage == c.stage {
				return nil, c.err
			}
			return nil, nil
		})}
		smtptest.Script(t, srv, c.script)
	}
}

func TestZeroServerRefuses(t *testing.T) {
	smtptest.Script(t, &smtp.Server{}, `
		S: 421 4.3.0 *
		S: EOF`)
}
