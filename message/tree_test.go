package message

import (
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// tree is a message to be written: a text, a message, or a multipart of trees.
type tree struct {
	text     string
	subtype  string
	message  *tree
	children []tree
}

func drawTree(t *rapid.T, depth int) tree {
	switch kind := rapid.IntRange(0, 4).Draw(t, "kind"); {
	case depth > 0 && kind == 0:
		m := drawTree(t, depth-1)
		return tree{message: &m}
	case depth > 0 && kind <= 2:
		out := tree{subtype: rapid.SampledFrom([]string{"mixed", "alternative", "digest"}).Draw(t, "subtype")}
		for range rapid.IntRange(1, 3).Draw(t, "children") {
			out.children = append(out.children, drawTree(t, depth-1))
		}
		return out
	}
	return tree{text: rapid.StringOf(rapid.SampledFrom([]rune("a-= .\n\r\t\x00äFrom日"))).Draw(t, "text")}
}

// write writes the tree and returns its outline and its texts.
func (x tree) write(w *Writer, texts *[]string) string {
	switch {
	case x.message != nil:
		var inner strings.Builder
		mw := NewWriter(&inner, w.o)
		mw.Field("Subject", "inner")
		s := x.message.write(mw, texts)
		mw.Close()
		w.Message(strings.NewReader(inner.String()), false, w.o.EightBit)
		return "message{" + s + "}"
	case x.children != nil:
		m := w.Multipart(x.subtype)
		var out []string
		for _, c := range x.children {
			out = append(out, c.write(m.Part(), texts))
		}
		m.Close()
		return "multipart[" + strings.Join(out, " ") + "]"
	}
	w.Text("plain", x.text)
	*texts = append(*texts, toCRLF(x.text))
	return "leaf"
}

// What a Writer writes, the parser finds again, however it is cut.
func TestTreesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawTree(t, 4)
		var out strings.Builder
		w := NewWriter(&out, WriterOptions{EightBit: rapid.Bool().Draw(t, "8bit")})
		w.Field("Subject", "outer")
		var texts []string
		want := x.write(w, &texts)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		raw := out.String()
		root := parsePieces(raw, rapid.IntRange(1, 100).Draw(t, "pieces"), Limits{})
		if got := shortOutline(root); got != want {
			t.Fatalf("%s\nbecame %s\n%s", want, got, raw)
		}
		i := 0
		for p := range root.All() {
			if p.Type != "text" {
				continue
			}
			b, err := io.ReadAll(PartText(p, strings.NewReader(raw[p.BodyStart:p.End])))
			if err != nil || strings.TrimSuffix(string(b), "\r\n") != strings.TrimSuffix(texts[i], "\r\n") {
				t.Fatalf("%q became %q: %v", texts[i], b, err)
			}
			i++
		}
	})
}
