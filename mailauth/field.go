package mailauth

import (
	"golang.org/x/net/idna"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/mailauth/dmarc"
	"github.com/samotop/samotop/message"
)

// Results returns the report as Authentication-Results has it (RFC 8601 section 2.7).
func (r Report) Results(id string) authres.Results {
	out := authres.Results{ID: id}
	identity := authres.Property{Type: "smtp", Name: "mailfrom", Value: r.Facts.From.String()}
	if r.Facts.From.IsNull() {
		identity = authres.Property{Type: "smtp", Name: "helo", Value: r.Facts.Hello}
	}
	out.Methods = append(out.Methods, authres.Method{Name: "spf", Result: string(r.SPF.Status), Properties: []authres.Property{identity}})
	if r.Reverse.Result != "" {
		out.Methods = append(out.Methods, r.iprev())
	}
	for _, d := range r.DKIM {
		m := authres.Method{Name: "dkim", Result: string(d.Status), Reason: d.Reason}
		for _, p := range []authres.Property{{Type: "header", Name: "d", Value: d.Domain}, {Type: "header", Name: "s", Value: d.Selector},
			{Type: "header", Name: "a", Value: d.Algorithm}, {Type: "header", Name: "b", Value: d.Signature}} {
			if p.Value != "" {
				m.Properties = append(m.Properties, p)
			}
		}
		out.Methods = append(out.Methods, m)
	}
	if len(r.DKIM) == 0 {
		out.Methods = append(out.Methods, authres.Method{Name: "dkim", Result: "none"})
	}
	m := authres.Method{Name: "dmarc", Result: string(r.DMARC.Status)}
	if r.DMARC.Record != nil {
		m.Comment = "p=" + string(r.DMARC.Policy)
	}
	if r.DMARC.Domain != "" {
		m.Properties = []authres.Property{{Type: "header", Name: "from", Value: r.DMARC.Domain}}
	}
	if r.DMARC.Status == dmarc.Fail && r.DMARC.Policy != dmarc.None {
		m.Properties = append(m.Properties, authres.Property{Type: "policy", Name: "dmarc", Value: r.Action.String()})
	}
	out.Methods = append(out.Methods, m)
	if !r.ARC.Temporary { // there is no word for it, and a chain must not be condemned for a name server that is away
		out.Methods = append(out.Methods, r.ARC.Method())
	}
	return out
}

// Field returns the Authentication-Results field.
func (r Report) Field(id string) mail.Field { return r.Results(id).Field() }

// appendDomains appends the domain of an address, or of each member of a group, with A-labels (RFC 9989 section 4.2).
func appendDomains(domains []string, a message.AddressOrGroup) []string {
	if a.Group {
		for _, m := range a.Members[:min(len(a.Members), dmarc.MaxDomains)] {
			domains = appendDomains(domains, m)
		}
		return domains
	}
	d := a.Address.Domain
	if a.Address.UTF8() {
		if ascii, err := idna.Lookup.ToASCII(d); err == nil {
			d = ascii
		}
	}
	return append(domains, d)
}
