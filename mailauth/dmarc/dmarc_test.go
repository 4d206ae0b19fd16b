package dmarc_test

import (
	"strings"
	"testing"

	"github.com/samotop/samotop/mailauth/dmarc"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
)

const zone = `
	example.com                       MX 10 mx.example.com
	_dmarc.example.com                TXT "v=DMARC1; p=reject; sp=quarantine; np=reject; rua=mailto:d@example.com"
	mail.example.com                  A 192.0.2.1
	strict.test                       A 192.0.2.1
	_dmarc.strict.test                TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
	a.strict.test                     A 192.0.2.1
	testing.test                      A 192.0.2.1
	_dmarc.testing.test               TXT "v=DMARC1; p=reject; t=y"
	twice.test                        A 192.0.2.1
	_dmarc.twice.test                 TXT "v=DMARC1; p=reject"
	_dmarc.twice.test                 TXT "v=DMARC1; p=none"
	noise.test                        A 192.0.2.1
	_dmarc.noise.test                 TXT "v=spf1 -all"
	_dmarc.noise.test                 TXT "v=DMARC1; p=quarantine"
	_dmarc.bank                       TXT "v=DMARC1; p=reject; psd=y; np=reject; sp=quarantine"
	some.bank                         A 192.0.2.1
	own.bank                          A 192.0.2.1
	_dmarc.own.bank                   TXT "v=DMARC1; p=none"
	sub.example.com                   A 192.0.2.1
	_dmarc.dept.corp.test             TXT "v=DMARC1; p=quarantine; psd=n"
	_dmarc.corp.test                  TXT "v=DMARC1; p=reject"
	x.dept.corp.test                  A 192.0.2.1
	nop.test                          A 192.0.2.1
	_dmarc.nop.test                   TXT "v=DMARC1; rua=mailto:x@nop.test"
	broken.test                       A 192.0.2.1
	_dmarc.broken.test                TXT "v=DMARC1; p=strange"
	_dmarc.g.h.i.deep.test            TXT "v=DMARC1; p=reject"
	_dmarc.deep.test                  TXT "v=DMARC1; p=quarantine"
	a.b.c.d.e.f.g.h.i.deep.test       A 192.0.2.1
`

func TestEvaluate(t *testing.T) {
	for _, c := range []struct {
		section, from, spf, dkim string
		want                     string // status tag policy disposition org
	}{
		{"4.10.1 the Author Domain's own record", "example.com", "", "", "fail p reject reject example.com"},
		{"4.4 SPF aligned exactly", "example.com", "example.com", "", "pass p reject none example.com"},
		{"4.4.1 DKIM aligned, relaxed, below", "example.com", "", "mail.example.com", "pass p reject none example.com"},
		{"4.4.2 SPF aligned, relaxed, sideways", "mail.example.com", "sub.example.com", "", "pass sp quarantine none example.com"},
		{"4.4 not aligned", "example.com", "other.test", "evil.test", "fail p reject reject example.com"},
		{"4.4 one of several signatures aligns", "example.com", "", "evil.test example.com", "pass p reject none example.com"},
		{"4.7 sp for a subdomain that exists", "mail.example.com", "", "", "fail sp quarantine quarantine example.com"},
		{"4.7 np for one that does not", "gone.example.com", "", "", "fail np reject reject example.com"},
		{"4.7 case does not matter", "EXAMPLE.com", "Mail.Example.COM", "", "pass p reject none example.com"},
		{"4.4.1 strict DKIM", "strict.test", "", "a.strict.test", "fail p reject reject strict.test"},
		{"4.4.2 strict SPF", "strict.test", "a.strict.test", "", "fail p reject reject strict.test"},
		{"4.4 strict and the same", "strict.test", "strict.test", "", "pass p reject none strict.test"},
		{"4.7 t=y softens", "testing.test", "", "", "fail p reject quarantine testing.test"},
		{"4.10 two records are none", "twice.test", "", "", "none    twice.test"},
		{"4.10 other TXT records are passed over", "noise.test", "", "", "fail p quarantine quarantine noise.test"},
		{"4.10.1 the public suffix speaks for who does not", "some.bank", "", "", "fail sp quarantine quarantine some.bank"},
		{"4.10.1 and for names that do not exist", "no.bank", "", "", "fail np reject reject no.bank"},
		{"4.10.1 but not for who does", "own.bank", "", "", "fail p none none own.bank"},
		{"4.10.2 two below a public suffix are not aligned", "own.bank", "some.bank", "", "fail p none none own.bank"},
		{"4.10.2 psd=n ends the walk", "x.dept.corp.test", "corp.test", "", "fail p quarantine quarantine dept.corp.test"},
		{"4.10.2 psd=n above the one of SPF", "x.dept.corp.test", "dept.corp.test", "", "pass p quarantine none dept.corp.test"},
		{"4.7 no p but rua counts as none", "nop.test", "", "", "fail p none none nop.test"},
		{"4.7 a strange p is no record", "broken.test", "", "", "none    broken.test"},
		{"4.10 a name of more than eight labels: the walk skips to seven", "a.b.c.d.e.f.g.h.i.deep.test", "", "", "fail p quarantine quarantine deep.test"},
		{"4.10 no record anywhere", "nothing.org", "", "", "none    nothing.org"},
		{"5.3.1 several domains in From", "example.com strict.test", "", "", "permerror    "},
		{"5.3.1 one domain twice", "example.com Example.com", "example.com", "", "pass p reject none example.com"},
		{"5.3.1 no domain", "", "", "", "permerror    "},
	} {
		e := &dmarc.Evaluator{Resolver: resolvertest.New(t, zone)}
		r := e.Evaluate(t.Context(), dmarc.Message{From: strings.Fields(c.from), SPF: c.spf, DKIM: strings.Fields(c.dkim)})
		policy, disposition := string(r.Policy), string(r.Disposition())
		if r.Record == nil {
			disposition = ""
		}
		if got := strings.Join([]string{string(r.Status), r.Tag, policy, disposition, r.OrgDomain}, " "); got != c.want {
			t.Errorf("RFC 9989 section %s: From %s, SPF %s, DKIM %s:\ngot  %q\nwant %q (%v)", c.section, c.from, c.spf, c.dkim, got, c.want, r.Err)
		}
	}
}

