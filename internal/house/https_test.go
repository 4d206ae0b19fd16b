package house_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/management"
)

// TestPolicyServer: the policy of our domains is served by HTTPS as the record says, and nothing else is.
func TestPolicyServer(t *testing.T) {
	c := made(t, house.CreateOptions{})
	dropIn(t, c, "[https]\nlisten = [\"https://127.0.0.1:8443\"]\nmta_sts = \"enforce\"\nmx = [\"mx.example.test\", \"*.backup.test\"]\n")
	r := serve(t, c)
	if err := r.client().Call(t.Context(), "domain/add", management.NameArgs{Name: "example.test"}, nil); err != nil {
		t.Fatal(err)
	}
	get := func(host, path string) (int, string) {
		t.Helper()
		conn, err := tls.Dial("tcp", r.addr("8443"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	code, text := get("mta-sts.example.test", mtasts.Path)
	p, err := mtasts.ParsePolicy(text)
	if code != 200 || err != nil || p.Mode != mtasts.Enforce || strings.Join(p.MX, " ") != "mx.example.test *.backup.test" {
		t.Fatalf("%d, %v:\n%s", code, err, text)
	}
	for _, x := range [][2]string{{"mta-sts.elsewhere.test", mtasts.Path}, {"example.test", mtasts.Path}, {"mta-sts.example.test", "/"}} {
		if code, text := get(x[0], x[1]); code != 404 {
			t.Errorf("%v: %d %s", x, code, text)
		}
	}
	code, text = get("autoconfig.example.test", "/mail/config-v1.1.xml")
	for _, want := range []string{`<clientConfig version="1.1">`, "<domain>example.test</domain>", `<incomingServer type="imap">`, `<outgoingServer type="smtp">`,
		"<hostname>mx.example.test</hostname>", "<socketType>SSL</socketType>", "<username>%EMAILADDRESS%</username>"} {
		if code != 200 || !strings.Contains(text, want) {
			t.Errorf("the settings for mail programs: %d, without %s:\n%s", code, want, text)
		}
	}
	for _, x := range [][2]string{{"autoconfig.elsewhere.test", "/mail/config-v1.1.xml"}, {"autoconfig.example.test", "/"}, {"autoconfig.example.test", mtasts.Path}} {
		if code, text := get(x[0], x[1]); code != 404 {
			t.Errorf("%v: %d %s", x, code, text)
		}
	}
	found := map[string]string{}
	for _, rec := range house.Records(c.Config, "example.test") {
		found[rec.Name+" "+rec.Type] = rec.Value
	}
	if got := found["_mta-sts.example.test. TXT"]; got != `"`+mtasts.Record(p)+`"` {
		t.Errorf("the record says %s, the policy has %s", got, mtasts.Record(p))
	}
	if found["mta-sts.example.test. CNAME"] != "mx.example.test." {
		t.Errorf("%v", found)
	}
}
