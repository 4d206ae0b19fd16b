// Package mailtest is the suite that every mail.Door that takes responsibility for messages must pass, in each of
// its forms: called directly, over a pipe and over a Unix socket.
//
//	func TestDoor(t *testing.T) {
//		mailtest.Run(t, mailtest.Suite{
//			New:   func(t *testing.T) (mail.Door, mailtest.Probe) { ... },
//			Forms: []mailtest.Form{{"pipe", smtptest.OverPipe}, {"unix", smtptest.OverUnix}},
//			Known: []mail.Address{{Local: "a", Domain: "example.test"}, {Local: "b", Domain: "example.test"}},
//		})
//	}
package mailtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

// Probe looks at what a Door has stored: every message kept for the recipient, whole, in any order, as it would be
// handed on. What the Door adds in front (trace fields) is included.
type Probe func(ctx context.Context, to mail.Address) ([][]byte, error)

// Form is a way to reach a Door, such as LMTP over a Unix socket.
type Form struct {
	Name string
	Wrap func(testing.TB, mail.Door) mail.Door
}

// Suite describes the Door under test.
type Suite struct {
	// New makes a fresh Door for one test.
	New   func(t *testing.T) (mail.Door, Probe)
	Forms []Form
	// Known are at least two addresses that the Door accepts.
	Known []mail.Address
	// Unknown is refused at Recipient with a 5yz reply; zero: the Door accepts everybody.
	Unknown mail.Address
	// KeepsNothing is set for Doors whose Probe can find nothing, such as a guard.
	KeepsNothing bool
	// DeliveryIDs is set if a repeated Recipient.DeliveryID must store nothing.
	DeliveryIDs bool
	// Login is put into the session, for Doors that take mail from people.
	Login mail.Identity
	// From is the reverse-path to use; zero: sender@sender.test.
	From mail.Address
}

// Run runs the suite directly and in every form.
func Run(t *testing.T, s Suite) {
	t.Helper()
	if len(s.Known) < 2 {
		t.Fatal("mailtest: Suite.Known needs two addresses")
	}
	if s.From.IsNull() {
		s.From = mail.Address{Local: "sender", Domain: "sender.test"}
	}
	direct := Form{"direct", func(_ testing.TB, d mail.Door) mail.Door { return d }}
	for _, form := range append([]Form{direct}, s.Forms...) {
		t.Run(form.Name, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					door, probe := s.New(t)
					c.run(&bench{T: t, Suite: s, door: form.Wrap(t, door), inner: door, probe: probe})
				})
			}
		})
	}
}

var cases = []struct {
	name string
	run  func(*bench)
}{
	{"one message to one recipient", oneToOne},
	{"one message to two recipients", oneToTwo},
	{"several messages in one session", several},
	{"content stays as it is", content},
	{"an unknown recipient is refused alone", unknown},
	{"abort leaves nothing", abort},
	{"abort after commit does nothing", abortAfterCommit},
	{"a null reverse-path is taken", nullSender},
	{"a repeated delivery id stores nothing", deliveryID},
	{"prepare then commit", prepare},
	{"recipients are amended after the content", amend},
	{"many sessions at once", parallel},
	{"a cancelled context leaves nothing half done", cancelled},
}

// bench is one case at work.
type bench struct {
	*testing.T
	Suite
	door  mail.Door
	inner mail.Door // the same without its form
	probe Probe
}

func (b *bench) session() *mail.Session {
	return &mail.Session{
		ID: "mailtest", Service: "mailtest", Stage: mail.StageHello, Hello: "client.test", Extended: true,
		Trusted: true, Login: b.Login, Start: time.Now(),
		RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25},
		LocalAddr:  &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 25},
	}
}

func (b *bench) open(ctx context.Context) (mail.Receiver, *mail.Session) {
	b.Helper()
	s := b.session()
	r, err := b.door.Open(ctx, s)
	if err != nil {
		b.Fatalf("Open: %v", err)
	}
	return r, s
}

func (b *bench) begin(ctx context.Context, r mail.Receiver, s *mail.Session, to ...mail.Address) mail.Transaction {
	b.Helper()
	tx, err := r.Begin(ctx, s, mail.Sender{Address: b.From})
	if err != nil {
		b.Fatalf("Begin: %v", err)
	}
	for _, a := range to {
		if err := tx.Recipient(ctx, &mail.Recipient{Address: a}); err != nil {
			b.Fatalf("Recipient %s: %v", a.Path(), err)
		}
	}
	return tx
}

