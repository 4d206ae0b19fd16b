package dsn

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	arrival = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	now     = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
)

const originalText = "Received: from client by mx; Fri, 20 Nov 2026 08:00:00 +0000\r\nMessage-ID: <one@example.org>\r\n" +
	"Subject: hello\r\nFrom: alice@example.org\r\n\r\nThe body\r\n"

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func options() Options {
	return Options{
		To: mail.Address{Local: "alice", Domain: "example.org"}, MessageID: "report@mx.example.org", Date: now, Rand: zeros{},
		Contact: "postmaster@example.org", Original: strings.NewReader(originalText), Size: int64(len(originalText)),
	}
}

func report() *Report {
	return &Report{
		ReportingMTA: "mx.example.org", EnvelopeID: "env-1", Arrival: arrival,
		Recipients: []Recipient{
			{
				Original: "rfc822;bob@example.net", Final: mail.Address{Local: "bob", Domain: "example.net"}, RemoteMTA: "mx.example.net",
				Action: Failed, Reply: mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 1, 1}, Text: "No such user\nhere"}, LastAttempt: now, LogID: "q1",
			},
			{
				Final: mail.Address{Local: "carol", Domain: "example.com"}, Action: Delayed, RetryUntil: now.Add(72 * time.Hour),
				Reply: mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 4, 1}, Text: "No answer from mx.example.com"},
			},
			{Final: mail.Address{Local: "dave", Domain: "example.com"}, Action: Delivered, Status: mail.Enhanced{2, 1, 5}},
		},
	}
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Report, *Options)
	}{
		{"headers", func(*Report, *Options) {}},
		{"full", func(_ *Report, o *Options) { o.Ret = mail.RetFull }},
		{"nothing", func(_ *Report, o *Options) { o.Original = nil }},
		{"delayed", func(r *Report, _ *Options) { r.Recipients = r.Recipients[1:2] }},
		{"utf8", func(r *Report, o *Options) {
			r.Recipients[0].Final.Local, r.Recipients[0].Original = "bøb", "utf-8;bøb@example.net"
			r.Recipients = r.Recipients[:1]
			o.UTF8, o.EightBit, o.OriginalUTF8, o.Ret = true, true, true, mail.RetFull
		}},
		{"utf8-by-ascii", func(r *Report, o *Options) {
			r.Recipients[0].Final.Local, r.Recipients[0].Original = "bøb", "utf-8;bøb@example.net"
			r.Recipients = r.Recipients[:1]
			o.OriginalUTF8, o.Ret = true, mail.RetFull
		}},
	} {
		r, o := report(), options()
		c.change(r, &o)
		var out bytes.Buffer
		if err := Write(&out, r, o); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		file := filepath.Join("testdata", c.name+".eml")
		if *update {
			if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if out.String() != string(want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, out.String(), want)
		}
		again := parse(t, out.Bytes())
		if len(again.Recipients) != len(r.Recipients) || again.ReportingMTA != r.ReportingMTA || !again.Arrival.Equal(r.Arrival) {
			t.Errorf("%s: read back %+v", c.name, again)
		}
		if !reflect.DeepEqual(again.Recipients[0].Final, r.Recipients[0].Final) || again.Recipients[0].Original != r.Recipients[0].Original {
			t.Errorf("%s: read back %+v", c.name, again.Recipients[0])
		}
	}
}

