package dmarc_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/samotop/samotop/mailauth/dmarc"
	"github.com/samotop/samotop/resolver/resolvertest"
)

// TestRecordSyntax is RFC 9989 sections 4.7 and 4.8: what a record says, as "p sp np adkim aspf psd t fo"; "none" if it is
// no record.
func TestRecordSyntax(t *testing.T) {
	for _, c := range [][3]string{
		{"4.7 v", "v=DMARC1; p=none", "none - - r r u n 0"},
		{"4.7 v must come first", "p=none; v=DMARC1", "none"},
		{"4.7 v is in capitals", "v=dmarc1; p=none", "none"},
		{"4.7 v of another version", "v=DMARC2; p=none", "none"},
		{"4.7 v with more behind", "v=DMARC1x; p=none", "none"},
		{"4.7 v alone", "v=DMARC1", "none"},
		{"4.8 white space around = and ;", "v = DMARC1 ; p = reject ; sp = none", "reject none - r r u n 0"},
		{"4.8 tabs", "v=DMARC1\t;\tp=reject", "reject - - r r u n 0"},
		{"4.8 no space", "v=DMARC1;p=reject;sp=none", "reject none - r r u n 0"},
		{"4.8 a semicolon at the end", "v=DMARC1; p=reject;", "reject - - r r u n 0"},
		{"4.8 two semicolons", "v=DMARC1;; p=reject", "reject - - r r u n 0"},
		{"4.8 not a record at all", "hello", "none"},
		{"4.8 empty", "", "none"},
		{"4.8 other order of tags", "v=DMARC1; adkim=s; p=reject", "reject - - s r u n 0"},
		{"4.7 p=none", "v=DMARC1; p=none", "none - - r r u n 0"},
		{"4.7 p=quarantine", "v=DMARC1; p=quarantine", "quarantine - - r r u n 0"},
		{"4.7 p=reject", "v=DMARC1; p=reject", "reject - - r r u n 0"},
		{"4.7 p in capitals", "v=DMARC1; P=REJECT", "reject - - r r u n 0"},
		{"4.7 p unknown, no rua", "v=DMARC1; p=refuse", "none"},
		{"4.7 p unknown, rua", "v=DMARC1; p=refuse; rua=mailto:a@b.test", "none - - r r u n 0"},
		{"4.7 p empty, rua", "v=DMARC1; p=; rua=mailto:a@b.test", "none - - r r u n 0"},
		{"4.7 p missing, rua", "v=DMARC1; rua=mailto:a@b.test", "none - - r r u n 0"},
		{"4.7 p missing, rua without a usable URI", "v=DMARC1; rua=https://b.test", "none"},
		{"4.7 p missing, only sp", "v=DMARC1; sp=reject", "none"},
		{"4.7 sp=none", "v=DMARC1; p=reject; sp=none", "reject none - r r u n 0"},
		{"4.7 sp=quarantine", "v=DMARC1; p=reject; sp=quarantine", "reject quarantine - r r u n 0"},
		{"4.7 sp=reject", "v=DMARC1; p=none; sp=reject", "none reject - r r u n 0"},
		{"4.10.1 sp unknown, no rua", "v=DMARC1; p=reject; sp=quarantin", "none"},
		{"4.10.1 sp unknown, rua", "v=DMARC1; p=reject; sp=quarantin; rua=mailto:a@b.test", "none - - r r u n 0"},
		{"4.10.1 np unknown, no rua", "v=DMARC1; p=reject; np=x", "none"},
		{"4.10.1 np unknown, rua", "v=DMARC1; p=reject; sp=reject; np=; rua=mailto:a@b.test", "none - - r r u n 0"},
		{"4.7 np=none", "v=DMARC1; p=reject; np=none", "reject - none r r u n 0"},
		{"4.7 np=quarantine", "v=DMARC1; p=none; np=quarantine", "none - quarantine r r u n 0"},
		{"4.7 np=reject", "v=DMARC1; p=none; np=reject", "none - reject r r u n 0"},
		{"4.7 sp and np", "v=DMARC1; p=none; sp=quarantine; np=reject", "none quarantine reject r r u n 0"},
		{"4.7 adkim=r", "v=DMARC1; p=none; adkim=r", "none - - r r u n 0"},
		{"4.7 adkim=s", "v=DMARC1; p=none; adkim=s", "none - - s r u n 0"},
		{"4.7 adkim=S", "v=DMARC1; p=none; adkim=S", "none - - s r u n 0"},
		{"4.7 adkim unknown", "v=DMARC1; p=none; adkim=x", "none - - r r u n 0"},
		{"4.7 aspf=r", "v=DMARC1; p=none; aspf=r", "none - - r r u n 0"},
		{"4.7 aspf=s", "v=DMARC1; p=none; aspf=s", "none - - r s u n 0"},
		{"4.7 aspf unknown", "v=DMARC1; p=none; aspf=strict", "none - - r r u n 0"},
		{"4.7 psd=y", "v=DMARC1; p=none; psd=y", "none - - r r y n 0"},
		{"4.7 psd=n", "v=DMARC1; p=none; psd=n", "none - - r r n n 0"},
		{"4.7 psd=u", "v=DMARC1; p=none; psd=u", "none - - r r u n 0"},
		{"4.7 psd unknown", "v=DMARC1; p=none; psd=yes", "none - - r r u n 0"},
		{"4.7 t=y", "v=DMARC1; p=none; t=y", "none - - r r u y 0"},
		{"4.7 t=n", "v=DMARC1; p=none; t=n", "none - - r r u n 0"},
		{"4.7 t unknown", "v=DMARC1; p=none; t=x", "none - - r r u n 0"},
		{"4.7 fo=0", "v=DMARC1; p=none; fo=0", "none - - r r u n 0"},
		{"4.7 fo=1", "v=DMARC1; p=none; fo=1", "none - - r r u n 1"},
		{"4.7 fo=1:d:s", "v=DMARC1; p=none; fo=1:d:s", "none - - r r u n 1:d:s"},
		{"4.7 fo with an unknown option", "v=DMARC1; p=none; fo=d:x", "none - - r r u n d"},
		{"4.7 fo unknown", "v=DMARC1; p=none; fo=x", "none - - r r u n 0"},
		{"4.7 unknown tags are ignored", "v=DMARC1; x=y; p=reject; zz=1", "reject - - r r u n 0"},
		{"4.7 a part without = is ignored", "v=DMARC1; what; p=reject", "reject - - r r u n 0"},
		{"4.7 pct of RFC 7489 changes nothing", "v=DMARC1; p=reject; pct=0", "reject - - r r u n 0"},
		{"4.7 rf and ri of RFC 7489 change nothing", "v=DMARC1; p=reject; rf=afrf; ri=3600", "reject - - r r u n 0"},
		{"4.8 a tag twice: the first counts", "v=DMARC1; p=reject; p=none", "reject - - r r u n 0"},
	} {
		got := "none"
		if r, err := dmarc.Parse(c[1]); err == nil {
			letter := map[bool]string{true: "s", false: "r"}
			or := func(p dmarc.Policy) string {
				if p == "" {
					return "-"
				}
				return string(p)
			}
			testing := map[bool]string{true: "y", false: "n"}[r.Testing]
			got = strings.Join([]string{string(r.Policy), or(r.Subdomain), or(r.NonExistent), letter[r.StrictDKIM], letter[r.StrictSPF], r.PSD, testing, r.Failure}, " ")
		}
		if got != c[2] {
			t.Errorf("RFC 9989 section %s: %q: got %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

// TestPolicies is section 4.7 and 4.10.1: which of p, sp and np applies, to the domain itself, one below it that exists and
// one that does not, and what t=y leaves of it.
func TestPolicies(t *testing.T) {
	const n, q, r = "none", "quarantine", "reject"
	for _, c := range []struct{ record, own, below, missing string }{
		{"p=none", n, n, n}, {"p=quarantine", q, q, q}, {"p=reject", r, r, r},
		{"p=reject; sp=none", r, n, n}, {"p=reject; sp=quarantine", r, q, q}, {"p=none; sp=reject", n, r, r},
		{"p=reject; np=none", r, r, n}, {"p=none; np=reject", n, n, r}, {"p=quarantine; np=reject", q, q, r},
		{"p=none; sp=quarantine; np=reject", n, q, r}, {"p=reject; sp=none; np=quarantine", r, n, q}, {"p=reject; sp=reject; np=none", r, r, n},
		{"p=reject; t=y", q, q, q}, {"p=quarantine; t=y", n, n, n}, {"p=none; t=y", n, n, n}, {"p=none; sp=reject; t=y", n, q, q}, {"p=none; np=reject; t=y", n, n, q},
	} {
		zone := fmt.Sprintf("_dmarc.a.test TXT \"v=DMARC1; %s\"\n a.test A 192.0.2.1\n sub.a.test A 192.0.2.1\n", c.record)
		e := &dmarc.Evaluator{Resolver: resolvertest.New(t, zone)}
		for from, want := range map[string]string{"a.test": c.own, "sub.a.test": c.below, "gone.a.test": c.missing} {
			res := e.Evaluate(t.Context(), dmarc.Message{From: []string{from}})
			if res.Status != dmarc.Fail || string(res.Disposition()) != want {
				t.Errorf("RFC 9989 sections 4.7, 4.10.1: %q for %s: %s %s, want %s", c.record, from, res.Status, res.Disposition(), want)
			}
		}
	}
}

// TestAlignment is section 4.4: each pair of From and an authenticated domain, relaxed and strict, by SPF and by DKIM.
func TestAlignment(t *testing.T) {
	const zone = `
		_dmarc.a.test     TXT "v=DMARC1; p=reject%s"
		_dmarc.n.a.test   TXT "v=DMARC1; p=reject; psd=n%s"
		_dmarc.suffix     TXT "v=DMARC1; p=reject; psd=y%s"
		_dmarc.own.suffix TXT "v=DMARC1; p=reject%s"
		_dmarc.b.test     TXT "v=DMARC1; p=reject%s"
	`
	for _, c := range []struct {
		section, from, by string
		relaxed           bool // aligned if relaxed; strict: only if they are the same
	}{
		{"4.4 the same", "a.test", "a.test", true},
		{"4.4 case", "a.test", "A.Test", true},
		{"4.4.1 below", "a.test", "x.a.test", true},
		{"4.4.1 far below", "a.test", "x.y.z.a.test", true},
		{"4.4.1 above", "x.a.test", "a.test", true},
		{"4.4.1 beside", "x.a.test", "y.a.test", true},
		{"4.4 another", "a.test", "b.test", false},
		{"4.4 ends alike", "a.test", "xa.test", false},
		{"4.4 the top", "a.test", "test", false},
		{"4.10.2 psd=n is an organization of its own", "n.a.test", "a.test", false},
		{"4.10.2 and for those below it", "x.n.a.test", "n.a.test", true},
		{"4.10.2 and for those beside it", "x.n.a.test", "y.n.a.test", true},
		{"4.10.2 and not for others", "x.a.test", "n.a.test", false},
		{"4.10.2 two below psd=y", "own.suffix", "other.suffix", false},
		{"4.10.2 below one below psd=y", "x.own.suffix", "own.suffix", true},
		{"4.10.2 beside, one below psd=y", "x.own.suffix", "y.own.suffix", true},
		{"4.10.2 the public suffix itself", "own.suffix", "suffix", false},
	} {
		for _, strict := range []bool{false, true} {
			mode, want := "", c.relaxed
			if strict {
				mode, want = "; adkim=s; aspf=s", strings.EqualFold(c.from, c.by)
			}
			e := &dmarc.Evaluator{Resolver: resolvertest.New(t, strings.ReplaceAll(zone, "%s", mode))}
			spf := e.Evaluate(t.Context(), dmarc.Message{From: []string{c.from}, SPF: c.by})
			key := e.Evaluate(t.Context(), dmarc.Message{From: []string{c.from}, DKIM: []string{"other.example", c.by}})
			if spf.AlignedSPF != want || (spf.Status == dmarc.Pass) != want {
				t.Errorf("RFC 9989 section %s: From %s, SPF %s, strict %v: %+v", c.section, c.from, c.by, strict, spf)
			}
			if (len(key.AlignedDKIM) == 1) != want || (key.Status == dmarc.Pass) != want {
				t.Errorf("RFC 9989 section %s: From %s, DKIM %s, strict %v: %+v", c.section, c.from, c.by, strict, key)
			}
		}
	}
}
