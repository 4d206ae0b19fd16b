package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/delivery"
	"github.com/samotop/samotop/smtp/middleware"
	"github.com/samotop/samotop/smtp/smtptest"
)

var (
	alice = mail.Address{Local: "alice", Domain: "example.test"}
	bob   = mail.Address{Local: "bob", Domain: "example.test"}
)

// TestSuite: a chain of all of them keeps the promises of the Door behind it.
func TestSuite(t *testing.T) {
	for _, prepares := range []bool{false, true} {
		mailtest.Run(t, mailtest.Suite{
			New: func(t *testing.T) (mail.Door, mailtest.Probe) {
				rec := &mailtest.Recorder{Prepares: prepares}
				m, err := middleware.NewMapper(middleware.Rule{Pattern: "(nobody)@(.*)", Replace: "${1}@$2"})
				if err != nil {
					t.Fatal(err)
				}
				fan, err := middleware.NewFanOut(middleware.Target{Door: rec, Prepares: prepares}, middleware.Target{Door: delivery.Null{}, Prepares: true})
				if err != nil {
					t.Fatal(err)
				}
				d, err := mail.Chain(fan, middleware.Log{Log: slog.New(slog.DiscardHandler)}.Wrap, middleware.Prudence{}.Wrap,
					middleware.Size{MaxOctets: 1 << 30}.Wrap, m.Wrap)
				if err != nil {
					t.Fatal(err)
				}
				return d, rec.Probe
			},
			Forms: []mailtest.Form{{Name: "pipe", Wrap: smtptest.OverPipe}},
			Known: []mail.Address{alice, bob},
		})
	}
}

func begin(t *testing.T, d mail.Door) mail.Transaction {
	t.Helper()
	s := &mail.Session{}
	r, err := d.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(t.Context(), s, mail.Sender{})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestMapper(t *testing.T) {
	m, err := middleware.NewMapper(
		middleware.Rule{Pattern: `sales(\+.*)?@example\.test`, Replace: "alice@example.test"},
		middleware.Rule{Pattern: `(?P<name>.*)@old\.test`, Replace: "${name}@example.test"},
		middleware.Rule{Pattern: `(x*)@example\.test`, Replace: "${1}y@example.test"},
		middleware.Rule{Pattern: `(.*)@dots\.test`, Replace: "$1.@example.test"},
	)
	if err == nil || !strings.Contains(err.Error(), "rule 4") {
		t.Errorf("rule that never makes an address: %v", err)
	}
	for _, r := range []middleware.Rule{{Pattern: "(", Replace: "a@b"}, {Pattern: "a", Replace: "b"}, {Pattern: "(a)", Replace: "$2@b.test"}, {Pattern: "(a)", Replace: "${x}@b.test"}} {
		if _, err := middleware.NewMapper(r); err == nil {
			t.Errorf("%v was accepted", r)
		}
	}
	m, err = middleware.NewMapper(
		middleware.Rule{Pattern: `sales(\+.*)?@example\.test`, Replace: "alice@example.test"},
		middleware.Rule{Pattern: `(?P<name>.*)@old\.test`, Replace: "${name}@example.test"},
		middleware.Rule{Pattern: `(.*)@dots\.test`, Replace: "a$1@example.test"},
	)
	if err != nil {
		t.Fatal(err)
	}
	rec := &mailtest.Recorder{}
	d, err := mail.Chain(rec, m.Wrap)
	if err != nil {
		t.Fatal(err)
	}
	tx := begin(t, d)
	for from, want := range map[string]string{"Sales+x@EXAMPLE.test": "alice@example.test", "me@old.test": "me@example.test", "bob@example.test": "bob@example.test"} {
		a, _ := mail.ParseAddress(from)
		r := &mail.Recipient{Address: a}
		if err := tx.Recipient(t.Context(), r); err != nil || r.Address.String() != want {
			t.Errorf("%s became %v, %v", from, r.Address, err)
		}
	}
	long := mail.Address{Local: strings.Repeat("x", 64), Domain: "dots.test"}
	if err := tx.Recipient(t.Context(), &mail.Recipient{Address: long}); mail.AsReply(err) == nil || mail.AsReply(err).Code != 550 {
		t.Errorf("result that is no address: %v", err)
	}
}

func TestSizeAndPrepend(t *testing.T) {
	rec := &mailtest.Recorder{Prepares: true}
	d, err := mail.Chain(rec, middleware.Size{MaxOctets: 3}.Wrap, middleware.Prepend{
		Fields: []mail.Field{{Name: "A", Value: "1"}},
		Make: func(context.Context, *mail.Session, mail.Sender) []mail.Field {
			return []mail.Field{{Name: "B", Value: "2"}}
		},
	}.Wrap)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x\r\n"} {
		tx := begin(t, d)
		if err := tx.Recipient(t.Context(), &mail.Recipient{Address: bob}); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			_, _ = io.WriteString(tx, text)
		}
		if _, err := tx.(mail.Preparer).Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := rec.Messages()
		if string(got[len(got)-1].Content) != "B: 2\r\nA: 1\r\n"+text {
			t.Errorf("%q", got[len(got)-1].Content)
		}
	}
	tx := begin(t, d)
	if _, err := io.WriteString(tx, "1234"); mail.AsReply(err) == nil || mail.AsReply(err).Code != 552 {
		t.Errorf("too big: %v", err)
	}
	if _, ok := begin(t, d).(mail.Amender); ok {
		t.Error("amends what the Door behind cannot amend")
	}
}

