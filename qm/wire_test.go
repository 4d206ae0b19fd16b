package qm

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/log"
	"github.com/samotop/samotop/store/mem"
)

// serve runs a real server on a socket and returns its address.
func serve(t testing.TB, network, address string, s *smtp.Server) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String()
}

// onSockets runs a queue that dials for real; eventually waits for what cannot be waited for in simulated time.
func onSockets(t testing.TB, w *world, e store.Engine, rs ...Route) *QM {
	t.Helper()
	cfg := w.config(e)
	cfg.Routes = rs
	cfg.Log = nil
	q, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- q.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := q.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return q
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal(what)
}

func TestOverSockets(t *testing.T) {
	serverTLS, err := smtptest.TestTLS()
	if err != nil {
		t.Fatal(err)
	}
	broken := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return nil, mail.NewReply(550, mail.Enhanced{}, "none")
	}}
	clear, sealed, half, lmtp := &mailtest.Recorder{}, &mailtest.Recorder{}, &mailtest.Recorder{}, &mailtest.Recorder{}
	path := filepath.Join(t.TempDir(), "lmtp.sock")
	serve(t, "unix", path, &smtp.Server{Door: lmtp, Hostname: "l.test", LMTP: true})
	w := newWorld(t)
	q := onSockets(t, w, mem.New(mem.Options{}),
		Route{Domain: "clear.test", To: "smtp://" + serve(t, "tcp", "127.0.0.1:0", &smtp.Server{Door: clear, Hostname: "c.test"})},
		Route{Domain: "sealed.test", To: "smtp://" + serve(t, "tcp", "127.0.0.1:0", &smtp.Server{Door: sealed, Hostname: "s.test", TLSConfig: serverTLS})},
		Route{Domain: "half.test", To: "smtp://" + serve(t, "tcp", "127.0.0.1:0", &smtp.Server{Door: half, Hostname: "h.test", TLSConfig: broken})},
		Route{Domain: "lmtp.test", To: "unix:" + path})
	body := letter + strings.Repeat(".dots and more\r\n", 20000) // over what is kept in memory
	for _, r := range []struct {
		domain string
		rec    *mailtest.Recorder
	}{{"clear.test", clear}, {"sealed.test", sealed}, {"half.test", half}, {"lmtp.test", lmtp}} {
		for _, b := range []string{letter, body} {
			_, err := submit(context.Background(), q, mail.Sender{Address: addr("a@home.test")}, b,
				mail.Recipient{Address: addr("x@" + r.domain)}, mail.Recipient{Address: addr("y@" + r.domain)})
			if err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "nothing comes to "+r.domain, func() bool { return len(r.rec.Messages()) >= 2 })
		for _, m := range r.rec.Messages() {
			if len(m.To) != 2 {
				t.Errorf("%s: %d recipients", r.domain, len(m.To))
			}
			if got := string(m.Content); got != "Received: from here\r\n"+letter && got != "Received: from here\r\n"+body {
				t.Errorf("%s: content differs: %d octets", r.domain, len(got))
			}
		}
	}
	eventually(t, "the queue does not become empty", func() bool { return len(rows(t, q.cfg.Engine)) == 0 })
}

func TestRepliesOverSockets(t *testing.T) {
	rec := &mailtest.Recorder{OnRecipient: func(r *mail.Recipient) error {
		if r.Address.Local == "x" {
			return mail.NewReply(550, mail.Enhanced{5, 1, 1}, "no x here")
		}
		return nil
	}}
	w := newWorld(t)
	q := onSockets(t, w, mem.New(mem.Options{}), Route{Domain: "*", To: "smtp://" + serve(t, "tcp", "127.0.0.1:0", &smtp.Server{Door: rec, Hostname: "c.test"})})
	w.send(q, "a@home.test", "x@far.test", "y@far.test")
	eventually(t, "no report", func() bool { return len(w.box("a@home.test")) == 1 })
	if got := w.box("a@home.test")[0]; !strings.Contains(got, "no x here") || strings.Contains(got, "y@far.test") {
		t.Errorf("%s", got)
	}
	if n := len(rec.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// BenchmarkRelay is submission to relayed, without the submitting protocol: in memory and with the log on the disk.
func BenchmarkRelay(b *testing.B) {
	b.Run("mem", func(b *testing.B) { benchmarkRelay(b, mem.New(mem.Options{})) })
	b.Run("log", func(b *testing.B) {
		e, err := log.Open(context.Background(), log.Options{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = e.Close() })
		benchmarkRelay(b, e)
	})
}

func benchmarkRelay(b *testing.B, e store.Engine) {
	rec := &counter{}
	w := newWorld(b)
	q := onSockets(b, w, e, Route{Domain: "*", To: "smtp://" + serve(b, "tcp", "127.0.0.1:0", &smtp.Server{Door: rec, Hostname: "c.test"})})
	body := letter + strings.Repeat("text text text text text text text text\r\n", 100)
	from := mail.Sender{Address: addr("a@home.test"), Size: int64(len(body))}
	b.ReportAllocs()
	b.SetParallelism(5)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := submit(context.Background(), q, from, body, mail.Recipient{Address: addr("x@far.test")}); err != nil {
				b.Error(err)
			}
		}
	})
	eventually(b, "the queue does not become empty", func() bool { return rec.n.Load() >= int64(b.N) })
}
