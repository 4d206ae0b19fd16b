package test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/smtp"
)

// hand sends one message by our own client, which knows all extensions.
func (h *house) hand(user string, port int, m *smtp.Message) mail.Reply {
	h.t.Helper()
	d := smtp.Dialer{Hello: "client.test", TLS: smtp.TLSRequired, TLSConfig: insecure}
	if user != "" {
		d.Auth = &sasl.ClientAuth{Config: sasl.ClientConfig{User: user, Password: password}}
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	c, err := d.Dial(ctx, "tcp", h.addr(port))
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	res, err := c.Send(ctx, m)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.Recipients[0].Reply
}

func address(s string) mail.Address {
	a, _ := mail.ParseAddress(s)
	return a
}

// TestBinary: content sent as BINARYMIME, by submission to another house and by a stranger to ours, is read by any mail
// program, octet for octet; lines that are too long do not leave; what is signed is not changed.
func TestBinary(t *testing.T) {
	a, b := twoHouses(t)
	octets := "\x89PNG\r\n\x1a\n\x00\x00\xff\r\r\n\n." + strings.Repeat("\xfe", 5000)
	binary := func(from, to string) *smtp.Message {
		text := letter(from, to, "binary", "")
		text = strings.Replace(text, "\r\n\r\n\r\n", "\r\nMIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n"+octets, 1)
		return &smtp.Message{Envelope: mail.Envelope{Sender: mail.Sender{Address: address(from), Body: mail.BodyBinary},
			Recipients: []mail.Recipient{{Address: address(to)}}}, Body: strings.NewReader(text), Size: int64(len(text))}
	}
	if r := a.hand("alice@a.test", 587, binary("alice@a.test", "bob@b.test")); !r.Positive() {
		t.Fatal(r)
	}
	b.await("bob@b.test", 1)
	if r := b.hand("", 25, binary("x@far.test", "bob@b.test")); !r.Positive() {
		t.Fatal(r)
	}
	for _, got := range b.await("bob@b.test", 2) {
		root, err := message.Parse(strings.NewReader(got), message.Limits{})
		if err != nil || root.Encoding != "base64" {
			t.Fatalf("%v, %.500q", err, got)
		}
		body, err := io.ReadAll(message.DecodeBody(strings.NewReader(got[root.BodyStart:]), root.Encoding))
		if err != nil || string(body) != octets {
			t.Errorf("%v, %.500q", err, body)
		}
	}
	long := strings.Repeat("long ", 300)
	if err := a.submit("alice@a.test", []string{"bob@b.test"}, letter("alice@a.test", "bob@b.test", "long", long)); err != nil {
		t.Fatal(err)
	}
	got := b.await("bob@b.test", 3)[2]
	if !strings.Contains(got, "Content-Transfer-Encoding: quoted-printable\r\n") || !strings.Contains(strings.ReplaceAll(got, "=\r\n", ""), long[:len(long)-1]) {
		t.Errorf("%q", got)
	}
	signed := "From: alice@a.test\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xff\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
	m := binary("alice@a.test", "bob@b.test")
	m.Body, m.Size = strings.NewReader(signed), int64(len(signed))
	if r := a.hand("alice@a.test", 587, m); r.Code != 554 || r.Enhanced != (mail.Enhanced{5, 6, 3}) {
		t.Error(r)
	}
}

// TestRequireTLS: what asks for TLS all the way goes where the certificate is known to be right, and comes back from
// where it is not, without its content.
func TestRequireTLS(t *testing.T) {
	a, b := twoHouses(t)
	strict := func(subject string) *smtp.Message {
		text := letter("alice@a.test", "bob@b.test", subject, "secret")
		return &smtp.Message{Envelope: mail.Envelope{Sender: mail.Sender{Address: address("alice@a.test"), RequireTLS: true, Ret: mail.RetFull},
			Recipients: []mail.Recipient{{Address: address("bob@b.test")}}}, Body: strings.NewReader(text), Size: int64(len(text))}
	}
	if r := a.hand("alice@a.test", 587, strict("nobody vouches")); !r.Positive() {
		t.Fatal(r)
	}
	a.queued(1) // a certificate that nobody vouches for may be mended: it waits
	a.drain()
	ca, err := os.ReadFile(filepath.Join(b.dir, "tls", "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.dir, "b.pem"), bytes.TrimSpace(ca), 0o600); err != nil {
		t.Fatal(err)
	}
	a.dropIn("ca", "[tls]\nca = \"b.pem\"\n")
	a.start()
	if r := a.hand("alice@a.test", 587, strict("vouched for")); !r.Positive() {
		t.Fatal(r)
	}
	if got := b.await("bob@b.test", 1)[0]; !strings.Contains(got, "Subject: vouched for") {
		t.Error(got)
	}
}
