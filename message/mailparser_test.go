package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// theirMessage is a message as the vectors of mail-parser have it.
type theirMessage struct {
	Parts []theirPart
}

type theirPart struct {
	Body   map[string]json.RawMessage
	Header int64 `json:"offset_header"`
	Start  int64 `json:"offset_body"`
	End    int64 `json:"offset_end"`
}

func (m *theirMessage) outline(i int) string {
	p := m.Parts[i]
	if c, ok := p.Body["Multipart"]; ok {
		var ids []int
		json.Unmarshal(c, &ids)
		var out []string
		for _, id := range ids {
			out = append(out, m.outline(id))
		}
		return "multipart[" + strings.Join(out, " ") + "]"
	}
	if c, ok := p.Body["Message"]; ok {
		var in theirMessage
		json.Unmarshal(c, &in)
		if len(in.Parts) == 0 {
			return "message{}"
		}
		return "message{" + in.outline(0) + "}"
	}
	return "leaf"
}

// leaves returns offsets and decoded content of the leaves in order.
func (m *theirMessage) leaves(i int) (out []leaf) {
	p := m.Parts[i]
	for kind, raw := range p.Body {
		switch kind {
		case "Multipart":
			var ids []int
			json.Unmarshal(raw, &ids)
			for _, id := range ids {
				out = append(out, m.leaves(id)...)
			}
		case "Message":
			var in theirMessage
			json.Unmarshal(raw, &in)
			if len(in.Parts) > 0 {
				out = append(out, in.leaves(0)...)
			}
		case "Text", "Html":
			var s string
			json.Unmarshal(raw, &s)
			out = append(out, leaf{[3]int64{p.Header, p.Start, p.End}, s})
		default:
			var ints []int
			json.Unmarshal(raw, &ints)
			b := make([]byte, len(ints))
			for i, v := range ints {
				b[i] = byte(v)
			}
			out = append(out, leaf{[3]int64{p.Header, p.Start, p.End}, string(b)})
		}
	}
	return out
}

type leaf struct {
	at   [3]int64
	text string
}

func shortOutline(p *Part) string {
	if p.Message != nil {
		return "message{" + shortOutline(p.Message) + "}"
	}
	if p.Type != "multipart" || p.Param("boundary") == "" {
		return "leaf"
	}
	var out []string
	for _, c := range p.Children {
		out = append(out, shortOutline(c))
	}
	return "multipart[" + strings.Join(out, " ") + "]"
}

func ourLeaves(p *Part, raw []byte) (out []leaf) {
	for q := range p.All() {
		if q.Message != nil || len(q.Children) > 0 {
			continue
		}
		if q.Type == "multipart" && q.Param("boundary") != "" {
			continue
		}
		r := DecodeBody(bytes.NewReader(raw[q.BodyStart:q.End]), q.Encoding)
		if q.Type == "text" {
			r = DecodeCharset(r, q.Charset())
		}
		b, _ := io.ReadAll(r)
		out = append(out, leaf{[3]int64{q.HeaderStart, q.BodyStart, q.End}, string(b)})
	}
	return out
}

func TestMailParserMessages(t *testing.T) {
	dir := filepath.Join(shared(t, "mime-mailparser"), "eml")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.eml"))
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	d := newDiffer(t, mailParserDifferences)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(f)) + "/" + strings.TrimSuffix(filepath.Base(f), ".eml")
		compareMailParser(t, d, name, bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), strings.TrimSuffix(f, ".eml")+".json")
		compareMailParser(t, d, name, toCRLFBytes(raw), strings.TrimSuffix(f, ".eml")+".crlf.json")
	}
}

func toCRLFBytes(b []byte) []byte {
	var out []byte
	last := byte(0)
	for _, c := range b {
		if c == '\n' && last != '\r' {
			out = append(out, '\r')
		}
		out = append(out, c)
		last = c
	}
	return out
}

func compareMailParser(t *testing.T, d *differ, name string, raw []byte, expected string) {
	var want theirMessage
	readJSON(t, expected, &want)
	root := parseString(string(raw), Limits{})
	ours, theirs := shortOutline(root), want.outline(0)
	d.compare(name+" structure", ours, theirs)
	if ours != theirs {
		return
	}
	a, b := ourLeaves(root, raw), want.leaves(0)
	for i := range a {
		if i >= len(b) {
			break
		}
		d.compare(fmt.Sprintf("%s offsets %d", name, i), fmt.Sprint(a[i].at), fmt.Sprint(b[i].at))
		d.compare(fmt.Sprintf("%s text %d", name, i), excerpt(a[i].text, b[i].text), excerpt(b[i].text, a[i].text))
	}
}

// excerpt quotes s from a little before where it differs from other.
func excerpt(s, other string) string {
	i := 0
	for i < len(s) && i < len(other) && s[i] == other[i] {
		i++
	}
	if i == len(s) && i == len(other) {
		return ""
	}
	from := max(0, i-20)
	return fmt.Sprintf("%d octets, from %d: %q", len(s), from, s[from:min(len(s), i+60)])
}
