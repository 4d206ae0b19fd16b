package message

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// xmlNode is an element of the structures that mime4j's vectors give.
type xmlNode struct {
	XMLName xml.Name
	Name    string    `xml:"name,attr"`
	Nodes   []xmlNode `xml:",any"`
}

// outline gives the structure in the words of shortOutline, and the files of the leaves' content.
func (n xmlNode) outline(files *[]string) string {
	switch n.XMLName.Local {
	case "message":
		return inner(n, files)
	case "body-part":
		return inner(n, files)
	case "text-body", "binary-body":
		*files = append(*files, n.Name)
		return "leaf"
	case "multipart":
		var parts []string
		for _, c := range n.Nodes {
			if c.XMLName.Local == "body-part" {
				parts = append(parts, c.outline(files))
			}
		}
		return "multipart[" + strings.Join(parts, " ") + "]"
	}
	return ""
}

func inner(n xmlNode, files *[]string) string {
	for _, c := range n.Nodes {
		switch c.XMLName.Local {
		case "message":
			return "message{" + c.outline(files) + "}"
		case "multipart", "text-body", "binary-body":
			return c.outline(files)
		}
	}
	return "leaf"
}

func TestMime4jMessages(t *testing.T) {
	dir := filepath.Join(shared(t, "mime-mime4j"), "testmsgs")
	files, err := filepath.Glob(filepath.Join(dir, "*.msg"))
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	d := newDiffer(t, mime4jDifferences)
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".msg")
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		desc, err := os.ReadFile(strings.TrimSuffix(f, ".msg") + "_decoded.xml")
		if err != nil {
			t.Fatal(err)
		}
		var node xmlNode
		dec := xml.NewDecoder(bytes.NewReader(desc))
		dec.Strict = false
		dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
		if err := dec.Decode(&node); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var bodies []string
		want := node.outline(&bodies)
		root := parseString(string(raw), Limits{})
		got := shortOutline(root)
		d.compare(name+" structure", got, want)
		if got == want {
			compareBodies(t, d, name, dir, bodies, ourDecoded(root, raw))
		}
	}
}

// ourDecoded gives the leaves with their transfer encoding removed, not their charset.
func ourDecoded(root *Part, raw []byte) (out []string) {
	for q := range root.All() {
		if shortOutline(q) != "leaf" {
			continue
		}
		b, _ := io.ReadAll(DecodeBody(bytes.NewReader(raw[q.BodyStart:q.End]), q.Encoding))
		out = append(out, string(b))
	}
	return out
}

func compareBodies(t *testing.T, d *differ, name, dir string, files, ours []string) {
	t.Helper()
	if len(files) != len(ours) {
		t.Errorf("%s: %d bodies for %d leaves", name, len(files), len(ours))
		return
	}
	for i, f := range files {
		want, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d.compare(fmt.Sprintf("%s body %d", name, i), excerpt(ours[i], string(want)), excerpt(string(want), ours[i]))
	}
}
