package house

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/mailauth/dmarc"
	"github.com/samotop/samotop/mailauth/report"
	"github.com/samotop/samotop/mailauth/spf"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/message"
	"github.com/samotop/samotop/resolver"
)

// Times of the reports to others.
const (
	countFlush  = time.Minute
	reportWait  = 30 * time.Minute // after the end of the day, and up to reportRange more, so that not all houses report at once
	reportRange = 3 * time.Hour
	reportGiven = 3 // days after which what could not be sent is forgotten
)

// count adds a checked message to the report for the owner of its domain, if he wants one (RFC 9990 section 3).
func (h *House) count(r mailauth.Report) {
	if h.counts == nil || r.Early || r.DMARC.Record == nil || len(r.DMARC.Record.Aggregate) == 0 || !h.conf.Reports.DMARC {
		return
	}
	if r.DMARC.Status != dmarc.Pass && r.DMARC.Status != dmarc.Fail {
		return
	}
	rec := r.DMARC.Record
	x := management.Counted{Day: time.Now().UTC().Format(time.DateOnly), Domain: strings.ToLower(r.DMARC.RecordAt), Record: recordOf(r),
		Published: report.Published{Domain: strings.ToLower(r.DMARC.RecordAt), DKIM: strictness(rec.StrictDKIM), SPF: strictness(rec.StrictSPF), Policy: string(rec.Policy),
			Subdomain: string(rec.Subdomain), NonExist: string(rec.NonExistent), Testing: rec.Testing, Failure: rec.Failure, Discovery: "treewalk"}}
	for _, u := range rec.Aggregate {
		x.To = append(x.To, u.Address)
	}
	h.counts.Count(x)
}

func strictness(strict bool) string {
	if strict {
		return "s"
	}
	return "r"
}

// recordOf is what the report says of one message.
func recordOf(r mailauth.Report) report.Record {
	out := report.Record{Source: r.Facts.IP, Count: 1, Disposition: "none", DKIM: "fail", SPF: "fail", HeaderFrom: r.DMARC.Domain, EnvelopeFrom: r.Facts.From.Domain}
	switch r.Action {
	case mailauth.Refuse:
		out.Disposition = "reject"
	case mailauth.Junk:
		out.Disposition = "quarantine"
	}
	if len(r.DMARC.AlignedDKIM) > 0 {
		out.DKIM = "pass"
	}
	if r.DMARC.AlignedSPF {
		out.SPF = "pass"
	}
	for _, f := range r.Findings { // why the policy was not followed (RFC 9990 section 3.1.1.8)
		switch f.Result {
		case mailauth.DMARCTrusted:
			out.Reasons = append(out.Reasons, report.Reason{Type: "trusted_forwarder", Comment: "arc=pass"})
		case mailauth.DMARCList:
			out.Reasons = append(out.Reasons, report.Reason{Type: "mailing_list"})
		}
	}
	for i, d := range r.DKIM {
		if i == dkim.MaxSignatures {
			break
		}
		out.DKIMResults = append(out.DKIMResults, report.DKIMResult{Domain: d.Domain, Selector: d.Selector, Result: string(d.Status)})
	}
	scope := "mfrom"
	if r.Facts.From.IsNull() {
		scope = "helo"
	}
	if r.SPF.Status != spf.None || r.SPF.Domain != "" {
		out.SPFResults = []report.SPFResult{{Domain: r.SPF.Domain, Scope: scope, Result: string(r.SPF.Status)}}
	}
	return out
}

// reporting writes what was counted, and sends the reports of days that are over, until ctx ends.
func (h *House) reporting(ctx context.Context) {
	tick := time.NewTicker(countFlush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.flushCounts(ctx)
			if h.journal != nil {
				h.sendReports(ctx, time.Now())
			}
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), remoteJournalTime)
			h.flushCounts(end)
			cancel()
			return
		}
	}
}

// flushCounts writes them here, or hands them to the process of management.
func (h *House) flushCounts(ctx context.Context) {
	if h.journal != nil {
		if err := h.counts.Flush(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("what was counted for reports is lost", "err", err)
		}
		return
	}
	counted := h.counts.Take()
	over := management.Over(h.dialer("events"))
	defer over.CloseIdleConnections()
	for len(counted) > 0 {
		n := min(len(counted), 200)
		if err := (management.Client{HTTP: over}).Call(ctx, "reports/count", management.CountArgs{Counted: counted[:n]}, nil); err != nil {
			h.log.Warn("what was counted for reports is lost", "messages", len(counted), "err", err)
			return
		}
		counted = counted[n:]
	}
}

