package management

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/samotop/samotop/mailauth/report"
	"github.com/samotop/samotop/store"
)

// Report is a report that somebody sent us about mail in our name.
type Report struct {
	ID       string      `json:"id"`
	Received time.Time   `json:"received"`
	Kind     string      `json:"kind"` // "dmarc", "tls", "failure", "abuse" and other kinds of feedback
	From     string      `json:"from"` // who sent the message, and what DMARC found of it: a report proves nothing by itself
	Auth     string      `json:"auth,omitempty"`
	Org      string      `json:"org"`
	ReportID string      `json:"report_id"`
	Domain   string      `json:"domain"` // that it is about
	Begin    time.Time   `json:"begin,omitzero"`
	End      time.Time   `json:"end,omitzero"`
	Good     int64       `json:"good"` // messages that passed, sessions with TLS
	Bad      int64       `json:"bad"`
	Rows     []ReportRow `json:"rows,omitempty"`
	Cut      bool        `json:"cut,omitempty"` // there were more rows
}

// ReportRow is one line of a report.
type ReportRow struct {
	Source      string `json:"source,omitempty"` // address of who sent mail in our name
	Count       int64  `json:"count"`
	Header      string `json:"header_from,omitempty"`
	DKIM        string `json:"dkim,omitempty"`
	SPF         string `json:"spf,omitempty"`
	Disposition string `json:"disposition,omitempty"`
	Text        string `json:"text,omitempty"`
}

// Limits of what is kept of one report, and of how long.
const (
	maxReportRows    = 1000
	maxReportText    = 300
	reportAge        = 400 * 24 * time.Hour
	maxReportsListed = 10_000
)

// Summarize turns what package report has read into what is kept of it; nil: nothing.
func Summarize(parsed any) *Report {
	switch p := parsed.(type) {
	case *report.Aggregate:
		return ofAggregate(p)
	case *report.TLS:
		return ofTLS(p)
	case *report.Feedback:
		return ofFeedback(p)
	}
	return nil
}

func short(s string) string { return s[:min(len(s), maxReportText)] }

func (r *Report) row(x ReportRow) {
	if len(r.Rows) == maxReportRows {
		r.Cut = true
		return
	}
	r.Rows = append(r.Rows, x)
}

func ofAggregate(a *report.Aggregate) *Report {
	r := &Report{Kind: "dmarc", Org: short(a.OrgName), ReportID: short(a.ReportID), Domain: short(a.Published.Domain), Begin: a.Begin, End: a.End}
	for _, x := range a.Records {
		if x.DKIM == "pass" || x.SPF == "pass" {
			r.Good += x.Count
		} else {
			r.Bad += x.Count
		}
		source := ""
		if x.Source.IsValid() {
			source = x.Source.String()
		}
		r.row(ReportRow{Source: source, Count: x.Count, Header: short(x.HeaderFrom), DKIM: short(x.DKIM), SPF: short(x.SPF), Disposition: short(x.Disposition)})
	}
	return r
}

func ofTLS(t *report.TLS) *Report {
	r := &Report{Kind: "tls", Org: short(t.Organization), ReportID: short(t.ReportID), Begin: t.Range.Start, End: t.Range.End}
	for _, p := range t.Policies {
		r.Domain = short(p.Policy.Domain)
		r.Good += p.Summary.Successful
		r.Bad += p.Summary.Failed
		for _, f := range p.Failures {
			r.row(ReportRow{Source: short(f.SendingIP), Count: f.Count, Text: short(f.Type + " at " + f.ReceivingMX + " " + f.Reason)})
		}
	}
	return r
}

