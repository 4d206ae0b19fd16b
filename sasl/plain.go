package sasl

import (
	"bytes"
	"context"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
)

// plain takes the one message of PLAIN (RFC 4616).
func (x *exchange) plain(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	authzid, user, password, ok := parsePlain(response)
	if !ok {
		return nil, false, mail.ErrExchange
	}
	return nil, true, x.password(ctx, user, authzid, password)
}

// parsePlain reads [authzid] NUL authcid NUL passwd (RFC 4616 section 2).
func parsePlain(b []byte) (authzid, user, password string, ok bool) {
	z, rest, ok1 := bytes.Cut(b, []byte{0})
	u, p, ok2 := bytes.Cut(rest, []byte{0})
	if !ok1 || !ok2 || bytes.IndexByte(p, 0) >= 0 || len(u) == 0 || len(p) == 0 || !utf8.Valid(b) ||
		len(z) > MaxUserOctets || len(u) > MaxUserOctets || len(p) > MaxPasswordOctets {
		return "", "", "", false
	}
	return string(z), string(u), string(p), true
}

// password verifies a password that came in clear.
func (x *exchange) password(ctx context.Context, user, authzid, password string) error {
	return x.attempt(ctx, user, authzid, func() (string, error) {
		prepared, err := Prepare(user)
		if err != nil {
			prepared = user // nobody has such a name; it must take as long as any other
		}
		return x.a.c.Credentials.Password(ctx, x.s, prepared, PreparePassword(password))
	})
}

// loginUser and loginPassword are LOGIN, which no standard describes (draft-murchison-sasl-login-00). An initial
// response is the user name.
func (x *exchange) loginUser(_ context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte("Username:"), false, nil
	}
	if len(response) == 0 || len(response) > MaxUserOctets || !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, mail.ErrExchange
	}
	user := string(response)
	x.step = func(ctx context.Context, response []byte) ([]byte, bool, error) {
		return x.loginPassword(ctx, user, response)
	}
	return []byte("Password:"), false, nil
}

func (x *exchange) loginPassword(ctx context.Context, user string, response []byte) ([]byte, bool, error) {
	if len(response) == 0 || len(response) > MaxPasswordOctets || !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, mail.ErrExchange
	}
	return nil, true, x.password(ctx, user, "", string(response))
}

// external takes the one message of EXTERNAL (RFC 4422 appendix A): whom the client wants to be.
func (x *exchange) external(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	if len(response) > MaxUserOctets || !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, mail.ErrExchange
	}
	authzid := string(response)
	leaf := x.s.TLS.PeerCertificates[0]
	return nil, true, x.attempt(ctx, authzid, "", func() (string, error) {
		return x.a.c.Certificates.Certificate(ctx, x.s, leaf, authzid)
	})
}
