package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

// issued is a Tokens in memory: accounts by token.
type issued map[string]string

func (i issued) Token(_ context.Context, _ *mail.Session, _, token string) (string, error) {
	if token == "later" {
		return "", &mail.Reply{Code: 454, Text: "later"}
	}
	if a, ok := i[token]; ok {
		return a, nil
	}
	return "", mail.ErrCredentials
}

func (issued) Discovery() (string, string) {
	return "https://id.test/.well-known/openid-configuration", "mail"
}

func tokenSession() *mail.Session {
	return &mail.Session{TLS: &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13}, RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}}
}

func TestTokens(t *testing.T) {
	auth := New(Config{Tokens: issued{"good": "alice@example.test"}, Limiter: &Limiter{Free: 1000}})
	const (
		bearerError = `{"status":"invalid_token","scope":"mail","openid-configuration":"https://id.test/.well-known/openid-configuration"}`
		xError      = `{"status":"401","schemes":"bearer","scope":"mail"}`
	)
	for _, c := range []struct {
		mechanism, response string
		refusal             string // the challenge, "" for none
		err                 error
	}{
		{OAuthBearer, "n,a=alice@example.test,\x01host=server.example.com\x01port=143\x01auth=Bearer good\x01\x01", "", nil},
		{OAuthBearer, "n,,\x01auth=bearer  good\x01\x01", "", nil},
		{OAuthBearer, "y,a=Alice@Example.test,\x01x=y\x01auth=BEARER good\x01\x01", "", nil},
		{OAuthBearer, "n,a=bob@example.test,\x01auth=Bearer good\x01\x01", bearerError, mail.ErrCredentials},
		{OAuthBearer, "n,,\x01auth=Bearer bad\x01\x01", bearerError, mail.ErrCredentials},
		{OAuthBearer, "n,a=a=3Db=2Cc,\x01auth=Bearer good\x01\x01", bearerError, mail.ErrCredentials},
		{OAuthBearer, "n,a=a=b,\x01auth=Bearer good\x01\x01", "", mail.ErrExchange},
		{OAuthBearer, "n,b=a,\x01auth=Bearer good\x01\x01", "", mail.ErrExchange},
		{OAuthBearer, "n,a=,\x01auth=Bearer good\x01\x01", "", mail.ErrExchange},
		{OAuthBearer, "p=tls-exporter,,\x01auth=Bearer good\x01\x01", "", mail.ErrExchange},
		{OAuthBearer, "n,,\x01auth=Basic good\x01\x01", "", mail.ErrExchange},
		{OAuthBearer, "n,,\x01auth=Bearer good\x01", "", mail.ErrExchange},
		{OAuthBearer, "n,,\x01auth=Bearer good\x01auth=Bearer good\x01\x01", "", mail.ErrExchange},
		{OAuthBearer, "n,,\x01auth=Bearer go od\x01\x01", "", mail.ErrExchange},
		{OAuthBearer, "n,,\x01auth=Bearer ==\x01\x01", bearerError, mail.ErrCredentials},
		{OAuthBearer, "n,,\x01\x01", "", mail.ErrExchange},
		{OAuthBearer, "\x01", "", mail.ErrExchange},
		{OAuthBearer, "", "", mail.ErrExchange},
		{OAuthBearer, "n,,\x01auth=Bearer \xff\x01\x01", "", mail.ErrExchange},
		{XOAuth2, "user=alice@example.test\x01auth=Bearer good\x01\x01", "", nil},
		{XOAuth2, "user=bob@example.test\x01auth=Bearer good\x01\x01", xError, mail.ErrCredentials},
		{XOAuth2, "user=\x01auth=Bearer good\x01\x01", "", mail.ErrExchange},
		{XOAuth2, "user=alice@example.test\x01auth=Bearer good\x01", "", mail.ErrExchange},
		{XOAuth2, "auth=Bearer good\x01\x01", "", mail.ErrExchange},
	} {
		x, err := auth.Start(t.Context(), tokenSession(), c.mechanism)
		if err != nil {
			t.Fatal(err)
		}
		challenge, done, err := x.Next(t.Context(), []byte(c.response))
		if string(challenge) != c.refusal {
			t.Errorf("%s %q: challenge %q, want %q", c.mechanism, c.response, challenge, c.refusal)
		}
		if c.refusal != "" { // RFC 7628 section 3.2.3: the client says that it has read it
			if err != nil || done {
				t.Errorf("%s %q: %v %v with the error message", c.mechanism, c.response, done, err)
			}
			challenge, done, err = x.Next(t.Context(), []byte("\x01"))
			if challenge != nil {
				t.Errorf("%s %q: %q after the end", c.mechanism, c.response, challenge)
			}
		}
		if !errors.Is(err, c.err) || done != (c.err == nil) {
			t.Errorf("%s %q: %v %v, want %v", c.mechanism, c.response, done, err, c.err)
		}
		if c.err == nil && x.Identity() != (mail.Identity{Account: "alice@example.test", Mechanism: c.mechanism}) {
			t.Errorf("%s %q: %v", c.mechanism, c.response, x.Identity())
		}
	}
}

