package message

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/samotop/samotop/mail"
)

func edit(in string, n int, o EditOptions) (string, error) {
	var out bytes.Buffer
	e := NewHeaderEditor(&out, o)
	for in != "" {
		k := min(n, len(in))
		if _, err := e.Write([]byte(in[:k])); err != nil {
			return out.String(), err
		}
		in = in[k:]
	}
	err := e.Close()
	return out.String(), err
}

func TestHeaderEditor(t *testing.T) {
	missing := func(h *Header) []mail.Field {
		var fs []mail.Field
		if !h.Has("Date") {
			fs = append(fs, mail.Field{Name: "Date", Value: "D"})
		}
		if !h.Has("Message-ID") {
			fs = append(fs, mail.Field{Name: "Message-ID", Value: "<m>"})
		}
		return fs
	}
	for _, c := range []struct{ name, in, want string }{
		{"nothing to do", "Date: x\nMessage-ID: y\n\nBcc: z\n", "Date: x\nMessage-ID: y\n\nBcc: z\n"},
		{"bcc removed", "Bcc: a,\n b\nTo: c\nDate: x\nBCC : d\nMessage-ID: y\n\nbody", "To: c\nDate: x\nMessage-ID: y\n\nbody"},
		{"fields added", "To: c\n\nbody", "Date: D\nMessage-ID: <m>\nTo: c\n\nbody"},
		{"bcc after a line that is no field", "To: c\nnonsense\nBcc: a\n\nbody", "Date: D\nMessage-ID: <m>\nTo: c\nnonsense\n\nbody"},
		{"no header", "\nbody", "Date: D\nMessage-ID: <m>\n\nbody"},
		{"no header and no empty line", "body\n", "Date: D\nMessage-ID: <m>\n\nbody\n"},
		{"nothing", "", "Date: D\nMessage-ID: <m>\n\n"},
		{"no body", "To: c\n", "Date: D\nMessage-ID: <m>\nTo: c\n"},
		{"begins folded", " x\nTo: c\n\nbody", " x\nDate: D\nMessage-ID: <m>\nTo: c\n\nbody"},
	} {
		for _, n := range []int{1, 2, 5, 1000} {
			got, err := edit(crlf(c.in), n, EditOptions{Remove: []string{"bcc"}, Add: missing})
			if got != crlf(c.want) || err != nil {
				t.Errorf("%s, in pieces of %d: %q, %v", c.name, n, got, err)
			}
		}
	}
}

func TestHeaderEditorErrors(t *testing.T) {
	if _, err := edit(strings.Repeat("X: y\r\n", 100), 7, EditOptions{HeaderBytes: 100}); !errors.Is(err, ErrHeaderTooLong) {
		t.Errorf("a long header: %v", err)
	}
	if got, err := edit("A: b\r\n\r\n"+strings.Repeat("x", 1000), 7, EditOptions{HeaderBytes: 8}); err != nil || len(got) != 1008 {
		t.Errorf("a long body: %d octets, %v", len(got), err)
	}
	full := errors.New("disk full")
	e := NewHeaderEditor(failingWriter{full}, EditOptions{})
	if _, err := e.Write([]byte("A: b\r\n\r\nbody")); !errors.Is(err, full) {
		t.Errorf("writing: %v", err)
	}
	if err := e.Close(); !errors.Is(err, full) {
		t.Errorf("closing: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestWriterErrors(t *testing.T) {
	full := errors.New("disk full")
	w := NewWriter(failingWriter{full}, WriterOptions{})
	w.Text("plain", strings.Repeat("x\n", 10000))
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("writing: %v", err)
	}
	w = NewWriter(&bytes.Buffer{}, WriterOptions{})
	w.Attachment("a", "b", "c", iotest.ErrReader(full))
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("reading: %v", err)
	}
	w = NewWriter(&bytes.Buffer{}, WriterOptions{Rand: iotest.ErrReader(full)})
	w.Multipart("mixed").Close()
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("boundary: %v", err)
	}
	w = NewWriter(&bytes.Buffer{}, WriterOptions{})
	w.Text("plain", "x")
	w.Field("Subject", "too late")
	if err := w.Close(); err == nil {
		t.Error("a field after the body is no error")
	}
}