func parse(t interface{ Fatal(...any) }, raw []byte) *Report {
	root, err := message.Parse(bytes.NewReader(raw), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Parse(root, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What peers say and senders write must not make lines of its own, and everything must come back.
func TestHostileValues(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("a\r\n: ;<>\x00ü\"=?-"))))
	rapid.Check(t, func(t *rapid.T) {
		r := report()
		r.EnvelopeID = text.Draw(t, "envelope")
		for i := range r.Recipients {
			d := &r.Recipients[i]
			d.Reply = mail.Reply{Code: 500 + i, Text: text.Draw(t, "text")}
			d.Original = text.Draw(t, "original")
			d.Final.Local = "x" + text.Draw(t, "local")
			d.LogID = text.Draw(t, "log")
			d.RemoteMTA = text.Draw(t, "remote")
		}
		o := options()
		o.UTF8, o.EightBit = rapid.Bool().Draw(t, "utf8"), rapid.Bool().Draw(t, "8bit")
		o.Contact = text.Draw(t, "contact")
		o.Ret = mail.RetFull
		var out bytes.Buffer
		if err := Write(&out, r, o); err != nil {
			t.Fatal(err)
		}
		root, _ := message.Parse(bytes.NewReader(out.Bytes()), message.Limits{})
		if len(root.Children) != 3 || root.HasBareCR || root.HasBareLF || root.HasNUL || root.Header.Len() != 10 {
			t.Fatalf("%d parts, %d fields, %+v\n%q", len(root.Children), root.Header.Len(), root.Facts, out.String())
		}
		if !o.EightBit && !o.UTF8 && root.Children[0].Has8Bit {
			t.Fatalf("8-bit text in a 7-bit report\n%q", out.String())
		}
		again := parse(t, out.Bytes())
		if len(again.Recipients) != len(r.Recipients) {
			t.Fatalf("%d recipients", len(again.Recipients))
		}
		for i, d := range again.Recipients {
			if d.Action != r.Recipients[i].Action {
				t.Fatalf("recipient %d: %+v", i, d)
			}
		}
	})
}

func TestWholeOrHeader(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"not asked for", func(*Options) {}, "text/rfc822-headers"},
		{"asked for", func(o *Options) { o.Ret = mail.RetFull }, "message/rfc822"},
		{"too big", func(o *Options) { o.Ret, o.OriginalBytes = mail.RetFull, 10 }, "text/rfc822-headers"},
		{"size unknown", func(o *Options) { o.Ret, o.Size = mail.RetFull, 0 }, "text/rfc822-headers"},
		{"8-bit by a 7-bit way", func(o *Options) { o.Ret, o.Original8Bit = mail.RetFull, true }, "text/rfc822-headers"},
		{"8-bit by an 8-bit way", func(o *Options) { o.Ret, o.Original8Bit, o.EightBit = mail.RetFull, true, true }, "message/rfc822"},
		{"utf-8", func(o *Options) { o.Ret, o.OriginalUTF8, o.EightBit, o.UTF8 = mail.RetFull, true, true, true }, "message/global"},
		{"utf-8 header", func(o *Options) { o.OriginalUTF8, o.EightBit, o.UTF8 = true, true, true }, "message/global-headers"},
	} {
		o := options()
		c.change(&o)
		var out bytes.Buffer
		if err := Write(&out, report(), o); err != nil {
			t.Fatal(err)
		}
		root, _ := message.Parse(bytes.NewReader(out.Bytes()), message.Limits{})
		p := root.Children[2]
		if got := p.Type + "/" + p.Subtype; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		body := out.String()[p.BodyStart:p.End]
		if p.Message != nil && body != originalText {
			t.Errorf("%s: returned %q", c.name, body)
		}
		if p.Message == nil && strings.Contains(body, "The body") {
			t.Errorf("%s: returned %q", c.name, body)
		}
	}
}

func TestLongHeaderIsCut(t *testing.T) {
	o := options()
	o.Original = strings.NewReader(strings.Repeat("X-Long: "+strings.Repeat("a", 60)+"\r\n", 5000) + "\r\nbody")
	var out bytes.Buffer
	if err := Write(&out, report(), o); err != nil {
		t.Fatal(err)
	}
	if out.Len() > MaxOriginalHeaderBytes+8<<10 {
		t.Errorf("%d octets", out.Len())
	}
	if !strings.Contains(out.String(), "aaaa\r\n\r\n--=_") {
		t.Error("the header is not cut at a line")
	}
}

