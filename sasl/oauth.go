package sasl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
)

// Tokens verifies OAuth 2.0 bearer tokens, for OAUTHBEARER (RFC 7628) and XOAUTH2. It is safe for concurrent use.
type Tokens interface {
	// Token returns the canonical address of the account that an access token stands for. User is whom the client says
	// that it is, "" if it does not: for choosing among issuers only, the result is compared with it. A token that
	// is expired, of another issuer, or of nobody who may log in gives mail.ErrCredentials; other errors are temporary
	// trouble of ours.
	Token(ctx context.Context, s *mail.Session, user, token string) (account string, err error)
	// Discovery tells a client whose token was refused where to get one (RFC 7628 section 3.2.2): the URL of the OpenID
	// configuration and the scope to ask for, each "" if there is none.
	Discovery() (openIDConfiguration, scope string)
}

// oauthBearer takes the message of OAUTHBEARER (RFC 7628 section 3.1). Host and port are not looked at: a bearer token is
// the same wherever it is shown, and behind a proxy they need not be ours.
func (x *exchange) oauthBearer(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	user, token, ok := parseOAuthBearer(response)
	if !ok {
		return nil, false, mail.ErrExchange
	}
	return x.token(ctx, user, token)
}

// parseOAuthBearer reads gs2-header kvsep *kvpair kvsep.
func parseOAuthBearer(b []byte) (user, token string, ok bool) {
	header, pairs, found := bytes.Cut(b, []byte{1})
	if !found || !utf8.Valid(b) || !bytes.HasSuffix(pairs, []byte{1}) {
		return "", "", false
	}
	// gs2-header of RFC 5801 section 4: there is nothing to bind to the channel
	flag, authzid, found := strings.Cut(string(header), ",")
	if !found || flag != "n" && flag != "y" || !strings.HasSuffix(authzid, ",") {
		return "", "", false
	}
	if authzid = strings.TrimSuffix(authzid, ","); authzid != "" {
		if user, ok = strings.CutPrefix(authzid, "a="); !ok {
			return "", "", false
		}
		if user, ok = unescapeName(user); !ok || user == "" || len(user) > MaxUserOctets || strings.ContainsRune(user, 0) {
			return "", "", false
		}
	}
	token, ok = bearer(strings.TrimSuffix(string(pairs), "\x01"))
	return user, token, ok
}

// unescapeName decodes saslname (RFC 5801 section 4): =2C and =3D.
func unescapeName(s string) (string, bool) {
	rest := strings.ReplaceAll(strings.ReplaceAll(s, "=2C", ""), "=3D", "")
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s), !strings.ContainsAny(rest, "=,")
}

// bearer finds the token among key=value pairs, each ended by 0x01. Keys that are not known are passed over.
func bearer(pairs string) (token string, ok bool) {
	for pairs != "" {
		pair, rest, ended := strings.Cut(pairs, "\x01")
		key, value, has := strings.Cut(pair, "=")
		if !ended || !has || key == "" {
			return "", false
		}
		if pairs = rest; key != "auth" {
			continue
		}
		scheme, t, has := strings.Cut(value, " ")
		if !has || token != "" || !strings.EqualFold(scheme, "Bearer") { // RFC 7628 section 4: in any case
			return "", false
		}
		if token = strings.TrimLeft(t, " "); !isToken(token) {
			return "", false
		}
	}
	return token, token != ""
}

// isToken reports whether s is a b64token (RFC 6750 section 2.1).
func isToken(s string) bool {
	for _, c := range []byte(strings.TrimRight(s, "=")) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~+/", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// xoauth2 takes the message of XOAUTH2, which Google describes: user=NAME ^A auth=Bearer TOKEN ^A ^A.
func (x *exchange) xoauth2(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	first, pairs, found := bytes.Cut(response, []byte{1})
	user, is := strings.CutPrefix(string(first), "user=")
	if !found || !is || user == "" || len(user) > MaxUserOctets || !utf8.Valid(response) || strings.ContainsRune(user, 0) ||
		!bytes.HasSuffix(pairs, []byte{1}) {
		return nil, false, mail.ErrExchange
	}
	token, ok := bearer(strings.TrimSuffix(string(pairs), "\x01"))
	if !ok {
		return nil, false, mail.ErrExchange
	}
	return x.token(ctx, user, token)
}

// token verifies a token. One that is refused is answered by a challenge that says how to get another, whose response
// means nothing, and then the exchange fails (RFC 7628 section 3.2.3).
func (x *exchange) token(ctx context.Context, user, token string) ([]byte, bool, error) {
	err := x.attempt(ctx, user, "", func() (string, error) {
		account, err := x.a.c.Tokens.Token(ctx, x.s, user, token)
		if err == nil && user != "" && limiterKey(user) != limiterKey(account) {
			err = mail.ErrCredentials
		}
		return account, err
	})
	if !errors.Is(err, mail.ErrCredentials) {
		return nil, err == nil, err
	}
	x.step = func(context.Context, []byte) ([]byte, bool, error) { return nil, false, mail.ErrCredentials }
	return x.refusal(), false, nil
}

// refusal is the JSON of RFC 7628 section 3.2.2, and of XOAUTH2.
func (x *exchange) refusal() []byte {
	config, scope := x.a.c.Tokens.Discovery()
	var out any
	if x.mechanism == XOAuth2 {
		out = struct {
			Status  string `json:"status"`
			Schemes string `json:"schemes"`
			Scope   string `json:"scope,omitempty"`
		}{"401", "bearer", scope}
	} else {
		out = struct {
			Status string `json:"status"`
			Scope  string `json:"scope,omitempty"`
			Config string `json:"openid-configuration,omitempty"`
		}{"invalid_token", scope, config}
	}
	b, err := json.Marshal(out)
	if err != nil { // strings always marshal
		return []byte("{}")
	}
	return b
}
