package message

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"pgregory.net/rapid"
)

func TestDecodeText(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		"plain":                                "plain",
		"folded\r\n line":                      "folded line",
		"folded\r\n\ttab":                      "folded tab",
		"=?iso-8859-1?q?a=E4?=":                "aä",
		"=?UTF-8?B?w6Q=?=":                     "ä",
		"=?UTF-8?B?w6Q?=":                      "ä",
		"=?utf-8?q?=C3?= =?utf-8?q?=A4?=":      "ä",
		"=?utf-8?q?=C3?=\r\n =?UTF-8?B?pA==?=": "ä",
		"=?utf-8?q?a?= =?iso-8859-1?q?=E4?=":   "aä",
		"=?utf-8?q?a?= b =?utf-8?q?c?=":        "a b c",
		"(=?utf-8?q?a?=)":                      "(a)",
		"=?utf-8*de?q?a?=":                     "a",
		"=?utf-8?q?a b c?= d":                  "a b c d",
		"=?utf-8?q?cut":                        "cut",
		"=?utf-8?q?a_b?=":                      "a b",
		"=?utf-8?x?a?=":                        "=?utf-8?x?a?=",
		"=?utf-8?q?a=0D=0ABcc:_b?=":            "a  Bcc: b",
		"=?unknown-8bit?q?=E4?=":               "ä",
		"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=":   "日本",
		"=?ks_c_5601-1987?B?x9GxuQ==?=":        "한국",
		"=?utf-7?q?+AOQ-?=":                    "ä",
		"=?gb2312?B?1tDOxA==?=":                "中文",
		"=?cp437?q?=84?=":                      "ä",
		"raw \xe4":                             "raw ä",
		"raw \xc3\xa4":                         "raw ä",
		"=?":                                   "=?",
		"a =?b =?utf-8?q?c?=":                  "a =?b c",
		"=?iso-2022-kr?B?GyQpQw5HUTE5Dw==?=":   "한국",
	} {
		if got := DecodeText([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestEncodeTextComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := strings.TrimSpace(cleanText(rapid.StringOf(rapid.SampledFrom([]rune("aZ9 .,äß日😀_=?\"("))).Draw(t, "s")))
		enc := EncodeText(s)
		field := FoldField("Subject", enc)
		h := ParseHeader([]byte(field + "\r\n"))
		if got := h.Text("subject"); got != s && !strings.Contains(s, "=?") {
			t.Fatalf("%q became %q became %q", s, field, got)
		}
		for _, line := range strings.Split(field, "\r\n") {
			if len(line) > foldOctets && strings.Contains(strings.TrimSpace(line), " ") && strings.Contains(enc, "=?") && !strings.Contains(s, "=?") {
				long := false
				for _, w := range strings.Fields(line) {
					long = long || len(w) > foldOctets-10
				}
				if !long {
					t.Fatalf("a line of %d: %q", len(line), line)
				}
			}
		}
	})
}

