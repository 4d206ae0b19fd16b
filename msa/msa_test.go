package msa_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/msa"
	"github.com/samotop/samotop/smtp/smtptest"
)

type senders map[string]bool

func (s senders) MaySendAs(_ context.Context, account string, from mail.Address) (bool, error) {
	if from.Local == "broken" {
		return false, errors.New("the accounts are away")
	}
	return s[account+" "+strings.ToLower(from.String())], nil
}

// queue keeps one message.
type queue struct {
	from   mail.Sender
	rcpts  []mail.Address
	trace  []mail.Field
	body   bytes.Buffer
	stored bool
}

func (q *queue) Open(context.Context, *mail.Session) (mail.Receiver, error) { return q, nil }
func (q *queue) Begin(_ context.Context, _ *mail.Session, from mail.Sender) (mail.Transaction, error) {
	q.from = from
	return q, nil
}
func (q *queue) Recipient(_ context.Context, r *mail.Recipient) error {
	q.rcpts = append(q.rcpts, r.Address)
	return nil
}
func (q *queue) Trace(f ...mail.Field)       { q.trace = append(q.trace, f...) }
func (q *queue) Write(p []byte) (int, error) { return q.body.Write(p) }
func (q *queue) Abort() error                { return nil }
func (q *queue) Commit(context.Context) ([]mail.Reply, error) {
	q.stored = true
	rs := make([]mail.Reply, len(q.rcpts))
	for i := range rs {
		rs[i] = *mail.NewReply(250, mail.Enhanced{2, 0, 0}, "queued as x1")
	}
	return rs, nil
}

func addr(s string) mail.Address {
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

func session() *mail.Session {
	return &mail.Session{ID: "s7", Service: "msa", Hello: "laptop.home", Extended: true, RemoteName: "dsl.example.net",
		RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 4321}, TLS: &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256},
		Login: mail.Identity{Account: "a@x.test"}}
}

func newDoor(t testing.TB, q mail.Door, change func(*msa.Config)) mail.Door {
	t.Helper()
	cfg := msa.Config{Queue: q, Hostname: "mx.x.test", Rand: strings.NewReader(strings.Repeat("r", 1000)),
		Senders: senders{"a@x.test a@x.test": true, "a@x.test alias@x.test": true},
		Clock:   func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }}
	if change != nil {
		change(&cfg)
	}
	d, err := msa.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// submit sends content in pieces of n octets.
func submit(d mail.Door, s *mail.Session, from, content string, n int) ([]mail.Reply, error) {
	ctx := context.Background()
	r, err := d.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	tx, err := r.Begin(ctx, s, mail.Sender{Address: addr(from)})
	if err != nil {
		return nil, err
	}
	defer tx.Abort()
	if err := tx.Recipient(ctx, &mail.Recipient{Address: addr("b@y.test")}); err != nil {
		return nil, err
	}
	for content != "" {
		k := min(n, len(content))
		if _, err := tx.Write([]byte(content[:k])); err != nil {
			return nil, err
		}
		content = content[k:]
	}
	return tx.Commit(ctx)
}

const (
	date  = "Date: Fri, 1 May 2026 12:00:00 +0000\r\n"
	msgID = "Message-ID: <ojzhe4tsojzhe4tsojzhe4tsojzhe4ts@mx.x.test>\r\n"
)

