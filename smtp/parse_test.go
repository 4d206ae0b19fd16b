package smtp_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp"
)

func TestParseCommand(t *testing.T) {
	for line, code := range map[string]int{
		"MAIL FROM:<a@b.test> SIZE=3": 0, "rcpt to:<a@b.test>": 0, "BDAT 3 LAST": 0, "NOOP": 0, "EHLO x": 0,
		"": 500, "X": 500, "EHLO": 501, "MAIL": 501, "BDAT -1": 501, "RCPT TO:<>": 501, "NOOP\r\nQUIT": 500, "MAIL FROM:<a@b.test> XFACTS=a:b": 555,
	} {
		_, err := smtp.ParseCommand(line)
		if r := mail.AsReply(err); r == nil && code != 0 || r != nil && r.Code != code {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestDotReaderWriter(t *testing.T) {
	text := strings.Repeat(".\r\n..x\r\n\r\ny\r\n", 3000)
	var b bytes.Buffer
	w := smtp.DotWriter(&b)
	if _, err := io.Copy(w, iotest.OneByteReader(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.WriteString("QUIT\r\n")
	for _, in := range []io.Reader{bytes.NewReader(b.Bytes()), iotest.HalfReader(bytes.NewReader(b.Bytes()))} {
		r := bufio.NewReaderSize(in, 16)
		got, err := io.ReadAll(smtp.DotReader(r))
		if err != nil || string(got) != text {
			t.Fatalf("%d octets of %d, %v", len(got), len(text), err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "QUIT\r\n" {
			t.Errorf("%q is left", rest)
		}
	}
	if err := iotest.TestReader(smtp.DotReader(bufio.NewReader(strings.NewReader("..a\r\nb\r\n.\r\n"))), []byte(".a\r\nb\r\n")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(smtp.DotReader(bufio.NewReader(strings.NewReader("a\n.\r\n")))); !errors.Is(err, smtp.ErrBareLine) {
		t.Error(err)
	}
	if _, err := io.ReadAll(smtp.DotReader(bufio.NewReader(strings.NewReader("a\r\n")))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