// sendReports sends what is due, one report for each domain and day.
func (h *House) sendReports(ctx context.Context, now time.Time) {
	now = now.UTC()
	sum := fnv.New32a()
	_, _ = io.WriteString(sum, h.conf.Hostname)
	if since := now.Sub(now.Truncate(24 * time.Hour)); since < reportWait+time.Duration(sum.Sum32())%reportRange {
		return
	}
	due, err := h.counts.Due(ctx, now.Format(time.DateOnly))
	if err != nil {
		h.log.Warn("reports cannot be made", "err", err)
		return
	}
	for _, d := range due {
		err := h.sendReport(ctx, d, now)
		if ctx.Err() != nil {
			return
		}
		day, _ := time.Parse(time.DateOnly, d.Day)
		if err != nil && now.Sub(day) < reportGiven*24*time.Hour {
			h.log.Warn("a report waits", "domain", d.Domain, "day", d.Day, "err", err)
			continue
		}
		if err := h.counts.Done(ctx, d); err != nil {
			h.log.Warn("a report may be sent again", "domain", d.Domain, "day", d.Day, "err", err)
		}
	}
}

// sendReport makes one and gives it to the queue.
func (h *House) sendReport(ctx context.Context, d management.Due, now time.Time) error {
	day, err := time.Parse(time.DateOnly, d.Day)
	if err != nil {
		return nil //nolint:nilerr // it cannot be mended: forgotten
	}
	to, err := h.consenting(ctx, d.Domain, d.To)
	if err != nil || len(to) == 0 {
		return err
	}
	begin, end := report.Day(day)
	id := d.Day + "." + d.Domain + "." + strings.ToLower(rand.Text())
	a := &report.Aggregate{Version: "1.0", OrgName: h.conf.Hostname, Email: "postmaster@" + h.conf.Hostname, ReportID: id, Begin: begin, End: end,
		Generator: "samotop " + h.o.Version, Published: d.Published, Records: d.Records}
	m, err := report.AggregateMail(a, h.conf.Hostname)
	if err != nil {
		return err
	}
	m.From, m.Date, m.MessageID = "DMARC reports <postmaster@"+h.conf.Hostname+">", now, "<"+strings.ToLower(rand.Text())+"@"+h.conf.Hostname+">"
	for _, x := range to {
		m.To = append(m.To, x.String())
	}
	return h.sendOwn(ctx, m, to)
}

// sendOwn signs a message of our own and puts it into the queue, with the null reverse-path: nobody is to answer.
func (h *House) sendOwn(ctx context.Context, m *report.Mail, to []mail.Address) error {
	s := &mail.Session{ID: rand.Text(), Service: "management", Trusted: true, Start: time.Now(), Hello: h.conf.Hostname, Extended: true}
	r, err := h.queueDoor.Open(ctx, s)
	if err != nil {
		return err
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close() //nolint:errcheck // it was only spoken to
	}
	tx, err := r.Begin(ctx, s, mail.Sender{})
	if err != nil {
		return err
	}
	defer tx.Abort() //nolint:errcheck // committed, or given up
	for _, a := range to {
		if err := tx.Recipient(ctx, &mail.Recipient{Address: a, Notify: mail.NotifyNever}); err != nil {
			return err
		}
	}
	sign := h.signer().Message()
	if _, err := m.WriteTo(io.MultiWriter(tx, sign)); err != nil {
		return err
	}
	fields, err := sign.Close()
	if err != nil {
		return err
	}
	tx.Trace(fields...)
	replies, err := tx.Commit(ctx)
	for i := range replies {
		if err == nil && !replies[i].Positive() {
			err = &replies[i]
		}
	}
	return err
}

// authorized reports whether reports about a domain may go to an address in another (RFC 9990 section 4).
func authorized(ctx context.Context, dns resolver.Resolver, about, to string) (bool, error) {
	to, about = strings.ToLower(to), strings.ToLower(about)
	if to == about || sameOwner(about, to) {
		return true, nil
	}
	texts, _, err := dns.TXT(ctx, about+"._report._dmarc."+to)
	switch {
	case errors.Is(err, resolver.ErrNoName), errors.Is(err, resolver.ErrNoData), errors.Is(err, resolver.ErrBadName):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("may reports about %s go to %s: %w", about, to, err)
	}
	for _, s := range texts {
		if dmarc.IsRecord(s) {
			return true, nil
		}
	}
	return false, nil
}

// sameOwner reports whether two domains are of one organization by the public suffix list, so that nobody is sent reports who
// only lets others have names below his own.
func sameOwner(a, b string) bool {
	x, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return false
	}
	y, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && x == y
}

// Limits on reports that come to us.
const (
	maxReportOctets = 8 << 20
	reportParsers   = 2 // at the same time; a report that finds no room is mail like any other
	reportTime      = 10 * time.Second
)

