package qm

import (
	"fmt"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
)

// Who did not hear the answer hands the message over again under the same ids: it is queued once. Other ids are other
// messages, and no ids are never the same.
func TestHandedOverAgain(t *testing.T) {
	in(t, func(w *world, q *QM) {
		hand := func(ids ...string) string {
			t.Helper()
			d, err := q.Door().Open(t.Context(), &mail.Session{})
			if err != nil {
				t.Fatal(err)
			}
			tx, err := d.Begin(t.Context(), &mail.Session{}, mail.Sender{Address: mail.Address{Local: "me", Domain: "here.test"}})
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				r := mail.Recipient{Address: mail.Address{Local: fmt.Sprintf("u%d", i), Domain: "a.test"}, DeliveryID: id}
				if err := tx.Recipient(t.Context(), &r); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := tx.Write([]byte("Subject: x\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			replies, err := tx.Commit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return replies[0].Text
		}
		first := hand("a.0", "a.1")
		if again := hand("a.0", "a.1"); again != first {
			t.Errorf("%s, and then %s", first, again)
		}
		for _, ids := range [][]string{{"a.1", "a.0"}, {"a.0"}, {"a.0a.1"}, {"", "a.1"}, {"", "a.1"}} {
			if got := hand(ids...); got == first {
				t.Errorf("%q is taken for the first message", ids)
			}
		}
		time.Sleep(againPeriod)
		if again := hand("a.0", "a.1"); again != first {
			t.Error("forgotten too early")
		}
		time.Sleep(3 * againPeriod)
		if again := hand("a.0", "a.1"); again == first {
			t.Error("never forgotten")
		}
	})
}
