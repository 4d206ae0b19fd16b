package message

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"
	"github.com/jhillyerd/enmime/v2"
)

// corpus is every whole message of the vectors that is well formed enough for several parsers to agree on it.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, pattern := range []string{"mime-mailparser/eml/legacy/*.eml", "mime-mailparser/eml/rfc/*.eml", "mime-mailparser/eml/thirdparty/*.eml", "mime-mime4j/testmsgs/*.msg"} {
		dir, file := filepath.Split(pattern)
		files, _ := filepath.Glob(filepath.Join(shared(t, filepath.Clean(dir)), file))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.Base(filepath.Dir(f))+"/"+filepath.Base(f)] = toCRLFBytes(b)
		}
	}
	if len(out) < 80 {
		t.Fatalf("only %d messages", len(out))
	}
	return out
}

// goOutline is shortOutline for go-message; it does not open messages in messages.
func goOutline(e *gomessage.Entity, bodies *[]string) (string, error) {
	mr := e.MultipartReader()
	if mr == nil {
		b, err := io.ReadAll(e.Body)
		*bodies = append(*bodies, string(b))
		return "leaf", err
	}
	var parts []string
	for {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			return "multipart[" + strings.Join(parts, " ") + "]", nil
		}
		if err != nil && !gomessage.IsUnknownCharset(err) && !gomessage.IsUnknownEncoding(err) {
			return "", err
		}
		s, err := goOutline(p, bodies)
		if err != nil {
			return "", err
		}
		parts = append(parts, s)
	}
}

// closedOutline is shortOutline with messages in messages left closed.
func closedOutline(p *Part) string {
	if p.Message != nil {
		return "leaf"
	}
	if len(p.Children) == 0 {
		return shortOutline(p)
	}
	var out []string
	for _, c := range p.Children {
		out = append(out, closedOutline(c))
	}
	return "multipart[" + strings.Join(out, " ") + "]"
}

func closedLeaves(p *Part, raw []byte) (out []string) {
	for _, c := range p.Children {
		out = append(out, closedLeaves(c, raw)...)
	}
	if closedOutline(p) == "leaf" {
		b, _ := io.ReadAll(DecodeBody(bytes.NewReader(raw[p.BodyStart:p.End]), p.Encoding))
		out = append(out, string(b))
	}
	return out
}

func TestAgainstGoMessage(t *testing.T) {
	d := newDiffer(t, goMessageDifferences)
	refused := 0
	for name, raw := range corpus(t) {
		e, err := gomessage.ReadWithOptions(bytes.NewReader(raw), &gomessage.ReadOptions{MaxHeaderBytes: -1})
		if err != nil {
			refused++
			continue
		}
		var bodies []string
		want, err := goOutline(e, &bodies)
		if err != nil {
			refused++
			continue
		}
		root := parseString(string(raw), Limits{})
		got := closedOutline(root)
		d.compare(name+" structure", got, want)
		if got != want {
			continue
		}
		for i, b := range closedLeaves(root, raw) {
			// The last line end of text is a matter of taste of their reader.
			got, want := strings.TrimRight(b, "\r\n"), strings.TrimRight(bodies[i], "\r\n")
			d.compare(name+" body", excerpt(got, want), excerpt(want, got))
		}
	}
	t.Logf("go-message refused %d", refused)
}

func enOutline(p *enmime.Part) string {
	if p == nil || p.FirstChild == nil {
		return "leaf"
	}
	var parts []string
	for c := p.FirstChild; c != nil; c = c.NextSibling {
		parts = append(parts, enOutline(c))
	}
	return "multipart[" + strings.Join(parts, " ") + "]"
}

func TestAgainstEnmime(t *testing.T) {
	d := newDiffer(t, enmimeDifferences)
	refused := 0
	for name, raw := range corpus(t) {
		p, err := enmime.ReadParts(bytes.NewReader(raw))
		if err != nil {
			refused++
			continue
		}
		root := parseString(string(raw), Limits{})
		d.compare(name+" structure", strings.ReplaceAll(closedOutline(root), "multipart[]", "leaf"), enOutline(p))
		got, want := strings.Join(strings.Fields(root.Header.Text("Subject")), " "), strings.Join(strings.Fields(DecodeText([]byte(p.Header.Get("Subject")))), " ")
		d.compare(name+" subject", got, want)
	}
	t.Logf("enmime refused %d", refused)
}
