package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth/report"
	"github.com/samotop/samotop/mailtls/dane"
	"github.com/samotop/samotop/mailtls/mtasts"
)

func TestParseRecord(t *testing.T) {
	for _, c := range []struct {
		txt  []string
		want string
	}{
		{[]string{"v=TLSRPTv1; rua=mailto:tls@example.org"}, "tls@example.org "},
		{[]string{"x", "v=TLSRPTv1;rua=https://r.example/v1 , mailto:a%2Bb@example.org;x=y"}, "https://r.example/v1 a+b@example.org "},
		{[]string{"v=TLSRPTv1; rua=http://r.example/,ftp://x,mailto:,mailto:a@b@c"}, ""},
		{[]string{"v=TLSRPTv1; rua=mailto:a@b.c", "v=TLSRPTv1; rua=mailto:a@b.c"}, ""},
		{[]string{"v=TLSRPTv1"}, ""},
		{nil, ""},
	} {
		ts, err := ParseRecord(c.txt)
		got := ""
		for _, x := range ts {
			got += x.Mail.String() + x.URL + " "
		}
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q %v", c.txt, got, err)
		}
	}
	if ts, err := ParseRecord([]string{Record("mailto:a@b.c", "https://x/y")}); err != nil || len(ts) != 2 {
		t.Errorf("our own record: %v %v", ts, err)
	}
}

func counter() *Counter {
	c := &Counter{Day: "2026-06-01"}
	for range 3 {
		c.Add(Session{Domain: "example.org", Type: "sts", Strings: []string{"version: STSv1"}, MX: []string{"*.example.org"}, Host: "mx.example.org"})
	}
	for range 2 {
		c.Add(Session{Domain: "example.org", Type: "sts", Strings: []string{"version: STSv1"}, Result: Expired, Host: "mx.example.org", IP: "192.0.2.1", Reason: "too old"})
	}
	c.Add(Session{Domain: "example.org", Type: "no-policy-found", Result: StartTLS, Host: "mx2.example.org"})
	return c
}

// TestLetter: what we write, we read; and it counts right.
func TestLetter(t *testing.T) {
	b, err := counter().Encode()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	about := About{Organization: "We", Contact: "postmaster@mx.home.test", Submitter: "mx.home.test", ID: "abc"}
	if _, ok := c.Report("example.net", about); ok {
		t.Error("a report about nothing")
	}
	r, ok := c.Report("example.org", about)
	if !ok || len(r.Policies) != 2 || r.Policies[0].Summary != (report.TLSSummary{Successful: 3, Failed: 2}) || r.Policies[0].Failures[0].Count != 2 {
		t.Fatalf("%+v", r)
	}
	var out bytes.Buffer
	l := Letter{From: mail.Address{Local: "tls", Domain: "mx.home.test"}, To: mail.Address{Local: "r", Domain: "example.org"}, Domain: "example.org", Date: time.Now()}
	if err := l.Write(&out, r, about); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"report-type=tlsrpt", "application/tlsrpt+gzip", "TLS-Required: No\r\n", "TLS-Report-Domain: example.org\r\n",
		"Auto-Submitted: auto-generated\r\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	got, err := report.Read(bytes.NewReader(out.Bytes()))
	if err != nil || len(got) != 1 {
		t.Fatalf("%v %v", got, err)
	}
	if !reflect.DeepEqual(got[0].(*report.TLS), r) {
		t.Errorf("%+v, not %+v", got[0], r)
	}
}

func TestPost(t *testing.T) {
	var got *report.TLS
	code := 201
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err == nil && r.Header.Get("Content-Type") == "application/tlsrpt+gzip" {
			got, _ = report.ParseTLS(z)
		}
		w.WriteHeader(code)
	}))
	defer srv.Close()
	r, _ := counter().Report("example.org", About{ID: "x"})
	if err := Post(context.Background(), srv.Client(), srv.URL, r); err != nil || got == nil || got.ReportID != "x" {
		t.Errorf("%v %v", got, err)
	}
	code = 503
	if err := Post(context.Background(), srv.Client(), srv.URL, r); err == nil {
		t.Error("a refusal is no error")
	}
}

func TestClassify(t *testing.T) {
	for want, err := range map[Result]error{OK: nil, TLSAInvalid: dane.ErrMismatch, HostMismatch: x509.HostnameError{},
		Expired: x509.CertificateInvalidError{Reason: x509.Expired}, NotTrusted: x509.UnknownAuthorityError{}, Validation: http.ErrServerClosed} {
		if got := Classify(err); got != want {
			t.Errorf("%v: %q", err, got)
		}
	}
	for want, err := range map[Result]error{OK: nil, STSInvalid: mtasts.ErrSyntax, STSWebPKI: mtasts.ErrCert, STSFetch: mtasts.ErrFetch} {
		if got := ClassifyPolicy(err); got != want {
			t.Errorf("%v: %q", err, got)
		}
	}
}

func TestBounds(t *testing.T) {
	var c Counter
	for i := range 3 * maxFailures {
		c.Add(Session{Domain: "d", Type: "sts", Strings: []string{strconv.Itoa(i % 9)}, Result: NotTrusted, Host: strconv.Itoa(i)})
	}
	for i := range maxDomains + 5 {
		c.Add(Session{Domain: strconv.Itoa(i)})
	}
	if len(c.Domains()) != maxDomains || !c.Truncated || len(c.ByDomain["d"]) > maxPolicies {
		t.Errorf("%d domains, %d policies", len(c.Domains()), len(c.ByDomain["d"]))
	}
}

// TestVectors reads the reports of others.
func TestVectors(t *testing.T) {
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	files, _ := filepath.Glob(filepath.Join(dir, "vectors", "dmarc-tlsrpt-arf", "tlsrpt", "*.eml"))
	if len(files) == 0 {
		t.Skip("no vectors in $SAMOTOP_SHARED")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rs, err := report.Read(bytes.NewReader(b))
		if err != nil || len(rs) == 0 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, ok := rs[0].(*report.TLS); !ok {
			t.Errorf("%s holds a %T", name, rs[0])
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("v=TLSRPTv1; rua=mailto:a@b.c,https://x/y")
	f.Fuzz(func(t *testing.T, txt string) {
		ts, err := ParseRecord([]string{txt})
		if err == nil && (len(ts) == 0 || len(ts) > MaxTargets) {
			t.Errorf("%q: %v", txt, ts)
		}
	})
}