func ofFeedback(f *report.Feedback) *Report {
	r := &Report{Kind: short(f.Type), Org: short(f.ReportingMTA), ReportID: short(f.EnvelopeID), Begin: f.Arrival, End: f.Arrival, Bad: f.Incidents}
	if f.Type == "auth-failure" {
		r.Kind = "failure"
	}
	if len(f.Domains) > 0 {
		r.Domain = short(f.Domains[0])
	}
	source := ""
	if f.SourceIP.IsValid() {
		source = f.SourceIP.String()
	}
	r.row(ReportRow{Source: source, Count: f.Incidents, Text: short(f.Failure + " " + f.MailFrom)})
	return r
}

// Reports keeps them, in the database of the Journal: "r" begin hash -> report. The same report again replaces the first.
type Reports struct {
	Engine store.Engine
	Clock  func() time.Time // nil: time.Now
}

func (s *Reports) now() time.Time {
	if s.Clock != nil {
		return s.Clock()
	}
	return time.Now()
}

// AddReport keeps one. It returns when it is on disk.
func (s *Reports) AddReport(ctx context.Context, r Report) error {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s", r.Kind, r.Org, r.Domain, r.ReportID)
	if r.ReportID == "" {
		fmt.Fprint(h, r.Received.UnixNano())
	}
	key := binary.BigEndian.AppendUint64([]byte("r"), uint64(max(r.Received.Unix(), 0)/86400))
	key = h.Sum(key)
	r.ID = hex.EncodeToString(key[5:])
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep report: %w", err)
	}
	old := binary.BigEndian.AppendUint64([]byte("r"), uint64(max(s.now().Add(-reportAge).Unix(), 0)/86400))
	return store.Commit(ctx, s.Engine, &store.Batch{Ops: []store.Op{store.Put(key, value), store.DeleteRange([]byte("r"), old)}})
}

// ErrNoReport: there is no report of that id.
var ErrNoReport = errors.New("no such report")

// Reports lists those about a domain ("": all), the newest first, without their rows.
func (s *Reports) Reports(ctx context.Context, domain string) ([]Report, error) {
	var out []Report
	err := s.each(ctx, func(r Report) bool {
		r.Rows = nil
		if domain == "" || r.Domain == domain {
			out = append(out, r)
		}
		return len(out) < maxReportsListed
	})
	return out, err
}

// Report returns one with its rows.
func (s *Reports) Report(ctx context.Context, id string) (Report, error) {
	tail, err := hex.DecodeString(id)
	if err != nil || len(tail) != 12 {
		return Report{}, ErrNoReport
	}
	key := append([]byte{'r', 0, 0, 0, 0}, tail...)
	var r Report
	err = s.Engine.View(ctx, func(v store.Reader) error {
		value, err := v.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return ErrNoReport
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(value, &r)
	})
	return r, err
}

func (s *Reports) each(ctx context.Context, f func(Report) bool) error {
	return s.Engine.View(ctx, func(v store.Reader) error {
		for kv, err := range v.Scan(ctx, []byte("r"), []byte("s"), true) {
			if err != nil {
				return err
			}
			var r Report
			if json.Unmarshal(kv.Value, &r) == nil && !f(r) {
				return nil
			}
		}
		return nil
	})
}

// reportVerbs adds the verbs about reports.
func (h *Handler) reportVerbs(t map[string]verb) {
	s := h.cfg.Reports
	if s == nil {
		return
	}
	t["reports/list"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
		list, err := s.Reports(ctx, a.Name)
		return sendAll(list, err, out)
	})
	t["reports/show"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) {
		r, err := s.Report(ctx, a.Name)
		if errors.Is(err, ErrNoReport) {
			return nil, &Error{NotFound, "report " + strconv.Quote(a.Name), "is not known", "see \"samotop reports list\""}
		}
		return r, err
	})
	t["reports/add"] = on(func(ctx context.Context, r Report, _ *sender) (any, error) { return nil, s.AddReport(ctx, r) })
	if c := h.cfg.Counts; c != nil {
		t["reports/count"] = on(func(_ context.Context, a CountArgs, _ *sender) (any, error) {
			for _, x := range a.Counted {
				c.Count(x)
			}
			return nil, nil
		})
	}
}
