package transfer

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMboxRound: what comes back of a message that went through an mbox file is what docs/transfer.md says.
func TestMboxRound(t *testing.T) {
	const head = "Subject: x\r\n\r\n"
	long := strings.Repeat("x", maxMboxLine-len("\r\r")) // with what follows it goes over the length that is looked at
	cases := []struct{ in, out string }{
		{head + "text\r\n\r\nFrom here\r\nFrom a Mon Jan  2 15:04:05 2006\r\n", ""},
		{head + ">From a\r\n>>From b\r\n> From c\r\n>\r\n", ""},
		{"From first\r\nSubject: x\r\n\r\n", ""},
		{head + "\r\n\r\n", ""},
		{head + "\x00\xff a\rb\r\rc\r\n", ""}, // NUL, 8 bit, bare CR
		{head + "a\r\r\nb\r\r\r\n", ""},       // CR before CRLF
		{head + long + "\r\r\nend\r\n", ""},
		{head + long + "\rx\r\r\nend\r\n", ""},
		{head + "x" + long + "\r\r\nend\r\n", ""},
		{"Subject: x\r\r\n\r\nend\r\n", ""},
		{"\r\r\nend\r\n", ""},
		{head + "no end", head + "no end\r\n"},
		{head + "a CR ends it\r", head + "a CR ends it\r\n"},
		{head + "a\nb\n", head + "a\r\nb\r\n"},
		{"Subject: x\nTo: y\n\nFrom a Mon Jan  2 15:04:05 2006\n", "Subject: x\r\nTo: y\r\n\r\nFrom a Mon Jan  2 15:04:05 2006\r\n"},
		{"Status: RO\r\nSubject: x\r\nX-Keywords: a\r\n b\r\nX-UID: 7\r\n\r\nStatus: text\r\n", "Subject: x\r\n\r\nStatus: text\r\n"},
	}
	dir := t.TempDir()
	sink, err := ToMbox{dir}.Begin("Box")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		err := sink.Put(Head{Date: time.Unix(1, 0)}, func(w io.Writer) error {
			for r := strings.NewReader(c.in); r.Len() > 0; { // in pieces, as the store gives it
				if _, err := io.CopyN(w, r, min(int64(r.Len()), 1000)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for it, err := range (Mbox{}).Messages(context.Background(), Folder{path: filepath.Join(dir, "Box.mbox")}, func(string) bool { return false }, func(int) {}) {
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if err := it.Write(&got); err != nil {
			t.Fatal(err)
		}
		if n < len(cases) {
			want := cases[n].out
			if want == "" {
				want = cases[n].in
			}
			if got.String() != want {
				t.Errorf("message %d: ...%.40q, want ...%.40q", n, got.String()[max(0, got.Len()-30):], want[max(0, len(want)-30):])
			}
		}
		n++
	}
	if n != len(cases) {
		t.Errorf("%d messages of %d", n, len(cases))
	}
}
