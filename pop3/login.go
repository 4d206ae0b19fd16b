package pop3

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
)

// maxExchange bounds the challenges of one AUTH.
const maxExchange = 16

var (
	errCancelled = errors.New("authentication cancelled")
	errBase64    = errors.New("response is not BASE64")
)

// pass is USER and PASS (RFC 1939 section 7): SASL PLAIN in other clothes.
func (c *conn) pass(ctx context.Context, password string) error {
	if strings.IndexByte(c.st.user, 0) >= 0 || strings.IndexByte(password, 0) >= 0 {
		c.line("-ERR user name and password cannot hold NUL")
		return nil
	}
	x, err := c.srv.Auth.Start(ctx, &c.sess, "PLAIN")
	if err == nil {
		var done bool
		if _, done, err = x.Next(ctx, []byte("\x00"+c.st.user+"\x00"+password)); err == nil && !done {
			err = mail.ErrExchange
		}
	}
	if err != nil {
		return c.loginFailed(ctx, err)
	}
	return c.loggedIn(ctx, x.Identity())
}

// auth is AUTH with its initial response (RFC 5034 section 4).
func (c *conn) auth(ctx context.Context, arg string) error {
	mechanism, initial, has := strings.Cut(strings.TrimRight(arg, " "), " ")
	var response []byte
	if has {
		var err error
		if response, err = decodeResponse([]byte(initial)); err != nil {
			c.line("-ERR initial response is not BASE64")
			return nil
		}
	}
	if c.srv.Auth == nil || c.srv.Backend == nil {
		return c.loginFailed(ctx, mail.ErrMechanism)
	}
	x, err := c.srv.Auth.Start(ctx, &c.sess, upper(mechanism))
	if err != nil {
		return c.loginFailed(ctx, err)
	}
	err = c.exchange(ctx, x, response)
	var lost *lostError
	switch {
	case errors.As(err, &lost):
		return lost.err
	case err != nil:
		return c.loginFailed(ctx, err)
	}
	return c.loggedIn(ctx, x.Identity())
}

// lostError: the connection is gone.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }

func (c *conn) exchange(ctx context.Context, x mail.Exchange, response []byte) error {
	for range maxExchange {
		challenge, done, err := x.Next(ctx, response)
		if err != nil {
			return err
		}
		if done && len(challenge) == 0 {
			return nil
		}
		if response, err = c.challenge(challenge); err != nil {
			return err
		}
		if done { // the server's last word in SCRAM: the client has nothing to add
			if len(response) > 0 {
				return mail.ErrExchange
			}
			return nil
		}
	}
	return mail.ErrExchange
}

// challenge sends a challenge and reads the response.
func (c *conn) challenge(p []byte) ([]byte, error) {
	c.out = append(c.out, "+ "...)
	c.out = base64.StdEncoding.AppendEncode(c.out, p)
	c.line("")
	b, err := c.readLine(c.limits.AuthOctets)
	switch {
	case errors.Is(err, errLineTooLong):
		return nil, mail.ErrExchange
	case err != nil:
		return nil, &lostError{err}
	case string(b) == "*":
		return nil, errCancelled
	case len(b) == 0:
		return []byte{}, nil
	}
	return decodeResponse(b)
}

// decodeResponse decodes BASE64; "=" is an empty initial response.
func decodeResponse(b []byte) ([]byte, error) {
	if string(b) == "=" {
		return []byte{}, nil
	}
	out, err := base64.StdEncoding.Strict().AppendDecode([]byte{}, b)
	if err != nil {
		return nil, errBase64
	}
	return out, nil
}

// loginFailed answers a login that did not succeed (RFC 3206 for the codes).
func (c *conn) loginFailed(ctx context.Context, err error) error {
	var r *mail.Reply
	switch {
	case errors.Is(err, mail.ErrMechanism):
		c.line("-ERR authentication mechanism is not available")
		return nil
	case errors.Is(err, errCancelled):
		c.line("-ERR authentication cancelled")
		return nil
	case errors.Is(err, mail.ErrExchange), errors.Is(err, errBase64):
		c.line("-ERR authentication response is malformed")
	case errors.Is(err, mail.ErrCredentials):
		c.slow(ctx)
		c.refuse("AUTH", "user name or password is wrong")
	case errors.As(err, &r) && r.Permanent():
		c.slow(ctx)
		c.refuse("AUTH", r.Text)
	case errors.As(err, &r):
		c.refuse("SYS/TEMP", r.Text)
	default:
		c.failed(ctx, err, "temporary local problem, please try again later")
		return nil
	}
	if c.failures++; c.failures >= c.limits.LoginFailures {
		c.over = true
	}
	return nil
}

// slow lets whoever guesses wait.
func (c *conn) slow(ctx context.Context) {
	if c.limits.FailureDelay <= 0 {
		return
	}
	t := time.NewTimer(c.limits.FailureDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// loggedIn opens the maildrop. If that fails the session stays where it is (RFC 1939 section 4).
func (c *conn) loggedIn(ctx context.Context, id mail.Identity) error {
	if c.srv.tooSoon(id.Account, time.Now(), &c.limits) {
		c.refuse("LOGIN-DELAY", "the last login was too short ago")
		return nil
	}
	c.sess.Login, c.sess.Stage = id, mail.StageAuth
	d, err := c.srv.Backend.Open(ctx, &c.sess, c.limits.Messages)
	if err != nil {
		c.sess.Login = mail.Identity{}
		c.failed(ctx, err, "temporary local problem, please try again later")
		return nil
	}
	c.drop = d
	c.st.opened(d.Len())
	c.octets = c.total()
	c.srv.log().Info("pop3: login", "session", c.sess.ID, "remote", c.sess.RemoteAddr, "account", id.Account, "mechanism", id.Mechanism, "messages", d.Len())
	c.line("+OK maildrop is open")
	return nil
}
