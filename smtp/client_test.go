package smtp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

func addr(s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

func envelope(to ...string) mail.Envelope {
	e := mail.Envelope{Sender: mail.Sender{Address: addr("a@b.test")}}
	for _, t := range to {
		e.Recipients = append(e.Recipients, mail.Recipient{Address: addr(t)})
	}
	return e
}

func greetWith(keywords ...string) string {
	s := "S: 220 mx.test hello\nC: EHLO me.test\n"
	for _, k := range append([]string{"mx.test at your service"}, keywords...) {
		s += "S: 250-" + k + "\n"
	}
	i := strings.LastIndex(s, "250-")
	return s[:i] + "250 " + s[i+4:]
}

// TestSend plays the server's part, so that each line a Client says is known, and compares each recipient's code.
func TestSend(t *testing.T) {
	binary := envelope("c@d.test")
	binary.Sender.Body = mail.BodyBinary
	utf8 := envelope("c@d.test")
	utf8.Sender.UTF8 = true
	eight := envelope("c@d.test")
	eight.Sender.Body = mail.Body8Bit
	rich := envelope("c@d.test")
	rich.Sender.EnvelopeID, rich.Sender.Ret = "a+b", mail.RetHeaders
	rich.Recipients[0].Notify = mail.NotifyFailure | mail.NotifyDelay
	rich.Recipients[0].Original = "rfc822;x=y@d.test"
	evil := envelope("c@d.test")
	evil.Recipients[0].Address.Local = "c\r\nQUIT"
	domain := envelope("c@bücher.test")
	local := envelope("ü@d.test")
	strict := envelope("c@d.test")
	strict.Sender.RequireTLS = true
	for _, c := range []struct {
		name   string
		dial   smtp.Dialer
		env    mail.Envelope
		body   string
		size   int64
		trace  []mail.Field
		script string
		want   []int
		broken bool
	}{
		{name: "pipelined", env: envelope("c@d.test", "no@d.test"), body: ".x\r\ny", script: greetWith("PIPELINING", "SIZE") + `
			C: MAIL FROM:<a@b.test>
			C: RCPT TO:<c@d.test>
			C: RCPT TO:<no@d.test>
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 550 5.1.1 no
			S: 354 go
			c: ..x\r\ny\r\n.\r\n
			S: 250 2.0.0 queued as 17`, want: []int{250, 550}},
		{name: "one by one", env: envelope("c@d.test"), body: "x\r\n", size: 3, script: greetWith("SIZE 100") + `
			C: MAIL FROM:<a@b.test> SIZE=3
			S: 250 ok
			C: RCPT TO:<c@d.test>
			S: 250 ok
			C: DATA
			S: 354 go
			c: x\r\n.\r\n
			S: 452 full`, want: []int{452}},
		{name: "HELO", env: envelope("c@d.test"), body: "", script: `
			S: 220 mx.test
			C: EHLO me.test
			S: 500 what
			C: HELO me.test
			S: 250 mx.test
			C: MAIL FROM:<a@b.test>
			S: 250 ok
			C: RCPT TO:<c@d.test>
			S: 250 ok
			C: DATA
			S: 354 go
			c: .\r\n
			S: 250 ok`, want: []int{250}},
		{name: "MAIL refused", env: envelope("c@d.test"), script: greetWith("PIPELINING") + `
			C: MAIL FROM:<a@b.test>
			C: RCPT TO:<c@d.test>
			C: DATA
			S: 550 5.7.1 not you
			S: 503 mail first
			S: 503 mail first`, want: []int{550}},
		{name: "nobody, and 354", env: envelope("no@d.test"), script: greetWith("PIPELINING") + `
			C: MAIL FROM:<a@b.test>
			C: RCPT TO:<no@d.test>
			C: DATA
			S: 250 ok
			S: 450 later
			S: 354 go
			C: .
			S: 554 no recipients`, want: []int{450}},
		{name: "chunk", env: envelope("c@d.test"), body: ".x\r\n", size: 4, script: greetWith("PIPELINING", "CHUNKING") + `
			C: MAIL FROM:<a@b.test>
			C: RCPT TO:<c@d.test>
			S: 250 ok
			S: 250 ok
			c: BDAT 4 LAST\r\n.x\r\n
			S: 250 ok`, want: []int{250}},
		{name: "chunk of unknown size", env: envelope("c@d.test"), body: "x\r\n", script: greetWith("PIPELINING", "CHUNKING") + `
			C: MAIL FROM:<a@b.test>
			C: RCPT TO:<c@d.test>
			S: 250 ok
			S: 250 ok
			c: BDAT 3 LAST\r\nx\r\n
			S: 250 ok`, want: []int{250}},
		{name: "wrong size", env: envelope("c@d.test"), body: "xx\r\n", size: 3, script: greetWith("CHUNKING") + `
			C: MAIL FROM:<a@b.test>
			S: 250 ok
			C: RCPT TO:<c@d.test>
			S: 250 ok
			C: EOF`, want: []int{451}, broken: true},
		{name: "too big", env: envelope("c@d.test"), body: "xx\r\n", size: 4, script: greetWith("SIZE 3"), want: []int{552}},
		{name: "no 8BITMIME", env: eight, script: greetWith("SIZE"), want: []int{554}},
		{name: "8BITMIME", env: eight, body: "ü\r\n", script: greetWith("8BITMIME") + `
			C: MAIL FROM:<a@b.test> BODY=8BITMIME
			S: 250 ok
			C: RCPT TO:<c@d.test>
			S: 421 going down`, want: []int{421}, broken: true},
		{name: "no BINARYMIME", env: binary, script: greetWith("8BITMIME", "CHUNKING"), want: []int{554}},
		{name: "BINARYMIME", env: binary, body: "\n", size: 1, dial: smtp.Dialer{NoChunking: true}, script: greetWith("BINARYMIME", "CHUNKING") + `
			C: MAIL FROM:<a@b.test> BODY=BINARYMIME
			S: 250 ok
			C: RCPT TO:<c@d.test>
			S: 250 ok
			c: BDAT 1 LAST\r\n\n
			S: 250 ok`, want: []int{250}},
		{name: "no SMTPUTF8", env: utf8, script: greetWith("8BITMIME"), want: []int{550}},
		{name: "A-labels", env: domain, body: "x\r\n", script: greetWith("8BITMIME") + `
			C: MAIL FROM:<a@b.test>
			S: 250 ok
			C: RCPT TO:<c@xn--bcher-kva.test>
			S: 550 no
			`, want: []int{550}},
		{name: "local part", env: local, script: greetWith("8BITMIME"), want: []int{553}},
		{name: "no REQUIRETLS", env: strict, script: greetWith("8BITMIME"), want: []int{550}},
		{name: "evil", env: evil, script: greetWith("8BITMIME"), want: []int{554}},
		{name: "DSN", env: rich, body: "x\r\n", script: greetWith("DSN") + `
			C: MAIL FROM:<a@b.test> RET=HDRS ENVID=a+2Bb
			S: 250 ok
			C: RCPT TO:<c@d.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;x+3Dy@d.test
			S: 550 no`, want: []int{550}},
		{name: "LIMITS", env: envelope("c@d.test", "e@d.test"), script: greetWith("PIPELINING", "LIMITS RCPTMAX=1") + `
			C: MAIL FROM:<a@b.test>
			C: RCPT TO:<c@d.test>
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 354 go
			c: .\r\n
			S: 250 ok`, want: []int{250, 452}},
		{name: "smuggling", env: envelope("c@d.test"), body: "x\n.\r\nQUIT\r\n", script: greetWith("PIPELINING") + `
			C: MAIL FROM:<a@b.test>
			C: RCPT TO:<c@d.test>
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 354 go
			C: EOF`, want: []int{554}, broken: true},
		{name: "lost reply", env: envelope("c@d.test"), body: "x\r\n", script: greetWith() + `
			C: MAIL FROM:<a@b.test>
			S: 250 ok
			C: RCPT TO:<c@d.test>
			S: 250 ok
			C: DATA
			S: 354 go
			c: x\r\n.\r\n`, want: []int{451}, broken: true},
		{name: "LMTP", dial: smtp.Dialer{LMTP: true}, env: envelope("c@d.test", "no@d.test", "full@d.test"), body: "x\r\n", script: `
			S: 220 mx.test LMTP
			C: LHLO me.test
			S: 250-mx.test
			S: 250 PIPELINING
			C: MAIL FROM:<a@b.test>
			C: RCPT TO:<c@d.test>
			C: RCPT TO:<no@d.test>
			C: RCPT TO:<full@d.test>
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 550 no
			S: 250 ok
			S: 354 go
			c: x\r\n.\r\n
			S: 250 ok
			S: 452 4.2.2 full`, want: []int{250, 550, 452}},
		{name: "trusted", dial: smtp.Dialer{Trusted: true}, env: envelope("c@d.test"), body: "x\r\n", size: 3,
			trace: []mail.Field{{Name: "B", Value: "2"}, {Name: "A", Value: "1"}}, script: greetWith("XTRACE", "CHUNKING", "SIZE") + `
			C: MAIL FROM:<a@b.test> SIZE=3 XTRACE=12
			S: 250 ok
			C: RCPT TO:<c@d.test>
			S: 251 2.1.5 <e@d.test>;folder=Junk
			c: BDAT 15 LAST\r\nA: 1\r\nB: 2\r\nx\r\n
			S: 250 ok`, want: []int{250}},
		{name: "reply too long", env: envelope("c@d.test"), script: greetWith() + `
			C: MAIL FROM:<a@b.test>
			S: 250 ` + strings.Repeat("x", 5000), want: []int{451}, broken: true},
		{name: "reply with two codes", env: envelope("c@d.test"), script: greetWith() + `
			C: MAIL FROM:<a@b.test>
			S: 250-ok
			S: 550 no`, want: []int{451}, broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.dial.Hello = "me.test"
			cl, err := c.dial.Client(t.Context(), smtptest.Serve(t, c.script), "")
			if err != nil {
				t.Fatal(err)
			}
			res, err := cl.Send(t.Context(), &smtp.Message{Envelope: c.env, Body: strings.NewReader(c.body), Size: c.size, Trace: c.trace})
			if (err != nil) != c.broken {
				t.Errorf("error %v", err)
			}
			for i, rr := range res.Recipients {
				if rr.Reply.Code != c.want[i] {
					t.Errorf("recipient %d: %v, want %d", i, rr.Reply, c.want[i])
				}
			}
			if c.name == "lost reply" != res.Uncertain {
				t.Errorf("uncertain is %v", res.Uncertain)
			}
			if c.name == "trusted" && (len(res.Recipients[0].Targets) != 1 || res.Recipients[0].Targets[0].Folder != "Junk") {
				t.Errorf("targets %v", res.Recipients[0].Targets)
			}
		})
	}
}

