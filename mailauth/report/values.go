package report

import (
	"net/netip"
	"strconv"
	"time"
)

// meta takes a value outside of the records.
func (p *aggregateReader) meta(path, text string) {
	a := p.a
	to := map[string]*string{
		"version": &a.Version, "report_metadata/org_name": &a.OrgName, "report_metadata/email": &a.Email,
		"report_metadata/extra_contact_info": &a.Contact, "report_metadata/report_id": &a.ReportID, "report_metadata/generator": &a.Generator,
		"policy_published/domain": &a.Published.Domain, "policy_published/adkim": &a.Published.DKIM, "policy_published/aspf": &a.Published.SPF,
		"policy_published/p": &a.Published.Policy, "policy_published/sp": &a.Published.Subdomain, "policy_published/np": &a.Published.NonExist,
		"policy_published/fo": &a.Published.Failure, "policy_published/pct": &a.Published.Percent, "policy_published/discovery_method": &a.Published.Discovery,
	}[path]
	switch {
	case to != nil:
		*to = text
	case path == "policy_published/testing":
		a.Published.Testing = text == "y"
	case path == "report_metadata/date_range/begin":
		a.Begin = seconds(text)
	case path == "report_metadata/date_range/end":
		a.End = seconds(text)
	case path == "report_metadata/error" && len(a.Errors) < 100:
		a.Errors = append(a.Errors, text)
	}
}

func seconds(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// record takes a value within a record.
func (p *aggregateReader) record(path, text string) {
	r := &p.rec
	switch path {
	case "row/source_ip":
		r.Source, _ = netip.ParseAddr(text)
	case "row/count":
		r.Count, _ = strconv.ParseInt(text, 10, 64)
		r.Count = max(0, r.Count)
	case "row/policy_evaluated/disposition":
		r.Disposition = text
	case "row/policy_evaluated/dkim":
		r.DKIM = text
	case "row/policy_evaluated/spf":
		r.SPF = text
	case "row/policy_evaluated/reason/type":
		r.Reasons[len(r.Reasons)-1].Type = text
	case "row/policy_evaluated/reason/comment":
		r.Reasons[len(r.Reasons)-1].Comment = text
	case "identifiers/envelope_to":
		r.EnvelopeTo = text
	case "identifiers/envelope_from":
		r.EnvelopeFrom = text
	case "identifiers/header_from":
		r.HeaderFrom = text
	default:
		p.result(path, text)
	}
}

func (p *aggregateReader) result(path, text string) {
	var to *string
	if n := len(p.rec.DKIMResults); n > 0 {
		d := &p.rec.DKIMResults[n-1]
		to = map[string]*string{"auth_results/dkim/domain": &d.Domain, "auth_results/dkim/selector": &d.Selector,
			"auth_results/dkim/result": &d.Result, "auth_results/dkim/human_result": &d.Human}[path]
	}
	if n := len(p.rec.SPFResults); n > 0 && to == nil {
		s := &p.rec.SPFResults[n-1]
		to = map[string]*string{"auth_results/spf/domain": &s.Domain, "auth_results/spf/scope": &s.Scope,
			"auth_results/spf/result": &s.Result, "auth_results/spf/human_result": &s.Human}[path]
	}
	if to != nil {
		*to = text
	}
}