// message has a From that fits the reverse-path, so that a submission door takes it.
func (b *bench) message(subject string) []byte {
	return fmt.Appendf(nil, "From: %s\r\nTo: someone@example.test\r\nSubject: %s\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n"+
		"Message-ID: <%s@sender.test>\r\n\r\nHello, %s.\r\n.dot at the beginning\r\n", b.From, subject, subject, subject)
}

func (b *bench) commit(ctx context.Context, tx mail.Transaction, body []byte, want int) {
	b.Helper()
	if len(body) > 0 { // nothing may be written after Prepare
		if _, err := tx.Write(body); err != nil {
			b.Fatalf("Write: %v", err)
		}
	}
	replies, err := tx.Commit(ctx)
	if err != nil {
		b.Fatalf("Commit: %v", err)
	}
	if len(replies) != want {
		b.Fatalf("Commit gave %d replies for %d recipients", len(replies), want)
	}
	for _, r := range replies {
		if !r.Positive() {
			b.Errorf("Commit refused: %s", r)
		}
	}
}

// stored fails unless exactly n messages with the text are kept for the address.
func (b *bench) stored(ctx context.Context, to mail.Address, text string, n int) {
	b.Helper()
	if b.KeepsNothing {
		return
	}
	msgs, err := b.probe(ctx, to)
	if err != nil {
		b.Fatalf("probe: %v", err)
	}
	found := 0
	for _, m := range msgs {
		if bytes.Contains(m, []byte(text)) {
			found++
		}
	}
	if found != n {
		b.Errorf("%s has %d messages with %q, want %d", to.Path(), found, text, n)
	}
}

func oneToOne(b *bench) {
	ctx := b.Context()
	r, s := b.open(ctx)
	b.commit(ctx, b.begin(ctx, r, s, b.Known[0]), b.message("single"), 1)
	b.stored(ctx, b.Known[0], "Subject: single\r\n", 1)
	b.stored(ctx, b.Known[1], "Subject: single\r\n", 0)
}

func oneToTwo(b *bench) {
	ctx := b.Context()
	r, s := b.open(ctx)
	b.commit(ctx, b.begin(ctx, r, s, b.Known[0], b.Known[1]), b.message("both"), 2)
	b.stored(ctx, b.Known[0], "Subject: both\r\n", 1)
	b.stored(ctx, b.Known[1], "Subject: both\r\n", 1)
}

func several(b *bench) {
	ctx := b.Context()
	r, s := b.open(ctx)
	for i := range 5 {
		b.commit(ctx, b.begin(ctx, r, s, b.Known[i%2]), b.message(fmt.Sprintf("several-%d", i)), 1)
	}
	for i := range 5 {
		b.stored(ctx, b.Known[i%2], fmt.Sprintf("Subject: several-%d\r\n", i), 1)
	}
}

// content sends a message in awkward pieces: lines longer than SMTP's 1000 octets, dots, NULs, 8-bit octets.
func content(b *bench) {
	ctx := b.Context()
	r, s := b.open(ctx)
	tx, err := r.Begin(ctx, s, mail.Sender{Address: b.From, Body: mail.Body8Bit})
	if err != nil {
		b.Fatalf("Begin: %v", err)
	}
	if err := tx.Recipient(ctx, &mail.Recipient{Address: b.Known[0]}); err != nil {
		b.Fatalf("Recipient: %v", err)
	}
	tail := "..\r\n.\x00.\r\n\xff\xfe\r\n" + strings.Repeat("x", 70_000) + "\r\n.\r\nlast line\r\n"
	body := append(b.message("content"), tail...)
	for len(body) > 0 {
		n := min(len(body), 997)
		if _, err := tx.Write(body[:n]); err != nil {
			b.Fatalf("Write: %v", err)
		}
		body = body[n:]
	}
	b.commit(ctx, tx, nil, 1)
	b.stored(ctx, b.Known[0], tail, 1)
}

