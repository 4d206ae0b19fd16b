package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mailauth/report"
)

// TestMail: what is written as a message is read back as the same report.
func TestMail(t *testing.T) {
	begin, end := report.Day(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC))
	a := &report.Aggregate{Version: "1.0", OrgName: "our.test", Email: "postmaster@our.test", ReportID: "1", Begin: begin, End: end,
		Published: report.Published{Domain: "far.test", Policy: "reject"}, Records: []report.Record{{Count: 2, HeaderFrom: "far.test", Disposition: "none", DKIM: "pass", SPF: "fail"}}}
	am, err := report.AggregateMail(a, "our.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*report.Mail{am} {
		m.From, m.To, m.MessageID, m.Date = "a@our.test", []string{"x@far.test", "y@far.test\r\nEvil: 1"}, "<1@our.test>", begin
		var b bytes.Buffer
		if _, err := m.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "\r\nEvil") {
			t.Error("a value ends its field")
		}
		got, err := report.Read(&b)
		if err != nil || len(got) != 1 {
			t.Fatalf("%v %v", got, err)
		}
		if r, ok := got[0].(*report.Aggregate); !ok || r.Published.Domain != "far.test" || len(r.Records) != 1 || r.Records[0].Count != 2 {
			t.Errorf("%+v", got[0])
		}
	}
}
