package authres_test

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/mailauth/authres"
)

// The examples are those of RFC 8601 appendix B.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string // as written again, on one line; " BROKEN" at the end
	}{
		{"example.org 1; none", "example.org 1; none"},
		{"example.com;\r\n   spf=pass smtp.mailfrom=example.net", "example.com; spf=pass smtp.mailfrom=example.net"},
		{"example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net",
			"example.com; auth=pass (cram-md5) smtp.auth=sender@example.net; spf=pass smtp.mailfrom=example.net"},
		{"example.com; iprev=pass\r\n policy.iprev=192.0.2.200", "example.com; iprev=pass policy.iprev=192.0.2.200"},
		{`example.com; dkim=fail reason="bad signature" header.i=@mail-router.example.net`,
			`example.com; dkim=fail reason="bad signature" header.i=@mail-router.example.net`},
		{"foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462",
			"foo.example.net 1; dkim/1=fail policy.expired=1362471462"},
		{"example.com; dkim=pass (good signature) header.d=example.com; dkim=neutral header.b=\"a/b\"",
			`example.com; dkim=pass (good signature) header.d=example.com; dkim=neutral header.b="a/b"`},
		{`"mx one"; spf=pass smtp.mailfrom="a b"@c`, `"mx one"; spf=pass smtp.mailfrom="\"a b\"@c"`},
		{"a.test;", "a.test; none"},
		{"a.test", "a.test; none"},
		{"", `""; none BROKEN`},
		{"a.test; rubbish; spf=pass", "a.test; spf=pass BROKEN"},
		{"a.test; spf=; dkim=pass", "a.test; dkim=pass BROKEN"},
		{"a.test; spf=pass what is this; dkim=pass", "a.test; spf=pass; dkim=pass"},
		{"a.test 1 2 3; spf=pass", "a.test 1; spf=pass BROKEN"},
		{"a.test; spf=pass (not; closed", "a.test; spf=pass (not; closed)"},
		{`a.test; spf=pass reason="not closed`, `a.test; spf=pass reason="not closed"`},
	} {
		r := authres.Parse(c.in)
		got := strings.ReplaceAll(r.Value(), "\r\n\t", " ")
		if r.Broken {
			got += " BROKEN"
		}
		if got != c.want {
			t.Errorf("Parse(%q)\ngot  %s\nwant %s", c.in, got, c.want)
		}
	}
	if r := authres.Parse("a; " + strings.Repeat("spf=pass;", 10000)); len(r.Methods) != authres.MaxMethods || !r.Broken {
		t.Errorf("%d methods", len(r.Methods))
	}
	m := authres.Parse("a; dkim=pass header.D=X").Methods[0]
	if m.Get("header", "d") != "X" || m.Get("header", "i") != "" {
		t.Errorf("%+v", m)
	}
}

// What is written is read as it was meant, whatever is in it.
func TestWrittenIsRead(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab1.@;()\"\\= \t\r\n\x00ü/-")), 1, 30, -1)
	rapid.Check(t, func(t *rapid.T) {
		r := authres.Results{ID: "mx.test"}
		for range rapid.IntRange(0, 4).Draw(t, "methods") {
			m := authres.Method{Name: text.Draw(t, "name"), Result: text.Draw(t, "result"), Comment: text.Draw(t, "comment"), Reason: text.Draw(t, "reason")}
			for range rapid.IntRange(0, 3).Draw(t, "properties") {
				m.Properties = append(m.Properties, authres.Property{Type: "smtp", Name: "x", Value: text.Draw(t, "value")})
			}
			r.Methods = append(r.Methods, m)
		}
		got := authres.Parse(r.Value())
		if got.Broken || got.ID != r.ID || len(got.Methods) != len(r.Methods) {
			t.Fatalf("%q: %+v", r.Value(), got)
		}
		for i, m := range got.Methods {
			if len(m.Properties) != len(r.Methods[i].Properties) {
				t.Fatalf("%q: %+v", r.Value(), m)
			}
			if again := authres.Parse(got.Value()).Methods[i]; !reflect.DeepEqual(again, m) {
				t.Fatalf("%+v became %+v", m, again)
			}
			for k, p := range m.Properties {
				want := strings.Map(func(r rune) rune {
					if r < ' ' || r == 0x7f {
						return '_'
					}
					return r
				}, r.Methods[i].Properties[k].Value)
				if p.Value != want {
					t.Fatalf("%q became %q", want, p.Value)
				}
			}
		}
		for line := range strings.SplitSeq(string(r.Field().Append(nil)), "\r\n") {
			if line != "" && !strings.HasPrefix(line, authres.FieldName) && line[0] != '\t' {
				t.Fatalf("the field was ended by %q", line)
			}
		}
	})
}

