package house_test

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/smtp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/mailauth"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/resolver/resolvertest"
	mxserver "github.com/samotop/samotop/smtp"
)

// TestSent: what our people send leaves signed with both keys, what is forwarded sealed, and "samotop why" tells of all.
func TestSent(t *testing.T) {
	var out mailtest.Recorder
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	far := &mxserver.Server{Door: &out, Hostname: "mx.far.test"}
	go far.Serve(t.Context(), l)
	c := made(t, house.CreateOptions{Password: "secret-1"})
	dns := resolvertest.Serve(t, resolvertest.Zone(t, checkZone))
	dropIn(t, c, "dns.resolver = [\""+dns+"\"]\n[[qm.route]]\ndomain = \"*\"\nto = \"smtp://"+l.Addr().String()+"\"\n")
	r := serve(t, c)
	r.alice(t)
	if err := r.client().Call(t.Context(), "alias/add", management.AliasArgs{Address: "away@example.test", Targets: []string{"x@far.test"}}, nil); err != nil {
		t.Fatal(err)
	}
	s, err := smtp.Dial(r.addr("587"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Auth(smtp.PlainAuth("", "alice@example.test", "secret-1", "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	for _, step := range []error{s.Mail("alice@example.test"), s.Rcpt("y@far.test")} {
		if step != nil {
			t.Fatal(step)
		}
	}
	w, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("From: Alice <alice@example.test>\r\nMessage-ID: <sent@example.test>\r\nSubject: x\r\n\r\nhello\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if code := sendAs(t, r.addr("25"), "x@spf.test", "away@example.test", "From: x@spf.test\r\nMessage-ID: <fwd@spf.test>\r\n\r\nhello\r\n"); code != 250 {
		t.Fatal(code)
	}
	var got []mailtest.Recorded
	for end := time.Now().Add(30 * time.Second); len(got) < 2 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		got = out.Messages()
	}
	if len(got) != 2 {
		t.Fatalf("%d messages left", len(got))
	}
	zone := ""
	for _, k := range r.keys(t) {
		half := len(k.Record) / 2
		zone += k.Name + " TXT \"" + k.Record[:half] + "\" \"" + k.Record[half:] + "\"\n"
	}
	dkimDNS := resolvertest.New(t, zone)
	for _, m := range got {
		check := (&mailauth.Checker{Resolver: dkimDNS, ID: "x"}).Begin(mailauth.Facts{From: mail.Address{}})
		_, _ = check.Write(m.Content)
		rep := check.Close(t.Context())
		if strings.Contains(string(m.Content), "<fwd@") {
			if len(rep.DKIM) != 0 || rep.ARC.Status != "pass" || len(rep.ARC.Sets) != 1 {
				t.Errorf("forwarded: dkim %+v arc %+v\n%s", rep.DKIM, rep.ARC, m.Content)
			}
			continue
		}
		if len(rep.DKIM) != 2 || rep.DKIM[0].Status != "pass" || rep.DKIM[1].Status != "pass" {
			t.Errorf("sent: dkim %+v\n%s", rep.DKIM, m.Content)
		}
	}
	for id, want := range map[string]string{
		"sent@example.test": "msa:accepted qm:queued qm:delivered",
		"fwd@spf.test":      "mta:connected mta:checked qm:queued mta:accepted qm:delivered",
	} {
		if got := r.why(t, id, len(strings.Fields(want))); got != sorted(want) {
			t.Errorf("why %s: %s, want %s", id, got, sorted(want))
		}
	}
}

// keys lists the keys of example.test.
func (r *running) keys(t *testing.T) (out []management.Key) {
	t.Helper()
	_, err := r.client().Each(t.Context(), "dkim/list", management.NameArgs{Name: "example.test"}, func(raw json.RawMessage) error {
		var k management.Key
		err := json.Unmarshal(raw, &k)
		out = append(out, k)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// why lists the steps of a message once there are as many, in alphabetical order.
func (r *running) why(t *testing.T, id string, n int) string {
	t.Helper()
	var got []string
	for end := time.Now().Add(30 * time.Second); len(got) < n && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		got = got[:0]
		_, err := r.client().Each(t.Context(), "journal/why", management.NameArgs{Name: id}, func(raw json.RawMessage) error {
			var s management.Step
			err := json.Unmarshal(raw, &s)
			got = append(got, s.Room+":"+s.Kind)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sorted(strings.Join(got, " "))
}

func sorted(s string) string {
	words := strings.Fields(s)
	slices.Sort(words)
	return strings.Join(words, " ")
}
