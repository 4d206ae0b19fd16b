package house

import (
	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
)

// checks stand in front of the mta: what of a stranger's mail is what it claims to be. What DNS does not answer is
// temperror, and accepted or put off: no mail is lost over it.
func (h *House) checks() ([]mail.Middleware, error) {
	if h.conf.MTA.Checks.Off {
		return []mail.Middleware{h.reportReader()}, nil
	}
	dns, err := h.resolver()
	if err != nil {
		return nil, err
	}
	c := &mailauth.Checker{Resolver: dns, ID: h.conf.Hostname, Sealers: h.conf.MTA.Sealers, Rules: checkRules(h.conf.MTA.Checks.Rules), Observe: h.observe}
	return []mail.Middleware{c.Middleware(), h.reportReader()}, nil
}

// checkRules puts the owner's rules before the defaults.
func checkRules(in []config.CheckRule) []mailauth.Rule {
	var out []mailauth.Rule
	for _, r := range in {
		action := mailauth.Accept
		for _, a := range []mailauth.Action{mailauth.Junk, mailauth.Defer, mailauth.Refuse} {
			if a.String() == r.Action {
				action = a
			}
		}
		out = append(out, mailauth.Rule{Domain: r.Domain, Check: r.Check, Result: r.Result, Action: action})
	}
	return append(out, mailauth.DefaultRules()...)
}
