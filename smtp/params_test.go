package smtp

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func allRules() *rules {
	return &rules{
		ext: ^Extension(0), auth: true, tls: true, authed: true, utf8: true, now: noon, maxMessage: 1000, maxHold: time.Hour, minBy: time.Minute,
		solicit: []string{"org.example:ADV"}, mail: []string{"XM"}, rcpt: []string{"XR"}, traceOctets: 100,
	}
}

// TestMailParams has for each parameter what is understood and what is refused.
func TestMailParams(t *testing.T) {
	for _, c := range []struct {
		params string
		code   int // 0: understood
		check  func(s mail.Sender) bool
	}{
		{"SIZE=1000", 0, func(s mail.Sender) bool { return s.Size == 1000 }},
		{"SIZE=1001", 552, nil},
		{"SIZE=99999999999999999999", 552, nil},
		{"SIZE=", 501, nil},
		{"SIZE=-1", 501, nil},
		{"SIZE=1 SIZE=1", 501, nil},
		{"BODY=8bitmime", 0, func(s mail.Sender) bool { return s.Body == mail.Body8Bit }},
		{"BODY=BINARYMIME", 0, func(s mail.Sender) bool { return s.Body == mail.BodyBinary }},
		{"BODY=9BIT", 501, nil},
		{"SMTPUTF8=1", 501, nil},
		{"SMTPUTF8", 0, func(s mail.Sender) bool { return s.UTF8 }},
		{"RET=hdrs ENVID=a+2Bb", 0, func(s mail.Sender) bool { return s.Ret == mail.RetHeaders && s.EnvelopeID == "a+b" }},
		{"RET=NONE", 501, nil},
		{"ENVID=a+2b", 501, nil},
		{"ENVID=a+0Ab", 501, nil},
		{"ENVID=" + strings.Repeat("x", 101), 501, nil},
		{"AUTH=<>", 0, func(s mail.Sender) bool { return s.Auth == "<>" }},
		{"AUTH=a+40b.test", 0, func(s mail.Sender) bool { return s.Auth == "a@b.test" }},
		{"AUTH=a", 501, nil},
		{"REQUIRETLS", 0, func(s mail.Sender) bool { return s.RequireTLS }},
		{"REQUIRETLS=x", 501, nil},
		{"MT-PRIORITY=-9", 0, func(s mail.Sender) bool { return s.Priority == -9 }},
		{"MT-PRIORITY=10", 501, nil},
		{"MT-PRIORITY=+1", 501, nil},
		{"BY=120;R", 0, func(s mail.Sender) bool {
			return s.DeliverBy == mail.DeliverBy{Deadline: noon.Add(2 * time.Minute), Return: true}
		}},
		{"BY=-5;nt", 0, func(s mail.Sender) bool {
			return s.DeliverBy == mail.DeliverBy{Deadline: noon.Add(-5 * time.Second), Trace: true}
		}},
		{"BY=0;R", 501, nil},
		{"BY=59;R", 501, nil},
		{"BY=60", 501, nil},
		{"BY=1000000000;N", 501, nil},
		{"HOLDFOR=60", 0, func(s mail.Sender) bool { return s.HoldUntil.Equal(noon.Add(time.Minute)) }},
		{"HOLDUNTIL=2026-01-01T12:30:00Z", 0, func(s mail.Sender) bool { return s.HoldUntil.Equal(noon.Add(30 * time.Minute)) }},
		{"HOLDFOR=3601", 501, nil},
		{"HOLDFOR=0", 501, nil},
		{"HOLDUNTIL=tomorrow", 501, nil},
		{"HOLDFOR=60 HOLDUNTIL=2026-01-01T12:30:00Z", 501, nil},
		{"SOLICIT=org.example:SPORT", 0, func(s mail.Sender) bool { return s.Params[0].Value == "org.example:SPORT" }},
		{"SOLICIT=x,org.example:adv", 550, nil},
		{"XM XR", 555, nil},
		{"XM", 0, func(s mail.Sender) bool { return s.Params[0] == mail.Param{Keyword: "XM"} }},
		{"XTRACE=5", 555, nil},
		{"X Y", 555, nil},
		{"SIZE==1", 501, nil},
		{"-X", 501, nil},
	} {
		got, _, r := parseMail("FROM:<a@b.test> "+c.params, allRules())
		code := 0
		if r != nil {
			code = r.Code
		}
		if code != c.code || c.check != nil && !c.check(got) {
			t.Errorf("%s: %v, %+v", c.params, r, got)
		}
		if _, _, r := parseMail("FROM:<a@b.test> "+c.params, &rules{now: noon}); r == nil {
			t.Errorf("%s: understood without being offered", c.params)
		}
	}
	ru := allRules()
	ru.authed = false
	if s, _, _ := parseMail("FROM:<a@b.test> AUTH=a+40b.test", ru); s.Auth != "<>" {
		t.Errorf("a stranger vouches for %q", s.Auth)
	}
}

