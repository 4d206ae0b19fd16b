package config

import (
	"net"
	"net/url"
)

// OAuth is who issues the tokens by which people may log in (OAUTHBEARER, XOAUTH2).
type OAuth struct {
	Issuer   string   `json:",omitempty"` // "": tokens are not taken
	Audience []string `json:",omitempty"`
	Claim    string   `json:",omitempty"` // "": email
	Scope    string   `json:",omitempty"`
}

type rawOAuth struct {
	Issuer   *string   `toml:"issuer"`
	Audience *[]string `toml:"audience"`
	Claim    *string   `toml:"claim"`
	Scope    *string   `toml:"scope"`
}

func (r *rawOAuth) merge(later *rawOAuth) {
	over(&r.Issuer, later.Issuer)
	over(&r.Audience, later.Audience)
	over(&r.Claim, later.Claim)
	over(&r.Scope, later.Scope)
}

func (l *loader) oauth() OAuth {
	r := &l.raw.OAuth
	o := OAuth{Issuer: value(r.Issuer), Audience: value(r.Audience), Claim: value(r.Claim), Scope: value(r.Scope)}
	if o.Issuer == "" {
		for key, given := range map[string]bool{"oauth.audience": r.Audience != nil, "oauth.claim": r.Claim != nil, "oauth.scope": r.Scope != nil} {
			if given {
				l.fault(key, `name the issuer, such as issuer = "https://id.example.org"`, "stands without oauth.issuer")
			}
		}
		return o
	}
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		l.fault("oauth.issuer", "write its URL as it stands in the tokens; http is taken on a loopback address only", "%q is not an https URL", o.Issuer)
	}
	if len(o.Audience) == 0 { // a token for another service must not open a mailbox
		l.fault("oauth.audience", `name for whom the issuer makes tokens of mail programs, such as audience = ["mail"]`, "is missing")
	}
	return o
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
