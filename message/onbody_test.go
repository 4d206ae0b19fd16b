package message_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/samotop/samotop/message"
	"pgregory.net/rapid"
)

// What OnBody shows of a leaf is its body, and at most the line end before the delimiter that follows.
func TestOnBody(t *testing.T) {
	long := strings.Repeat("x", 5000)
	lines := []string{"", "text", "--", "--b", "--b--", "--inner", "--inner--", "--bother", "Content-Type: multipart/mixed; boundary=inner", "Content-Type: text/html", long, "--" + long}
	rapid.Check(t, func(t *rapid.T) {
		body := strings.Join(rapid.SliceOfN(rapid.SampledFrom(lines), 0, 30).Draw(t, "lines"), rapid.SampledFrom([]string{"\r\n", "\n"}).Draw(t, "eol"))
		raw := []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body)
		seen := map[*message.Part][]byte{}
		p := message.NewParser(message.Limits{})
		p.OnBody(func(part *message.Part, b []byte) { seen[part] = append(seen[part], b...) })
		for rest := raw; len(rest) > 0; {
			n := min(len(rest), rapid.IntRange(1, 3000).Draw(t, "piece"))
			p.Write(rest[:n])
			rest = rest[n:]
		}
		root := p.Close()
		for part := range root.All() {
			if len(part.Children) > 0 || part.Type == "multipart" || part.Message != nil {
				continue
			}
			want := raw[part.BodyStart:part.End]
			got := seen[part]
			if !bytes.Equal(got, want) && !bytes.Equal(got, append(bytes.Clone(want), "\r\n"...)) && !bytes.Equal(got, append(bytes.Clone(want), '\n')) {
				t.Fatalf("of %q\nshown %.80q (%d octets)\nbody  %.80q (%d octets)", raw, got, len(got), want, len(want))
			}
		}
	})
}
