package middleware_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/middleware"
)

var lost = mail.NewReply(451, mail.Enhanced{4, 4, 2}, "gone").Because(mail.ErrUnknownOutcome)

// handOver sends one message to two recipients through the middleware.
func handOver(t *testing.T, m middleware.Again, rec *mailtest.Recorder) ([]mail.Reply, error) {
	t.Helper()
	m.SpoolMemoryOctets, m.SpoolDir = 10, t.TempDir()
	r, err := m.Wrap(rec).Open(t.Context(), &mail.Session{})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(t.Context(), &mail.Session{}, mail.Sender{Address: alice})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	for range 2 {
		if err := tx.Recipient(t.Context(), &mail.Recipient{Address: alice}); err != nil {
			t.Fatal(err)
		}
	}
	tx.Trace(mail.Field{Name: "Received", Value: "here"})
	for range 3 {
		if _, err := tx.Write([]byte("some text\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	return tx.Commit(t.Context())
}

func TestAgain(t *testing.T) {
	var ids []string
	times := 0
	rec := &mailtest.Recorder{OnCommit: func(to []mail.Recipient) ([]mail.Reply, error) {
		ids = append(ids, to[0].DeliveryID+" "+to[1].DeliveryID)
		if times++; times < 3 {
			return nil, lost
		}
		return nil, nil
	}}
	replies, err := handOver(t, middleware.Again{}, rec)
	if err != nil || len(replies) != 2 || !replies[0].Positive() {
		t.Fatal(replies, err)
	}
	if len(ids) != 3 || ids[0] != ids[1] || ids[1] != ids[2] || strings.HasPrefix(ids[0], " ") || strings.Fields(ids[0])[0] == strings.Fields(ids[0])[1] {
		t.Errorf("delivery ids %q", ids)
	}
	got := rec.Messages()
	if want := "Received: here\r\n" + strings.Repeat("some text\r\n", 3); string(got[len(got)-1].Content) != want {
		t.Errorf("handed over %q", got[len(got)-1].Content)
	}
}

// What is refused is refused at once, what stays unknown is said to be.
func TestAgainGivesUp(t *testing.T) {
	times := 0
	rec := &mailtest.Recorder{OnCommit: func([]mail.Recipient) ([]mail.Reply, error) {
		times++
		return nil, mail.NewReply(452, mail.Enhanced{4, 3, 1}, "full")
	}}
	if _, err := handOver(t, middleware.Again{}, rec); mail.AsReply(err).Code != 452 || times != 1 {
		t.Errorf("%d times, %v", times, err)
	}
	rec = &mailtest.Recorder{OnCommit: func([]mail.Recipient) ([]mail.Reply, error) { return nil, lost }}
	if _, err := handOver(t, middleware.Again{Patience: time.Millisecond}, rec); !errors.Is(err, mail.ErrUnknownOutcome) || mail.AsReply(err).Code != 451 {
		t.Error(err)
	}
}
