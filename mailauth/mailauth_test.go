package mailauth_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailauth"
	"github.com/samotop/samotop/mailauth/arc"
	"github.com/samotop/samotop/mailauth/authres"
	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
)

const zone = `
	spf.test            TXT "v=spf1 ip4:192.0.2.1 -all"
	_dmarc.spf.test     TXT "v=DMARC1; p=reject"
	spf.test            A 192.0.2.1
	soft.test           A 192.0.2.1
	_dmarc.soft.test    TXT "v=DMARC1; p=quarantine"
	none.test           A 192.0.2.1
`

var now = time.Unix(1_700_000_000, 0)

// sink keeps what reaches the end of the chain.
type sink struct {
	content bytes.Buffer
	fields  []mail.Field
	folder  string
	done    bool
	report  mailauth.Report
}

func (s *sink) Open(context.Context, *mail.Session) (mail.Receiver, error) { return s, nil }
func (s *sink) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return s, nil
}
func (s *sink) Recipient(context.Context, *mail.Recipient) error { return nil }
func (s *sink) Trace(f ...mail.Field)                            { s.fields = append(s.fields, f...) }
func (s *sink) Write(p []byte) (int, error)                      { return s.content.Write(p) }
func (s *sink) Commit(context.Context) ([]mail.Reply, error) {
	s.done = true
	return []mail.Reply{mail.OK()}, nil
}
func (s *sink) Abort() error { return nil }
func (s *sink) Amend(_ int, folder string, _ bool) error {
	s.folder = folder
	return nil
}
func (s *sink) Authenticated(r mailauth.Report) { s.report = r }

// keys makes a resolver that also knows the key of s._domainkey.key.test.
func keys(t testing.TB) (resolver.Resolver, ed25519.PrivateKey) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := dkim.Record(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return resolvertest.New(t, zone+"\n s._domainkey.spf.test TXT \""+rec+"\"\n s._domainkey.list.test TXT \""+rec+"\"\n"), key
}

func text(fields []mail.Field, rest string) string {
	var b []byte
	for _, f := range fields {
		b = f.Append(b)
	}
	return string(b) + rest
}

func signed(t testing.TB, key ed25519.PrivateKey, msg string) string {
	s := dkim.NewSigning(now, dkim.Signer{Domain: "spf.test", Selector: "s", Key: key})
	io.WriteString(s, msg)
	fields, err := s.Close()
	if err != nil {
		t.Fatal(err)
	}
	return text(fields, msg)
}