func TestErrors(t *testing.T) {
	o := options()
	o.Original = iotest.ErrReader(errors.New("gone"))
	if err := Write(&bytes.Buffer{}, report(), o); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("reading: %v", err)
	}
	o = options()
	o.Rand = iotest.ErrReader(errors.New("no entropy"))
	if err := Write(&bytes.Buffer{}, report(), o); err == nil {
		t.Error("no error without random numbers")
	}
	root, _ := message.Parse(strings.NewReader("Subject: no report\r\n\r\nx"), message.Limits{})
	if _, err := Parse(root, strings.NewReader("")); !errors.Is(err, ErrNotReport) {
		t.Errorf("not a report: %v", err)
	}
}

// What others write, some of it against the standard.
func TestParseStatus(t *testing.T) {
	for _, c := range []struct {
		name, in, mta, final, remote string
		status                       mail.Enhanced
		action                       Action
		code                         int
	}{
		{"postfix", "Reporting-MTA: dns; mx.example.org\nX-Postfix-Queue-ID: ABC\nArrival-Date: Fri, 20 Nov 2026 08:00:00 +0000 (UTC)\n\n" +
			"Final-Recipient: rfc822; bob@example.net\nOriginal-Recipient: rfc822;bob@example.net\nAction: failed\nStatus: 5.1.1\n" +
			"Remote-MTA: dns; mx.example.net\nDiagnostic-Code: smtp; 550 5.1.1 <bob@example.net>: Recipient address\n    rejected\n",
			"mx.example.org", "bob@example.net", "mx.example.net", mail.Enhanced{5, 1, 1}, Failed, 550},
		{"exchange", "Reporting-MTA: dns;AM0PR01.example.com\nReceived-From-MTA: dns;x\n\nFinal-Recipient: rfc822;<bob@example.net>\nAction: Failed\n" +
			"Status: 5.4.1 (bad)\nDiagnostic-Code: smtp;550 5.4.1 Recipient address rejected: Access denied\n",
			"AM0PR01.example.com", "bob@example.net", "", mail.Enhanced{5, 4, 1}, Failed, 550},
		{"no message group", "Final-Recipient: rfc822; bob@example.net\nAction: delayed\nStatus: 4.4.1\n", "", "bob@example.net", "", mail.Enhanced{4, 4, 1}, Delayed, 0},
		{"utf-8", "Reporting-MTA: dns; m\n\nFinal-Recipient: utf-8; b\\x{F8}b@example.net\nAction: failed\nStatus: 5.1.1\n",
			"m", "bøb@example.net", "", mail.Enhanced{5, 1, 1}, Failed, 0},
		{"nonsense", "Action: exploded\nStatus: high\nDiagnostic-Code: x\nFinal-Recipient: ???\n", "", "???", "", mail.Enhanced{}, "", 0},
	} {
		for _, in := range []string{c.in, strings.ReplaceAll(c.in, "\n", "\r\n")} {
			r := ParseStatus([]byte(in))
			if len(r.Recipients) != 1 {
				t.Errorf("%s: %d recipients", c.name, len(r.Recipients))
				continue
			}
			d := r.Recipients[0]
			if r.ReportingMTA != c.mta || d.Final.String() != c.final || d.RemoteMTA != c.remote || d.Status != c.status || d.Action != c.action || d.Reply.Code != c.code {
				t.Errorf("%s: %+v", c.name, r)
			}
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("Reporting-MTA: dns; m\r\n\r\nFinal-Recipient: utf-8; b\\x{F8}b@x\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no\r\n"))
	f.Add([]byte("\n\n\nAction:\n\nOriginal-Recipient: ;\n"))
	f.Add([]byte("Final-Recipient: utf-8; \\x{\\x{}\\x{110000}\\x{41}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := ParseStatus(b)
		if len(r.Recipients) == 0 {
			return
		}
		var out bytes.Buffer
		if err := Write(&out, r, Options{Rand: zeros{}, Date: now, MessageID: "x", UTF8: true, EightBit: true}); err != nil {
			t.Fatal(err)
		}
		if again := parse(t, out.Bytes()); len(again.Recipients) != len(r.Recipients) {
			t.Fatalf("%d recipients became %d\n%s", len(r.Recipients), len(again.Recipients), out.String())
		}
	})
}