// TestReset: a transaction that is still open is given up before the next.
func TestReset(t *testing.T) {
	d := smtp.Dialer{Hello: "me.test"}
	cl, err := d.Client(t.Context(), smtptest.Serve(t, greetWith("PIPELINING")+`
		C: MAIL FROM:<a@b.test>
		C: RCPT TO:<c@d.test>
		C: DATA
		S: 250 ok
		S: 550 no
		S: 503 no
		C: RSET
		C: MAIL FROM:<a@b.test>
		C: RCPT TO:<c@d.test>
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 250 ok
		S: 354 go
		c: x\r\n.\r\n
		S: 250 ok
		C: QUIT
		S: 221 bye`), "")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{550, 250} {
		res, err := cl.Send(t.Context(), &smtp.Message{Envelope: envelope("c@d.test"), Body: strings.NewReader("x\r\n")})
		if err != nil || res.Recipients[0].Reply.Code != want {
			t.Fatalf("message %d: %v, %v", i, res, err)
		}
	}
	if err := cl.Quit(t.Context()); err != nil {
		t.Error(err)
	}
}

// connect serves srv on a pipe and returns the other end.
func connect(t testing.TB, srv *smtp.Server) net.Conn {
	t.Helper()
	client, server := smtptest.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeConn(context.Background(), server)
	}()
	t.Cleanup(func() {
		client.Close()
		<-done
	})
	return client
}

