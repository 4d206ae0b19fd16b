package report

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// namespace is that of RFC 9990 section 3.1.2.
const namespace = "urn:ietf:params:xml:ns:dmarc-2.0"

// WriteTo writes the report as XML (RFC 9990 appendix A), in one pass.
func (a *Aggregate) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	x := &xmlWriter{w: bufio.NewWriter(c)}
	x.raw(xml.Header)
	x.raw(`<feedback xmlns="` + namespace + `">` + "\n")
	x.element("version", "1.0")
	x.in("report_metadata", func() {
		x.element("org_name", a.OrgName)
		x.element("email", a.Email)
		x.optional("extra_contact_info", a.Contact)
		x.element("report_id", a.ReportID)
		x.in("date_range", func() {
			x.element("begin", strconv.FormatInt(a.Begin.Unix(), 10))
			x.element("end", strconv.FormatInt(a.End.Unix(), 10))
		})
		for _, e := range a.Errors {
			x.element("error", e)
		}
		x.optional("generator", a.Generator)
	})
	a.Published.write(x)
	for i := range a.Records {
		a.Records[i].write(x)
	}
	x.raw("</feedback>\n")
	if x.err == nil {
		x.err = x.w.Flush()
	}
	return c.n, x.err
}

func (p *Published) write(x *xmlWriter) {
	x.in("policy_published", func() {
		x.element("domain", p.Domain)
		x.optional("discovery_method", p.Discovery)
		x.element("p", p.Policy)
		x.optional("sp", p.Subdomain)
		x.optional("np", p.NonExist)
		x.optional("adkim", p.DKIM)
		x.optional("aspf", p.SPF)
		x.optional("fo", p.Failure)
		testing := "n"
		if p.Testing {
			testing = "y"
		}
		x.element("testing", testing)
	})
}

func (r *Record) write(x *xmlWriter) {
	x.in("record", func() {
		x.in("row", func() {
			x.element("source_ip", r.Source.String())
			x.element("count", strconv.FormatInt(r.Count, 10))
			x.in("policy_evaluated", func() {
				x.element("disposition", r.Disposition)
				x.element("dkim", r.DKIM)
				x.element("spf", r.SPF)
				for _, why := range r.Reasons {
					x.in("reason", func() {
						x.element("type", why.Type)
						x.optional("comment", why.Comment)
					})
				}
			})
		})
		x.in("identifiers", func() {
			x.element("header_from", r.HeaderFrom)
			x.optional("envelope_from", r.EnvelopeFrom)
			x.optional("envelope_to", r.EnvelopeTo)
		})
		x.in("auth_results", func() {
			for _, d := range r.DKIMResults {
				x.in("dkim", func() {
					x.element("domain", d.Domain)
					x.element("selector", d.Selector)
					x.element("result", d.Result)
					x.optional("human_result", d.Human)
				})
			}
			for _, s := range r.SPFResults {
				x.in("spf", func() {
					x.element("domain", s.Domain)
					x.optional("scope", s.Scope)
					x.element("result", s.Result)
					x.optional("human_result", s.Human)
				})
			}
		})
	})
}

// Filename is the name of the attached file (RFC 9990 section 3.5.2): receiver ! domain ! begin ! end .xml.gz
func (a *Aggregate) Filename(receiver string) string {
	return fmt.Sprintf("%s!%s!%d!%d.xml.gz", fileWord(receiver), fileWord(a.Published.Domain), a.Begin.Unix(), a.End.Unix())
}

// Subject is the subject of the message (RFC 9990 section 3.5.2).
func (a *Aggregate) Subject(submitter string) string {
	return "Report Domain: " + fileWord(a.Published.Domain) + " Submitter: " + fileWord(submitter) + " Report-ID: <" + fileWord(a.ReportID) + ">"
}

func fileWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(`!/\<>":;`, r) {
			return '_'
		}
		return r
	}, s)
}

// xmlWriter writes elements until something fails.
type xmlWriter struct {
	w      *bufio.Writer
	indent int
	err    error
}

func (x *xmlWriter) raw(s string) {
	if x.err == nil {
		_, x.err = x.w.WriteString(s)
	}
}

func (x *xmlWriter) element(name, text string) {
	x.raw(strings.Repeat("  ", x.indent+1) + "<" + name + ">")
	if x.err == nil {
		x.err = xml.EscapeText(x.w, []byte(text))
	}
	x.raw("</" + name + ">\n")
}

func (x *xmlWriter) optional(name, text string) {
	if text != "" {
		x.element(name, text)
	}
}

func (x *xmlWriter) in(name string, f func()) {
	pad := strings.Repeat("  ", x.indent+1)
	x.raw(pad + "<" + name + ">\n")
	x.indent++
	f()
	x.indent--
	x.raw(pad + "</" + name + ">\n")
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// day is the period of a report that is made daily.
const day = 24 * time.Hour

// Day returns the period of the daily report that holds now: a day of UTC, both ends included.
func Day(now time.Time) (begin, end time.Time) {
	begin = now.UTC().Truncate(day)
	return begin, begin.Add(day - time.Second)
}
