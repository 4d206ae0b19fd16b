package smtp_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
)

// alice is the only one who is known.
type alice struct{}

func (alice) Password(context.Context, *mail.Session, string, string) (string, error) {
	return "", mail.ErrCredentials
}

func (alice) Scram(_ context.Context, _ *mail.Session, user string, hash sasl.Hash) (sasl.ScramKeys, string, error) {
	if user != "alice@example.test" {
		return sasl.ScramKeys{}, "", mail.ErrCredentials
	}
	k, err := sasl.NewScramKeys(hash, "pencil", []byte("salt of 16 octet"), 64)
	return k, user, err
}

// TestClientScram: one Dialer logs in on many connections at once, each with an exchange of its own.
func TestClientScram(t *testing.T) {
	srv := &smtp.Server{Door: recorder(), RequireAuth: true, Auth: sasl.New(sasl.Config{Credentials: alice{}})}
	conf := sasl.ClientConfig{User: "alice@example.test", Password: "pencil"}
	d := smtp.Dialer{Auth: &sasl.ClientAuth{Config: conf}}
	const n = 8
	failed := make(chan error, n)
	for range n {
		conn := connect(t, srv)
		go func() {
			c, err := d.Client(t.Context(), conn, "")
			if err == nil {
				err = c.Quit(t.Context())
			}
			failed <- err
		}()
	}
	for range n {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	conf.Password = "pen"
	d = smtp.Dialer{Auth: &sasl.ClientAuth{Config: conf}}
	if _, err := d.Client(t.Context(), connect(t, srv), ""); mail.AsReply(err).Code != 535 {
		t.Error("a wrong password:", err)
	}
}

// TestClientAuthNotProved: a server that says 235 without knowing the password is not believed.
func TestClientAuthNotProved(t *testing.T) {
	d := smtp.Dialer{Hello: "me.test", Auth: &sasl.ClientAuth{Config: sasl.ClientConfig{User: "alice@example.test", Password: "pencil", Rand: strings.NewReader(strings.Repeat("r", 100))}}}
	_, err := d.Client(t.Context(), smtptest.Serve(t, greetWith("AUTH SCRAM-SHA-256")+`
		C: AUTH SCRAM-SHA-256 *
		S: 235 2.7.0 come in
	`), "")
	if !errors.Is(err, sasl.ErrServer) {
		t.Error(err)
	}
	_, err = d.Client(t.Context(), smtptest.Serve(t, greetWith("AUTH X-UNKNOWN")), "")
	if !errors.Is(err, sasl.ErrNoMechanism) {
		t.Error(err)
	}
}