func TestRcptParams(t *testing.T) {
	trusted := allRules()
	trusted.trusted = true
	for _, c := range []struct {
		params string
		code   int
		check  func(r mail.Recipient) bool
	}{
		{"NOTIFY=NEVER", 0, func(r mail.Recipient) bool { return r.Notify == mail.NotifyNever }},
		{"NOTIFY=success,DELAY", 0, func(r mail.Recipient) bool { return r.Notify == mail.NotifySuccess|mail.NotifyDelay }},
		{"NOTIFY=NEVER,DELAY", 501, nil},
		{"NOTIFY=DELAY,DELAY", 501, nil},
		{"NOTIFY=", 501, nil},
		{"ORCPT=rfc822;a+2Bb@c.test", 0, func(r mail.Recipient) bool { return r.Original == "rfc822;a+b@c.test" }},
		{"ORCPT=utf-8;ü@c.test", 0, func(r mail.Recipient) bool { return r.Original == "utf-8;ü@c.test" }},
		{"ORCPT=rfc822;ü@c.test", 501, nil},
		{"ORCPT=rfc822;a+0Db", 501, nil},
		{"ORCPT=a@c.test", 501, nil},
		{"RRVS=2020-01-01T00:00:00Z", 0, func(r mail.Recipient) bool { return r.RRVS.Year() == 2020 && r.Params == nil }},
		{"RRVS=2020-01-01T00:00:00Z;C", 0, func(r mail.Recipient) bool { return r.Params[0].Value == "C" }},
		{"RRVS=2020-01-01T00:00:00Z;X", 501, nil},
		{"RRVS=2020", 501, nil},
		{"XDELIVERY=a+20b XFOLDER=A/+C3+BC", 0, func(r mail.Recipient) bool { return r.DeliveryID == "a b" && r.Folder == "A/ü" }},
		{"XFOLDER=+FF", 501, nil},
		{"XFAILED=550+205.1.1+20No+20such", 0, func(r mail.Recipient) bool { return r.Failed.String() == "550 5.1.1 No such" }},
		{"XFAILED=250+20OK", 501, nil},
		{"XR=1", 0, func(r mail.Recipient) bool { return r.Params[0].Value == "1" }},
		{"XM=1", 555, nil},
	} {
		var got mail.Recipient
		r := parseRcpt("TO:<a@b.test> "+c.params, trusted, &got)
		code := 0
		if r != nil {
			code = r.Code
		}
		if code != c.code || c.check != nil && !c.check(got) {
			t.Errorf("%s: %v, %+v", c.params, r, got)
		}
	}
}

// stream is a Door and a Reader that make nothing of many octets.
type stream struct{ n int64 }

func (s *stream) Open(context.Context, *mail.Session) (mail.Receiver, error) { return s, nil }
func (s *stream) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return s, nil
}
func (s *stream) Recipient(context.Context, *mail.Recipient) error { return nil }
func (s *stream) Trace(...mail.Field)                              {}
func (s *stream) Abort() error                                     { return nil }
func (s *stream) Write(p []byte) (int, error)                      { s.n += int64(len(p)); return len(p), nil }
func (s *stream) Commit(context.Context) ([]mail.Reply, error)     { return []mail.Reply{mail.OK()}, nil }

// TestBigMessage: 40 MiB go through server and client, and neither holds more than its buffers.
func TestBigMessage(t *testing.T) {
	const octets = 40 << 20
	line := strings.Repeat("x", 126) + "\r\n"
	block := []byte(strings.Repeat(line, 512))
	session := "EHLO a\r\nMAIL FROM:<> SIZE=41943040\r\nRCPT TO:<a@b.test>\r\n"
	for _, how := range []string{"DATA\r\n", "BDAT 41943040 LAST\r\n"} {
		end := ""
		if how == "DATA\r\n" {
			end = ".\r\n"
		}
		var content []io.Reader
		for range octets / len(block) {
			content = append(content, bytes.NewReader(block))
		}
		in := io.MultiReader(strings.NewReader(session+how), io.MultiReader(content...), strings.NewReader(end))
		d := &stream{}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		(&Server{Door: d, Hostname: "h"}).ServeConn(t.Context(), &memConn{r: in})
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; d.n != octets || used > 4<<20 {
			t.Errorf("%q: %d octets, %d allocated", how, d.n, used)
		}
	}
}

func BenchmarkParseCommand(b *testing.B) {
	ru := allRules()
	b.ReportAllocs()
	for b.Loop() {
		c := parseCommand("MAIL FROM:<sender@example.org> SIZE=100 BODY=8BITMIME")
		if _, _, r := parseMail(c.arg, ru); r != nil {
			b.Fatal(r)
		}
	}
}

func BenchmarkDot(b *testing.B) {
	block := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 800))
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	for b.Loop() {
		var d dotDecoder
		if _, _, _, err := d.next(block); err != nil {
			b.Fatal(err)
		}
	}
}