func TestHeader(t *testing.T) {
	for name, c := range map[string]struct{ from, in, want string }{
		"complete":       {"a@x.test", "From: a@x.test\r\nDate: d\r\nMessage-ID: <1@x>\r\n\r\nbody", "From: a@x.test\r\nDate: d\r\nMessage-ID: <1@x>\r\n\r\nbody"},
		"date, id":       {"a@x.test", "From: A <a@x.test>\r\n\r\nbody\r\n", date + msgID + "From: A <a@x.test>\r\n\r\nbody\r\n"},
		"no from":        {"a@x.test", "Subject: s\r\n\r\nbody\r\n", date + msgID + "From: a@x.test\r\nSubject: s\r\n\r\nbody\r\n"},
		"bcc":            {"a@x.test", "Bcc: x@y.test,\r\n z@y.test\r\nFrom: a@x.test\r\nbCC: q@y.test\r\nDate: d\r\nMessage-ID: i\r\nReturn-Path: <f@g>\r\n\r\nBcc: stays", "From: a@x.test\r\nDate: d\r\nMessage-ID: i\r\n\r\nBcc: stays"},
		"own alias":      {"a@x.test", "From: alias@x.test, a@x.test\r\nSender: Alias@x.test\r\nDate: d\r\nMessage-ID: i\r\n\r\n", "From: alias@x.test, a@x.test\r\nSender: Alias@x.test\r\nDate: d\r\nMessage-ID: i\r\n\r\n"},
		"header only":    {"a@x.test", "From: a@x.test\r\nDate: d\r\nMessage-ID: i\r\n", "From: a@x.test\r\nDate: d\r\nMessage-ID: i\r\n"},
		"read receipt":   {"", "From: a@x.test\r\nDate: d\r\nMessage-ID: i\r\n\r\n", "From: a@x.test\r\nDate: d\r\nMessage-ID: i\r\n\r\n"},
		"nothing at all": {"a@x.test", "", date + msgID + "From: a@x.test\r\n\r\n"},
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			q := &queue{}
			replies, err := submit(newDoor(t, q, nil), session(), c.from, c.in, n)
			if err != nil || len(replies) != 1 || replies[0].Text != "queued as x1" {
				t.Errorf("%s: %v, %v", name, replies, err)
				continue
			}
			if got := q.body.String(); got != c.want {
				t.Errorf("%s in pieces of %d:\n%q\nwant\n%q", name, n, got, c.want)
			}
		}
	}
}