func unknown(b *bench) {
	if b.Unknown.IsNull() {
		return
	}
	ctx := b.Context()
	r, s := b.open(ctx)
	tx := b.begin(ctx, r, s, b.Known[0])
	err := tx.Recipient(ctx, &mail.Recipient{Address: b.Unknown})
	var reply *mail.Reply
	if !errors.As(err, &reply) || !reply.Permanent() {
		b.Fatalf("Recipient %s: got %v, want a 5yz reply", b.Unknown.Path(), err)
	}
	b.commit(ctx, tx, b.message("known"), 1)
	b.stored(ctx, b.Known[0], "Subject: known\r\n", 1)
}

func abort(b *bench) {
	ctx := b.Context()
	r, s := b.open(ctx)
	tx := b.begin(ctx, r, s, b.Known[0])
	if _, err := tx.Write(b.message("aborted")); err != nil {
		b.Fatalf("Write: %v", err)
	}
	if err := tx.Abort(); err != nil {
		b.Fatalf("Abort: %v", err)
	}
	if err := tx.Abort(); err != nil {
		b.Fatalf("second Abort: %v", err)
	}
	b.commit(ctx, b.begin(ctx, r, s, b.Known[0]), b.message("after"), 1)
	b.stored(ctx, b.Known[0], "Subject: aborted\r\n", 0)
	b.stored(ctx, b.Known[0], "Subject: after\r\n", 1)
}

func abortAfterCommit(b *bench) {
	ctx := b.Context()
	r, s := b.open(ctx)
	tx := b.begin(ctx, r, s, b.Known[0])
	b.commit(ctx, tx, b.message("kept"), 1)
	if err := tx.Abort(); err != nil {
		b.Fatalf("Abort after Commit: %v", err)
	}
	b.stored(ctx, b.Known[0], "Subject: kept\r\n", 1)
}

func nullSender(b *bench) {
	if b.Login.Account != "" {
		return // people do not send from <>
	}
	ctx := b.Context()
	r, s := b.open(ctx)
	tx, err := r.Begin(ctx, s, mail.Sender{})
	if err != nil {
		b.Fatalf("Begin <>: %v", err)
	}
	if err := tx.Recipient(ctx, &mail.Recipient{Address: b.Known[0]}); err != nil {
		b.Fatalf("Recipient: %v", err)
	}
	b.commit(ctx, tx, b.message("report"), 1)
	b.stored(ctx, b.Known[0], "Subject: report\r\n", 1)
}

func deliveryID(b *bench) {
	if !b.DeliveryIDs {
		return
	}
	ctx := b.Context()
	r, s := b.open(ctx)
	for range 2 {
		tx := b.begin(ctx, r, s)
		for i, a := range b.Known[:2] {
			if err := tx.Recipient(ctx, &mail.Recipient{Address: a, DeliveryID: fmt.Sprintf("id-%d", i)}); err != nil {
				b.Fatalf("Recipient: %v", err)
			}
		}
		b.commit(ctx, tx, b.message("once"), 2)
	}
	b.stored(ctx, b.Known[0], "Subject: once\r\n", 1)
	b.stored(ctx, b.Known[1], "Subject: once\r\n", 1)
}

func prepare(b *bench) {
	ctx := b.Context()
	r, s := b.open(ctx)
	inner := b.begunInside(ctx)
	_, prepares := inner.(mail.Preparer)
	_ = inner.Abort()
	for _, then := range []string{"committed", "aborted"} {
		tx := b.begin(ctx, r, s, b.Known[0])
		p, ok := tx.(mail.Preparer)
		if ok != prepares {
			b.Errorf("transactions prepare: %v here, %v without this form", ok, prepares)
		}
		if !ok {
			tx.Abort()
			return
		}
		if _, err := tx.Write(b.message("prepared-" + then)); err != nil {
			b.Fatalf("Write: %v", err)
		}
		replies, err := p.Prepare(ctx)
		if err != nil || len(replies) != 1 || !replies[0].Positive() {
			b.Fatalf("Prepare: %v %v", replies, err)
		}
		if then == "aborted" {
			tx.Abort()
		} else {
			b.commit(ctx, tx, nil, 1)
		}
	}
	b.stored(ctx, b.Known[0], "Subject: prepared-committed\r\n", 1)
	b.stored(ctx, b.Known[0], "Subject: prepared-aborted\r\n", 0)
}

