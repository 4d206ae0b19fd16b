// Package imapmem is an imap.Backend in memory, for tests and for trying a server out. Nothing is durable.
//
//	mem := imapmem.New()
//	srv := &imap.Server{Backend: mem, Auth: imapmem.Passwords{"alice": "secret"}, PlaintextLoopback: true}
//
// Everybody who logs in has an account of his own, with an INBOX. All methods are safe for concurrent use.
package imapmem

import (
	"bytes"
	"context"
	"crypto/subtle"

	"github.com/samotop/samotop/mail"
)

// Passwords is a mail.Authenticator that knows PLAIN and LOGIN, from user names to passwords.
type Passwords map[string]string

var _ mail.Authenticator = Passwords(nil)

// Mechanisms offers both under TLS only.
func (p Passwords) Mechanisms(s *mail.Session) []string {
	if s.TLS == nil {
		return nil
	}
	return []string{"PLAIN", "LOGIN"}
}

// Start begins an exchange.
func (p Passwords) Start(_ context.Context, s *mail.Session, mechanism string) (mail.Exchange, error) {
	if s.TLS == nil || mechanism != "PLAIN" && mechanism != "LOGIN" {
		return nil, mail.ErrMechanism
	}
	return &exchange{users: p, mechanism: mechanism}, nil
}

type exchange struct {
	users     Passwords
	mechanism string
	asked     int
	user      string
	id        mail.Identity
}

func (x *exchange) Identity() mail.Identity { return x.id }

func (x *exchange) Next(_ context.Context, r []byte) ([]byte, bool, error) {
	if x.mechanism == "LOGIN" {
		return x.login(r)
	}
	if r == nil && x.asked == 0 {
		x.asked++
		return []byte{}, false, nil
	}
	parts := bytes.Split(r, []byte{0})
	if len(parts) != 3 {
		return nil, false, mail.ErrExchange
	}
	return x.check(string(parts[1]), string(parts[2]))
}

func (x *exchange) login(r []byte) ([]byte, bool, error) {
	if r != nil {
		x.asked++
	}
	switch {
	case r == nil:
		return []byte("Username:"), false, nil
	case x.asked == 1:
		x.user = string(r)
		return []byte("Password:"), false, nil
	}
	return x.check(x.user, string(r))
}

func (x *exchange) check(user, pass string) ([]byte, bool, error) {
	want, ok := x.users[user]
	if !ok || subtle.ConstantTimeCompare([]byte(want), []byte(pass)) != 1 {
		return nil, false, mail.ErrCredentials
	}
	x.id = mail.Identity{Account: user, Mechanism: x.mechanism}
	return nil, true, nil
}
