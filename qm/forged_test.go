package qm

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/samotop/samotop/mail"
)

// TestForgedSender: nobody is told of a failure in the name of somebody whose domain says that he has not sent it.
func TestForgedSender(t *testing.T) {
	in(t, func(w *world, q *QM) {
		w.refuse["gone@home.test"] = mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 2, 1}, Text: "closed"}
		for _, x := range []struct {
			name    string
			account string
			facts   []mail.Fact
			told    int
		}{
			{name: "no facts", told: 1},
			{name: "softfail", facts: []mail.Fact{{Name: "spf", Value: "softfail"}}, told: 1},
			{name: "fail", facts: []mail.Fact{{Name: "spf", Value: "fail"}}},
			{name: "fail, signed", facts: []mail.Fact{{Name: "spf", Value: "fail"}, {Name: "dkim", Value: "pass"}}, told: 1},
			{name: "fail, logged in", account: "a@home.test", facts: []mail.Fact{{Name: "spf", Value: "fail"}}, told: 1},
		} {
			before := len(w.box("a@home.test"))
			s := &mail.Session{ID: "s", Service: "mta", Facts: x.facts, Login: mail.Identity{Account: x.account}}
			for _, to := range []mail.Recipient{
				{Address: addr("full@home.test"), Failed: mail.NewReply(552, mail.Enhanced{5, 2, 2}, "over quota")}, // handed to us to be reported
				{Address: addr("gone@home.test")}, // refused to us
			} {
				if err := handIn(q, s, addr("a@home.test"), to, mail.Recipient{Address: addr("b@home.test")}); err != nil {
					t.Fatal(x.name, err)
				}
			}
			synctest.Wait()
			if got := len(w.box("a@home.test")) - before; got != 2*x.told {
				t.Errorf("%s: %d reports", x.name, got)
			}
		}
		if n := len(w.box("b@home.test")); n != 10 {
			t.Errorf("b has %d messages", n)
		}
		w.empty(q)
	})
}

// handIn gives the queue a message of a session.
func handIn(q *QM, s *mail.Session, from mail.Address, to ...mail.Recipient) error {
	ctx := context.Background()
	r, err := q.Door().Open(ctx, s)
	if err != nil {
		return err
	}
	tx, err := r.Begin(ctx, s, mail.Sender{Address: from})
	if err != nil {
		return err
	}
	defer tx.Abort()
	for i := range to {
		if err := tx.Recipient(ctx, &to[i]); err != nil {
			return err
		}
	}
	if _, err := tx.Write([]byte(letter)); err != nil {
		return err
	}
	_, err = tx.Commit(ctx)
	return err
}
