package mta_test

import (
	"context"
	"errors"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mta"
)

// knowing is a guard that has said its last word at RCPT if settled, files what it accepts as junk then, and counts what it is told.
type knowing struct {
	settled                 bool
	written, ended, aborted int
	fails                   error
}

func (k *knowing) Open(context.Context, *mail.Session) (mail.Receiver, error) { return k, nil }

func (k *knowing) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return k, nil
}

func (k *knowing) Recipient(_ context.Context, r *mail.Recipient) error {
	r.Targets = []mail.Target{{Address: r.Address, Folder: "Junk", Note: "yes; score=8.0"}}
	return nil
}

func (k *knowing) Settled() bool       { return k.settled }
func (k *knowing) Trace(...mail.Field) { k.written++ }
func (k *knowing) Abort() error        { k.aborted++; return nil }
func (k *knowing) Write(p []byte) (int, error) {
	k.written++
	return len(p), nil
}

func (k *knowing) Commit(context.Context) ([]mail.Reply, error) {
	k.ended++
	return []mail.Reply{mail.OK()}, k.fails
}

// TestSettledGuard: a guard that is settled gets no content, is told that the message goes on, and cannot stop it any more.
func TestSettledGuard(t *testing.T) {
	for _, settled := range []bool{true, false} {
		h, k := &house{}, &knowing{settled: settled}
		if settled {
			k.fails = errors.New("it is away")
		}
		newHouse(t, h)
		var err error
		if h.door, err = mta.New(mta.Config{Hostname: "mx.test", Guard: k, Mailbox: &h.mailbox}); err != nil {
			t.Fatal(err)
		}
		if _, end, err := h.send(t, &mail.Session{}, body, "a@our.test"); err != nil || !end[0].Positive() {
			t.Fatal(end, err)
		}
		if k.ended != 1 || k.aborted == 0 || (k.written > 0) == settled {
			t.Errorf("settled %v: written %d times, ended %d, aborted %d", settled, k.written, k.ended, k.aborted)
		}
		m := h.mailbox.Messages()
		if len(m) != 1 || m[0].To[0].Folder != "Junk" || string(m[0].Content[:len(mta.JunkField)]) != mta.JunkField {
			t.Errorf("settled %v: %+v", settled, m)
		}
	}
}