func TestDoor(t *testing.T) {
	dns, key := keys(t)
	from := func(domain string) string { return "From: a@" + domain + "\r\nSubject: x\r\n\r\nbody\r\n" }
	overList := strings.Replace(signed(t, key, from("spf.test")), "Subject: x", "List-Id: <l.list.test>\r\nSubject: [l] x", 1)
	sealing := arc.NewSealing(now, arc.Sealer{Domain: "list.test", Selector: "s", Key: key, ID: "mx.list.test"})
	io.WriteString(sealing, overList)
	seal, err := sealing.Close(arc.Result{Status: arc.None}, authres.Results{Methods: []authres.Method{{Name: "dmarc", Result: "pass",
		Properties: []authres.Property{{Type: "header", Name: "from", Value: "spf.test"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	sealed := text(seal, overList)
	noSPF := []mailauth.Rule{{Check: "spf", Result: "fail", Action: mailauth.Refuse}}
	for _, c := range []struct {
		name, ip, from, msg string
		rules               []mailauth.Rule
		sealers             []string
		want                string // the reply's code and enhanced code, the folder, and spf dkim arc dmarc of the facts
	}{
		{"SPF aligned", "192.0.2.1", "x@spf.test", from("spf.test"), nil, nil, "250 2.0.0  pass none none pass"},
		{"nothing aligned", "192.0.2.9", "x@none.test", from("spf.test"), nil, nil, "550 5.7.1  none none none fail-reject"},
		{"quarantine", "192.0.2.9", "x@none.test", from("soft.test"), nil, nil, "250 2.0.0 Junk none none none fail-quarantine"},
		{"no policy", "192.0.2.9", "x@none.test", from("none.test"), nil, nil, "250 2.0.0  none none none none"},
		{"DKIM aligned", "192.0.2.9", "x@none.test", signed(t, key, from("spf.test")), nil, nil, "250 2.0.0  none pass none pass"},
		{"DKIM broken", "192.0.2.9", "x@none.test", signed(t, key, from("spf.test")) + "more\r\n", nil, nil, "550 5.7.1  none fail none fail-reject"},
		{"over a list", "192.0.2.9", "x@none.test", overList, nil, nil, "250 2.0.0 Junk none fail none fail-list"},
		{"over a list, sealed", "192.0.2.9", "x@none.test", sealed, nil, nil, "250 2.0.0 Junk none fail pass fail-list"},
		{"over a list that we trust", "192.0.2.9", "x@none.test", sealed, nil, []string{"list.test"}, "250 2.0.0  none fail pass fail-trusted"},
		{"two From fields", "192.0.2.1", "x@spf.test", "From: b@soft.test\r\n" + from("spf.test"), nil, nil, "250 2.0.0 Junk pass none none fail-quarantine"},
		{"a name behind another", "192.0.2.9", "x@none.test", "From: b@none.test, c@spf.test\r\n\r\n", nil, nil, "550 5.7.1  none none none fail-reject"},
		{"several that do not mind", "192.0.2.9", "x@none.test", "From: b@none.test, c@other.test\r\n\r\n", nil, nil, "250 2.0.0  none none none permerror"},
		{"a crowd", "192.0.2.9", "x@none.test", "From: a@a.test, b@b.test, c@c.test, d@d.test, e@e.test, f@f.test, g@g.test, h@h.test, i@i.test\r\n\r\n", nil, nil,
			"550 5.7.1  none none none fail-reject"},
		{"SPF fail by rule", "192.0.2.9", "x@spf.test", from("spf.test"), noSPF, nil, "550 5.7.23  fail   "},
		{"SPF fail by rule of another", "192.0.2.9", "x@spf.test", from("spf.test"),
			[]mailauth.Rule{{Domain: "spf.test", Check: "spf", Action: mailauth.Accept}, {Check: "spf", Result: "fail", Action: mailauth.Refuse}}, nil, "250 2.0.0  fail none none fail-reject"},
		{"defer what is not signed", "192.0.2.1", "x@spf.test", from("spf.test"), []mailauth.Rule{{Check: "dkim", Result: "none", Action: mailauth.Defer}}, nil, "451 4.7.20  pass none none pass"},
		{"nothing is done", "192.0.2.9", "x@none.test", from("spf.test"), []mailauth.Rule{}, nil, "250 2.0.0  none none none fail-reject"},
	} {
		t.Run(c.name, func(t *testing.T) {
			end := &sink{}
			checker := &mailauth.Checker{Resolver: dns, ID: "mx.test", Rules: c.rules, Sealers: c.sealers, Clock: func() time.Time { return now }}
			door, err := mail.Chain(end, checker.Middleware())
			if err != nil {
				t.Fatal(err)
			}
			s := &mail.Session{Hello: "client.test", RemoteAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.ip), 1))}
			reply := deliver(t, door, s, c.from, "Authentication-Results: mx.test; dmarc=pass\r\n"+c.msg)
			got := strings.Join([]string{reply, end.folder, s.Fact("spf"), s.Fact("dkim"), s.Fact("arc"), s.Fact("dmarc")}, " ")
			if got != c.want {
				t.Errorf("got  %q\nwant %q (%+v)", got, c.want, end.report.Findings)
			}
			if !end.done {
				return
			}
			if end.content.String() != c.msg {
				t.Errorf("the content is %q", end.content.String())
			}
			if n := len(end.fields); n != 2 || end.fields[0].Name != "Received-SPF" || end.fields[1].Name != authres.FieldName {
				t.Fatalf("%+v", end.fields)
			}
			if r := authres.Parse(end.fields[1].Value); r.Broken || r.ID != "mx.test" || len(r.Methods) < 4 {
				t.Errorf("%s", end.fields[1].Value)
			}
		})
	}
}

// TestAway: where DNS does not answer what decides, the message is put off, and nothing else is.
func TestAway(t *testing.T) {
	dns, key := keys(t)
	msg := signed(t, key, "From: a@spf.test\r\nSubject: x\r\n\r\nbody\r\n")
	changed := strings.Replace(msg, "Subject: x", "Subject: [l] x", 1)
	sealing := arc.NewSealing(now, arc.Sealer{Domain: "list.test", Selector: "s", Key: key, ID: "mx.list.test"})
	io.WriteString(sealing, changed)
	seal, err := sealing.Close(arc.Result{Status: arc.None}, authres.Results{Methods: []authres.Method{{Name: "dmarc", Result: "pass",
		Properties: []authres.Property{{Type: "header", Name: "from", Value: "spf.test"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	sealed := text(seal, changed)
	for _, c := range []struct {
		name, away, from, msg string
		want                  string
	}{
		{"the key of the author's domain", "s._domainkey.spf.test", "x@none.test", msg, "451 4.7.1 temperror-reject"},
		{"SPF of the author's domain", "spf.test", "x@spf.test", "From: a@spf.test\r\n\r\n", "451 4.7.1 temperror-reject"},
		{"the policy", "_dmarc.spf.test", "x@none.test", "From: a@spf.test\r\n\r\n", "250 2.0.0 temperror"},
		{"the key of a sealer that we trust", "s._domainkey.list.test", "x@none.test", sealed, "451 4.7.1 temperror-reject"},
		{"SPF of somebody else", "none.test", "x@none.test", "From: a@spf.test\r\n\r\n", "550 5.7.1 fail-reject"},
		{"nothing that decides", "s._domainkey.list.test", "x@none.test", msg, "250 2.0.0 pass"},
	} {
		end := &sink{}
		door := (&mailauth.Checker{Resolver: without{dns, c.away}, ID: "mx.test", Sealers: []string{"list.test"}, Clock: func() time.Time { return now }}).Middleware()(end)
		s := &mail.Session{Hello: "client.test", RemoteAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.9:1"))}
		if got := deliver(t, door, s, c.from, c.msg) + " " + s.Fact("dmarc"); got != c.want {
			t.Errorf("%s: got %q, want %q: %+v", c.name, got, c.want, end.report.Findings)
		}
	}
}

// without does not answer for one name.
type without struct {
	resolver.Resolver
	name string
}

func (w without) TXT(ctx context.Context, name string) ([]string, resolver.Answer, error) {
	if name == w.name {
		return nil, resolver.Answer{}, resolver.ErrTemporary
	}
	return w.Resolver.TXT(ctx, name)
}

func deliver(t *testing.T, door mail.Door, s *mail.Session, from, msg string) string {
	ctx := t.Context()
	r, err := door.Open(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := mail.ParseAddress(from)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(ctx, s, mail.Sender{Address: sender})
	if err != nil {
		t.Fatal(err)
	}
	code := func(r *mail.Reply) string { return r.String()[:len("250 ")+len(r.Enhanced.String())] }
	var reply *mail.Reply
	if err := tx.Recipient(ctx, &mail.Recipient{}); errors.As(err, &reply) {
		return code(reply)
	}
	for i := 0; i < len(msg); i += 11 {
		if _, err := io.WriteString(tx, msg[i:min(i+11, len(msg))]); err != nil {
			t.Fatal(err)
		}
	}
	replies, err := tx.Commit(ctx)
	if errors.As(err, &reply) {
		return code(reply)
	}
	return code(&replies[0])
}

func TestOursAreNotChecked(t *testing.T) {
	end := &sink{}
	door := (&mailauth.Checker{ID: "mx.test"}).Middleware()(end)
	for _, s := range []*mail.Session{{Trusted: true}, {Login: mail.Identity{Account: "a@b"}}} {
		if deliver(t, door, s, "a@b", "x\r\n"); end.fields != nil || len(s.Facts) != 0 {
			t.Errorf("%+v %+v", end.fields, s.Facts)
		}
	}
}

// BenchmarkChecks is what the checks add to a message of 8 KiB, with DNS in a cache.
func BenchmarkChecks(b *testing.B) {
	dns, key := keys(b)
	msg := []byte(signed(b, key, "From: a@spf.test\r\nSubject: x\r\n\r\n"+strings.Repeat("The quick brown fox jumps over the lazy dog, and again.\r\n", 8<<10/57)))
	checker := &mailauth.Checker{Resolver: dns, ID: "mx.test"}
	facts := mailauth.Facts{IP: netip.MustParseAddr("192.0.2.1"), Hello: "client.test", From: mail.Address{Local: "x", Domain: "spf.test"}}
	b.ReportAllocs()
	for b.Loop() {
		k := checker.Begin(facts)
		k.SPF(b.Context())
		k.Write(msg)
		if r := k.Close(b.Context()); r.DMARC.Status != "pass" {
			b.Fatal(r.Findings)
		}
	}
}
