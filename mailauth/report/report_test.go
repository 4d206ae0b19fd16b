package report_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mailauth/report"
)

// vectors lists the expected reports of one kind, each with the report itself beside it.
func vectors(t *testing.T, kind string, each func(t *testing.T, input []byte, ext string, want map[string]any)) {
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	dir = filepath.Join(dir, "vectors", "dmarc-tlsrpt-arf", kind)
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("test vectors of others are missing: %s (set SAMOTOP_SHARED)", dir)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{}
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			base := strings.TrimSuffix(f, ".json")
			for _, ext := range []string{".eml", ".xml"} {
				if in, err := os.ReadFile(base + ext); err == nil {
					each(t, in, ext, want)
					return
				}
			}
			each(t, b, ".json", want) // a report that is its own expectation
		})
	}
}

// compare reports where want, of the expected file, is not in got. Words of enumerations are written otherwise there.
func compare(t *testing.T, path string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for k, v := range want {
			compare(t, path+"."+k, v, g[k])
		}
	case []any:
		g, _ := got.([]any)
		if len(g) != len(want) {
			t.Errorf("%s: %d, want %d", path, len(g), len(want))
			return
		}
		for i := range want {
			compare(t, fmt.Sprintf("%s[%d]", path, i), want[i], g[i])
		}
	default:
		if empty(want) && empty(got) {
			return
		}
		w, g := fmt.Sprint(want), fmt.Sprint(got)
		if w != g && !sameWord(path, w, g) {
			t.Errorf("%s: got %q, want %q", path, g, w)
		}
	}
}

func empty(x any) bool {
	return x == nil || x == "" || x == "Unspecified" || x == 0.0 || x == int64(0)
}

// sameWord compares words of the enumerations of the expected files.
func sameWord(path, want, got string) bool {
	name := path[strings.LastIndexByte(path, '.')+1:]
	switch name {
	case "adkim", "aspf", "p", "sp", "np", "disposition", "dkim", "spf", "result", "scope", "type_", "feedback_type", "auth_failure", "discovery_method":
	default:
		return false
	}
	fold := func(s string) string { return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s)) }
	if (name == "adkim" || name == "aspf") && len(got) == 1 {
		want = want[:1]
	}
	if name == "scope" && fold(got) == "mfrom" {
		got = "mailfrom"
	}
	if name == "type_" && got == "sampled_out" {
		got = "other" // of RFC 7489; theirs has no word for it
	}
	return fold(want) == fold(got)
}

func list[T any](in []T, f func(T) any) []any {
	out := make([]any, 0, len(in))
	for _, x := range in {
		out = append(out, f(x))
	}
	return out
}

type object = map[string]any

func asObject(a *report.Aggregate) object {
	extension := func(e report.Extension) any { return object{"name": e.Name, "definition": e.Definition} }
	version := any(a.Version)
	var f float64
	if json.Unmarshal([]byte(a.Version), &f) == nil {
		version = f
	}
	return object{"version": version, "extensions": list(a.Extensions, extension),
		"report_metadata": object{"org_name": a.OrgName, "email": a.Email, "extra_contact_info": a.Contact, "report_id": a.ReportID, "generator": a.Generator,
			"date_range": object{"begin": float64(a.Begin.Unix()), "end": float64(a.End.Unix())}, "error": list(a.Errors, func(s string) any { return s })},
		"policy_published": object{"domain": a.Published.Domain, "adkim": a.Published.DKIM, "aspf": a.Published.SPF, "p": a.Published.Policy, "sp": a.Published.Subdomain,
			"np": a.Published.NonExist, "testing": a.Published.Testing, "fo": a.Published.Failure, "discovery_method": a.Published.Discovery},
		"record": list(a.Records, func(r report.Record) any {
			return object{
				"row": object{"source_ip": r.Source, "count": float64(r.Count), "policy_evaluated": object{"disposition": r.Disposition, "dkim": r.DKIM, "spf": r.SPF,
					"reason": list(r.Reasons, func(x report.Reason) any { return object{"type_": x.Type, "comment": x.Comment} })}},
				"identifiers": object{"envelope_to": r.EnvelopeTo, "envelope_from": r.EnvelopeFrom, "header_from": r.HeaderFrom},
				"auth_results": object{
					"dkim": list(r.DKIMResults, func(d report.DKIMResult) any {
						return object{"domain": d.Domain, "selector": d.Selector, "result": d.Result, "human_result": d.Human}
					}),
					"spf": list(r.SPFResults, func(s report.SPFResult) any {
						return object{"domain": s.Domain, "scope": s.Scope, "result": s.Result, "human_result": s.Human}
					})},
				"extensions": list(r.Extensions, extension)}
		})}
}

