package mta_test

import (
	"net"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
)

// TestAfterTheContent: what is found in the content can be told to the targets, and file the message away.
func TestAfterTheContent(t *testing.T) {
	for _, c := range []struct {
		name, folder string
		drop         bool
		want         string
	}{
		{"filed away", "Junk", false, "a@our.test/Junk,b@our.test"},
		{"dropped", "", true, "b@our.test"},
	} {
		for _, amends := range []bool{true, false} { // false: the mailbox gets the message again
			h := &house{}
			h.mailbox.Amends = amends
			newHouse(t, h)
			s := &mail.Session{Hello: "client.test", Extended: true, RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 1}}
			r, err := h.door.Open(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			tx, err := r.Begin(t.Context(), s, mail.Sender{Address: addr("from@far.test")})
			if err != nil {
				t.Fatal(err)
			}
			for _, to := range []string{"a@our.test", "b@our.test"} {
				if err := tx.Recipient(t.Context(), &mail.Recipient{Address: addr(to)}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := tx.Write([]byte(body)); err != nil {
				t.Fatal(err)
			}
			tx.Trace(mail.Field{Name: "X-Late", Value: "seen"})
			if err := tx.(mail.Amender).Amend(0, c.folder, c.drop); err != nil {
				t.Fatal(err)
			}
			replies, err := tx.Commit(t.Context())
			if err != nil || len(replies) != 2 || !replies[1].Positive() {
				t.Fatalf("%s: %v, %v", c.name, replies, err)
			}
			if got := took(&h.mailbox); got != c.want {
				t.Errorf("%s, amends %v: took %s, want %s", c.name, amends, got, c.want)
			}
			if m := h.mailbox.Messages(); len(m) != 1 || !strings.HasPrefix(string(m[0].Content), "X-Late: seen\r\nReceived:") {
				t.Errorf("%s, amends %v: %+v", c.name, amends, m)
			}
		}
	}
}
