package message

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// repeated reads head, then n times piece(i), without holding them.
type repeated struct {
	head  string
	piece func(i int) string
	n, i  int
	left  string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.head != "" {
		r.left, r.head = r.head, ""
	}
	for r.left == "" {
		if r.i == r.n {
			return 0, io.EOF
		}
		r.left = r.piece(r.i)
		r.i++
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// hostile are messages that would cost a careless parser its memory or its day.
var hostile = []struct {
	name string
	make func() io.Reader
}{
	{"a million parts", func() io.Reader {
		return &repeated{head: "Content-Type: multipart/mixed; boundary=b\r\n\r\n", n: 1000000, piece: func(int) string { return "--b\r\n\r\nx\r\n" }}
	}},
	{"parts without end in deep levels", func() io.Reader {
		return &repeated{n: 200000, piece: func(i int) string {
			return fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}}
	}},
	{"messages in messages", func() io.Reader {
		return &repeated{n: 500000, piece: func(int) string { return "Content-Type: message/rfc822\r\n\r\n" }}
	}},
	{"an endless header", func() io.Reader {
		return &repeated{n: 500000, piece: func(i int) string { return fmt.Sprintf("X-%d: y\r\n", i) }}
	}},
	{"an endless field", func() io.Reader {
		return &repeated{head: "Subject: x\r\n", n: 500000, piece: func(int) string { return " x\r\n" }}
	}},
	{"an endless line in the header", func() io.Reader {
		return &repeated{n: 5000, piece: func(int) string { return strings.Repeat("a", 4000) }}
	}},
	{"an endless line in the body", func() io.Reader {
		return &repeated{head: "Content-Type: multipart/mixed; boundary=b\r\n\r\n--", n: 5000, piece: func(int) string { return strings.Repeat("b", 4000) }}
	}},
	{"parts with long headers", func() io.Reader {
		long := strings.Repeat("X: "+strings.Repeat("y", 60)+"\r\n", 300)
		return &repeated{head: "Content-Type: multipart/mixed; boundary=b\r\n\r\n", n: 2000, piece: func(int) string { return "--b\r\n" + long + "\r\n" }}
	}},
	{"delimiters that nearly fit", func() io.Reader {
		var head strings.Builder
		for i := range 60 {
			fmt.Fprintf(&head, "Content-Type: multipart/mixed; boundary=%s%02d\r\n\r\n--%s%02d\r\n", strings.Repeat("b", 900), i, strings.Repeat("b", 900), i)
		}
		line := "--" + strings.Repeat("b", 900) + "xx\r\n"
		return &repeated{head: head.String(), n: 20000, piece: func(int) string { return line }}
	}},
	{"many parameters", func() io.Reader {
		return &repeated{head: "Content-Type: text/plain", n: 20000, piece: func(i int) string { return fmt.Sprintf(";\r\n a*%d*=b", i) }}
	}},
	{"empty lines", func() io.Reader {
		return &repeated{head: "A: b\r\n\r\n", n: 100, piece: func(int) string { return strings.Repeat("\n", 100000) }}
	}},
}

func TestHostileMessages(t *testing.T) {
	for _, c := range hostile {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		root, err := Parse(plainReader{c.make()}, Limits{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		parts, held := 0, 0
		for p := range root.All() {
			parts++
			held += len(p.Header.Raw())
		}
		if l := (Limits{}).withDefaults(); parts > l.Parts+1 || held > l.AllHeaderBytes {
			t.Errorf("%s: %d parts, %d octets of header", c.name, parts, held)
		}
		const most = 16 << 20 // AllHeaderBytes of single-octet fields, and their index
		if after.HeapAlloc > before.HeapAlloc+most {
			t.Errorf("%s: the structure holds %d octets", c.name, after.HeapAlloc-before.HeapAlloc)
		}
		runtime.KeepAlive(root)
	}
}

func TestLimitsAreTold(t *testing.T) {
	for _, c := range []struct {
		name, in string
		l        Limits
		want     string
	}{
		{"parts", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b\n\n2\n--b\n\n3\n--b--\n", Limits{Parts: 2}, "multipart[leaf leaf]"},
		{"depth", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\n--c--\n--b--\n", Limits{Depth: 1}, "multipart[multipart[]]"},
		{"messages", "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nA: b\n", Limits{Depth: 1}, "message{leaf}"},
		{"header", "A: b\nContent-Type: message/rfc822\n\nbody\n", Limits{HeaderBytes: 20}, "leaf"},
		{"fields", "A: b\nContent-Type: message/rfc822\n\nbody\n", Limits{HeaderFields: 1}, "leaf"},
		{"boundary", "Content-Type: multipart/mixed; boundary=bbbb\n\n--bbbb\n\n", Limits{BoundaryBytes: 3}, "multipart[]"},
	} {
		root := parseString(crlf(c.in), c.l)
		if got := shortOutline(root); got != c.want || !root.Limited {
			t.Errorf("%s: %s, limited: %v; want %s", c.name, got, root.Limited, c.want)
		}
		if root.End != int64(len(crlf(c.in))) {
			t.Errorf("%s: ends at %d", c.name, root.End)
		}
	}
}

// The header that is kept ends at a whole line, and offsets stay right.
func TestHeaderOverLimit(t *testing.T) {
	in := crlf("A: b\nC: " + strings.Repeat("d", 100) + "\nE: f\n\nbody\n")
	for n := range 40 {
		root := parsePieces(in, n+1, Limits{HeaderBytes: 50})
		if string(root.Header.Raw()) != "A: b\r\n" || !root.Header.Truncated() || root.BodyStart != int64(strings.Index(in, "body")) {
			t.Errorf("in pieces of %d: %q, body at %d", n+1, root.Header.Raw(), root.BodyStart)
		}
	}
}

// Values that invite a quadratic reading: each takes milliseconds, or minutes if it does.
func TestHostileValues(t *testing.T) {
	const n = 64 << 10
	values := map[string]string{
		"comments":          strings.Repeat("(", n),
		"quotes":            strings.Repeat(`"`, n),
		"backslashes":       strings.Repeat(`\`, n),
		"angles":            strings.Repeat("<", n),
		"commas":            strings.Repeat("a,", n/2),
		"spaces":            "a=b; c=d" + strings.Repeat(" ", n),
		"spaced words":      strings.Repeat("a ", n/2),
		"encoded words":     strings.Repeat("=?utf-8?q?a?= ", n/14),
		"starts of words":   strings.Repeat("=?", n/2),
		"open words":        strings.Repeat("=?utf-8?q?", n/10),
		"parameters":        strings.Repeat(";a*1*=x", n/7),
		"at signs":          strings.Repeat("@", n),
		"groups":            strings.Repeat("a:", n/2),
		"brackets":          strings.Repeat("[", n),
		"blobs":             strings.Repeat("[a]", n/3),
		"replies":           strings.Repeat("re: ", n/4),
		"forwards":          strings.Repeat("[fwd: ", n/6) + strings.Repeat("]", n/6),
		"trailers":          strings.Repeat("(fwd)", n/5),
		"ids":               strings.Repeat("<a@b>", n/5),
		"line ends":         strings.Repeat("\r\n ", n/3),
		"routes":            "<" + strings.Repeat("@a,", n/3),
		"colons":            strings.Repeat("1:", n/2),
		"dots":              strings.Repeat(". ", n/2),
		"tags":              strings.Repeat("<a ", n/3),
		"entities":          strings.Repeat("&amp", n/4),
		"ends of raw text":  "<script>" + strings.Repeat("</script", n/8),
		"soft line breaks":  strings.Repeat("= ", n/2),
		"shifts":            strings.Repeat("+", n),
		"stars":             ";" + strings.Repeat("*", n) + "=a",
		"slashes":           strings.Repeat("a/", n/2),
		"comments by space": strings.Repeat("a=b (", n/5),
	}
	for name, v := range values {
		raw := []byte(v)
		ParseAddressList(raw)
		DecodeText(raw)
		EncodeText(v)
		ParseMediaType(raw)
		ParseDate(raw)
		MessageIDs(raw)
		BaseSubject(v)
		FoldField("X", v)
		FormatParams("a", []Param{{"b", v}}, false)
		ParseHeader(raw)
		for _, e := range []string{"base64", "quoted-printable", "uuencode"} {
			if _, err := io.Copy(io.Discard, DecodeBody(bytes.NewReader(raw), e)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		io.Copy(io.Discard, HTMLText(DecodeCharset(bytes.NewReader(raw), "utf-7")))
	}
}