// begunInside begins a transaction without the form that the case is about.
func (b *bench) begunInside(ctx context.Context) mail.Transaction {
	b.Helper()
	s := b.session()
	r, err := b.inner.Open(ctx, s)
	if err != nil {
		b.Fatalf("Open: %v", err)
	}
	return b.begin(ctx, r, s)
}

// amend drops one recipient of two, once before the end of a short message and once before Prepare of a long one.
func amend(b *bench) {
	ctx := b.Context()
	inner := b.begunInside(ctx)
	_, amends := inner.(mail.Amender)
	_ = inner.Abort()
	r, s := b.open(ctx)
	for i, text := range []string{"amended-1", "amended-2"} {
		tx := b.begin(ctx, r, s, b.Known[0], b.Known[1])
		a, ok := tx.(mail.Amender)
		if ok != amends {
			b.Errorf("transactions can be amended: %v here, %v without this form", ok, amends)
		}
		if !ok {
			tx.Abort()
			return
		}
		body := append(b.message(text), strings.Repeat(strings.Repeat("x", 70)+"\r\n", i*4000)...)
		if _, err := tx.Write(body); err != nil {
			b.Fatalf("Write: %v", err)
		}
		if err := a.Amend(2, "", true); err == nil {
			b.Error("a recipient that there is not is amended")
		}
		for j, drop := range []bool{true, false} {
			if err := a.Amend(j, "", drop); err != nil {
				b.Fatalf("Amend: %v", err)
			}
		}
		if p, ok := tx.(mail.Preparer); ok && i == 1 {
			if replies, err := p.Prepare(ctx); err != nil || len(replies) != 2 || !replies[1].Positive() {
				b.Fatalf("Prepare: %v %v", replies, err)
			}
		}
		replies, err := tx.Commit(ctx)
		if err != nil || len(replies) != 2 || !replies[1].Positive() {
			b.Fatalf("Commit: %v %v", replies, err)
		}
		b.stored(ctx, b.Known[0], "Subject: "+text+"\r\n", 0)
		b.stored(ctx, b.Known[1], "Subject: "+text+"\r\n", 1)
	}
}

func parallel(b *bench) {
	ctx := b.Context()
	const sessions, each = 8, 4
	errs := make(chan error, sessions)
	for i := range sessions {
		go func() { errs <- b.sendSome(ctx, i, each) }()
	}
	for range sessions {
		if err := <-errs; err != nil {
			b.Error(err)
		}
	}
	b.stored(ctx, b.Known[0], "Subject: parallel-", sessions*each)
	b.stored(ctx, b.Known[1], "Subject: parallel-", sessions*each)
}

// sendSome is used from other goroutines, so it returns its failure.
func (b *bench) sendSome(ctx context.Context, who, n int) error {
	s := b.session()
	r, err := b.door.Open(ctx, s)
	if err != nil {
		return err
	}
	for i := range n {
		tx, err := r.Begin(ctx, s, mail.Sender{Address: b.From})
		if err != nil {
			return err
		}
		for _, a := range b.Known[:2] {
			if err := tx.Recipient(ctx, &mail.Recipient{Address: a}); err != nil {
				return err
			}
		}
		if _, err := tx.Write(b.message(fmt.Sprintf("parallel-%d-%d", who, i))); err != nil {
			return err
		}
		replies, err := tx.Commit(ctx)
		if err != nil {
			return err
		}
		for _, reply := range replies {
			if !reply.Positive() {
				return &reply
			}
		}
	}
	return nil
}

func cancelled(b *bench) {
	r, s := b.open(b.Context())
	ctx, cancel := context.WithCancel(b.Context())
	tx := b.begin(ctx, r, s, b.Known[0])
	if _, err := tx.Write(b.message("cancelled")); err != nil {
		b.Fatalf("Write: %v", err)
	}
	cancel()
	replies, err := tx.Commit(ctx)
	tx.Abort()
	taken := err == nil && len(replies) == 1 && replies[0].Positive()
	if taken {
		b.stored(b.Context(), b.Known[0], "Subject: cancelled\r\n", 1)
	}
	r, s = b.open(b.Context())
	b.commit(b.Context(), b.begin(b.Context(), r, s, b.Known[0]), b.message("next"), 1)
	b.stored(b.Context(), b.Known[0], "Subject: next\r\n", 1)
}