func TestPrudence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &mailtest.Recorder{OnRecipient: func(r *mail.Recipient) error { return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No such user") }}
		d := middleware.Prudence{Delay: time.Second, MaxRefusals: 2}.Wrap(rec)
		srv := &smtp.Server{Door: d, Hostname: "mx.test", Extensions: smtp.ExtPipelining}
		smtptest.Script(t, srv, `
			C: EHLO early.test
			S: 554 You talk *
			S: 503 *
			C: QUIT
			S: 221 *`)
		start := time.Now()
		smtptest.Script(t, srv, `
			S: 220 *
			C: HELO a.test
			S: 250 *
			C: MAIL FROM:<>
			S: 250 *
			C: RCPT TO:<a@b.test>
			S: 550 *
			C: RSET
			S: 250 *
			C: MAIL FROM:<>
			S: 250 *
			C: RCPT TO:<a@b.test>
			S: 550 *
			C: RCPT TO:<a@b.test>
			S: 421 *
			S: EOF`)
		if time.Since(start) != time.Second {
			t.Error(time.Since(start))
		}
	})
}

func TestFanOutIsRefused(t *testing.T) {
	rec := &mailtest.Recorder{}
	for _, ts := range [][]middleware.Target{nil, {{Door: rec}, {Door: rec}}, {{Door: mail.Unassigned}}, {{}}} {
		if _, err := middleware.NewFanOut(ts...); err == nil {
			t.Errorf("%v was accepted", ts)
		}
	}
}

func TestFanOutAgrees(t *testing.T) {
	no := mail.NewReply(550, mail.Enhanced{5, 1, 1}, "No")
	full := mail.Reply{Code: 452, Enhanced: mail.Enhanced{4, 2, 2}, Text: "Full"}
	first := &mailtest.Recorder{Prepares: true}
	picky := &mailtest.Recorder{
		OnRecipient: func(r *mail.Recipient) error {
			if r.Address == bob {
				return no
			}
			return nil
		},
		OnCommit: func(to []mail.Recipient) ([]mail.Reply, error) {
			if len(to) == 2 {
				return []mail.Reply{mail.OK(), full}, nil
			}
			return nil, nil
		},
	}
	f, err := middleware.NewFanOut(middleware.Target{Door: first, Prepares: true}, middleware.Target{Door: picky})
	if err != nil {
		t.Fatal(err)
	}
	send := func(to ...mail.Address) ([]mail.Reply, error) {
		tx := begin(t, f)
		defer tx.Abort()
		var errs error
		for _, a := range to {
			errs = errors.Join(errs, tx.Recipient(t.Context(), &mail.Recipient{Address: a}))
		}
		_, _ = io.WriteString(tx, "x\r\n")
		rs, err := tx.Commit(t.Context())
		return rs, errors.Join(errs, err)
	}
	if rs, err := send(alice, bob); mail.AsReply(err).Code != 550 || len(rs) != 1 || rs[0].Code != 250 {
		t.Error(rs, err)
	}
	if m := first.Messages(); len(m) != 1 || len(m[0].To) != 1 {
		t.Errorf("first target has %d messages: who was refused by one must not be in another", len(m))
	}
	rs, err := send(alice, alice)
	if err != nil || len(rs) != 2 || rs[0].Code != 452 || rs[1].Code != 452 {
		t.Error(rs, err)
	}
	if len(first.Messages()) != 1 {
		t.Error("first target took a message that the other refused")
	}
}

type buffer struct{ bytes.Buffer }

func (*buffer) Close() error { return nil }

// TestRecorder: what was recorded can be played again.
func TestRecorder(t *testing.T) {
	srv := func() *smtp.Server {
		return &smtp.Server{Door: &mailtest.Recorder{}, Hostname: "mx.test", Extensions: smtp.ExtPipelining}
	}
	script := `
		S: 220 *
		C: EHLO a.test
		S: 250-mx.test
		S: 250 PIPELINING
		C: MAIL FROM:<>
		S: 250 *
		C: RCPT TO:<a@b.test>
		S: 250 *
		C: DATA
		S: 354 *
		c: \xff\0\\x\r\n.\r\n
		S: 250 *
		C: QUIT
		S: 221 *
		S: EOF`
	var b buffer
	client, server := smtptest.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv().ServeConn(context.Background(), middleware.Recorder{}.Conn(server, &b))
	}()
	if err := smtptest.Play(client, 'C', script, nil); err != nil {
		t.Fatal(err)
	}
	client.Close()
	<-done
	if !strings.Contains(b.String(), "C: MAIL FROM:<>\nS: 250 OK\n") || !strings.Contains(b.String(), `c: \xff\x00\\x\r\n`) {
		t.Errorf("%s", b.String())
	}
	smtptest.Script(t, srv(), b.String())
}

func TestRecorderListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var b buffer
	rl := middleware.Recorder{New: func(net.Addr) (io.WriteCloser, error) { return &b, nil }}.Listener(l)
	srv := &smtp.Server{Door: &mailtest.Recorder{}}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), rl) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := smtptest.Play(conn, 'C', "S: 220 *\nC: QUIT\nS: 221 *\nS: EOF", nil); err != nil {
		t.Error(err)
	}
	conn.Close()
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	<-done
	if !strings.HasPrefix(b.String(), "S: 220 ") {
		t.Errorf("%q", b.String())
	}
}
