package test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

// TestDovecotAsGuard: an LMTP server that is not ours, Debian's Dovecot, says at RCPT whom mail is taken for; it hears from whom by
// XCLIENT, and gets no mail.
func TestDovecotAsGuard(t *testing.T) {
	d, port := startDovecotWith(t, dovecotBehind+"login_trusted_networks = 127.0.0.0/8\n")
	h := newHouse(t, "d.test", "carol", "eve")
	h.dropIn("links", fmt.Sprintf("[links]\nguard = \"unix:%s\"\n[mta]\ntrusted = [\"127.0.0.2\"]\nproxy = true\n", d.path("lmtp")))
	var err error
	if h.process, err = h.serve("mta", "mailbox", "accounts", "qm", "management"); err != nil {
		t.Fatal(err)
	}
	s := h.stranger("192.0.2.77", 25)
	answers := s.mail("x@far.test", "carol@d.test", "nobody@d.test", "eve@d.test", "dave@d.test", "x@elsewhere.test")
	for i, want := range []string{"250 ", "550 5.1.1", "550 5.1.1", "550 5.", "550 5."} { // eve is ours alone, dave Dovecot's alone
		if i >= len(answers) || !strings.HasPrefix(answers[i], want) {
			t.Fatalf("%q\n%s", answers, h.log)
		}
	}
	if a := s.says("DATA"); !strings.HasPrefix(a, "354") {
		t.Fatal(a)
	}
	if a := s.says(letter("x@far.test", "carol@d.test", "hello", strings.Repeat("text\r\n", 20_000)) + "."); !strings.HasPrefix(a, "250") {
		t.Fatal(a)
	}
	h.await("carol@d.test", 1)
	// The same connection serves the next client, and is his then.
	if a := h.stranger("198.51.100.5", 25).mail("y@far.test", "carol@d.test", "nobody@d.test"); len(a) != 2 || a[0][:3] != "250" || a[1][:3] != "550" {
		t.Error(a)
	}
	if files, _ := filepath.Glob(d.path("mail/*/Maildir/*/*")); len(files) > 0 {
		t.Errorf("Dovecot got mail: %v", files)
	}

	// The house itself may ask at a port: then Dovecot knows whose mail it is.
	h.drain()
	h.dropIn("links", fmt.Sprintf("[links]\nguard = \"tcp://127.0.0.1:%s\"\n[mta]\ntrusted = [\"127.0.0.2\"]\nproxy = true\n", port))
	if h.process, err = h.serve("mta", "mailbox", "accounts", "qm", "management"); err != nil {
		t.Fatal(err)
	}
	if a := h.stranger("203.0.113.9", 25).mail("y@far.test", "carol@d.test", "nobody@d.test"); len(a) != 2 || a[0][:3] != "250" || a[1][:3] != "550" {
		t.Error(a)
	}
	h.drain() // Dovecot tells at the end
	h.until("Dovecot knows the client of the house", func() bool {
		log, _ := os.ReadFile(d.path("log"))
		return strings.Contains(string(log), "from 203.0.113.9")
	})

	// By a port, whence Dovecot trusts us, it offers XCLIENT.
	for _, ip := range []string{"192.0.2.77", "2001:db8::77"} {
		session := &mail.Session{RemoteAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 25))}
		link := &smtp.Link{AskOnly: true, Dialer: smtp.Dialer{LMTP: true, Trusted: true, Hello: "mx.d.test"}, Network: "tcp", Address: "127.0.0.1:" + port}
		receiver, err := link.Open(t.Context(), session)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			tx, err := receiver.Begin(t.Context(), session, mail.Sender{Address: address("x@far.test")})
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Recipient(t.Context(), &mail.Recipient{Address: address("carol@d.test")}); err != nil {
				t.Error(err)
			}
			if err := tx.Recipient(t.Context(), &mail.Recipient{Address: address("nobody@d.test")}); err == nil {
				t.Error("nobody is taken")
			}
			if _, err := tx.Commit(t.Context()); err != nil {
				t.Error(err)
			}
		}
		link.Close()
		h.until("Dovecot knows the client", func() bool {
			log, _ := os.ReadFile(d.path("log"))
			return strings.Contains(string(log), "from "+ip)
		})
	}
}
