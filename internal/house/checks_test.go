package house_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/samotop/samotop/internal/config"
	"github.com/samotop/samotop/internal/house"
	"github.com/samotop/samotop/management"
	"github.com/samotop/samotop/resolver/resolvertest"
)

const checkZone = `
	spf.test              TXT "v=spf1 ip4:127.0.0.1 -all"
	_dmarc.spf.test       TXT "v=DMARC1; p=reject"
	spf.test              A 192.0.2.1
	other.test            A 192.0.2.1
	quarantine.test       A 192.0.2.1
	_dmarc.quarantine.test TXT "v=DMARC1; p=quarantine"
	refused.test          TXT "v=spf1 -all"
	1.0.0.127.in-addr.arpa PTR client.test
	client.test           A 127.0.0.1
`

// dropIn writes a drop-in and reads the configuration again.
func dropIn(t *testing.T, c *house.Created, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.Config.Dir, config.DropInDir, "50-test.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.Config, err = config.Load(c.Config.Dir); err != nil {
		t.Fatal(err)
	}
}

// sendAs brings a message without TLS, as a stranger, and returns the code of the answer.
func sendAs(t *testing.T, addr, from, to, content string) int {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	steps := []func() error{
		func() error { return c.Mail(from) },
		func() error { return c.Rcpt(to) },
		func() error {
			w, err := c.Data()
			if err != nil {
				return err
			}
			if _, err := fmt.Fprint(w, content); err != nil {
				return err
			}
			return w.Close()
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			if e, ok := err.(*textproto.Error); ok {
				return e.Code
			}
			t.Fatal(err)
		}
	}
	return 250
}

// TestChecks: what strangers bring is checked before it is kept, with the policy of its domain and our rules.
func TestChecks(t *testing.T) {
	c := made(t, house.CreateOptions{Password: "secret-1"})
	dns := resolvertest.Serve(t, resolvertest.Zone(t, checkZone))
	dropIn(t, c, "dns.resolver = [\""+dns+"\"]\nmta.checks = [\"spf=fail refuse\"]\n")
	r := serve(t, c)
	r.alice(t)
	message := func(from string) string {
		return "Authentication-Results: mx.example.test; dmarc=pass\r\nFrom: x@" + from + "\r\nSubject: " + from + "\r\n\r\nhello\r\n"
	}
	for _, x := range []struct {
		from, author string
		want         int
	}{
		{"x@spf.test", "spf.test", 250},
		{"x@other.test", "spf.test", 550},
		{"x@refused.test", "other.test", 550},
		{"x@other.test", "quarantine.test", 250},
		{"x@other.test", "other.test", 250},
	} {
		if got := sendAs(t, r.addr("25"), x.from, "alice@example.test", message(x.author)); got != x.want {
			t.Errorf("%+v: %d", x, got)
		}
	}
	inbox, junk := r.texts(t, "INBOX"), r.texts(t, "Junk")
	if len(inbox) != 2 || len(junk) != 1 || !strings.Contains(junk[0], "quarantine.test") {
		t.Fatalf("%d in INBOX, %d in Junk", len(inbox), len(junk))
	}
	for _, want := range []string{"spf=pass smtp.mailfrom=x@spf.test", "iprev=pass (client.test) policy.iprev=127.0.0.1", "dmarc=pass", "Received-SPF: pass", "from localhost (client.test [127.0.0.1])"} {
		if !strings.Contains(strings.Join(strings.Fields(inbox[0]), " "), want) {
			t.Errorf("%q is not in\n%s", want, inbox[0])
		}
	}
	if n := strings.Count(inbox[0], "Authentication-Results:"); n != 1 {
		t.Errorf("%d Authentication-Results in\n%s", n, inbox[0])
	}
}

// TestNoDNS: where nobody answers, mail is taken all the same.
func TestNoDNS(t *testing.T) {
	c := made(t, house.CreateOptions{Password: "secret-1"})
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	dropIn(t, c, "dns.resolver = [\""+gone.LocalAddr().String()+"\"]\n")
	r := serve(t, c)
	r.alice(t)
	if code := sendAs(t, r.addr("25"), "x@a.test", "alice@example.test", "From: x@a.test\r\n\r\nhello\r\n"); code != 250 {
		t.Fatal(code)
	}
	if in := r.texts(t, "INBOX"); len(in) != 1 || !strings.Contains(in[0], "spf=temperror") || !strings.Contains(in[0], "dmarc=temperror") {
		t.Errorf("%q", in)
	}
}

// alice gets an account: the databases of serve are new.
func (r *running) alice(t *testing.T) {
	t.Helper()
	if err := r.client().Call(t.Context(), "domain/add", management.NameArgs{Name: "example.test"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.client().Call(t.Context(), "account/add", management.AccountArgs{Address: "alice@example.test", Password: "secret-1"}, nil); err != nil {
		t.Fatal(err)
	}
}

// texts returns the messages of one of alice's folders.
func (r *running) texts(t *testing.T, folder string) []string {
	t.Helper()
	c, err := imapclient.DialTLS(r.addr("993"), &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("alice@example.test", "secret-1").Wait(); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Select(folder, nil).Wait(); err != nil || d.NumMessages == 0 {
		return nil
	}
	got, err := c.Fetch(imap.SeqSet{imap.SeqRange{Start: 1}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range got {
		out = append(out, string(m.BodySection[0].Bytes))
	}
	return out
}