// login is PLAIN as user "a", under TLS only.
func login(password string) *sasl.ClientAuth {
	return &sasl.ClientAuth{Config: sasl.ClientConfig{User: "a", Password: password}}
}

func TestClientTLSAndAuth(t *testing.T) {
	conf := testTLS(t)
	for _, implicit := range []bool{false, true} {
		rec := recorder()
		srv := &smtp.Server{Door: rec, Hostname: "mx.test", TLSConfig: conf, ImplicitTLS: implicit, RequireTLS: true, RequireAuth: true, Auth: plain{}}
		d := smtp.Dialer{Hello: "me.test", TLS: smtp.TLSRequired, ImplicitTLS: implicit, TLSConfig: conf, Auth: login("pw")}
		cl, err := d.Client(t.Context(), connect(t, srv), "mx.test")
		if err != nil {
			t.Fatal(err)
		}
		body := bytes.Repeat([]byte(strings.Repeat("0123456789abcde.", 8)[:126]+"\r\n"), 8192) // 1 MiB
		res, err := cl.Send(t.Context(), &smtp.Message{Envelope: envelope("c@d.test"), Body: bytes.NewReader(body)})
		if err != nil || res.Recipients[0].Reply.Code != 250 {
			t.Fatal(res, err)
		}
		if cl.TLS() == nil || !bytes.Equal(rec.Messages()[0].Content, body) {
			t.Error("no TLS, or the content has changed")
		}
		cl.Close()
		d.Auth = login("no")
		_, err = d.Client(t.Context(), connect(t, srv), "mx.test")
		if r := mail.AsReply(err); r == nil || r.Code != 535 {
			t.Errorf("wrong password: %v", err)
		}
	}
	srv := &smtp.Server{Door: recorder(), TLSConfig: conf}
	if _, err := (&smtp.Dialer{}).Client(t.Context(), connect(t, srv), "mx.test"); !errors.Is(err, smtp.ErrTLSFailed) {
		t.Errorf("certificate of nobody: %v", err)
	}
	d := smtp.Dialer{TLS: smtp.TLSRequired}
	if _, err := d.Client(t.Context(), connect(t, &smtp.Server{Door: recorder()}), "mx.test"); !errors.Is(err, smtp.ErrTLSUnavailable) {
		t.Errorf("no STARTTLS: %v", err)
	}
}

