package message

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/samotop/samotop/mail"
)

// fuzzLimits are small, so that a fuzzer reaches them.
var fuzzLimits = Limits{HeaderBytes: 512, AllHeaderBytes: 1024, HeaderFields: 16, Depth: 5, Parts: 12, BoundaryBytes: 40}

func FuzzParser(f *testing.F) {
	for _, c := range structureTests {
		f.Add([]byte(c.in), 3)
		f.Add([]byte(crlf(c.in)), 1)
	}
	f.Add([]byte("Content-Type: multipart/digest; boundary=\"\r\n\r\n--\r\n\r\n--\r\r\n----"), 2)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		n = 1 + max(n, -n)&15
		root := parseString(string(b), fuzzLimits)
		if got, want := outline(parsePieces(string(b), n, fuzzLimits)), outline(root); got != want {
			t.Fatalf("in pieces of %d: %s\n     at once: %s", n, got, want)
		}
		if root.End != int64(len(b)) || root.HeaderStart != 0 {
			t.Fatalf("the root is [%d, %d) of %d", root.HeaderStart, root.End, len(b))
		}
		checkFacts(t, root, b)
		parts, held := 0, 0
		for p := range root.All() {
			parts++
			held += len(p.Header.Raw())
			checkPart(t, p, b)
		}
		if parts > fuzzLimits.Parts+1 || held > fuzzLimits.AllHeaderBytes {
			t.Fatalf("%d parts, %d octets of header are over the limit", parts, held)
		}
	})
}

// checkFacts compares the facts with a plain look at all octets.
func checkFacts(t *testing.T, root *Part, b []byte) {
	t.Helper()
	var f Facts
	for i, line := range bytes.SplitAfter(b, []byte("\n")) {
		_ = i
		text := bytes.TrimSuffix(line, []byte("\n"))
		if len(text) < len(line) {
			if bytes.HasSuffix(text, []byte("\r")) {
				text = text[:len(text)-1]
			} else {
				f.HasBareLF = true
			}
		}
		f.LongestLine = max(f.LongestLine, int64(len(text)))
		f.HasBareCR = f.HasBareCR || bytes.IndexByte(text, '\r') >= 0
		f.HasNUL = f.HasNUL || bytes.IndexByte(text, 0) >= 0
		for _, c := range text {
			f.Has8Bit = f.Has8Bit || c >= 0x80
		}
	}
	f.Limited = root.Limited
	if f != root.Facts {
		t.Fatalf("facts %+v, seen %+v", root.Facts, f)
	}
}

// checkPart holds what any structure promises.
func checkPart(t *testing.T, p *Part, b []byte) {
	t.Helper()
	if p.HeaderStart > p.BodyStart || p.BodyStart > p.End || p.End > int64(len(b)) {
		t.Fatalf("part [%d %d %d) of %d", p.HeaderStart, p.BodyStart, p.End, len(b))
	}
	if raw := p.Header.Raw(); !p.Header.Truncated() && !bytes.Equal(raw, b[p.HeaderStart:p.BodyStart]) {
		t.Fatalf("header %q is not %q", raw, b[p.HeaderStart:p.BodyStart])
	}
	body := b[p.BodyStart:p.End]
	lines := int64(bytes.Count(body, []byte("\n")))
	if len(body) > 0 && body[len(body)-1] != '\n' {
		lines++
	}
	if p.Lines != lines {
		t.Fatalf("%d lines in %q, want %d", p.Lines, body, lines)
	}
	at := p.BodyStart
	for _, c := range p.Children {
		if c.HeaderStart < at || c.End > p.End {
			t.Fatalf("child [%d %d) of [%d %d), after %d", c.HeaderStart, c.End, p.BodyStart, p.End, at)
		}
		at = c.End
	}
	if m := p.Message; m != nil && (m.HeaderStart != p.BodyStart || m.End != p.End) {
		t.Fatalf("message [%d %d) in [%d %d)", m.HeaderStart, m.End, p.BodyStart, p.End)
	}
	p.FileName()
	p.Charset()
	p.RawParams()
	p.RawDispositionParams()
	io.Copy(io.Discard, PartText(p, bytes.NewReader(body)))
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("Subject: a\r\n b\r\nFrom : x\r\nbad line\r\n\tc\r\n\r\nbody"))
	f.Add([]byte(" folded first\nA:\n:\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := ParseHeader(b)
		at := 0
		for x := range h.Fields() {
			if x.Start != at && at != 0 || x.End < x.Start || !bytes.Equal(x.Raw, h.Raw()[x.Start:x.End]) {
				t.Fatalf("field [%d %d) after %d", x.Start, x.End, at)
			}
			at = x.End
			if len(x.Name) > 0 {
				name := strings.ToUpper(string(x.Name))
				if utf8.ValidString(name) && strings.EqualFold(name, string(x.Name)) && len(name) == len(x.Name) && isASCII(name) && !h.Has(name) {
					t.Fatalf("there is no %q", name)
				}
				if bytes.ContainsAny(h.Get(string(x.Name)), "\r\n") {
					t.Fatalf("%q is not unfolded", h.Get(string(x.Name)))
				}
			}
		}
	})
}

