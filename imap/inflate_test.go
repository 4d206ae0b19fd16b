package imap

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// partialFlushes is what zlib makes of four commands with Z_PARTIAL_FLUSH after each.
var partialFlushes = []struct{ text, data string }{
	{"a NOOP\r\n", "4a54f0f3f70fe0e50208"},
	{"b SELECT INBOX\r\n", "a0248560571f57e710054f3f27ff085e2e8000"},
	{"c UID FETCH 1:* (FLAGS)\r\n", "4a5608f5745170730d71f65030b4d252d070f371740fd6e4e50208"},
	{"d NOOP\r\n", "a014a8068000"},
}

// TestInflatePartialFlush: each command is there when its octets are, though no block has ended.
func TestInflatePartialFlush(t *testing.T) {
	var z inflate
	for _, f := range partialFlushes {
		raw, err := hex.DecodeString(f.data)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 1000)
		out, in, err := z.run(p, raw)
		if string(p[:out]) != f.text || in != len(raw) || err != nil {
			t.Fatalf("got %q, %d of %d octets, %v", p[:out], in, len(raw), err)
		}
	}
}

// TestInflateIsFlate: what compress/flate makes comes back, however it is cut.
func TestInflateIsFlate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var packed bytes.Buffer
		w, err := flate.NewWriter(&packed, rapid.IntRange(-2, 9).Draw(t, "level"))
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		for range rapid.IntRange(1, 5).Draw(t, "pieces") {
			piece := bytes.Repeat([]byte(rapid.StringMatching(`[a-f]{0,20}`).Draw(t, "piece")), rapid.IntRange(1, 3000).Draw(t, "times"))
			piece = append(piece, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "octets")...)
			want = append(want, piece...)
			_, _ = w.Write(piece)
			_ = w.Flush()
		}
		_ = w.Close()
		var from io.Reader = &packed
		if rapid.Bool().Draw(t, "one by one") {
			from = iotest.OneByteReader(from)
		}
		got, err := io.ReadAll(&inflater{from: from})
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d octets came back as %d, %v", len(want), len(got), err)
		}
	})
}

// FuzzInflate: anything is decompressed as compress/flate does, or refused.
func FuzzInflate(f *testing.F) {
	for _, p := range partialFlushes {
		raw, _ := hex.DecodeString(p.data)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		const most = 1 << 20
		want, werr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw)), most))
		got, gerr := io.ReadAll(io.LimitReader(&inflater{from: bytes.NewReader(raw)}, most))
		if !bytes.HasPrefix(got, want) {
			t.Fatalf("%d octets differ from %d", len(got), len(want))
		}
		if werr == nil && (gerr != nil || len(got) != len(want)) {
			t.Fatalf("refused: %v", gerr)
		}
	})
}