// TestRepliesBeforeTLS: a man in the middle who answers in advance gets nowhere.
func TestRepliesBeforeTLS(t *testing.T) {
	d := smtp.Dialer{Hello: "me.test", TLS: smtp.TLSRequired}
	_, err := d.Client(t.Context(), smtptest.Serve(t, greetWith("STARTTLS")+`
		C: STARTTLS
		s: 220 go\r\n250-evil\r\n250 X\r\n`), "mx.test")
	if err == nil || !strings.Contains(err.Error(), "before TLS") {
		t.Error(err)
	}
}

// TestBothWays sends what is hard to carry by each way, and through a Link.
func TestBothWays(t *testing.T) {
	long := strings.Repeat("x", 3*(64<<10)+17) + "\r\n"
	for _, body := range []string{"", "x\r\n", ".\r\n", ".x\r\n..\r\n", long, long + "." + long, strings.Repeat(".\r\n", 50000)} {
		for _, noChunking := range []bool{false, true} {
			rec := recorder()
			srv := &smtp.Server{Door: rec, Hostname: "mx.test"}
			d := smtp.Dialer{Hello: "me.test", NoChunking: noChunking}
			cl, err := d.Client(t.Context(), connect(t, srv), "")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []io.Reader{strings.NewReader(body), iotest.OneByteReader(strings.NewReader(body[:min(len(body), 1000)/3*3]))} {
				if _, err := cl.Send(t.Context(), &smtp.Message{Envelope: envelope("c@d.test"), Body: r, Trace: []mail.Field{{Name: "T", Value: "1"}}}); err != nil && !noChunking {
					t.Fatal(err)
				}
			}
			if got := rec.Messages(); len(got) == 0 || string(got[0].Content) != "T: 1\r\n"+body {
				t.Errorf("%.40q, %v: changed on the way", body, noChunking)
			}
		}
	}
}

func TestContextEndsAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := smtptest.Pipe()
		defer server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		d := smtp.Dialer{}
		start := time.Now()
		if _, err := d.Client(ctx, client, ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Error(err, time.Since(start))
		}
	})
}

func TestClientTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := smtptest.Pipe()
		defer server.Close()
		start := time.Now()
		d := smtp.Dialer{}
		if _, err := d.Client(context.Background(), client, ""); err == nil || time.Since(start) != 5*time.Minute {
			t.Error(err, time.Since(start))
		}
	})
}