func FuzzAddressList(f *testing.F) {
	for _, s := range []string{
		`A <a@b>, "B, C" <b@c> (x), g: d@e, f <f@g>; <@r,@s:h@i>`, `=?utf-8?q?a,b?= <a@b>`, `<<a@b>>, <a@b c@d`, `a . b @ c . d (e (f))`,
		`"un closed <a@b>`, `a@[1.2.3.4], x@[IPv6:::1`, `:;,<>@`, `jörg@exämple`, "\xff\xfe@x",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list := ParseAddressList(b)
		n := 0
		for _, a := range list {
			n += 1 + len(a.Members)
			if a.Group && a.Address != (mail.Address{}) || !a.Group && a.Members != nil {
				t.Fatalf("%+v", a)
			}
			if !utf8.ValidString(a.Name) || !utf8.ValidString(a.Address.Local+a.Address.Domain) {
				t.Fatalf("%+v is not UTF-8", a)
			}
		}
		if n > MaxAddresses {
			t.Fatalf("%d addresses", n)
		}
		for _, utf8 := range []bool{false, true} {
			out := FormatAddressList(list, utf8)
			if field := FoldField("To", out); strings.Count(field, "\r\n") != 1+strings.Count(field, "\r\n ")+strings.Count(field, "\r\n\t") {
				t.Fatalf("%q ends its field", field)
			}
		}
	})
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{"Fri, 20 Nov 2026 08:59:57 +0100 (CET)", "20 Nov 26 8:59 PM", "2026-11-20T08:59:57Z", "Fri Nov 20 08:59:57 EST 2026", "1 1 1 :: ++"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at, ok := ParseDate(b)
		if !ok {
			return
		}
		again, ok := ParseDate([]byte(FormatDate(at)))
		if _, off := at.Zone(); off%60 == 0 && at.Year() > 999 && at.Year() < 10000 && (!ok || !again.Equal(at)) {
			t.Fatalf("%v became %v", at, again)
		}
	})
}

func FuzzDecodeText(f *testing.F) {
	for _, s := range []string{"=?utf-8?q?a=C3?= =?utf-8?b?pA==?=", "=?x?", "=?iso-2022-jp?B?GyRC?=", "=?utf-7?q?+AGE-?=", "a\xe4\r\n\tb", "=?utf-8?Q?cut"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := DecodeText(b)
		if !utf8.ValidString(s) {
			t.Fatalf("%q is not UTF-8", s)
		}
		if len(s) > 16*len(b)+16 {
			t.Fatalf("%d octets became %d", len(b), len(s))
		}
		text := strings.TrimSpace(cleanText(string(b)))
		enc := EncodeText(text)
		if got := DecodeText([]byte(enc)); got != text && !strings.Contains(text, "=?") {
			t.Fatalf("%q became %q became %q", text, enc, got)
		}
		for _, w := range strings.Fields(enc) {
			if strings.HasPrefix(w, "=?") && len(w) > maxWordOctets {
				t.Fatalf("%q has %d octets", w, len(w))
			}
		}
		if !isASCII(enc) {
			t.Fatalf("%q is not ASCII", enc)
		}
	})
}

func FuzzMediaType(f *testing.F) {
	for _, s := range []string{`text/plain; charset="utf-8"; name*0*=utf-8''a%20; name*1=b`, `a/b; x=y z; q="\"`, `multipart; boundary=(x)y`, "a / b (c;d)", `;;;=;*=*0*=`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := ParseMediaType(b)
		if (m.Type == "") != (m.Subtype == "") || len(m.Params) > maxParams {
			t.Fatalf("%+v", m)
		}
		for _, p := range m.Params {
			if p.Name == "" {
				t.Fatalf("%+v", m)
			}
		}
		ps := []Param{{"name", cleanText(string(b))}}
		for _, utf8 := range []bool{false, true} {
			out := FormatParams("a/b", ps, utf8)
			want := ps[0].Value
			if got := ParseMediaType([]byte(out)).Param("name"); got != want && !strings.Contains(want, "=?") {
				t.Fatalf("%q became %q became %q", want, out, got)
			}
		}
	})
}

