package mta_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/mta"
	"github.com/samotop/samotop/smtp/smtptest"
)

func addr(s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

func refuse(code int, e mail.Enhanced) *mail.Reply { return mail.NewReply(code, e, "refused") }

// house is an MTA between recorders.
type house struct {
	guard, mailbox, queue mailtest.Recorder
	spoolAll              bool
	door                  *mta.MTA
}

func newHouse(t *testing.T, h *house) *house {
	t.Helper()
	if h.guard.OnRecipient == nil {
		h.guard.OnRecipient = rules
	}
	var n atomic.Int64
	door, err := mta.New(mta.Config{
		Hostname: "mx.test", Guard: &h.guard, Mailbox: &h.mailbox, Queue: &h.queue,
		SpoolAll: h.spoolAll, SpoolMemoryOctets: 64, SpoolDir: t.TempDir(), MaxHops: 3, MaxTargets: 5,
		NewID: func() string { return fmt.Sprintf("id%d", n.Add(1)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.door = door
	return h
}

// rules: nobody@ is unknown, both@ leads to two, out@ leaves, mixed@ does both.
func rules(r *mail.Recipient) error {
	local := func(s string) mail.Target { return mail.Target{Address: addr(s)} }
	remote := mail.Target{Address: addr("x@far.test"), Remote: true}
	switch r.Address.Local {
	case "nobody":
		return refuse(550, mail.Enhanced{5, 1, 1})
	case "both":
		r.Targets = []mail.Target{local("a@our.test"), local("b@our.test")}
	case "out":
		r.Targets = []mail.Target{remote}
	case "mixed":
		r.Targets = []mail.Target{local("a@our.test"), remote}
	}
	return nil
}

// send runs one transaction and returns the replies at RCPT and at the end.
func (h *house) send(t *testing.T, s *mail.Session, body string, to ...string) (rcpt []error, end []mail.Reply, err error) {
	t.Helper()
	s.Hello, s.Extended = "client.test", true
	s.RemoteAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 1}
	r, err := h.door.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(t.Context(), s, mail.Sender{Address: addr("from@far.test")})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	for _, a := range to {
		rcpt = append(rcpt, tx.Recipient(t.Context(), &mail.Recipient{Address: addr(a)}))
	}
	tx.Trace(mail.Field{Name: "X-Check", Value: "seen"})
	for chunk := range bytes.Lines([]byte(body)) {
		if _, err := tx.Write(chunk); err != nil {
			return rcpt, nil, err
		}
	}
	end, err = tx.Commit(t.Context())
	return rcpt, end, err
}

const body = "Subject: hello\r\n\r\nThis line makes the message longer than the spool's memory.\r\n"

// took describes what a recorder took: recipient, folder and delivery id of each message.
func took(r *mailtest.Recorder) string {
	var all []string
	for _, m := range r.Messages() {
		var to []string
		for _, x := range m.To {
			s := x.Address.String()
			if x.Folder != "" {
				s += "/" + x.Folder
			}
			if x.Failed != nil {
				s += " failed"
			}
			to = append(to, s)
		}
		all = append(all, strings.Join(to, ","))
	}
	return strings.Join(all, " | ")
}

func TestOneAnswer(t *testing.T) {
	full := refuse(452, mail.Enhanced{4, 2, 2})
	never := refuse(554, mail.Enhanced{5, 6, 0})
	failFor := func(local string, with *mail.Reply) func([]mail.Recipient) ([]mail.Reply, error) {
		return func(to []mail.Recipient) ([]mail.Reply, error) {
			rs := make([]mail.Reply, len(to))
			for i := range to {
				rs[i] = mail.OK()
				if to[i].Address.Local == local {
					rs[i] = *with
				}
			}
			return rs, nil
		}
	}
	ioFails := func([]mail.Recipient) ([]mail.Reply, error) { return nil, errors.New("disk on fire") }
	away := refuse(451, mail.Enhanced{4, 4, 1})
	once := func(with error) func(int64) error {
		return func(int64) (err error) { err, with = with, nil; return err }
	}
	cases := []struct {
		name           string
		house          house
		lmtp           bool
		to             string
		end            string // codes of the final replies, or of the error
		mailbox, queue string
	}{
		{name: "plain", to: "a@our.test", end: "250", mailbox: "a@our.test"},
		{name: "two recipients", to: "a@our.test b@our.test", end: "250 250", mailbox: "a@our.test,b@our.test"},
		{name: "alias and its member: one copy", to: "both@our.test a@our.test", end: "250 250", mailbox: "a@our.test,b@our.test"},
		{name: "forward", to: "out@our.test", end: "250", queue: "x@far.test"},
		{name: "here and outside", to: "mixed@our.test", end: "250", mailbox: "a@our.test", queue: "x@far.test"},
		{name: "one full at the end: owed", house: house{mailbox: mailtest.Recorder{OnCommit: failFor("b", full)}},
			to: "a@our.test b@our.test", end: "250 250", mailbox: "a@our.test", queue: "b@our.test"},
		{name: "one refused for good at the end: owed, so that the sender hears of it", house: house{mailbox: mailtest.Recorder{OnCommit: failFor("b", never)}},
			to: "a@our.test b@our.test", end: "250 250", mailbox: "a@our.test", queue: "b@our.test"},
		{name: "all refused: nothing is owed", house: house{mailbox: mailtest.Recorder{OnCommit: failFor("a", full)}},
			to: "a@our.test", end: "452"},
		{name: "mailbox fails, forward taken: owed", house: house{mailbox: mailtest.Recorder{OnCommit: ioFails}},
			to: "mixed@our.test", end: "250", queue: "x@far.test | a@our.test"},
		{name: "mailbox fails while writing, forward taken: owed", house: house{mailbox: mailtest.Recorder{OnWrite: func(int64) error { return errors.New("no space") }}},
			to: "mixed@our.test", end: "250", queue: "x@far.test | a@our.test"},
		{name: "queue fails, mailbox took it, nothing can be owed: refuse", house: house{queue: mailtest.Recorder{OnCommit: ioFails}},
			to: "mixed@our.test", end: "451", mailbox: "a@our.test"},
		{name: "queue away, something is owed: nothing is taken", house: house{queue: mailtest.Recorder{OnRecipient: func(*mail.Recipient) error { return away }}},
			to: "mixed@our.test", end: "451"},
		{name: "queue dies while writing and stays away: nothing is taken", house: house{queue: mailtest.Recorder{OnWrite: func(int64) error { return away }}},
			to: "mixed@our.test", end: "451"},
		{name: "queue cannot prepare what is owed: nothing is taken", house: house{queue: mailtest.Recorder{Prepares: true, OnWrite: func(int64) error { return away }}},
			to: "mixed@our.test", end: "451"},
		{name: "queue dies while writing and is back: owed", house: house{queue: mailtest.Recorder{OnWrite: once(away)}},
			to: "mixed@our.test", end: "250", mailbox: "a@our.test", queue: "x@far.test"},
		{name: "what was foreseen is not what is owed", house: house{mailbox: mailtest.Recorder{OnCommit: failFor("a", full)}, queue: mailtest.Recorder{OnWrite: once(away)}},
			to: "both@our.test out@our.test", end: "250 250", mailbox: "b@our.test", queue: "a@our.test,x@far.test"},
		{name: "LMTP: each his own answer", lmtp: true, house: house{mailbox: mailtest.Recorder{OnCommit: failFor("b", full)}},
			to: "a@our.test b@our.test", end: "250 452", mailbox: "a@our.test"},
		{name: "LMTP: a recipient taken in part is owed the rest", lmtp: true, house: house{mailbox: mailtest.Recorder{OnCommit: failFor("b", full)}},
			to: "both@our.test", end: "250", mailbox: "a@our.test", queue: "b@our.test"},
		{name: "guard refuses one at the end: reported", house: house{guard: mailtest.Recorder{OnCommit: failFor("b", never)}, mailbox: mailtest.Recorder{Amends: true}},
			to: "a@our.test b@our.test", end: "250 250", mailbox: "a@our.test", queue: "b@our.test failed"},
		{name: "guard refuses one at the end, mailbox cannot amend", house: house{guard: mailtest.Recorder{OnCommit: failFor("b", never)}},
			to: "a@our.test b@our.test", end: "250 250", mailbox: "a@our.test", queue: "b@our.test failed"},
		{name: "guard refuses all at the end", house: house{guard: mailtest.Recorder{OnCommit: failFor("a", never)}},
			to: "a@our.test", end: "554"},
		{name: "guard puts one off at the end: all wait, nothing doubles", house: house{guard: mailtest.Recorder{OnCommit: failFor("b", full)}},
			to: "a@our.test b@our.test", end: "452"},
		{name: "guard names a folder at the end", house: house{mailbox: mailtest.Recorder{Amends: true},
			guard: mailtest.Recorder{OnCommit: failFor("a", mail.NewReply(251, mail.Enhanced{2, 1, 5}, "<a@our.test>;folder=Junk"))}},
			to: "a@our.test b@our.test", end: "250 250", mailbox: "a@our.test/Junk,b@our.test"},
		{name: "guard names a folder at the end, mailbox cannot amend",
			house: house{guard: mailtest.Recorder{OnCommit: failFor("a", mail.NewReply(251, mail.Enhanced{2, 1, 5}, "<a@our.test>;folder=Junk"))}},
			to:    "a@our.test", end: "250", mailbox: "a@our.test/Junk"},
	}
	for i := range cases {
		c := &cases[i]
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, &c.house)
			_, end, err := h.send(t, &mail.Session{LMTP: c.lmtp}, body, strings.Fields(c.to)...)
			var codes []string
			if err != nil {
				codes = append(codes, fmt.Sprint(mail.AsReply(err).Code))
			}
			for _, r := range end {
				codes = append(codes, fmt.Sprint(r.Code))
			}
			if got := strings.Join(codes, " "); got != c.end {
				t.Errorf("answer %q, want %q (%v)", got, c.end, err)
			}
			if got := took(&h.mailbox); got != c.mailbox {
				t.Errorf("mailbox took %q, want %q", got, c.mailbox)
			}
			if got := took(&h.queue); got != c.queue {
				t.Errorf("queue took %q, want %q", got, c.queue)
			}
			for _, m := range append(h.mailbox.Messages(), h.queue.Messages()...) {
				head, rest, _ := strings.Cut(string(m.Content), "Subject:")
				if "Subject:"+rest != body {
					t.Errorf("content became %q", m.Content)
				}
				if !strings.HasPrefix(head, "X-Check: seen\r\nReceived: from client.test ([192.0.2.9])\r\n\tby mx.test with ") {
					t.Errorf("trace is %q", head)
				}
			}
		})
	}
}

// The answer of a Mailbox in another process was lost: the queue gets the message under the same delivery id.
func TestLostAnswer(t *testing.T) {
	lost := func([]mail.Recipient) ([]mail.Reply, error) {
		return nil, mail.NewReply(451, mail.Enhanced{4, 4, 2}, "gone").Because(mail.ErrUnknownOutcome)
	}
	for name, x := range map[string]struct {
		to    []string
		queue error
		code  int
	}{
		"one":                   {to: []string{"a@our.test"}, code: 250},
		"two":                   {to: []string{"both@our.test"}, code: 250},
		"the queue is gone too": {to: []string{"a@our.test"}, queue: errors.New("gone"), code: 451},
	} {
		h := &house{spoolAll: true, mailbox: mailtest.Recorder{OnCommit: lost}}
		h.queue.OnRecipient = func(*mail.Recipient) error { return x.queue }
		newHouse(t, h)
		_, end, err := h.send(t, new(mail.Session), "text\r\n", x.to...)
		if err == nil {
			err = &end[0]
		}
		if got := mail.AsReply(err).Code; got != x.code {
			t.Errorf("%s: answered %d, want %d", name, got, x.code)
		}
		if x.queue != nil {
			continue
		}
		queued := h.queue.Messages()
		if len(queued) != 1 || !bytes.HasSuffix(queued[0].Content, []byte("text\r\n")) {
			t.Fatalf("%s: queued %d messages", name, len(queued))
		}
		for i, r := range queued[0].To {
			if want := fmt.Sprintf("id1.%d", i); r.DeliveryID != want {
				t.Errorf("%s: delivery id %q, want %q", name, r.DeliveryID, want)
			}
		}
	}
}

func TestRefusedAtRecipient(t *testing.T) {
	h := newHouse(t, &house{mailbox: mailtest.Recorder{OnRecipient: func(r *mail.Recipient) error {
		if r.Address.Local == "full" {
			return refuse(452, mail.Enhanced{4, 2, 2})
		}
		return nil
	}}})
	rcpt, end, err := h.send(t, &mail.Session{}, body, "nobody@our.test", "full@our.test", "a@our.test")
	if err != nil || len(end) != 1 {
		t.Fatal(end, err)
	}
	for i, want := range []int{550, 452, 0} {
		if got := mail.AsReply(rcpt[i]); (got == nil) != (want == 0) || got != nil && got.Code != want {
			t.Errorf("RCPT %d: %v, want %d", i, got, want)
		}
	}
	if took(&h.mailbox) != "a@our.test" || took(&h.queue) != "" {
		t.Errorf("took %q, %q", took(&h.mailbox), took(&h.queue))
	}
}

func TestLoop(t *testing.T) {
	hop := "Received: from a by b; now\r\n"
	for hops, want := range map[int]string{3: "a@our.test", 4: ""} {
		h := newHouse(t, &house{})
		_, _, err := h.send(t, &mail.Session{}, strings.Repeat("RECEIVED"+hop[8:], hops)+body+strings.Repeat(hop, 9), "a@our.test")
		if got := took(&h.mailbox); got != want {
			t.Errorf("%d hops: took %q, want %q (%v)", hops, got, want, err)
		}
		if want == "" && mail.AsReply(err).Enhanced != (mail.Enhanced{5, 4, 6}) {
			t.Errorf("%d hops: %v", hops, err)
		}
	}
}

func TestTooManyTargets(t *testing.T) {
	h := newHouse(t, &house{})
	rcpt, _, err := h.send(t, &mail.Session{}, body, "1@o.t", "2@o.t", "3@o.t", "4@o.t", "5@o.t", "6@o.t")
	if err != nil || mail.AsReply(rcpt[5]).Code != 452 {
		t.Error(rcpt, err)
	}
}

func TestDeliveryIDsDiffer(t *testing.T) {
	h := newHouse(t, &house{})
	h.send(t, &mail.Session{}, body, "a@our.test", "b@our.test")
	h.send(t, &mail.Session{}, body, "a@our.test")
	seen := map[string]bool{}
	for _, m := range h.mailbox.Messages() {
		for _, r := range m.To {
			if r.DeliveryID == "" || seen[r.DeliveryID] {
				t.Errorf("delivery id %q is empty or used twice", r.DeliveryID)
			}
			seen[r.DeliveryID] = true
		}
	}
}

func TestRefusedConfigurations(t *testing.T) {
	d := &mailtest.Recorder{}
	for want, c := range map[string]mta.Config{
		"no guard":    {Hostname: "x", Mailbox: d},
		"no mailbox":  {Hostname: "x", Guard: d},
		"no hostname": {Guard: d, Mailbox: d},
	} {
		if _, err := mta.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestSuite(t *testing.T) {
	for _, prepares := range []bool{false, true} {
		mailtest.Run(t, mailtest.Suite{
			New: func(t *testing.T) (mail.Door, mailtest.Probe) {
				h := newHouse(t, &house{mailbox: mailtest.Recorder{Amends: true, Prepares: prepares}})
				return h.door, h.mailbox.Probe
			},
			Known:   []mail.Address{addr("a@our.test"), addr("b@our.test")},
			Unknown: addr("nobody@our.test"),
			Forms:   []mailtest.Form{{Name: "pipe", Wrap: smtptest.OverPipe}, {Name: "unix", Wrap: smtptest.OverUnix}},
		})
	}
}

func BenchmarkDeliver(b *testing.B) {
	d := mail.DoorFunc(func(context.Context, *mail.Session) (mail.Receiver, error) {
		return mail.ReceiverFunc(func(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) { return &null{}, nil }), nil
	})
	m, err := mta.New(mta.Config{Hostname: "mx.test", Guard: d, Mailbox: d})
	if err != nil {
		b.Fatal(err)
	}
	s := &mail.Session{Hello: "client.test", Extended: true}
	r, _ := m.Open(b.Context(), s)
	content := append([]byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte("hello hello\r\n"), 300)...)
	to := addr("a@our.test")
	b.ReportAllocs()
	for b.Loop() {
		tx, _ := r.Begin(b.Context(), s, mail.Sender{})
		tx.Recipient(b.Context(), &mail.Recipient{Address: to})
		tx.Write(content)
		if _, err := tx.Commit(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

type null struct{ n int }

func (x *null) Recipient(context.Context, *mail.Recipient) error { x.n++; return nil }
func (x *null) Trace(...mail.Field)                              {}
func (x *null) Write(p []byte) (int, error)                      { return len(p), nil }
func (x *null) Amend(int, string, bool) error                    { return nil }
func (x *null) Abort() error                                     { return nil }
func (x *null) Commit(context.Context) ([]mail.Reply, error) {
	rs := make([]mail.Reply, x.n)
	for i := range rs {
		rs[i] = mail.OK()
	}
	return rs, nil
}
