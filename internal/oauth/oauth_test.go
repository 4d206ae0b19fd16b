package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/samotop/samotop/internal/oauth"
	"github.com/samotop/samotop/mail"
)

// issuer is an OpenID issuer on loopback.
type issuer struct {
	*httptest.Server
	key  *ecdsa.PrivateKey
	down atomic.Bool
	hits atomic.Int64
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	i.Server = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.hits.Add(1)
	if i.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	case "/keys":
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	default:
		http.NotFound(w, r)
	}
}

// token signs claims with a key.
func token(t *testing.T, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func named(_ context.Context, address string) (string, error) {
	if strings.EqualFold(address, "alice@example.test") {
		return "alice@example.test", nil
	}
	return "", mail.ErrCredentials
}

func TestToken(t *testing.T) {
	i := newIssuer(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	good := map[string]any{"iss": i.URL, "aud": []string{"web", "mail"}, "sub": "1", "email": "Alice@example.test", "exp": now.Add(time.Hour).Unix()}
	but := func(key string, v any) map[string]any {
		c := map[string]any{}
		for k, x := range good {
			c[k] = x
		}
		c[key] = v
		return c
	}
	v := oauth.New(oauth.Config{Issuer: i.URL, Audience: []string{"mail"}, Named: named})
	for name, c := range map[string]struct {
		token string
		ok    bool
	}{
		"good":            {token(t, i.key, good), true},
		"one audience":    {token(t, i.key, but("aud", "mail")), true},
		"verified":        {token(t, i.key, but("email_verified", true)), true},
		"not verified":    {token(t, i.key, but("email_verified", false)), false},
		"for others":      {token(t, i.key, but("aud", "web")), false},
		"of others":       {token(t, i.key, but("iss", "https://id.example.net")), false},
		"expired":         {token(t, i.key, but("exp", now.Add(-time.Hour).Unix())), false},
		"too early":       {token(t, i.key, but("nbf", now.Add(time.Hour).Unix())), false},
		"of nobody":       {token(t, i.key, but("email", "eve@example.test")), false},
		"without a name":  {token(t, i.key, but("email", "")), false},
		"of another kind": {token(t, i.key, but("email", 7)), false},
		"other key":       {token(t, other, good), false},
		"no JWT":          {"abc", false},
	} {
		account, err := v.Token(t.Context(), nil, "", c.token)
		if c.ok && (err != nil || account != "alice@example.test") || !c.ok && !errors.Is(err, mail.ErrCredentials) {
			t.Errorf("%s: %q, %v", name, account, err)
		}
	}
}

// An issuer that is away puts logins off, and is not asked at every one.
func TestIssuerAway(t *testing.T) {
	i := newIssuer(t)
	i.down.Store(true)
	now := time.Now()
	v := oauth.New(oauth.Config{Issuer: i.URL, Audience: []string{"mail"}, Named: named, Clock: func() time.Time { return now }})
	tok := token(t, i.key, map[string]any{"iss": i.URL, "aud": "mail", "email": "alice@example.test", "exp": now.Add(time.Hour).Unix()})
	for range 3 {
		_, err := v.Token(t.Context(), nil, "", tok)
		var r *mail.Reply
		if !errors.As(err, &r) || !r.Temporary() {
			t.Fatalf("%v: not put off", err)
		}
	}
	if n := i.hits.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	i.down.Store(false)
	now = now.Add(oauth.RetryAfter)
	if account, err := v.Token(t.Context(), nil, "", tok); err != nil || account != "alice@example.test" {
		t.Errorf("%q, %v when the issuer is back", account, err)
	}
}

func TestClaim(t *testing.T) {
	i := newIssuer(t)
	v := oauth.New(oauth.Config{Issuer: i.URL, Audience: []string{"mail"}, Claim: "preferred_username", Scope: "mail", Named: named})
	tok := token(t, i.key, map[string]any{"iss": i.URL, "aud": "mail", "preferred_username": "alice@example.test", "exp": time.Now().Add(time.Hour).Unix()})
	if account, err := v.Token(t.Context(), nil, "", tok); err != nil || account != "alice@example.test" {
		t.Errorf("%q, %v", account, err)
	}
	if conf, scope := v.Discovery(); conf != i.URL+"/.well-known/openid-configuration" || scope != "mail" {
		t.Error(conf, scope)
	}
}