func FuzzBody(f *testing.F) {
	f.Add([]byte("YWJj\r\nZGVm=="), "base64", "utf-8")
	f.Add([]byte("a=3D=\r\nb =  \r\n=zz=4"), "quoted-printable", "utf-7")
	f.Add([]byte("begin 644 x\n#86)C\n`\nend\n"), "x-uuencode", "iso-2022-kr")
	f.Add([]byte("\x1b$)C\x0e0!\x0f"), "8bit", "iso-2022-kr")
	f.Fuzz(func(t *testing.T, b []byte, encoding, charset string) {
		all, err := io.ReadAll(DecodeBody(bytes.NewReader(b), encoding))
		if err != nil {
			t.Fatal(err)
		}
		pieces, err := io.ReadAll(DecodeBody(&smallReader{b, 3}, encoding))
		if err != nil || !bytes.Equal(all, pieces) {
			t.Fatalf("%q by pieces is %q: %v", all, pieces, err)
		}
		text, err := io.ReadAll(DecodeCharset(&smallReader{all, 5}, charset))
		if err != nil || !utf8.Valid(text) {
			t.Fatalf("%q of %s: %v", text, charset, err)
		}
		if s, _ := DecodeString(all, charset); !utf8.ValidString(s) {
			t.Fatalf("%q of %s", s, charset)
		}
		html, err := io.ReadAll(HTMLText(&smallReader{text, 7}))
		if err != nil || len(html) > 4*len(text)+16 {
			t.Fatalf("%q: %v", html, err)
		}
	})
}

// smallReader reads a few octets at a time.
type smallReader struct {
	b []byte
	n int
}

func (r *smallReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b[:min(r.n, len(r.b))])
	r.b = r.b[n:]
	return n, nil
}

func FuzzEditor(f *testing.F) {
	f.Add([]byte("Bcc: a\r\n b\r\nTo: c\r\nbcc : d\r\n\r\nBcc: body"), 4)
	f.Add([]byte("no header"), 1)
	f.Add([]byte("\nbody"), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		n = 1 + max(n, -n)&31
		var out bytes.Buffer
		e := NewHeaderEditor(&out, EditOptions{Remove: []string{"Bcc"}, Add: func(*Header) []mail.Field {
			return []mail.Field{{Name: "X-New", Value: "1"}}
		}})
		for rest := b; len(rest) > 0; {
			k := min(n, len(rest))
			if w, err := e.Write(rest[:k]); err != nil || w != k {
				t.Fatal(w, err)
			}
			rest = rest[k:]
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		before, after := ParseHeader(b), ParseHeader(out.Bytes())
		if after.Has("Bcc") || string(after.Get("X-New")) != "1" {
			t.Fatalf("%q became %q", b, out.Bytes())
		}
		if hasFields(&before) && !bytes.HasSuffix(out.Bytes(), b[len(before.Raw()):]) || !hasFields(&before) && !bytes.HasSuffix(out.Bytes(), b) {
			t.Fatalf("the body of %q changed: %q", b, out.Bytes())
		}
	})
}

func FuzzIDsAndSubject(f *testing.F) {
	f.Add([]byte("<a@b> (c) <\"d e\"@f> g"), "Re: [x] Fwd: [fwd: y] (fwd)")
	f.Add([]byte("a@b, c@d"), "[a][b]")
	f.Fuzz(func(t *testing.T, b []byte, subject string) {
		if len(MessageIDs(b)) > MaxMessageIDs {
			t.Fatal("too many ids")
		}
		base, _ := BaseSubject(subject)
		if again, _ := BaseSubject(base); again != base {
			t.Fatalf("%q has base %q, which has %q", subject, base, again)
		}
	})
}

func FuzzWriter(f *testing.F) {
	f.Add("Subject", "text\r\n.\nFrom x \n", "na\"me.pdf", true)
	f.Fuzz(func(t *testing.T, subject, text, name string, eightBit bool) {
		var out bytes.Buffer
		w := NewWriter(&out, WriterOptions{EightBit: eightBit})
		w.Field("Subject", subject)
		w.Date("Date", time.Unix(0, 0))
		m := w.Multipart("mixed")
		m.Part().Text("plain", text)
		m.Part().Attachment("application", "octet-stream", name, strings.NewReader(text))
		m.Part().Message(strings.NewReader("A: b\r\n\r\nc\r\n"), false, false)
		m.Close()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		root := parseString(out.String(), Limits{})
		if len(root.Children) != 3 || root.Header.Len() != 4 || root.HasBareCR || root.HasBareLF || root.HasNUL || root.Has8Bit && !eightBit {
			t.Fatalf("%d parts, %d fields, %+v\n%q", len(root.Children), root.Header.Len(), root.Facts, out.String())
		}
		if root.LongestLine > maxLineOctets+2 {
			t.Fatalf("a line of %d\n%q", root.LongestLine, out.String())
		}
		a := root.Children[1]
		got, _ := io.ReadAll(DecodeBody(strings.NewReader(out.String()[a.BodyStart:a.End]), a.Encoding))
		if string(got) != text {
			t.Fatalf("%q became %q", text, got)
		}
		p := root.Children[0]
		got, _ = io.ReadAll(PartText(p, strings.NewReader(out.String()[p.BodyStart:p.End])))
		if want := toCRLF(strings.ToValidUTF8(text, "\uFFFD")); string(got) != want && !strings.HasSuffix(want, " \r\n") {
			t.Fatalf("%q became %q", want, got)
		}
	})
}
