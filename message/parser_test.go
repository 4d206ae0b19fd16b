package message

import (
	"fmt"
	"strings"
	"testing"
)

// outline writes a structure in short: type/subtype header-body-end lines, children in brackets.
func outline(p *Part) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s %d-%d-%d %d", p.Type, p.Subtype, p.HeaderStart, p.BodyStart, p.End, p.Lines)
	for i, c := range p.Children {
		if i == 0 {
			b.WriteString(" [")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(outline(c))
	}
	if len(p.Children) > 0 {
		b.WriteByte(']')
	}
	if p.Message != nil {
		b.WriteString(" {" + outline(p.Message) + "}")
	}
	return b.String()
}

func parseString(s string, l Limits) *Part {
	p, err := Parse(strings.NewReader(s), l)
	if err != nil {
		panic(err)
	}
	return p
}

// parsePieces writes s in pieces of n octets.
func parsePieces(s string, n int, l Limits) *Part {
	p := NewParser(l)
	for len(s) > 0 {
		k := min(n, len(s))
		p.Write([]byte(s[:k]))
		s = s[k:]
	}
	return p.Close()
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

var structureTests = []struct{ name, in, want string }{
	{"empty", "", "text/plain 0-0-0 0"},
	{"header only", "A: b\n", "text/plain 0-6-6 0"},
	{"header without end", "A: b", "text/plain 0-4-4 0"},
	{"no header", "\nbody\n", "text/plain 0-2-8 1"},
	{"line begun", "A: b\n\nx\ny", "text/plain 0-8-12 2"},
	{"line ended", "A: b\n\nx\ny\n", "text/plain 0-8-14 2"},
	{"two parts", "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b\nContent-Type: text/html\n\ntwo\n\n--b--\nepilogue\n",
		"multipart/mixed 0-45-118 11 [text/plain 55-57-60 1, text/html 67-94-99 1]"},
	{"no close", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none",
		"multipart/mixed 0-45-55 3 [text/plain 50-52-55 1]"},
	{"close at the very end", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--",
		"multipart/mixed 0-45-62 4 [text/plain 50-52-55 1]"},
	{"empty bodies", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\nA: b\n--b\n--b\n\n\n--b--\n",
		"multipart/mixed 0-45-84 9 [text/plain 50-52-52 0, text/plain 57-63-63 0, text/plain 68-68-68 0, text/plain 73-75-75 0]"},
	{"no boundary", "Content-Type: multipart/mixed\n\n--b\n\none\n", "multipart/mixed 0-33-45 3"},
	{"embedded", "Content-Type: message/rfc822\n\nSubject: in\n\nbody\n",
		"message/rfc822 0-32-53 3 {text/plain 32-47-53 1}"},
	{"embedded, encoded", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW4=\n",
		"message/rfc822 0-67-85 1"},
	{"digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: in\n\nbody\n--b\nContent-Type: text/plain\n\nx\n--b--\n",
		"multipart/digest 0-46-117 10 [message/rfc822 51-53-72 3 {text/plain 53-68-72 1}, text/plain 79-107-108 1]"},
	{"boundary begins another", "Content-Type: multipart/mixed; boundary=ab\n\n--ab\nContent-Type: multipart/mixed; boundary=abc\n\n--abc\n\nx\n--abc--\n--ab\n\ny\n--ab--\n",
		"multipart/mixed 0-46-139 11 [multipart/mixed 52-99-118 4 [text/plain 106-108-109 1], text/plain 126-128-129 1]"},
	{"outer boundary ends inner", "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--o--\n",
		"multipart/mixed 0-45-112 7 [multipart/mixed 50-95-103 3 [text/plain 100-102-103 1]]"},
	{"unreadable type", "Content-Type: nonsense\n\nx\n", "text/plain 0-26-29 1"},
	{"first type counts", "Content-Type: text/html\nContent-Type: image/png\n\n", "text/html 0-52-52 0"},
}

func TestStructure(t *testing.T) {
	for _, c := range structureTests {
		in := crlf(c.in)
		if got := outline(parseString(in, Limits{})); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		for n := 1; n < 8; n++ {
			if got := outline(parsePieces(in, n, Limits{})); got != c.want {
				t.Errorf("%s in pieces of %d:\n got %s\nwant %s", c.name, n, got, c.want)
			}
		}
	}
}