func TestAddressList(t *testing.T) {
	for in, want := range map[string]string{
		"a@b":                             `<a@b>`,
		"A <a@b>":                         `"A" <a@b>`,
		"A <a@b>, c@d":                    `"A" <a@b>, <c@d>`,
		"a@b (Ann)":                       `"Ann" <a@b>`,
		"\"B, C\" <b@c>":                  `"B, C" <b@c>`,
		"\"a b\"@c":                       `<a b@c>`,
		"g: a@b, C <c@d>;, e@f":           `"g":[<a@b>, "C" <c@d>], <e@f>`,
		"undisclosed-recipients:;":        `"undisclosed-recipients":[]`,
		"<@a,@b:c@d>":                     `<c@d>`,
		"=?utf-8?q?J=C3=B6rg?= <j@x>":     `"Jörg" <j@x>`,
		"=?utf-8?q?Doe, John?= <j@x>":     `"Doe, John" <j@x>`,
		"\"=?utf-8?q?J=C3=B6rg?=\" <j@x>": `"Jörg" <j@x>`,
		"jörg@exämple.org":                `<jörg@exämple.org>`,
		"A <a@b> B <c@d>":                 `"A" <a@b>, "B" <c@d>`,
		"a@b; c@d":                        `<a@b>, <c@d>`,
		"A <a@b":                          `"A" <a@b>`,
		"A <a@b, c@d":                     `"A" <a@b>, <c@d>`,
		"<<a@b>>":                         `<a@b>`,
		"a@b c@d":                         `"a@b" <c@d>`,
		"root":                            `<root>`,
		"no address here":                 `"no address here"`,
		"John Doe john@x":                 `"John Doe" <john@x>`,
		", ,a@b,,":                        `<a@b>`,
		"a . b @ c . d":                   `<a.b@c.d>`,
		"x@[IPv6:2001:db8::1]":            `<x@[IPv6:2001:db8::1]>`,
		"a@b <a@b>":                       `"a@b" <a@b>`,
		"<>":                              ``,
		"A <>":                            `"A"`,
		"":                                ``,
		"a.@b":                            `<a.@b>`,
		"a..b@docomo.ne.jp":               `<a..b@docomo.ne.jp>`,
		"J\xf6rg <j@x>":                   `"Jörg" <j@x>`,
	} {
		if got := showAddresses(ParseAddressList([]byte(in))); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	route := ParseAddressList([]byte("<@a,@b:c@d>"))[0].Route
	if route != "@a,@b" {
		t.Errorf("route %q", route)
	}
	raw := ParseAddressList([]byte("=?utf-8?q?J=C3=B6rg?=  X <j@x>"))[0].RawName
	if raw != "=?utf-8?q?J=C3=B6rg?= X" {
		t.Errorf("raw name %q", raw)
	}
}

func TestAddressListComesBack(t *testing.T) {
	name := rapid.Custom(func(t *rapid.T) string {
		s := rapid.StringOf(rapid.SampledFrom([]rune(`aB9 .,"\()<>@:;äß日`))).Draw(t, "name")
		return strings.Join(strings.Fields(s), " ")
	})
	address := rapid.Custom(func(t *rapid.T) AddressOrGroup {
		return AddressOrGroup{Name: name.Draw(t, "name"), Address: mail.Address{
			Local:  rapid.StringOfN(rapid.SampledFrom([]rune(`ab.+ "\@,é`)), 1, 10, -1).Draw(t, "local"),
			Domain: rapid.SampledFrom([]string{"example.org", "[192.0.2.1]", "exämple.org"}).Draw(t, "domain"),
		}}
	})
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) AddressOrGroup {
			if rapid.Bool().Draw(t, "group") {
				return AddressOrGroup{Name: "g" + name.Draw(t, "name"), Group: true, Members: rapid.SliceOfN(address, 0, 3).Draw(t, "members")}
			}
			return address.Draw(t, "address")
		}), 0, 5).Draw(t, "list")
		for _, utf8 := range []bool{false, true} {
			field := FoldField("To", FormatAddressList(list, utf8))
			h := ParseHeader([]byte(field))
			again := ParseAddressList(h.Get("To"))
			if got, want := showAddresses(again), showAddresses(list); got != want {
				t.Fatalf("%s\nbecame %q\nbecame %s", want, field, got)
			}
		}
	})
}