func TestTokenWithoutInitialResponse(t *testing.T) {
	auth := New(Config{Tokens: issued{"good": "alice@example.test"}})
	x, err := auth.Start(t.Context(), tokenSession(), "oauthbearer")
	if err != nil {
		t.Fatal(err)
	}
	if c, done, err := x.Next(t.Context(), nil); c == nil || len(c) > 0 || done || err != nil {
		t.Fatal(c, done, err)
	}
	if _, done, err := x.Next(t.Context(), []byte("n,,\x01auth=Bearer good\x01\x01")); !done || err != nil {
		t.Fatal(done, err)
	}
}

// Trouble of ours is no refusal: it is not counted, and the client hears to come again.
func TestTokenTrouble(t *testing.T) {
	lim := &Limiter{Free: 1}
	auth := New(Config{Tokens: issued{}, Limiter: lim})
	s := tokenSession()
	for range 3 {
		x, err := auth.Start(t.Context(), s, XOAuth2)
		if err != nil {
			t.Fatal(err)
		}
		_, done, err := x.Next(t.Context(), []byte("user=a@b.test\x01auth=Bearer later\x01\x01"))
		var r *mail.Reply
		if done || !errors.As(err, &r) || !r.Temporary() {
			t.Fatal(done, err)
		}
	}
	if d := lim.Delay("a@b.test", s.RemoteAddr); d != 0 {
		t.Errorf("trouble costs %v", d)
	}
}

// Refused tokens that name nobody are counted for their network, not for all who name nobody.
func TestNamelessTokensCounted(t *testing.T) {
	now := time.Now()
	lim := &Limiter{Free: 3, Clock: func() time.Time { return now }}
	auth := New(Config{Tokens: issued{}, Limiter: lim})
	s := tokenSession()
	for range 3 {
		x, err := auth.Start(t.Context(), s, OAuthBearer)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := x.Next(t.Context(), []byte("n,,\x01auth=Bearer bad\x01\x01")); err != nil {
			t.Fatal(err)
		}
	}
	if d := lim.Delay("", s.RemoteAddr); d == 0 {
		t.Error("the network may guess on")
	}
	if d := lim.Delay("", &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1)}); d != 0 {
		t.Errorf("others wait %v", d)
	}
}

// RFC 7628 section 3: TLS must be used.
func TestTokensNeedTLS(t *testing.T) {
	auth := New(Config{Tokens: issued{}, Credentials: testPeople()})
	for _, s := range []*mail.Session{{}, tokenSession()} {
		offered := auth.Mechanisms(s)
		for _, m := range []string{OAuthBearer, XOAuth2} {
			if slices.Contains(offered, m) != (s.TLS != nil) {
				t.Errorf("%v offered with TLS %v", strings.Join(offered, " "), s.TLS != nil)
			}
		}
	}
}

func FuzzOAuthBearer(f *testing.F) {
	f.Add([]byte("n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"))
	f.Add([]byte("n,,\x01auth=Bearer a\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		user, token, ok := parseOAuthBearer(b)
		if ok && (!isToken(token) || strings.ContainsRune(user, 0)) {
			t.Fatalf("%q: user %q token %q", b, user, token)
		}
	})
}
