package sendmail

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Options{
		"a@b c":                              {Recipients: []string{"a@b", "c"}},
		"-t -i":                              {Extract: true, IgnoreDots: true},
		"-ti a":                              {Extract: true, IgnoreDots: true, Recipients: []string{"a"}},
		"-oi -oem -odb -om -t":               {Extract: true, IgnoreDots: true},
		"-FName -fme x -v":                   {FullName: "Name", From: "me", Recipients: []string{"x"}, Verbose: true},
		"-f <> x":                            {From: "<>", Recipients: []string{"x"}},
		"-r me -- -x":                        {From: "me", Recipients: []string{"-x"}},
		"-B 8bitmime -N delay,FAILURE x":     {Body: "8BITMIME", Notify: "delay,failure", Recipients: []string{"x"}},
		"-R hdrs -V id x":                    {Ret: "hdrs", EnvelopeID: "id", Recipients: []string{"x"}},
		"-O IgnoreDots=true -OErrorMode=m x": {IgnoreDots: true, Recipients: []string{"x"}},
		"-X /etc/passwd -C f -h 3 -p SMTP -L tag -Am -G -U -n -m x": {Recipients: []string{"x"}},
		"-bp":        {Mode: List},
		"-bi":        {Mode: Aliases},
		"-I":         {Mode: Aliases},
		"-bs":        {Mode: Session},
		"-bm x":      {Recipients: []string{"x"}},
		"-bv x":      {Mode: Verify, Recipients: []string{"x"}},
		"-q":         {Mode: Flush},
		"-q30m":      {Mode: Flush},
		"-qR@x.test": {Mode: Flush, Filter: "R@x.test"},
		"-d0.1 x":    {Recipients: []string{"x"}},
	} {
		got, err := Parse(strings.Fields(in))
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"-bd", "-bz", "-f", "-N sometimes", "-N never,delay", "-R all", "-B 9BIT", "-Z", "-bp -t", "-o ", "-tZ", "-V " + strings.Repeat("x", 61)} {
		if o, err := Parse(strings.Fields(in)); err == nil {
			t.Errorf("%s: %+v", in, o)
		}
	}
	if o, err := Parse([]string{"-f", "", "x"}); err != nil || o.From != "<>" {
		t.Errorf("%+v, %v", o, err)
	}
}

func text(t *testing.T, c *content) string {
	t.Helper()
	r, err := c.open(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		in   string
		dot  bool
		want string
	}{
		{"Subject: x\n\nhello\n", true, "Subject: x\r\n\r\nhello\r\n"},
		{"Subject: x\r\n\r\nhello", true, "Subject: x\r\n\r\nhello\r\n"},
		{"hello\nworld\n", true, "\r\nhello\r\nworld\r\n"},
		{"Subject: x\nhello\n", true, "Subject: x\r\n\r\nhello\r\n"},
		{" folded first\n", true, "\r\n folded first\r\n"},
		{"Subject: x\n folded\n\nb\n", true, "Subject: x\r\n folded\r\n\r\nb\r\n"},
		{"", true, "\r\n"},
		{"\n", true, "\r\n"},
		{"Subject: x\n", true, "Subject: x\r\n\r\n"},
		{"From a@b Mon Jan 1\nSubject: x\n\nFrom y\n", true, "Subject: x\r\n\r\nFrom y\r\n"},
		{"\na\n.\nb\n", true, "\r\na\r\n"},
		{"\na\n.\nb\n", false, "\r\na\r\n.\r\nb\r\n"},
		{"\na\n..\n.b\n. \n", true, "\r\na\r\n..\r\n.b\r\n. \r\n"},
		{"Subject: a\rBcc: evil\n\nx\ry\n", true, "Subject: a Bcc: evil\r\n\r\nx y\r\n"},
		{"\nx\r\r\n", true, "\r\nx \r\n"},
		{"\nx\r", true, "\r\nx\r\n"},
		{"\r", true, "\r\n\r\n"},
	} {
		got, err := read(strings.NewReader(c.in), c.dot)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		if s := text(t, got); s != c.want {
			t.Errorf("%q:\ngot  %q\nwant %q", c.in, s, c.want)
		}
		got.close()
	}
}

// TestReadLong: long lines and bodies that do not fit into memory.
func TestReadLong(t *testing.T) {
	in := "Subject: x\n\n" + strings.Repeat(strings.Repeat("y", 100_000)+"\n", 30)
	c, err := read(strings.NewReader(in), true)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if c.file == nil {
		t.Error("all of it is in memory")
	}
	for range 2 {
		if got := text(t, c); got != strings.ReplaceAll(in, "\n", "\r\n") {
			t.Errorf("%d octets, not %d", len(got), len(in))
		}
	}
	if _, err := read(strings.NewReader("X: "+strings.Repeat("y", MaxHeaderOctets)), true); err == nil {
		t.Error("a header without end is taken")
	}
}

// FuzzRead: whatever a program writes, lines end in CRLF, and nothing else in it is a CR or LF.
func FuzzRead(f *testing.F) {
	f.Add("Subject: x\n\nhello\n.\n")
	f.Add("\r\r\n\r")
	f.Add("From x\ny: z\r\n z")
	f.Fuzz(func(t *testing.T, in string) {
		c, err := read(strings.NewReader(in), true)
		if err != nil {
			return
		}
		defer c.close()
		got := []byte(text(t, c))
		bare := bytes.ReplaceAll(got, []byte("\r\n"), nil)
		if bytes.ContainsAny(bare, "\r\n") || !bytes.HasSuffix(got, []byte("\r\n")) || !bytes.Contains(append([]byte("\r\n"), got...), []byte("\r\n\r\n")) {
			t.Errorf("%q became %q", in, got)
		}
	})
}

func TestRecipients(t *testing.T) {
	o := &Options{Extract: true, Recipients: []string{"a@b.test, root", "Bob <bob@b.test>"}}
	got, err := recipients(o, []byte("To: root, x@y.test\r\nCC: g: m@y.test, n@y.test;\r\nBcc: z@y.test\r\nFrom: f@y.test\r\n"))
	var s []string
	for _, a := range got {
		s = append(s, a.String())
	}
	if want := "a@b.test root bob@b.test x@y.test m@y.test n@y.test z@y.test"; err != nil || strings.Join(s, " ") != want {
		t.Errorf("%v, %v", s, err)
	}
	got, err = recipients(&Options{Extract: true}, []byte("To: x@y.test\r\nResent-To: r@y.test\r\n"))
	if err != nil || len(got) != 1 || got[0].Local != "r" {
		t.Errorf("%v, %v", got, err)
	}
	for _, o := range []Options{{}, {Extract: true}, {Recipients: []string{"a b c"}}, {Recipients: []string{""}}} {
		if got, err := recipients(&o, []byte("Subject: x\r\n")); err == nil {
			t.Errorf("%+v: %v", o, got)
		}
	}
}
