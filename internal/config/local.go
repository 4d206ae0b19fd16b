package config

import (
	"strings"

	"golang.org/x/net/idna"

	"github.com/samotop/samotop/mail"
)

// local reads what programs of this machine may do.
func (l *loader) local(m *MSA, hostname string) {
	r := &l.raw.MSA
	m.Local = r.Local == nil || *r.Local
	if m.LocalDomain = hostname; value(r.LocalDomain) != "" {
		m.LocalDomain = strings.ToLower(strings.TrimSuffix(*r.LocalDomain, "."))
		if a, err := idna.Lookup.ToASCII(m.LocalDomain); err == nil {
			m.LocalDomain = a
		}
		if !mail.IsDomain(m.LocalDomain) || strings.HasPrefix(m.LocalDomain, "[") {
			l.fault("msa.local_domain", "write local_domain = \"example.org\"", "%q is not a domain", *r.LocalDomain)
		}
	}
	for _, u := range value(r.TrustedUsers) {
		if u == "" || strings.ContainsAny(u, "@:/ \t\r\n") {
			l.fault("msa.trusted_users", "write names of users of this machine, such as \"www-data\"", "%q is not a user", u)
			continue
		}
		m.TrustedUsers = append(m.TrustedUsers, u)
	}
}
