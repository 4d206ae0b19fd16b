package report

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// Feedback is a feedback report (RFC 5965) or an authentication failure report (RFC 6591, RFC 9991).
type Feedback struct {
	Type         string // lower case: "abuse", "auth-failure", "fraud", ...
	UserAgent    string
	Version      string
	Arrival      time.Time // Arrival-Date or Received-Date; zero if not given
	Results      []string  // Authentication-Results, unfolded
	Incidents    int64     // 1 if not given
	EnvelopeID   string
	MailFrom     string   // Original-Mail-From, as given
	RcptTo       []string // Original-Rcpt-To, as given
	Domains      []string // Reported-Domain
	URIs         []string // Reported-URI
	ReportingMTA string   // without the type
	SourceIP     netip.Addr
	SourcePort   int

	Failure   string // Auth-Failure, lower case: "dmarc", "bodyhash", ...
	Delivery  string // Delivery-Result
	Alignment string // Identity-Alignment
	DKIM      FailedDKIM
	SPFDNS    string
	Other     []mail.Field // fields that are not known

	Message []byte // the message it is about; nil if there is none
	Headers []byte // or only its header
}

// FailedDKIM is what RFC 6591 says of a signature.
type FailedDKIM struct {
	Domain, Identity, Selector, SelectorDNS, ADSP string
	Header, Body                                  string // canonical, base64 without white space
}

// ParseFeedback reads the fields of a message/feedback-report part.
func ParseFeedback(b []byte) (*Feedback, error) {
	if len(b) > MaxPackedOctets {
		return nil, ErrTooLarge
	}
	h := message.ParseHeader(b)
	f := &Feedback{Incidents: 1}
	n := 0
	for x := range h.Fields() {
		if n++; n > MaxFields {
			return nil, ErrTooLarge
		}
		f.field(strings.ToLower(string(x.Name)), string(message.Unfold(x.Value)))
	}
	if f.Type == "" {
		return nil, ErrNoReport
	}
	return f, nil
}

func (f *Feedback) field(name, v string) {
	to := map[string]*string{
		"user-agent": &f.UserAgent, "version": &f.Version, "original-envelope-id": &f.EnvelopeID, "original-mail-from": &f.MailFrom,
		"delivery-result": &f.Delivery, "identity-alignment": &f.Alignment, "spf-dns": &f.SPFDNS,
		"dkim-domain": &f.DKIM.Domain, "dkim-identity": &f.DKIM.Identity, "dkim-selector": &f.DKIM.Selector,
		"dkim-selector-dns": &f.DKIM.SelectorDNS, "dkim-adsp-dns": &f.DKIM.ADSP,
	}[name]
	if to != nil {
		*to = v
		return
	}
	switch name {
	case "feedback-type":
		f.Type = strings.ToLower(v)
	case "auth-failure":
		f.Failure = strings.ToLower(v)
	case "arrival-date", "received-date":
		if t, ok := message.ParseDate([]byte(v)); ok {
			f.Arrival = t
		}
	case "authentication-results":
		f.Results = append(f.Results, v)
	case "incidents":
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			f.Incidents = n
		}
	case "original-rcpt-to":
		f.RcptTo = append(f.RcptTo, v)
	case "reported-domain":
		f.Domains = append(f.Domains, v)
	case "reported-uri":
		f.URIs = append(f.URIs, v)
	case "reporting-mta":
		if _, host, ok := strings.Cut(v, ";"); ok {
			v = strings.TrimSpace(host)
		}
		f.ReportingMTA = v
	case "source-ip":
		word, _, _ := strings.Cut(v, " ") // some add a name in a comment
		f.SourceIP, _ = netip.ParseAddr(word)
	case "source-port":
		f.SourcePort, _ = strconv.Atoi(v)
	case "dkim-canonicalized-header":
		f.DKIM.Header = strings.Join(strings.Fields(v), "")
	case "dkim-canonicalized-body":
		f.DKIM.Body = strings.Join(strings.Fields(v), "")
	default:
		f.Other = append(f.Other, mail.Field{Name: name, Value: v})
	}
}

// Append appends the fields as a message/feedback-report part holds them (RFC 5965 section 3, RFC 9991 section 4).
func (f *Feedback) Append(dst []byte) []byte {
	put := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				dst = append(dst, message.FoldField(name, v)...)
			}
		}
	}
	put("Feedback-Type", f.Type)
	put("User-Agent", f.UserAgent)
	put("Version", f.Version)
	put("Auth-Failure", f.Failure)
	put("Delivery-Result", f.Delivery)
	put("Identity-Alignment", f.Alignment)
	if !f.Arrival.IsZero() {
		put("Arrival-Date", f.Arrival.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	}
	put("Authentication-Results", f.Results...)
	if f.Incidents > 1 {
		put("Incidents", fmt.Sprint(f.Incidents))
	}
	put("Original-Envelope-Id", f.EnvelopeID)
	put("Original-Mail-From", f.MailFrom)
	put("Original-Rcpt-To", f.RcptTo...)
	put("Reported-Domain", f.Domains...)
	put("Reported-URI", f.URIs...)
	if f.ReportingMTA != "" {
		put("Reporting-MTA", "dns; "+f.ReportingMTA)
	}
	if f.SourceIP.IsValid() {
		put("Source-IP", f.SourceIP.String())
	}
	if f.SourcePort > 0 {
		put("Source-Port", strconv.Itoa(f.SourcePort))
	}
	put("DKIM-Domain", f.DKIM.Domain)
	put("DKIM-Identity", f.DKIM.Identity)
	put("DKIM-Selector", f.DKIM.Selector)
	put("DKIM-Selector-DNS", f.DKIM.SelectorDNS)
	put("SPF-DNS", f.SPFDNS)
	return dst
}

// attach takes the part that holds the message or its header.
func (f *Feedback) attach(headersOnly bool, b []byte) {
	if headersOnly {
		f.Headers = bytes.Clone(b)
	} else {
		f.Message = bytes.Clone(b)
	}
}