func TestForged(t *testing.T) {
	const id = "mx.example.org"
	for value, want := range map[string]bool{
		" mx.example.org; spf=pass":                           true,
		" MX.Example.ORG 1; none":                             true,
		" mx.example.org":                                     true,
		" mx.example.org.; spf=pass":                          true,
		"\r\n\tmx.example.org;\r\n\tspf=pass":                 true,
		" (hello) mx.example.org; spf=pass":                   true,
		` "mx.example.org"; spf=pass`:                         true,
		` "mx\.example.org"; spf=pass`:                        true,
		" mx.example.org spf=pass":                            true,
		" i=1; mx.example.org; spf=pass":                      true,
		" ; mx.example.org; spf=pass":                         true,
		" x (mx.example.org); spf=pass":                       true,
		" mx.example.org/1; spf=pass":                         true,
		" mx.(x)example.org; spf=pass":                        true,
		" mx.example\r\n .org; spf=pass":                      true,
		" mx.example.org\x00; spf=pass":                       true,
		" \x01mx.example.org; spf=pass":                       true,
		strings.Repeat(" ", authres.MaxOctets+1):              true,
		" other.example.org; spf=pass":                        false,
		" mx.example.org.evil.test; spf=pass":                 false,
		" evil-mx.example.org; spf=pass":                      false,
		" other.test; spf=pass smtp.helo=mx.example.org":      false,
		" other.test; iprev=pass (mx.example.org) policy.x=1": false,
		"": false,
	} {
		if got := authres.Forged(value, id); got != want {
			t.Errorf("Forged(%.50q) = %v", value, got)
		}
	}
	if !authres.Forged(" mx.ÜBER.test; spf=pass", "mx.xn--ber-goa.test") {
		t.Error("the U-label of our name is not ours")
	}
}

func TestFilter(t *testing.T) {
	const in = "Received: a\r\nAuthentication-Results: mx.test; spf=pass\r\n\tsmtp.helo=x\r\nauthentication-RESULTS : MX.TEST\r\nAuthentication-Results: other.test; spf=pass\r\n" +
		"Subject: x\r\n y\r\nno field\r\nAuthentication-Results-Not: mx.test\r\nAuthentication-Results: mx.test;" + "\r\n\r\nAuthentication-Results: mx.test; body\r\n\r\nx"
	const want = "Received: a\r\nAuthentication-Results: other.test; spf=pass\r\nSubject: x\r\n y\r\nno field\r\nAuthentication-Results-Not: mx.test\r\n\r\nAuthentication-Results: mx.test; body\r\n\r\nx"
	for _, piece := range []int{1, 2, 3, 7, 64, 4096} {
		var out bytes.Buffer
		f := authres.NewFilter(&out, "mx.test")
		for rest := []byte(in); len(rest) > 0; {
			n := min(piece, len(rest))
			f.Write(rest[:n])
			rest = rest[n:]
		}
		if err := f.Close(); err != nil || out.String() != want || f.Removed() != 3 {
			t.Errorf("in pieces of %d: %v, %d removed:\n%q\nwant\n%q", piece, err, f.Removed(), out.String(), want)
		}
	}
	for in, want := range map[string]string{
		"":                                     "",
		"Authentication-Results: mx.test; x":   "",
		"Authentication-Results: a.test; x":    "Authentication-Results: a.test; x",
		"Auth":                                 "Auth",
		"\r\nAuthentication-Results: mx.test;": "\r\nAuthentication-Results: mx.test;",
		"A: " + strings.Repeat("x", 100000) + "\r\nAuthentication-Results: mx.test;\r\n": "A: " + strings.Repeat("x", 100000) + "\r\n",
		"Authentication-Results: a" + strings.Repeat(" x\r\n ", 100000) + "\r\nB: c\r\n": "B: c\r\n",
		"Authentication-Results: a" + strings.Repeat("x", 200000) + "\r\nB: c\r\n":       "B: c\r\n",
	} {
		var out bytes.Buffer
		f := authres.NewFilter(&out, "mx.test")
		io.WriteString(f, in)
		if f.Close(); out.String() != want {
			t.Errorf("%.60q: got %.80q, want %.80q", in, out.String(), want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("example.com; dkim=pass (x) reason=\"y\" header.d=z; none")
	f.Add("a (((\\")
	f.Add(`"\`)
	f.Fuzz(func(t *testing.T, s string) {
		r := authres.Parse(s)
		again := authres.Parse(r.Value())
		if again.Broken && r.ID != "" || len(again.Methods) != len(r.Methods) {
			t.Fatalf("%q: %q reads as %+v, was %+v", s, r.Value(), again, r)
		}
		if !r.Broken && strings.EqualFold(r.ID, "mx.test") && !authres.Forged(s, "mx.test") {
			t.Fatalf("%q is not found to be forged", s)
		}
	})
}

// However a message is cut, the filter does the same, and what is left has no field of ours.
func FuzzFilter(f *testing.F) {
	f.Add("Authentication-Results: mx.test; x\r\nA: b\r\n\r\nbody", 3)
	f.Add("A\nAuthentication-Results:mx.test\n B\n\n", 1)
	f.Fuzz(func(t *testing.T, s string, piece int) {
		var whole, parts bytes.Buffer
		a, b := authres.NewFilter(&whole, "mx.test"), authres.NewFilter(&parts, "mx.test")
		io.WriteString(a, s)
		a.Close()
		for rest, n := s, max(1, piece); rest != ""; {
			k := min(n, len(rest))
			io.WriteString(b, rest[:k])
			rest = rest[k:]
		}
		b.Close()
		if whole.String() != parts.String() {
			t.Fatalf("%q\n%q", whole.String(), parts.String())
		}
	})
}
