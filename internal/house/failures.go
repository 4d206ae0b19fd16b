package house

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/mailauth/dmarc"
	"github.com/samotop/samotop/mailauth/report"
	"github.com/samotop/samotop/mailauth/spf"
)

// Limits of failure reports, which RFC 9991 section 2 requires: a flood of forgeries is told by a sample.
const (
	failuresADomain    = 10 // in an hour
	failuresInAll      = 200
	failureHeader      = 16 << 10 // octets of the message's header
	failureTime        = time.Minute
	failuresAtTheTime  = 2
	maxFailureDomains  = 4096
	failureUserAgentID = "samotop/"
)

// failures tells the owners of domains, if the configuration says so, about messages that failed in their name.
type failures struct {
	h     *House
	slots chan struct{}

	mu    sync.Mutex
	hour  int64
	each  map[string]int
	total int
}

func newFailures(h *House) *failures {
	return &failures{h: h, slots: make(chan struct{}, failuresAtTheTime)}
}

// tell reports a message, or not. It returns at once.
func (f *failures) tell(ctx context.Context, r mailauth.Report) {
	if !f.h.conf.Reports.Failures || r.Early || r.Facts.From.IsNull() || r.DMARC.Record == nil || len(r.DMARC.Record.FailureTo) == 0 {
		return
	}
	if r.DMARC.Record.PSD == "y" { // RFC 9991 section 2
		return
	}
	kind := failed(r)
	if kind == "" || !f.allowed(strings.ToLower(r.DMARC.RecordAt), time.Now()) {
		return
	}
	select {
	case f.slots <- struct{}{}:
	default:
		return
	}
	m := f.mail(r, kind, time.Now())
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), failureTime)
	go func() {
		defer cancel()
		defer func() { <-f.slots }()
		if err := f.send(ctx, r, m); err != nil {
			f.h.log.Debug("a failure report was not sent", "domain", r.DMARC.RecordAt, "err", err)
		}
	}()
}

// failed says what is reported, by the options in fo (RFC 9989 section 4.7): "" is nothing.
func failed(r mailauth.Report) string {
	if r.DMARC.Status != dmarc.Pass && r.DMARC.Status != dmarc.Fail {
		return ""
	}
	aligned := r.DMARC.AlignedSPF && len(r.DMARC.AlignedDKIM) > 0
	for option := range strings.SplitSeq(r.DMARC.Record.Failure, ":") {
		switch strings.TrimSpace(option) {
		case "0":
			if r.DMARC.Status == dmarc.Fail {
				return "dmarc"
			}
		case "1":
			if !aligned {
				return "dmarc"
			}
		case "d", "D":
			for _, d := range r.DKIM {
				if d.Status == dkim.Fail {
					return "signature"
				}
			}
		case "s", "S":
			if r.SPF.Status == spf.Fail || r.SPF.Status == spf.SoftFail || r.SPF.Status == spf.PermError {
				return "spf"
			}
		}
	}
	return ""
}

// allowed counts a report.
func (f *failures) allowed(domain string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if hour := now.Unix() / 3600; hour != f.hour || f.each == nil {
		f.hour, f.each, f.total = hour, map[string]int{}, 0
	}
	if f.total >= failuresInAll || f.each[domain] >= failuresADomain || len(f.each) >= maxFailureDomains {
		return false
	}
	f.total++
	f.each[domain]++
	return true
}

func (f *failures) mail(r mailauth.Report, kind string, now time.Time) *report.Mail {
	host := f.h.conf.Hostname
	results := r.Field(host)
	x := &report.Feedback{Type: "auth-failure", UserAgent: failureUserAgentID + f.h.o.Version, Version: "1", Failure: kind, Arrival: now,
		Results: []string{strings.Join(strings.Fields(results.Value), " ")}, MailFrom: r.Facts.From.Path(), Domains: []string{r.DMARC.Domain},
		ReportingMTA: host, SourceIP: r.Facts.IP, Delivery: "delivered", Alignment: alignment(r), Headers: report.WithoutRecipients(r.Header, failureHeader)}
	switch r.Action {
	case mailauth.Refuse, mailauth.Defer:
		x.Delivery = "reject"
	case mailauth.Junk:
		x.Delivery = "spam"
	}
	for _, d := range r.DKIM {
		if d.Status == dkim.Fail {
			x.DKIM.Domain, x.DKIM.Selector, x.DKIM.Identity = d.Domain, d.Selector, d.Identity
			break
		}
	}
	m := report.FailureMail(x, host)
	m.From, m.Date, m.MessageID = "DMARC reports <postmaster@"+host+">", now, "<"+strings.ToLower(rand.Text())+"@"+host+">"
	return m
}

// alignment is Identity-Alignment (RFC 9991 section 4): what did not authenticate an aligned identity.
func alignment(r mailauth.Report) string {
	var out []string
	if len(r.DMARC.AlignedDKIM) == 0 {
		out = append(out, "dkim")
	}
	if !r.DMARC.AlignedSPF {
		out = append(out, "spf")
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, ", ")
}

// send asks whether the addresses want it, and gives it to the queue.
func (f *failures) send(ctx context.Context, r mailauth.Report, m *report.Mail) error {
	var to []string
	for _, u := range r.DMARC.Record.FailureTo {
		to = append(to, u.Address)
	}
	addresses, err := f.h.consenting(ctx, strings.ToLower(r.DMARC.RecordAt), to)
	if err != nil || len(addresses) == 0 {
		return err
	}
	for _, a := range addresses {
		m.To = append(m.To, a.String())
	}
	if !r.DMARC.AlignedSPF && r.SPF.Status != spf.Pass {
		m.Feedback.SPFDNS = f.policy(ctx, r.SPF.Domain)
	}
	return f.h.sendOwn(ctx, m, addresses)
}

// consenting returns those of the addresses in a record that reports about a domain may go to.
func (h *House) consenting(ctx context.Context, about string, addresses []string) (out []mail.Address, err error) {
	dns, err := h.resolver()
	if err != nil {
		return nil, err
	}
	for _, s := range addresses {
		a, err := mail.ParseAddress(s)
		if err != nil {
			continue
		}
		ok, err := authorized(ctx, dns, about, a.Domain)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, a)
		}
	}
	return out, nil
}

// policy is the SPF record of a domain as SPF-DNS has it (RFC 6591 section 3.2.6); "" if there is none.
func (f *failures) policy(ctx context.Context, domain string) string {
	dns, err := f.h.resolver()
	if err != nil || domain == "" {
		return ""
	}
	texts, _, err := dns.TXT(ctx, domain)
	if err != nil {
		return ""
	}
	for _, s := range texts {
		if rest, ok := strings.CutPrefix(strings.ToLower(s), "v=spf1"); ok && (rest == "" || rest[0] == ' ') {
			return "txt : " + domain + " : " + strconv.Quote(s)
		}
	}
	return ""
}
