package house_test

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/mailauth/report"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/resolver/resolvertest"
	mxserver "github.com/samotop/samotop/smtp"
)

const reportZone = checkZone + `
	wants.test                          TXT "v=spf1 ip4:127.0.0.1 -all"
	_dmarc.wants.test                   TXT "v=DMARC1; p=reject; rua=mailto:dmarc@wants.test,mailto:a@agreed.test,mailto:a@asked-nobody.test"
	liar.test                           TXT "v=spf1 ip4:192.0.2.1 -all"
	_dmarc.told.test                    TXT "v=DMARC1; p=quarantine; ruf=mailto:ruf@told.test,mailto:a@asked-nobody.test"
	wants.test._report._dmarc.agreed.test TXT "v=DMARC1"
`

// TestReports: a report that comes is delivered, and told by the verb; what was checked is reported to who wants it.
func TestReports(t *testing.T) {
	var out mailtest.Recorder
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	far := &mxserver.Server{Door: &out, Hostname: "mx.far.test"}
	go far.Serve(t.Context(), l)
	c := made(t, house.CreateOptions{Password: "secret-1"})
	dns := resolvertest.Serve(t, resolvertest.Zone(t, reportZone))
	dropIn(t, c, "dns.resolver = [\""+dns+"\"]\nreports.addresses = [\"alice@\"]\n[[qm.route]]\ndomain = \"*\"\nto = \"smtp://"+l.Addr().String()+"\"\n")
	r := serve(t, c)
	r.alice(t)

	begin, end := report.Day(time.Now())
	m, err := report.AggregateMail(&report.Aggregate{Version: "1.0", OrgName: "far", Email: "x@wants.test", ReportID: "7", Begin: begin, End: end,
		Published: report.Published{Domain: "example.test", Policy: "none"},
		Records:   []report.Record{{Count: 3, DKIM: "pass", SPF: "fail", HeaderFrom: "example.test"}, {Count: 2, DKIM: "fail", SPF: "fail", HeaderFrom: "example.test"}}}, "wants.test")
	if err != nil {
		t.Fatal(err)
	}
	m.From, m.To, m.MessageID, m.Date = "x@wants.test", []string{"alice@example.test"}, "<r7@wants.test>", time.Now()
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if code := sendAs(t, r.addr("25"), "x@wants.test", "alice@example.test", b.String()); code != 250 {
		t.Fatal(code)
	}
	var got []management.Report
	for end := time.Now().Add(30 * time.Second); len(got) == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_, err := r.client().Each(t.Context(), "reports/list", management.NameArgs{Name: "example.test"}, func(raw json.RawMessage) error {
			var x management.Report
			err := json.Unmarshal(raw, &x)
			got = append(got, x)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 1 || got[0].Good != 3 || got[0].Bad != 2 || got[0].From != "wants.test" || got[0].Auth != "pass" || got[0].Kind != "dmarc" {
		t.Fatalf("%+v", got)
	}
	var one management.Report
	if err := r.client().Call(t.Context(), "reports/show", management.NameArgs{Name: got[0].ID}, &one); err != nil || len(one.Rows) != 2 {
		t.Errorf("%+v, %v", one, err)
	}
	if err := r.client().Call(t.Context(), "reports/show", management.NameArgs{Name: "nothing"}, &one); err == nil {
		t.Error("a report of no id is shown")
	}
	if in := r.texts(t, "INBOX"); len(in) != 1 {
		t.Errorf("%d messages were delivered", len(in))
	}

	sendAs(t, r.addr("25"), "x@none.test", "alice@example.test", "From: x@wants.test\r\n\r\nforged\r\n")
	if err := house.SendReports(t.Context(), r.House, time.Now().Add(30*time.Hour)); err != nil {
		t.Fatal(err)
	}
	var sent []mailtest.Recorded
	to := map[string]bool{}
	for end := time.Now().Add(30 * time.Second); len(to) < 2 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		sent = out.Messages()
		for _, m := range sent {
			for _, x := range m.To {
				to[x.Address.String()] = true
			}
		}
	}
	if len(to) != 2 || !to["dmarc@wants.test"] || !to["a@agreed.test"] {
		t.Fatalf("reported to %v", to)
	}
	parsed, err := report.Read(bytes.NewReader(sent[0].Content))
	if err != nil {
		t.Fatalf("%v\n%s", err, sent[0].Content)
	}
	a := parsed[0].(*report.Aggregate)
	said := map[string]int64{}
	for _, x := range a.Records {
		said[x.Disposition+" "+x.DKIM+" "+x.SPF] += x.Count
	}
	if a.Published.Domain != "wants.test" || a.Published.Policy != "reject" || said["none fail pass"] != 1 || said["reject fail fail"] != 1 {
		t.Errorf("%+v %v", a, said)
	}
	if !strings.Contains(string(sent[0].Content), "DKIM-Signature: ") {
		t.Error("our report is not signed")
	}
	if err := house.SendReports(t.Context(), r.House, time.Now().Add(30*time.Hour)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if again := out.Messages(); len(again) > len(sent) {
		t.Error("reported twice")
	}
}

// TestFailureReports: who asks for it is told of each message that fails in his name, without for whom it was, and not
// without end.
func TestFailureReports(t *testing.T) {
	var out mailtest.Recorder
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	far := &mxserver.Server{Door: &out, Hostname: "mx.far.test"}
	go far.Serve(t.Context(), l)
	c := made(t, house.CreateOptions{Password: "secret-1"})
	dns := resolvertest.Serve(t, resolvertest.Zone(t, reportZone))
	dropIn(t, c, "dns.resolver = [\""+dns+"\"]\nreports.failures = true\n[[qm.route]]\ndomain = \"*\"\nto = \"smtp://"+l.Addr().String()+"\"\n")
	r := serve(t, c)
	r.alice(t)
	const forged = "From: x@told.test\r\nTo: alice@example.test\r\nSubject: give me money\r\n\r\nforged\r\n"
	if code := sendAs(t, r.addr("25"), "", "alice@example.test", forged); code != 250 {
		t.Fatal(code)
	}
	if code := sendAs(t, r.addr("25"), "x@liar.test", "alice@example.test", forged); code != 250 {
		t.Fatal(code)
	}
	var sent []mailtest.Recorded
	for end := time.Now().Add(30 * time.Second); len(sent) == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		sent = out.Messages()
	}
	if len(sent) != 1 || len(sent[0].To) != 1 || sent[0].To[0].Address.String() != "ruf@told.test" || !sent[0].From.Address.IsNull() {
		t.Fatalf("%+v", sent)
	}
	parsed, err := report.Read(bytes.NewReader(sent[0].Content))
	if err != nil || len(parsed) != 1 {
		t.Fatalf("%v\n%s", err, sent[0].Content)
	}
	f, ok := parsed[0].(*report.Feedback)
	if !ok || f.Type != "auth-failure" || f.Failure != "dmarc" || f.Delivery != "spam" || f.Alignment != "dkim, spf" || f.MailFrom != "<x@liar.test>" || f.SPFDNS != `txt : liar.test : "v=spf1 ip4:192.0.2.1 -all"` ||
		len(f.Domains) != 1 || f.Domains[0] != "told.test" || f.SourceIP.String() != "127.0.0.1" {
		t.Fatalf("%+v\n%s", f, sent[0].Content)
	}
	if h := string(f.Headers); !strings.Contains(h, "Subject: give me money") || strings.Contains(h, "alice@") {
		t.Errorf("header %q", h)
	}
	if !strings.Contains(string(sent[0].Content), "DKIM-Signature: ") {
		t.Error("our report is not signed")
	}
	for range 15 {
		if code := sendAs(t, r.addr("25"), "x@none.test", "alice@example.test", forged); code != 250 {
			t.Fatal(code)
		}
	}
	if n := len(out.Messages()); n > house.FailuresADomain {
		t.Errorf("%d reports in an hour", n)
	}
}
