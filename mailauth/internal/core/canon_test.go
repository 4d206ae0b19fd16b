package core

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"
)

// reference is relaxed canonicalization of a whole body by the letter of RFC 6376 section 3.4.4; a line ends in CRLF.
func reference(body []byte) []byte {
	var out []byte
	lines := bytes.Split(body, CRLF)
	for i, line := range lines {
		var l []byte
		for _, c := range line {
			if c == ' ' || c == '\t' {
				if n := len(l); n == 0 || l[n-1] != ' ' {
					l = append(l, ' ')
				}
				continue
			}
			l = append(l, c)
		}
		l = bytes.TrimSuffix(l, []byte{' '})
		out = append(out, l...)
		if i < len(lines)-1 {
			out = append(out, CRLF...)
		}
	}
	for bytes.HasSuffix(out, CRLF) {
		out = out[:len(out)-2]
	}
	if len(out) > 0 {
		out = append(out, CRLF...)
	}
	return out
}

func TestRelaxedBody(t *testing.T) {
	alphabet := rapid.SampledFrom([]byte("ab \t\r\n\x00\xff. \r\n"))
	words := rapid.SampledFrom([]string{"\r\n", " ", "\t", "\r", "\n", "word", "a longer line of words with single spaces", " \r\n", "\r\n\r\n", "x"})
	rapid.Check(t, func(t *rapid.T) {
		var body []byte
		if rapid.Bool().Draw(t, "octets") {
			body = rapid.SliceOfN(alphabet, 0, 60).Draw(t, "body")
		} else {
			for _, w := range rapid.SliceOfN(words, 0, 30).Draw(t, "words") {
				body = append(body, w...)
			}
		}
		h := NewBodyHash(Relaxed, sha256.New(), -1)
		for rest := body; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			h.Write(rest[:n])
			rest = rest[n:]
		}
		h.Close()
		if want := sha256.Sum256(reference(body)); !bytes.Equal(h.Sum, want[:]) || h.Total != int64(len(reference(body))) {
			t.Fatalf("%q: %d octets, want %d: %q", body, h.Total, len(reference(body)), reference(body))
		}
	})
}

func FuzzTagsAndKey(f *testing.F) {
	f.Add("v=DKIM1; k=rsa; p=AAAA")
	f.Add("i=1; a=rsa-sha256;; b=")
	f.Fuzz(func(t *testing.T, s string) {
		ParseTags(s)
		ParseTagList(s)
		ParseKey(s)
		fields := SplitHeader([]byte(s))
		for _, x := range fields {
			AppendField(nil, Relaxed, Unsigned(x))
		}
		Digest(fields, []string{"from", "to", "from"}, Field{Raw: []byte("A: b=" + s), Name: "a"}, Relaxed)
	})
}

func TestClean(t *testing.T) {
	want := func(p []byte) int {
		for n := range p {
			if p[n] == '\t' || p[n] == ' ' && (n+1 == len(p) || p[n+1] <= ' ') {
				return n
			}
		}
		return len(p)
	}
	for c := range 256 { // each octet at each place, also before and behind a space
		for at := range 34 {
			for _, other := range []byte{'x', ' ', '\r'} {
				p := bytes.Repeat([]byte{'x'}, 34)
				p[at] = byte(c)
				p[(at+1)%34] = other
				if got := clean(p); got != want(p) {
					t.Fatalf("%q: %d, want %d", p, got, want(p))
				}
			}
		}
	}
}
