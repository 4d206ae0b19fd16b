package qm

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/mem"
)

// TestReversePath: what is sent on says MAIL with a path of ours; reports go to the sender himself.
func TestReversePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var vias []string
		fails := true
		cfg := w.config(mem.New(mem.Options{}))
		cfg.ReversePath = func(_ context.Context, sender, via mail.Address) (mail.Address, error) {
			vias = append(vias, via.String())
			if fails {
				fails = false
				return mail.Address{}, errors.New("the accounts are away")
			}
			if sender.Domain == "home.test" {
				return sender, nil
			}
			return mail.Address{Local: "SRS0=" + sender.Local, Domain: "home.test"}, nil
		}
		q, stop := w.start(cfg)
		ctx := context.Background()
		to := func(address, original string) {
			if _, err := submit(ctx, q, mail.Sender{Address: addr("b@from.test")}, letter, mail.Recipient{Address: addr(address), Original: original}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
		}
		to("x@far.test", "rfc822;team@home.test") // put off at first
		to("alias@home.test", "")
		to("y@far.test", "x400;whatever")
		w.send(q, "a@home.test", "z@far.test")
		synctest.Wait()
		w.site("far.test").rcpt = func(mail.Address) mail.Reply { return mail.Reply{Code: 550, Text: "no"} }
		to("gone@far.test", "")
		stop()
		if want := []string{"team@home.test", "team@home.test", "alias@home.test", "", "", ""}; !slices.Equal(vias, want) {
			t.Errorf("sent on from %q", vias)
		}
		if from := w.site("far.test").from; !slices.Equal(from, []string{"SRS0=b@home.test", "SRS0=b@home.test", "a@home.test", "SRS0=b@home.test"}) {
			t.Errorf("MAIL said %q", from)
		}
		if n := len(w.got("b@from.test")); n != 1 {
			t.Errorf("%d reports", n)
		}
		w.empty(q)
	})
}