func TestTextEncodings(t *testing.T) {
	for _, c := range []struct {
		text     string
		eightBit bool
		want     string
	}{
		{"plain\n", false, "7bit"},
		{"ein Satz mit einem Umlaut: ä, sonst nichts\n", false, "quoted-printable"},
		{"ein Satz mit einem Umlaut: ä, sonst nichts\n", true, "8bit"},
		{"日本語\n", false, "base64"},
		{strings.Repeat("x", 999), true, "quoted-printable"},
		{"a\x00b", true, "quoted-printable"},
	} {
		var out bytes.Buffer
		w := NewWriter(&out, WriterOptions{EightBit: c.eightBit})
		w.Text("plain", c.text)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		root := parseString(out.String(), Limits{})
		if root.Encoding != c.want || !root.Header.Has("MIME-Version") {
			t.Errorf("%.20q: %s, want %s", c.text, root.Encoding, c.want)
		}
	}
}

func ExampleWriter() {
	var out strings.Builder
	w := NewWriter(&out, WriterOptions{Rand: bytes.NewReader(make([]byte, 15))})
	w.Addresses("From", []AddressOrGroup{{Name: "Jörg", Address: mail.Address{Local: "joerg", Domain: "example.org"}}})
	w.Field("Subject", "Grüße")
	w.Date("Date", time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC))
	m := w.Multipart("mixed")
	m.Part().Text("plain", "Hello")
	m.Part().Attachment("text", "csv", "übersicht.csv", strings.NewReader("a,b\r\n"))
	m.Close()
	if err := w.Close(); err != nil {
		panic(err)
	}
	printLF(out.String())
	// Output:
	// From: =?utf-8?b?SsO2cmc=?= <joerg@example.org>
	// Subject: =?utf-8?b?R3LDvMOfZQ==?=
	// Date: Fri, 20 Nov 2026 08:00:00 +0000
	// MIME-Version: 1.0
	// Content-Type: multipart/mixed; boundary="=_AAAAAAAAAAAAAAAAAAAA"
	//
	// --=_AAAAAAAAAAAAAAAAAAAA
	// Content-Type: text/plain; charset=us-ascii
	//
	// Hello
	//
	// --=_AAAAAAAAAAAAAAAAAAAA
	// Content-Type: text/csv
	// Content-Disposition: attachment; filename*=utf-8''%C3%BCbersicht.csv
	// Content-Transfer-Encoding: base64
	//
	// YSxiDQo=
	//
	// --=_AAAAAAAAAAAAAAAAAAAA--
}

func ExampleHeaderEditor() {
	var out strings.Builder
	e := NewHeaderEditor(&out, EditOptions{
		Remove: []string{"Bcc"},
		Add: func(h *Header) []mail.Field {
			if h.Has("Date") {
				return nil
			}
			return []mail.Field{{Name: "Date", Value: FormatDate(time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC))}}
		},
	})
	if _, err := e.Write([]byte("Bcc: secret@example.org\r\nTo: bob@example.org\r\n\r\nHello\r\n")); err != nil {
		panic(err)
	}
	if err := e.Close(); err != nil {
		panic(err)
	}
	printLF(out.String())
	// Output:
	// Date: Fri, 20 Nov 2026 08:00:00 +0000
	// To: bob@example.org
	//
	// Hello
}

func ExampleParse() {
	root, err := Parse(strings.NewReader("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"+
		"--b\r\n\r\nHello\r\n--b\r\nContent-Type: image/png; name=x.png\r\n\r\n...\r\n--b--\r\n"), Limits{})
	if err != nil {
		panic(err)
	}
	printLF(root.Header.Text("Subject") + "\n")
	for p := range root.All() {
		printLF(outline(p) + "\n")
	}
	// Output:
	// Grüße
	// multipart/mixed 0-83-153 8 [text/plain 88-90-95 1, image/png 102-141-144 1]
	// text/plain 88-90-95 1
	// image/png 102-141-144 1
}

func printLF(s string) { fmt.Print(strings.ReplaceAll(s, "\r\n", "\n")) }
