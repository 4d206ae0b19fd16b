// Package oauth verifies the access tokens of an OpenID issuer (JWTs, RFC 9068), for logins by OAUTHBEARER and XOAUTH2.
//
//	v := oauth.New(oauth.Config{Issuer: "https://id.example.org", Audience: []string{"mail"}, Named: accounts.Named})
//	auth := sasl.New(sasl.Config{Tokens: v, ...})
//
// Promises. Nothing is asked before the first token comes: a house starts while its issuer is away, and tokens are
// then put off, not refused. A token counts only if it is signed by a key of the issuer, for one of the audiences,
// neither expired nor too early, and names an account that exists. What the issuer answers is limited in size and time.
// A Verifier is safe for concurrent use.
package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
)

// Limits of what is asked of an issuer.
const (
	MaxAnswerOctets = 1 << 20
	AnswerTimeout   = 10 * time.Second
	RetryAfter      = 10 * time.Second // an issuer that could not be reached is left alone for so long
)

// DefaultClaim is the claim that names the account.
const DefaultClaim = "email"

// Config says whom to believe. Issuer, Audience and Named are required.
type Config struct {
	Issuer   string   // URL, as it stands in the tokens
	Audience []string // one of them must be among those of the token
	Claim    string   // names the account by its address; "": DefaultClaim
	Scope    string   // that clients should ask for; "": none is told
	// Named returns the canonical address of the account that an address means, or mail.ErrCredentials.
	Named func(ctx context.Context, address string) (account string, err error)

	Transport http.RoundTripper // nil: http.DefaultTransport
	Clock     func() time.Time  // nil: time.Now
	Log       *slog.Logger      // nil: none
}

// Verifier is a sasl.Tokens.
type Verifier struct {
	c      Config
	client *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	failed   time.Time // when the issuer could not be reached last
	asking   chan struct{}
}

var _ sasl.Tokens = (*Verifier)(nil)

// New makes a Verifier.
func New(c Config) *Verifier {
	if c.Claim == "" {
		c.Claim = DefaultClaim
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Verifier{c: c, client: &http.Client{Transport: limited{c.Transport}, Timeout: AnswerTimeout}, asking: make(chan struct{}, 1)}
}

// limited bounds what the issuer may answer.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, MaxAnswerOctets), res.Body}
	}
	return res, err
}

// Discovery is of sasl.Tokens.
func (v *Verifier) Discovery() (openIDConfiguration, scope string) {
	return strings.TrimSuffix(v.c.Issuer, "/") + "/.well-known/openid-configuration", v.c.Scope
}

// away is what a client hears while the issuer cannot be asked.
func away(cause error) error {
	return &mail.Reply{Code: 454, Enhanced: mail.Enhanced{4, 7, 0}, Text: "The issuer of tokens cannot be asked, please try again later", Cause: cause}
}

// Token is of sasl.Tokens.
func (v *Verifier) Token(ctx context.Context, _ *mail.Session, _, token string) (string, error) {
	verifier, err := v.get(ctx)
	if err != nil {
		return "", err
	}
	t, err := verifier.Verify(oidc.ClientContext(ctx, v.client), token)
	var unreachable *url.Error
	switch {
	case errors.As(err, &unreachable), ctx.Err() != nil:
		return "", away(err)
	case err != nil:
		v.c.Log.InfoContext(ctx, "token refused", "err", err)
		return "", mail.ErrCredentials
	case !slices.ContainsFunc(t.Audience, func(a string) bool { return slices.Contains(v.c.Audience, a) }):
		v.c.Log.InfoContext(ctx, "token refused", "err", "it is for others", "audience", t.Audience)
		return "", mail.ErrCredentials
	}
	name, ok := v.name(t)
	if !ok {
		v.c.Log.InfoContext(ctx, "token refused", "err", "it names nobody by the claim", "claim", v.c.Claim)
		return "", mail.ErrCredentials
	}
	return v.c.Named(ctx, name)
}

// name reads the claim. An address that the issuer has not verified could be anybody's.
func (v *Verifier) name(t *oidc.IDToken) (string, bool) {
	var claims map[string]any
	if err := t.Claims(&claims); err != nil {
		return "", false
	}
	if verified, told := claims["email_verified"].(bool); v.c.Claim == "email" && told && !verified {
		return "", false
	}
	name, ok := claims[v.c.Claim].(string)
	return name, ok && name != ""
}

// get asks the issuer about itself, once.
func (v *Verifier) get(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	select { // one at a time
	case v.asking <- struct{}{}:
		defer func() { <-v.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	v.mu.Lock()
	known, failed := v.verifier, v.failed
	v.mu.Unlock()
	now := v.c.Clock()
	if known != nil {
		return known, nil
	}
	if !failed.IsZero() && now.Sub(failed) < RetryAfter {
		return nil, away(nil)
	}
	// its context is kept for fetching keys later: it must not end with this login
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), v.client), v.c.Issuer)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.failed = now
		err = fmt.Errorf("oauth: ask issuer: %w", err)
		v.c.Log.WarnContext(ctx, "issuer of tokens cannot be asked", "issuer", v.c.Issuer, "err", err)
		return nil, away(err)
	}
	// the audiences are ours to compare: go-oidc knows of one
	v.verifier = p.Verifier(&oidc.Config{SkipClientIDCheck: true, Now: v.c.Clock})
	return v.verifier, nil
}
