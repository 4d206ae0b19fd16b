package dkim_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/samotop/samotop/mailauth/dkim"
	"github.com/samotop/samotop/resolver"
)

// zone answers TXT questions; a value "!" is a temporary failure.
type zone map[string]string

func (z zone) TXT(_ context.Context, name string) ([]string, resolver.Answer, error) {
	switch v, ok := z[name]; {
	case !ok:
		return nil, resolver.Answer{}, resolver.ErrNoName
	case v == "!":
		return nil, resolver.Answer{}, resolver.ErrTemporary
	default:
		return []string{v}, resolver.Answer{}, nil
	}
}

func verify(z zone, message string) []dkim.Result {
	m := (&dkim.Verifier{Resolver: z, Clock: func() time.Time { return time.Unix(1_700_000_000, 0) }}).Message()
	m.Write([]byte(message))
	return m.Close(context.Background())
}

func statuses(rs []dkim.Result) string {
	var s []string
	for _, r := range rs {
		s = append(s, string(r.Status))
	}
	return strings.Join(s, " ")
}

func shared(t *testing.T, name string) string {
	dir := os.Getenv("SAMOTOP_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	b, err := os.ReadFile(filepath.Join(dir, "vectors", "dkim-dkimpy", name))
	if os.IsNotExist(err) {
		t.Skipf("test vectors of others are missing: %v (set SAMOTOP_SHARED)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// The public key of RFC 8463 appendix A.2 (RFC 8032 section 7.1, test 1).
const brisbane = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

func TestSamplesOfTheStandards(t *testing.T) {
	z := zone{
		"brisbane._domainkey.football.example.com": brisbane,
		"test._domainkey.football.example.com":     shared(t, "test.txt"),
	}
	for name, want := range map[string]string{
		"rfc6376.msg": "", "rfc6376.signed.msg": "pass pass", "rfc6376.signed.rsa.msg": "pass",
	} {
		msg := crlf(shared(t, name))
		got := verify(z, msg)
		if statuses(got) != want {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
		if want == "" {
			continue
		}
		changed := strings.Replace(msg, "dinner ready", "dinner burnt", 1)
		if s := statuses(verify(z, changed)); strings.Contains(s, "pass") {
			t.Errorf("%s with another subject: %s", name, s)
		}
		if s := statuses(verify(z, msg+"more\r\n")); strings.Contains(s, "pass") {
			t.Errorf("%s with a longer body: %s", name, s)
		}
		if s := statuses(verify(z, msg+"\r\n\r\n")); s != want {
			t.Errorf("%s with empty lines at the end: %s, want %s", name, s, want)
		}
	}
}

// TestOtherSamples are those of dkimpy beside the standards' ones, most of them broken.
func TestOtherSamples(t *testing.T) {
	ss, ours := signers(t)
	good := strings.TrimSpace(shared(t, "test.txt"))
	const rfc, exim, bad = "test._domainkey.football.example.com", "sed._domainkey.test.ex", "test._domainkey.legitimate.com(.attacker.com"
	for _, c := range []struct{ name, at, record, want string }{
		{"rfc6376.signed.rsa.msg", rfc, good, "pass"},
		{"rfc6376.signed.rsa.msg", rfc, "badk.txt", "permerror"},       // k= is no type of key
		{"rfc6376.signed.rsa.msg", rfc, "badversion.txt", "permerror"}, // v=DKIM1: g=*
		{"rfc6376.signed.rsa.msg", rfc, "test_bad.txt", "permerror"},
		{"rfc6376.signed.rsa.msg", rfc, "test_tlsrpt.txt", "permerror"}, // s=tlsrpt: not for mail
		{"rfc6376.signed.rsa.msg", rfc, "", "permerror"},
		{"ed25519test2.msg", exim, "eximtest.dns", "pass"},
		{"ed25519test2.msg", exim, "ed25519test.dns", "fail"},
		{"test.message.baddomain", bad, good, "permerror"}, // d=legitimate.com(.attacker.com
		{"test2.message", "", "", "permerror"},             // no key any more
		{"message.mbox", "", "", "permerror"},
		{"test.message", rfc, good, ""}, {"test_extra.message", rfc, good, ""}, {"test_nofrom.message", rfc, good, ""}, {"rfc6376.w1258.msg", rfc, good, ""},
		{"ed25519test.msg", rfc, good, ""},
	} {
		z, record := zone{}, c.record
		if strings.HasSuffix(record, ".txt") || strings.HasSuffix(record, ".dns") {
			record = strings.TrimSpace(shared(t, record))
		}
		if record != "" {
			z[c.at] = record
		}
		msg := shared(t, c.name)
		if !strings.Contains(msg, "\r\n") {
			msg = crlf(msg)
		}
		if got := verify(z, msg); statuses(got) != c.want {
			t.Errorf("%s with the key %.20q: %+v, want %s", c.name, c.record, got, c.want)
		}
		if c.want == "" { // not signed: what we sign of it verifies
			if got := verify(ours, sign(t, ss, msg, 512)); statuses(got) != strings.TrimSpace(strings.Repeat("pass ", len(ss))) {
				t.Errorf("%s, signed by us: %+v", c.name, got)
			}
		}
	}
}

func TestKeyRecords(t *testing.T) {
	record := strings.TrimSpace(shared(t, "2048_testkey_wo_markers.pub.txt"))
	long := record[strings.Index(record, "p=")+2:]
	if len(long) < 300 {
		t.Fatalf("%q is not what this test was written for", record)
	}
	for record, ok := range map[string]bool{
		shared(t, "test.txt"):                     true,
		brisbane:                                  true,
		record:                                    true,
		"k=rsa; p=" + long:                        true,
		"v=DKIM1; p=":                             false,
		"v=DKIM2; p=" + long:                      false,
		"k=rsa; v=DKIM1; p=" + long:               false,
		"v=DKIM1; k=dsa; p=" + long:               false,
		"v=DKIM1; p=" + long + "; p=" + long:      false,
		"v=DKIM1; k=ed25519; p=AAAA":              false,
		"v=DKIM1; k=ed25519; p=" + long:           false,
		"v=DKIM1; p=!!":                           false,
		shared(t, "badversion.txt"):               false,
		strings.Repeat("x", dkim.MaxKeyOctets+10): false,
		"": false,
	} {
		if _, err := dkim.ParseKey(strings.TrimSpace(record)); (err == nil) != ok {
			t.Errorf("ParseKey(%.60q): %v, want ok %v", record, err, ok)
		}
	}
}

const plain = "Received: from a by b\r\nFrom: Alice <alice@example.test>\r\nTo: bob@example.test\r\nSubject: a  folded\r\n\t subject \r\n" +
	"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.test>\r\n\r\n"

var bodies = map[string]string{
	"empty": "", "one line": "hello\r\n", "no line end": "hello", "only line ends": "\r\n\r\n\r\n", "spaces": "  a \t b  \r\n \r\n\t\r\nx \r\n\r\n \r\n",
	"lone CR and LF": "a\rb\nc\r\r\nd\n\r\ne \r", "long line": strings.Repeat("word ", 5000) + "\r\n", "binary": "\x00\xff \x01\r\n.\r\n",
	"many lines": strings.Repeat("The quick brown fox \t jumps\r\n", 3000),
}

func signers(t testing.TB) ([]dkim.Signer, zone) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	z := zone{}
	var ss []dkim.Signer
	for sel, key := range map[string]crypto.Signer{"rsa": rsaKey, "ed": edKey} {
		rec, err := dkim.Record(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		z[sel+"._domainkey.example.test"] = rec
		ss = append(ss, dkim.Signer{Domain: "example.test", Selector: sel, Key: key, Lifetime: time.Hour})
	}
	return ss, z
}

func sign(t testing.TB, ss []dkim.Signer, msg string, piece int) string {
	s := dkim.NewSigning(time.Unix(1_699_999_000, 0), ss...)
	for rest := msg; rest != ""; {
		n := min(piece, len(rest))
		s.Write([]byte(rest[:n]))
		rest = rest[n:]
	}
	fields, err := s.Close()
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, f := range fields {
		b = f.Append(b)
	}
	return string(b) + msg
}

func TestSignThenVerify(t *testing.T) {
	ss, z := signers(t)
	for name, body := range bodies {
		for _, piece := range []int{1, 7, 4096, 1 << 20} {
			signed := sign(t, ss, plain+body, piece)
			if got := verify(z, signed); statuses(got) != "pass pass" {
				t.Fatalf("%s, pieces of %d: %+v", name, piece, got)
			}
			if piece == 1 {
				m := (&dkim.Verifier{Resolver: z, Clock: func() time.Time { return time.Unix(1_700_000_000, 0) }}).Message()
				for i := range signed {
					m.Write([]byte{signed[i]})
				}
				if got := m.Close(t.Context()); statuses(got) != "pass pass" {
					t.Fatalf("%s, octet by octet: %+v", name, got)
				}
			}
		}
	}
}

func TestOthersVerifyUs(t *testing.T) {
	ss, z := signers(t)
	for name, body := range bodies {
		if name == "lone CR and LF" || name == "no line end" {
			continue // not Internet messages; go-msgauth normalises them
		}
		for i := range ss {
			signed := sign(t, ss[i:i+1], plain+body, 4096)
			// The oracle knows the present only, so it is given no expiry.
			s := ss[i]
			s.Lifetime = 0
			signed = sign(t, []dkim.Signer{s}, plain+body, 4096)
			vs, err := msgauth.VerifyWithOptions(strings.NewReader(signed), &msgauth.VerifyOptions{LookupTXT: func(n string) ([]string, error) {
				txt, _, err := z.TXT(context.Background(), strings.TrimSuffix(n, "."))
				return txt, err
			}})
			if err != nil || len(vs) != 1 || vs[0].Err != nil {
				t.Errorf("%s signed by %s: %v %+v", name, s.Selector, err, vs[0].Err)
			}
		}
	}
}

func TestWeVerifyOthers(t *testing.T) {
	ss, z := signers(t)
	for name, body := range bodies {
		if name == "lone CR and LF" || name == "no line end" {
			continue
		}
		for _, c := range []msgauth.Canonicalization{msgauth.CanonicalizationSimple, msgauth.CanonicalizationRelaxed} {
			for _, s := range ss {
				var b bytes.Buffer
				err := msgauth.Sign(&b, strings.NewReader(plain+body), &msgauth.SignOptions{Domain: s.Domain, Selector: s.Selector, Signer: s.Key,
					Hash: crypto.SHA256, HeaderCanonicalization: c, BodyCanonicalization: c, HeaderKeys: []string{"From", "Subject", "Subject", "Date"}})
				if err != nil {
					t.Fatal(err)
				}
				if got := verify(z, b.String()); statuses(got) != "pass" {
					t.Errorf("%s %s by %s: %+v", name, c, s.Selector, got)
				}
			}
		}
	}
}

func TestOversigning(t *testing.T) {
	ss, z := signers(t)
	signed := sign(t, ss[:1], plain+"hello\r\n", 4096)
	for _, extra := range []string{"From: Mallory <m@evil.test>", "Subject: other", "Reply-To: m@evil.test", "Content-Type: text/html"} {
		if got := verify(z, extra+"\r\n"+signed); statuses(got) != "fail" {
			t.Errorf("with another %s: %+v", extra, got)
		}
	}
	if got := verify(z, "Received: from x by y\r\nX-Other: z\r\n"+signed); statuses(got) != "pass" {
		t.Errorf("with trace fields: %+v", got)
	}
}

func TestVerdicts(t *testing.T) {
	ss, z := signers(t)
	ss = ss[:1]
	good := sign(t, ss, plain+"hello\r\n", 4096)
	name := ss[0].Selector + "._domainkey.example.test"
	record := z[name]
	for what, c := range map[string]struct {
		record, old, new string
		want             dkim.Status
	}{
		"good":                       {record, "", "", dkim.Pass},
		"no key":                     {"", "", "", dkim.PermError},
		"key not reachable":          {"!", "", "", dkim.TempError},
		"revoked":                    {"v=DKIM1; p=", "", "", dkim.PermError},
		"other type":                 {"v=DKIM1; k=rsa2; p=AAAA", "", "", dkim.PermError},
		"sha1 only":                  {record + "; h=sha1", "", "", dkim.PermError},
		"sha1 or sha256":             {record + "; h=sha1:sha256", "", "", dkim.Pass},
		"not for mail":               {record + "; s=tlsrpt", "", "", dkim.PermError},
		"for all":                    {record + "; s=tlsrpt:*", "", "", dkim.Pass},
		"rsa-sha1":                   {record, "a=rsa-sha256", "a=rsa-sha1", dkim.Policy},
		"version 2":                  {record, "v=1;", "v=2;", dkim.PermError},
		"no version":                 {record, "v=1;", "", dkim.PermError},
		"expired":                    {record, "t=1699999000; x=1700002600", "t=1699999000; x=1699999999", dkim.Fail},
		"expired before it was made": {record, "x=1700002600", "x=1", dkim.PermError},
		"without From":               {record, "h=From:From:", "h=", dkim.PermError},
		"i= of another":              {record, "d=example.test;", "d=example.test; i=@evil.test;", dkim.PermError},
		"i= above":                   {record, "d=example.test;", "d=example.test; i=@test;", dkim.PermError},
		"unknown c=":                 {record, "relaxed/relaxed", "relaxed/strict", dkim.PermError},
		"tag twice":                  {record, "v=1;", "v=1; v=1;", dkim.PermError},
		"l= too long":                {record, "v=1;", "v=1; l=99999;", dkim.PermError},
		"bad base64":                 {record, "bh=", "bh=!", dkim.PermError},
		"unknown q=":                 {record, "v=1;", "v=1; q=http;", dkim.PermError},
	} {
		if c.want == dkim.Policy && ss[0].Selector == "ed" {
			c.old, c.new = "a=ed25519-sha256", "a=rsa-sha1"
		}
		msg := strings.Replace(good, c.old, c.new, 1)
		z := zone{}
		if c.record != "" {
			z[name] = c.record
		}
		got := verify(z, msg)
		if len(got) != 1 || got[0].Status != c.want {
			t.Errorf("%s: %+v, want %s", what, got, c.want)
		}
	}
}

func TestShortKeyNeverPasses(t *testing.T) {
	if _, err := dkim.ParseKey("v=DKIM1; k=rsa; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKPyhYVeMWo2zZ9vJVyYzUqYH7ohTHkAyBbcqkkGzKFGcEY1vNDkfhV0Mz1jLgd4MqPNTmP8MsX8qZvHqkMNNOkCAwEAAQ=="); err == nil {
		t.Error("a key of 512 bits was taken")
	}
}

// counting counts the keys that are asked for: nothing is verified without one.
type counting struct {
	zone
	n *int
}

func (c counting) TXT(ctx context.Context, name string) ([]string, resolver.Answer, error) {
	*c.n++
	return c.zone.TXT(ctx, name)
}

// TestManySignatures: a thousand signatures cost what the first MaxSignatures do, whether they are all good, each of a key of
// its own, or each over another part of the body.
func TestManySignatures(t *testing.T) {
	ss, z := signers(t)
	one := sign(t, ss[:1], plain, 4096)
	field := one[:len(one)-len(plain)]
	variant := func(f func(i int) string) string {
		var b strings.Builder
		for i := range 1000 {
			b.WriteString(f(i))
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		header string
		asked  int // -1: whatever, up to the limit
	}{
		"all good":             {strings.Repeat(field, 1000), dkim.MaxSignatures},
		"keys of their own":    {variant(func(i int) string { return strings.Replace(field, "s=", fmt.Sprintf("s=k%d.", i), 1) }), dkim.MaxSignatures},
		"parts of their own":   {variant(func(i int) string { return strings.Replace(field, "v=1;", fmt.Sprintf("v=1; l=%d;", i), 1) }), -1},
		"nothing but nonsense": {strings.Repeat("DKIM-Signature: v=1; a=rsa-sha256; b=x\r\n", 1000), 0},
	} {
		asked := 0
		m := (&dkim.Verifier{Resolver: counting{z, &asked}, Clock: func() time.Time { return time.Unix(1_700_000_000, 0) }}).Message()
		m.Write([]byte(c.header + plain))
		got := m.Close(t.Context())
		if len(got) != dkim.MaxSignatures+1 || got[dkim.MaxSignatures].Status != dkim.Policy {
			t.Errorf("%s: %d results", name, len(got))
		}
		if asked > dkim.MaxSignatures || c.asked >= 0 && asked != c.asked {
			t.Errorf("%s: %d keys were fetched", name, asked)
		}
	}
}

func TestPartial(t *testing.T) {
	ss, z := signers(t)
	var b bytes.Buffer
	// The oracle cannot write l=, so a signature without it is given one afterwards and may only fail, never pass.
	if err := msgauth.Sign(&b, strings.NewReader(plain+"hello\r\n"), &msgauth.SignOptions{Domain: ss[0].Domain, Selector: ss[0].Selector, Signer: ss[0].Key,
		BodyCanonicalization: msgauth.CanonicalizationSimple}); err != nil {
		t.Fatal(err)
	}
	got := verify(z, strings.Replace(b.String(), "v=1;", "v=1; l=7;", 1)+"added\r\n")
	if statuses(got) != "fail" || !got[0].Partial || got[0].Reason != "signature does not match" {
		t.Errorf("%+v", got) // the body hash holds for the first seven octets; the signature does not hold for the l= put in
	}
}

func FuzzVerify(f *testing.F) {
	ss, z := signers(f)
	f.Add(sign(f, ss, plain+"hello\r\n", 4096))
	f.Add("DKIM-Signature: v=1; a=rsa-sha256; b=; bh=; d=x; h=from; s=y\r\n\r\n")
	f.Add("\r\n")
	f.Fuzz(func(t *testing.T, s string) { verify(z, s) })
}

func FuzzKey(f *testing.F) {
	f.Add(brisbane)
	f.Add("v=DKIM1; p=")
	f.Fuzz(func(t *testing.T, s string) { dkim.ParseKey(s) })
}

func message75(t testing.TB) string {
	return plain + strings.Repeat("The quick brown fox jumps over the lazy dog, and again, and again.\r\n", 75<<10/68)
}

// BenchmarkVerify compares verifying a message of 75 KiB with its floor: one SHA-256 pass and one RSA verification.
func BenchmarkVerify(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	rec, err := dkim.Record(key.Public())
	if err != nil {
		b.Fatal(err)
	}
	plain := []byte(message75(b))
	b.Run("floor", func(b *testing.B) {
		sum := sha256.Sum256(plain)
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			sum := sha256.Sum256(plain)
			if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], sig) != nil {
				b.Fatal("does not verify")
			}
		}
	})
	for _, c := range []msgauth.Canonicalization{msgauth.CanonicalizationSimple, msgauth.CanonicalizationRelaxed} {
		var signed bytes.Buffer
		if err := msgauth.Sign(&signed, bytes.NewReader(plain), &msgauth.SignOptions{Domain: "example.test", Selector: "s", Signer: key, Hash: crypto.SHA256,
			HeaderCanonicalization: c, BodyCanonicalization: c}); err != nil {
			b.Fatal(err)
		}
		v := &dkim.Verifier{Resolver: zone{"s._domainkey.example.test": rec}}
		b.Run(string(c), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := v.Message()
				m.Write(signed.Bytes())
				if rs := m.Close(b.Context()); rs[0].Status != dkim.Pass {
					b.Fatal(rs)
				}
			}
		})
	}
}

// BenchmarkSign compares signing with both keys with its floor: one SHA-256 pass and the two signatures.
func BenchmarkSign(b *testing.B) {
	ss, _ := signers(b)
	plain := []byte(message75(b))
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			sum := sha256.Sum256(plain)
			for i := range ss {
				opts := crypto.SignerOpts(crypto.SHA256)
				if ss[i].Selector == "ed" {
					opts = crypto.Hash(0)
				}
				if _, err := ss[i].Key.Sign(rand.Reader, sum[:], opts); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("both", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s := dkim.NewSigning(time.Unix(1, 0), ss...)
			s.Write(plain)
			if _, err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
