package qm

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/samotop/samotop/mail"
)

// TestUTF8OnlyIfNeeded: a message that asks for SMTPUTF8 and holds nothing of it leaves as any other.
func TestUTF8OnlyIfNeeded(t *testing.T) {
	in(t, func(w *world, q *QM) {
		w.site("far.test").down = true
		for _, c := range []struct {
			from, to, body string
			asked, kept    bool
		}{
			{"a@home.test", "x@far.test", letter, true, false}, {"a@home.test", "x@far.test", letter, false, false},
			{"a@home.test", "x@far.test", "Subject: gr\u00fc\u00dfe\r\n\r\n", true, true},
			{"a@home.test", "x@far.test", "Subject: x\r\n\r\ngr\u00fc\u00dfe\r\n", true, false},
			{"j\u00fcrgen@home.test", "x@far.test", letter, true, true}, {"a@home.test", "\u00fc@far.test", letter, true, true},
		} {
			id, err := submit(context.Background(), q, mail.Sender{Address: addr(c.from), UTF8: c.asked}, c.body, mail.Recipient{Address: addr(c.to)})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			e, err := q.Show(context.Background(), id)
			if err != nil || e.Sender.UTF8 != c.kept {
				t.Errorf("%+v: %v, %v", c, e, err)
			}
		}
	})
}