// reports stands in front of the mta and reads the reports that come to our report addresses, once the message is taken.
// They are delivered as any mail is.
func (h *House) reportReader() mail.Middleware {
	slots := make(chan struct{}, reportParsers)
	return func(next mail.Door) mail.Door {
		return mail.DoorFunc(func(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
			r, err := next.Open(ctx, s)
			if err != nil {
				return r, err
			}
			rr := reportReceiver{Receiver: r, h: h, slots: slots}
			if c, ok := r.(io.Closer); ok {
				return struct {
					mail.Receiver
					io.Closer
				}{rr, c}, nil
			}
			return rr, nil
		})
	}
}

type reportReceiver struct {
	mail.Receiver
	h     *House
	slots chan struct{}
}

func (r reportReceiver) Begin(ctx context.Context, s *mail.Session, from mail.Sender) (mail.Transaction, error) {
	tx, err := r.Receiver.Begin(ctx, s, from)
	if err != nil {
		return tx, err
	}
	a, ok := tx.(mail.Amender)
	if !ok {
		return tx, nil
	}
	return &reportTransaction{Transaction: tx, Amender: a, r: r, s: s}, nil
}

// reportTransaction keeps a copy of a message to a report address, if its header looks like a report's.
type reportTransaction struct {
	mail.Transaction
	mail.Amender
	r      reportReceiver
	s      *mail.Session
	wanted bool
	decide bool // the header was looked at
	body   []byte
}

func (t *reportTransaction) Recipient(ctx context.Context, r *mail.Recipient) error {
	err := t.Transaction.Recipient(ctx, r)
	t.wanted = t.wanted || err == nil && t.r.h.reportAddress(r.Address)
	return err
}

func (h *House) reportAddress(a mail.Address) bool {
	for _, s := range h.conf.Reports.Addresses {
		if strings.EqualFold(a.String(), s) || strings.HasSuffix(s, "@") && strings.EqualFold(a.Local+"@", s) {
			return true
		}
	}
	return false
}

func (t *reportTransaction) Write(p []byte) (int, error) {
	if t.wanted {
		t.body = append(t.body, p...)
		if !t.decide {
			if end := bytes.Index(t.body, []byte("\r\n\r\n")); end >= 0 {
				t.decide, t.wanted = true, reportHeader(t.body[:end])
			}
		}
		if !t.wanted || len(t.body) > maxReportOctets {
			t.wanted, t.body = false, nil
		}
	}
	return t.Transaction.Write(p)
}

// reportHeader says whether a message may be a report, by the top of it.
func reportHeader(header []byte) bool {
	h := message.ParseHeader(header)
	if h.Has("TLS-Report-Domain") || strings.Contains(strings.ToLower(h.Text("Subject")), "report domain:") {
		return true
	}
	kind := strings.ToLower(string(h.Get("Content-Type")))
	for _, s := range []string{"multipart/report", "gzip", "zip", "xml", "tlsrpt", "feedback-report"} {
		if strings.Contains(kind, s) {
			return true
		}
	}
	return false
}

func (t *reportTransaction) Commit(ctx context.Context) ([]mail.Reply, error) {
	replies, err := t.Transaction.Commit(ctx)
	if err != nil || !t.wanted || len(t.body) == 0 || !mail.Agree(replies).Positive() {
		return replies, err
	}
	select {
	case t.r.slots <- struct{}{}:
		body, from, auth := t.body, t.s.Fact("dmarc_domain"), t.s.Fact("dmarc")
		go func() {
			defer func() { <-t.r.slots }()
			t.r.h.readReports(body, from, auth)
		}()
	default:
	}
	return replies, nil
}

// readReports keeps what a message reports.
func (h *House) readReports(body []byte, from, auth string) {
	parsed, err := report.Read(bytes.NewReader(body))
	if err != nil {
		h.log.Debug("not a report, or one that makes no sense", "from", from, "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), reportTime)
	defer cancel()
	for _, p := range parsed {
		r := management.Summarize(p)
		if r == nil {
			continue
		}
		r.Received, r.From, r.Auth = time.Now(), from, auth
		if err := h.addReport(ctx, *r); err != nil {
			h.log.Warn("a report could not be kept; it is in the mailbox", "from", from, "err", err)
			return
		}
		h.log.Info("report received", "kind", r.Kind, "org", r.Org, "domain", r.Domain, "good", r.Good, "bad", r.Bad)
	}
}

// addReport keeps it here, or hands it to the process of management.
func (h *House) addReport(ctx context.Context, r management.Report) error {
	if h.reports != nil {
		return h.reports.AddReport(ctx, r)
	}
	over := management.Over(h.dialer("events"))
	defer over.CloseIdleConnections()
	return management.Client{HTTP: over}.Call(ctx, "reports/add", r, nil)
}