func TestParseDate(t *testing.T) {
	for in, want := range map[string]string{
		"Fri, 20 Nov 2026 08:59:57 +0100":           "2026-11-20T08:59:57+01:00",
		"Fri, 20 Nov 2026 08:59:57 +0100 (CET)":     "2026-11-20T08:59:57+01:00",
		"20 Nov 2026 08:59 -0330":                   "2026-11-20T08:59:00-03:30",
		"20 Nov 26 08:59:57 EST":                    "2026-11-20T08:59:57-05:00",
		"20 Nov 99 08:59:57 GMT":                    "1999-11-20T08:59:57Z",
		"20 Nov 126 08:59:57 GMT":                   "2026-11-20T08:59:57Z",
		"Fri Nov 20 08:59:57 2026":                  "2026-11-20T08:59:57Z",
		"Fri Nov 20 08:59:57 PST 2026":              "2026-11-20T08:59:57-08:00",
		"Friday, November 20, 2026 8:59 PM":         "2026-11-20T20:59:00Z",
		"2026-11-20T08:59:57Z":                      "2026-11-20T08:59:57Z",
		"2026-11-20 08:59:57.123 +02:00":            "2026-11-20T08:59:57+02:00",
		"Fri, 20-Nov-2026 08:59:57 GMT":             "2026-11-20T08:59:57Z",
		"Fri, 20 Nov 2026 08:59:57 GMT+0200":        "2026-11-20T08:59:57+02:00",
		"Fri, 20 Nov 2026 08:59:57 -0000":           "2026-11-20T08:59:57Z",
		"Fri,20 Nov 2026 8:5:7 +0100":               "2026-11-20T08:05:07+01:00",
		"Fri, 20 Nov 2026 08:59:60 +0000":           "2026-11-20T09:00:00Z",
		"Fri, 20 Nov 2026 08.59.57 +0100":           "2026-11-20T08:59:57+01:00",
		"Fri, 20 Nov 2026":                          "2026-11-20T00:00:00Z",
		"from a by b; Fri, 20 Nov 2026 08:59 +0100": "2026-11-20T08:59:00+01:00",
		"Fri, 20 Nov 2026 25:00:00":                 "",
		"tomorrow":                                  "",
		"":                                          "",
		"32 Nov 2026":                               "",
		"Nov 2026":                                  "",
	} {
		at, ok := ParseDate([]byte(in))
		got := ""
		if ok {
			got = at.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// The examples of RFC 5256 and what the world writes.
func TestBaseSubject(t *testing.T) {
	for _, c := range []struct {
		in, base string
		reply    bool
	}{
		{"", "", false},
		{"Hello", "Hello", false},
		{"Re: Hello", "Hello", true},
		{"re:  re : Hello  world", "Hello world", true},
		{"Fwd: FW: Hello", "Hello", true},
		{"Re[2]: Hello", "Hello", true},
		{"[list] Re: [x] Hello", "Hello", true},
		{"[list] Hello", "Hello", false},
		{"[list]", "[list]", false},
		{"[a][b]", "[b]", false},
		{"Hello (fwd)", "Hello", true},
		{"Hello (fwd) (FWD)", "Hello", true},
		{"[fwd: Re: Hello]", "Hello", true},
		{"Re: [fwd: [x] Hello] (fwd)", "Hello", true},
		{"Regards", "Regards", false},
		{"Re", "Re", false},
		{"Re:", "", true},
		{"AW: Hallo", "AW: Hallo", false},
	} {
		if base, reply := BaseSubject(c.in); base != c.base || reply != c.reply {
			t.Errorf("%q: %q %v, want %q %v", c.in, base, reply, c.base, c.reply)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	for in, want := range map[string]string{
		"<a@b>":                     "[a@b]",
		"<a@b> <c@d>\r\n <e@f>":     "[a@b c@d e@f]",
		"<a@b>,<c@d>":               "[a@b c@d]",
		"Your mail of Monday <a@b>": "[a@b]",
		"(<x@y>) <a@b>":             "[a@b]",
		"\"John <x@y>\" <a@b>":      "[a@b]",
		"<\"a b\"@c>":               "[a b@c]",
		"<a@b <c@d>":                "[a@b c@d]",
		"a@b c@d":                   "[a@b c@d]",
		"nothing":                   "[]",
		"<>":                        "[]",
		"<a@[x]>":                   "[a@[x]]",
	} {
		if got := fmt.Sprint(MessageIDs([]byte(in))); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestHTMLText(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                  "plain",
		"<p>Hello <b>you</b></p><p>there":        "Hello you\nthere",
		"a &amp; b &lt;c&gt; &auml;&#228;&#xe4;": "a & b <c> äää",
		"a&nbsp;b":                               "a b",
		"<style>p { x }</style>text":             "text",
		"<SCRIPT>if (a < b) '</scri'</SCRIPT >x": "x",
		"<!-- no > no -->yes":                    "yes",
		"<!DOCTYPE html>yes":                     "yes",
		"<a href=\"x > y\">link</a>":             "link",
		"1 < 2 and 3 > 2":                        "1 < 2 and 3 > 2",
		"a\n  b\t c":                             "a b c",
		"a<br>b<br/>c":                           "a\nb\nc",
		"AT&T":                                   "AT&T",
		"cut <b":                                 "cut",
		"<td>a</td><td>b</td>":                   "a b",
		"<title>T</title><body>x":                "x",
	} {
		b, err := io.ReadAll(HTMLText(&smallReader{[]byte(in), 2}))
		if got := strings.TrimSpace(string(b)); got != want || err != nil {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestDecodeBody(t *testing.T) {
	for _, c := range []struct{ encoding, in, want string }{
		{"base64", "YWJj", "abc"},
		{"BASE64", "YW\r\nJj\r\n", "abc"},
		{"base64", "YWI=", "ab"},
		{"base64", "YWI", "ab"},
		{"base64", "YQ==YmM=", "abc"},
		{"base64", "Y W!J*j", "abc"},
		{"base64", "", ""},
		{"quoted-printable", "a=3Db=\r\nc \t\r\nd=\n", "a=bc\r\nd"},
		{"quoted-printable", "=c3=a4 =zz =", "ä =zz "},
		{"quoted-printable", "a=  \r\nb", "ab"},
		{"quoted-printable", "a b  c", "a b  c"},
		{"quoted-printable", "=4\r\nx", "=4\r\nx"},
		{"x-uuencode", "x\nbegin 644 f\n#86)C\n`\nend\nmore\n", "abc"},
		{"7bit", "as it is", "as it is"},
		{"unknown", "as it is", "as it is"},
	} {
		b, err := io.ReadAll(DecodeBody(strings.NewReader(c.in), c.encoding))
		if string(b) != c.want || err != nil {
			t.Errorf("%s %q: %q, want %q, %v", c.encoding, c.in, b, c.want, err)
		}
	}
}

func TestDecodeCharset(t *testing.T) {
	for _, c := range []struct {
		charset, in, want string
		known             bool
	}{
		{"utf-8", "ä", "ä", true},
		{"UTF-8", "\xff", "\uFFFD", true},
		{"us-ascii", "a\xe4\xc3\xa4", "aää", true},
		{"iso-8859-1", "\xe4\x80", "ä€", true},
		{"iso-8859-15", "\xa4", "€", true},
		{"windows-1251", "\xcf", "П", true},
		{"koi8-r", "\xf0", "П", true},
		{"x-sjis", "\x93\xfa", "日", true},
		{"cp932", "\x93\xfa", "日", true},
		{"euc-jp", "\xc6\xfc", "日", true},
		{"ks_c_5601-1987", "\xc7\xd1", "한", true},
		{"iso-2022-kr", "\x1b$)C\x0eGQ\x0f!", "한!", true},
		{"hz-gb-2312", "~{VPND~}", "中文", true},
		{"big5", "\xa4\xa4", "中", true},
		{"utf-7", "a+AOQ-b+-+2D3eAA-", "aäb+😀", true},
		{"cp437", "\x84", "ä", true},
		{"cp850", "\x84", "ä", true},
		{"utf-16", "\xfe\xff\x00a", "a", true},
		{"utf-16le", "a\x00", "a", true},
		{"utf-32be", "\x00\x00\x00a", "a", true},
		{"iso-8859-8-i", "\xe0", "א", true},
		{"'utf-8'", "a", "a", true},
		{"", "\xe4", "ä", false},
		{"x-unknown", "ä", "ä", false},
	} {
		s, known := DecodeString([]byte(c.in), c.charset)
		b, err := io.ReadAll(DecodeCharset(&smallReader{[]byte(c.in), 1}, c.charset))
		if s != c.want || string(b) != c.want || known != c.known || err != nil || KnownCharset(c.charset) != known {
			t.Errorf("%s %q: %q and %q, known %v, want %q %v, %v", c.charset, c.in, s, b, known, c.want, c.known, err)
		}
	}
}
