package qm

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/store/mem"
)

// TestRequireTLSHere: what asks for REQUIRETLS goes into a socket of this machine, where there is no TLS, but to no server
// without it.
func TestRequireTLSHere(t *testing.T) {
	rec, far := &mailtest.Recorder{}, &mailtest.Recorder{}
	path := serve(t, "unix", filepath.Join(t.TempDir(), "l.sock"), &smtp.Server{Door: rec, LMTP: true, Hostname: "here.test"})
	other := serve(t, "tcp", "127.0.0.1:0", &smtp.Server{Door: far, Hostname: "far.test"})
	w := newWorld(t)
	q := onSockets(t, w, mem.New(mem.Options{}), Route{Domain: "here.test", To: "unix:" + path}, Route{Domain: "far.test", To: "smtp://" + other})
	from := mail.Sender{Address: addr("a@home.test"), RequireTLS: true}
	for _, to := range []string{"x@here.test", "x@far.test"} {
		if _, err := submit(context.Background(), q, from, letter, mail.Recipient{Address: addr(to)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "not delivered here", func() bool { return len(rec.Messages()) == 1 })
	eventually(t, "not reported", func() bool { return len(w.box("a@home.test")) == 1 })
	if len(far.Messages()) != 0 {
		t.Error("sent without TLS")
	}
}