func TestTemporaryTrouble(t *testing.T) {
	z := resolvertest.Zone(t, zone)
	z.Fail("_dmarc.example.com", resolver.ErrTemporary)
	e := &dmarc.Evaluator{Resolver: z.Resolver(resolver.Config{MaxCacheEntries: -1})}
	if r := e.Evaluate(t.Context(), dmarc.Message{From: []string{"example.com"}}); r.Status != dmarc.TempError || r.Disposition() != dmarc.None {
		t.Errorf("%+v", r)
	}
}

// TestUnknown is RFC 9989 section 5.3.6: what DNS has not told is neither pass nor fail, where it decides.
func TestUnknown(t *testing.T) {
	e := &dmarc.Evaluator{Resolver: resolvertest.New(t, zone)}
	for _, c := range []struct {
		name string
		m    dmarc.Message
		want dmarc.Status
	}{
		{"the key of an aligned signature", dmarc.Message{From: []string{"example.com"}, UnknownDKIM: []string{"evil.test", "mail.example.com"}}, dmarc.TempError},
		{"aligned SPF", dmarc.Message{From: []string{"example.com"}, UnknownSPF: "mail.example.com"}, dmarc.TempError},
		{"strict, and below", dmarc.Message{From: []string{"strict.test"}, UnknownSPF: "a.strict.test", UnknownDKIM: []string{"a.strict.test"}}, dmarc.Fail},
		{"strict, and the same", dmarc.Message{From: []string{"strict.test"}, UnknownDKIM: []string{"strict.test"}}, dmarc.TempError},
		{"a stranger's", dmarc.Message{From: []string{"example.com"}, UnknownSPF: "evil.test", UnknownDKIM: []string{"evil.test"}}, dmarc.Fail},
		{"another passes", dmarc.Message{From: []string{"example.com"}, SPF: "example.com", UnknownDKIM: []string{"example.com"}}, dmarc.Pass},
	} {
		if r := e.Evaluate(t.Context(), c.m); r.Status != c.want || r.Requested() != dmarc.Reject || (r.Disposition() == dmarc.Reject) != (c.want == dmarc.Fail) {
			t.Errorf("%s: %s (%v), want %s", c.name, r.Status, r.Err, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	r, err := dmarc.Parse("v=DMARC1 ; P=Reject; rua=mailto:a@b.test!10m, https://x.test, mailto:c%40d@e.test; fo=1:x:d; pct=50; p=none; unknown=1;")
	if err != nil {
		t.Fatal(err)
	}
	if r.Policy != dmarc.Reject || len(r.Aggregate) != 2 || r.Aggregate[0].Address != "a@b.test" || r.Failure != "1:d" || r.Percent != 50 {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{"", "v=DMARC2; p=none", "p=none; v=DMARC1", "v=DMARC1", "v=DMARC1; p=", "v=dmarc1; p=none", strings.Repeat("v=DMARC1;", 1000)} {
		if _, err := dmarc.Parse(bad); err == nil {
			t.Errorf("Parse(%.40q) did not fail", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("v=DMARC1; p=reject; rua=mailto:a@b,mailto:c@d!5k; fo=1:d:s; psd=y; np=none")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := dmarc.Parse(s); err == nil && r.Policy == "" {
			t.Errorf("%q has no policy", s)
		}
	})
}