func read(t *testing.T, in []byte, ext string) any {
	if ext != ".eml" {
		x, err := report.Unpack(in)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	xs, err := report.Read(bytes.NewReader(in))
	if err != nil || len(xs) != 1 {
		t.Fatalf("%d reports, %v", len(xs), err)
	}
	return xs[0]
}

func TestAggregateVectors(t *testing.T) {
	vectors(t, "dmarc-feedback", func(t *testing.T, in []byte, ext string, want map[string]any) {
		a := read(t, in, ext).(*report.Aggregate)
		compare(t, "", want, asObject(a))
		// What is written is read as the same, but for what the new format has no place for.
		var b bytes.Buffer
		if _, err := a.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		again, err := report.ParseAggregate(&b)
		if err != nil {
			t.Fatal(err)
		}
		again.Version, again.Extensions, again.Published.Percent = a.Version, a.Extensions, a.Published.Percent
		for i := range again.Records {
			again.Records[i].Extensions = a.Records[i].Extensions
		}
		if !reflect.DeepEqual(a, again) {
			t.Errorf("written and read:\n%+v\nwas\n%+v", again, a)
		}
	})
}

func TestFeedbackVectors(t *testing.T) {
	vectors(t, "arf", func(t *testing.T, in []byte, ext string, want map[string]any) {
		f := read(t, in, ext).(*report.Feedback)
		unfold := func(s string) string { return strings.Join(strings.Fields(s), " ") }
		if rs, ok := want["authentication_results"].([]any); ok { // ours are unfolded
			for i := range rs {
				rs[i] = unfold(rs[i].(string))
			}
		}
		if s, ok := want["dkim_canonicalized_body"].(string); ok { // ours is the base64 alone
			want["dkim_canonicalized_body"] = strings.Join(strings.Fields(s), "")
		}
		arrival := any(nil)
		if !f.Arrival.IsZero() {
			arrival = float64(f.Arrival.Unix())
		}
		got := object{"feedback_type": f.Type, "arrival_date": arrival, "authentication_results": list(f.Results, func(s string) any { return unfold(s) }),
			"incidents": float64(f.Incidents), "original_envelope_id": f.EnvelopeID, "original_mail_from": f.MailFrom, "original_rcpt_to": strings.Join(f.RcptTo, " "),
			"reported_domain": list(f.Domains, func(s string) any { return s }), "reported_uri": list(f.URIs, func(s string) any { return s }),
			"reporting_mta": f.ReportingMTA, "user_agent": f.UserAgent, "version": 1.0, "source_port": float64(f.SourcePort), "auth_failure": f.Failure,
			"delivery_result": f.Delivery, "identity_alignment": f.Alignment, "dkim_adsp_dns": f.DKIM.ADSP, "dkim_canonicalized_body": f.DKIM.Body,
			"dkim_canonicalized_header": f.DKIM.Header, "dkim_domain": f.DKIM.Domain, "dkim_identity": f.DKIM.Identity, "dkim_selector": f.DKIM.Selector,
			"dkim_selector_dns": f.DKIM.SelectorDNS, "spf_dns": f.SPFDNS, "headers": strings.ReplaceAll(string(f.Headers), "\r", ""), "source_ip": ""}
		if f.SourceIP.IsValid() {
			got["source_ip"] = f.SourceIP.String()
		}
		delete(want, "message") // theirs leaves it out; ours is compared below
		if h, ok := want["headers"].(string); ok {
			want["headers"], got["headers"] = strings.TrimSpace(h), strings.TrimSpace(got["headers"].(string))
		}
		compare(t, "", want, got)
		if (f.Message == nil) == (f.Headers == nil) {
			t.Error("neither the message nor its header is there, or both are")
		}
		again, err := report.ParseFeedback(f.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		again.Message, again.Headers, again.Other, again.DKIM.Body, again.DKIM.Header = f.Message, f.Headers, f.Other, f.DKIM.Body, f.DKIM.Header
		again.Arrival = f.Arrival // in the zone as written
		for i := range again.Results {
			again.Results[i], f.Results[i] = unfold(again.Results[i]), unfold(f.Results[i])
		}
		if !reflect.DeepEqual(f, again) {
			t.Errorf("written and read:\n%+v\nwas\n%+v", again, f)
		}
	})
}

func TestTLSVectors(t *testing.T) {
	vectors(t, "tlsrpt", func(t *testing.T, in []byte, ext string, want map[string]any) {
		r := read(t, in, ext).(*report.TLS)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		compare(t, "", want, got)
	})
}

func zipped(t *testing.T, name string, b []byte) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func TestHostile(t *testing.T) {
	good := "<feedback><report_metadata><report_id>1</report_id></report_metadata></feedback>"
	bomb := []byte("<feedback><x>" + strings.Repeat(" ", report.MaxOctets+100))
	elements := []byte("<feedback>" + strings.Repeat("<x/>", 20*report.MaxRecords+1) + "</feedback>")
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"good":            {[]byte(good), nil},
		"good, packed":    {gzipped([]byte(good)), nil},
		"good, zipped":    {zipped(t, "a.xml", []byte(good)), nil},
		"with a mark":     {[]byte("\xef\xbb\xbf<?xml version=\"1.0\"?>" + good), nil},
		"bomb in gzip":    {gzipped(bomb), report.ErrTooLarge},
		"bomb in zip":     {zipped(t, "a.xml", bomb), report.ErrTooLarge},
		"elements":        {gzipped(elements), report.ErrTooLarge},
		"depth":           {[]byte("<feedback>" + strings.Repeat("<a>", 100)), report.ErrTooLarge},
		"entities":        {[]byte(`<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><feedback>&b;</feedback>`), report.ErrSyntax},
		"external entity": {[]byte(`<!DOCTYPE feedback [<!ENTITY x SYSTEM "file:///etc/passwd">]><feedback><version>&x;</version></feedback>`), report.ErrSyntax},
		"unknown entity":  {[]byte(`<feedback><version>&x;</version></feedback>`), report.ErrSyntax},
		"cut off":         {[]byte(good[:40]), report.ErrSyntax},
		"not nested":      {[]byte("<feedback><a></b></feedback>"), report.ErrSyntax},
		"other root":      {[]byte("<html></html>"), report.ErrNoReport},
		"nothing":         {nil, report.ErrNoReport},
		"text":            {[]byte("hello, this is no report at all"), report.ErrNoReport},
		"gzip, cut off":   {gzipped([]byte(good))[:20], report.ErrSyntax},
		"zip of nothing":  {[]byte("PK\x05\x06" + strings.Repeat("\x00", 18)), report.ErrNoReport},
		"json of others":  {[]byte(`{"a":1}`), report.ErrNoReport},
		"broken json":     {[]byte(`{"report-id":`), report.ErrSyntax},
		"too large":       {make([]byte, report.MaxPackedOctets+1), report.ErrTooLarge},
	} {
		if _, err := report.Unpack(c.in); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	begin, end := report.Day(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC))
	a := report.Aggregate{ReportID: "x>\r\ny", Begin: begin, End: end, Published: report.Published{Domain: "example.com"}}
	if got := a.Filename("mx/../test"); got != fmt.Sprintf("mx_.._test!example.com!%d!%d.xml.gz", begin.Unix(), begin.Unix()+86399) {
		t.Error(got)
	}
	if got := a.Subject("mx.test"); got != "Report Domain: example.com Submitter: mx.test Report-ID: <x___y>" {
		t.Error(got)
	}
	a.Records = []report.Record{{Source: netip.MustParseAddr("2001:db8::1"), HeaderFrom: "<evil>&"}}
	var b bytes.Buffer
	if n, err := a.WriteTo(&b); err != nil || n != int64(b.Len()) || !strings.Contains(b.String(), "&lt;evil&gt;&amp;") {
		t.Errorf("%d %v %s", n, err, b.String())
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("<feedback><record><row><source_ip>1.2.3.4</source_ip></row><auth_results><dkim><domain>x</domain></dkim></auth_results></record></feedback>"))
	f.Add([]byte(`{"report-id":"x","policies":[{"policy":{"mx-host":"a"}}]}`))
	f.Add(gzipped([]byte("<feedback></feedback>")))
	f.Fuzz(func(t *testing.T, b []byte) { report.Unpack(b) })
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nA: b\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) { report.Read(bytes.NewReader(b)) })
}