func TestReceived(t *testing.T) {
	for _, show := range []bool{false, true} {
		q := &queue{}
		d := newDoor(t, q, func(c *msa.Config) { c.ShowClient = show })
		if _, err := submit(d, session(), "a@x.test", "From: a@x.test\r\n\r\n", 100); err != nil {
			t.Fatal(err)
		}
		if len(q.trace) != 1 || q.trace[0].Name != "Received" {
			t.Fatalf("%v", q.trace)
		}
		v := q.trace[0].Value
		for _, want := range []string{"by mx.x.test", "with ESMTPSA", "id s7", "for <b@y.test>", "1 May 2026"} {
			if !strings.Contains(v, want) {
				t.Errorf("no %q in %q", want, v)
			}
		}
		for _, private := range []string{"192.0.2.9", "laptop", "dsl.example"} {
			if strings.Contains(v, private) != show {
				t.Errorf("show %v: %q in %q", show, private, v)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	nobody := session()
	nobody.Login = mail.Identity{}
	ok := "From: a@x.test\r\n\r\n"
	for name, c := range map[string]struct {
		s        *mail.Session
		from, in string
		code     int
		enhanced mail.Enhanced
		text     string
	}{
		"not logged in":        {nobody, "a@x.test", ok, 530, mail.Enhanced{5, 7, 0}, "Authentication"},
		"another's path":       {session(), "b@x.test", ok, 553, mail.Enhanced{5, 7, 1}, "<b@x.test> is not an address of the account a@x.test"},
		"forged from":          {session(), "a@x.test", "From: b@x.test\r\n\r\n", 550, mail.Enhanced{5, 7, 1}, "The From field names <b@x.test>"},
		"forged with comment":  {session(), "a@x.test", "From: a@x.test (x), \"a@x.test\" <b@x.test>\r\n\r\n", 550, mail.Enhanced{5, 7, 1}, "<b@x.test>"},
		"forged in a group":    {session(), "a@x.test", "From: g: b@x.test;\r\n\r\n", 550, mail.Enhanced{5, 7, 1}, "<b@x.test>"},
		"forged sender":        {session(), "a@x.test", "Sender: b@x.test\r\nFrom: a@x.test\r\n\r\n", 550, mail.Enhanced{5, 7, 1}, "Sender"},
		"two from":             {session(), "a@x.test", "From: a@x.test\r\nfrom: a@x.test\r\n\r\n", 550, mail.Enhanced{5, 7, 1}, "it has 2"},
		"from is empty":        {session(), "a@x.test", "From:\r\n\r\n", 550, mail.Enhanced{5, 7, 1}, "no address"},
		"nobody from":          {session(), "", "Subject: s\r\n\r\n", 550, mail.Enhanced{5, 7, 1}, "it has 0"},
		"loop":                 {session(), "a@x.test", strings.Repeat("Received: x\r\n", 51) + ok, 554, mail.Enhanced{5, 4, 6}, "hops"},
		"header without end":   {session(), "a@x.test", "From: a@x.test\r\n" + strings.Repeat("X: "+strings.Repeat("y", 90)+"\r\n", 12000), 552, mail.Enhanced{5, 3, 4}, "header"},
		"accounts are away":    {session(), "broken@x.test", ok, 451, mail.Enhanced{4, 3, 0}, "Temporary"},
		"accounts away, later": {session(), "a@x.test", "From: broken@x.test\r\n\r\n", 451, mail.Enhanced{4, 3, 0}, "Temporary"},
	} {
		q := &queue{}
		_, err := submit(newDoor(t, q, nil), c.s, c.from, c.in, 4096)
		r := mail.AsReply(err)
		if r == nil || r.Code != c.code || r.Enhanced != c.enhanced || !strings.Contains(r.Text, c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if q.stored || q.body.Len() > 0 {
			t.Errorf("%s: the queue got something", name)
		}
	}
}

func TestNew(t *testing.T) {
	if _, err := msa.New(msa.Config{}); err == nil {
		t.Error("an empty Config is taken")
	}
	if _, err := msa.New(msa.Config{Queue: mail.Unassigned, Senders: senders{}, Hostname: "h"}); err == nil {
		t.Error("a queue that is not there is taken")
	}
}

func TestSuite(t *testing.T) {
	mailtest.Run(t, mailtest.Suite{
		New: func(t *testing.T) (mail.Door, mailtest.Probe) {
			rec := &mailtest.Recorder{}
			any := anyone{}
			d, err := msa.New(msa.Config{Queue: rec, Senders: any, Hostname: "mx.x.test"})
			if err != nil {
				t.Fatal(err)
			}
			return d, rec.Probe
		},
		Forms: []mailtest.Form{{Name: "pipe", Wrap: smtptest.OverPipe}, {Name: "unix", Wrap: smtptest.OverUnix}},
		Known: []mail.Address{addr("b@y.test"), addr("c@y.test")}, Login: mail.Identity{Account: "a@x.test"}, From: addr("a@x.test"),
	})
}

type anyone struct{}

func (anyone) MaySendAs(context.Context, string, mail.Address) (bool, error) { return true, nil }

func FuzzSubmit(f *testing.F) {
	f.Add("From: a@x.test\r\n\r\n", 3)
	f.Add("Bcc: a\r\nFrom: \"x\" <a@x.test>\r\n\r\nbody", 1)
	f.Fuzz(func(t *testing.T, content string, n int) {
		q := &queue{}
		_, err := submit(newDoor(t, q, nil), session(), "a@x.test", content, max(n, 1))
		if err != nil && q.stored {
			t.Error("stored what was refused")
		}
		head, _, _ := strings.Cut(q.body.String(), "\r\n\r\n")
		if err == nil && strings.HasPrefix(strings.ToLower(head), "bcc:") {
			t.Error("Bcc went through")
		}
	})
}

func BenchmarkSubmit(b *testing.B) {
	d := newDoor(b, sink{}, func(c *msa.Config) { c.Rand = nil })
	content := "From: a@x.test\r\nTo: b@y.test\r\nSubject: s\r\nDate: d\r\nMessage-ID: <1@x>\r\n\r\n" + strings.Repeat("text text text text\r\n", 200)
	s := session()
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := submit(d, s, "a@x.test", content, 4096); err != nil {
			b.Fatal(err)
		}
	}
}

type sink struct{}

func (sink) Open(context.Context, *mail.Session) (mail.Receiver, error) { return sink{}, nil }
func (sink) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return sink{}, nil
}
func (sink) Recipient(context.Context, *mail.Recipient) error { return nil }
func (sink) Trace(...mail.Field)                              {}
func (sink) Write(p []byte) (int, error)                      { return len(p), nil }
func (sink) Abort() error                                     { return nil }
func (sink) Commit(context.Context) ([]mail.Reply, error)     { return []mail.Reply{mail.OK()}, nil }
