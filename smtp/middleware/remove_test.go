package middleware_test

import (
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/middleware"
)

func TestRemove(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"X-Mine: a\r\n\r\nbody\r\n", "\r\nbody\r\n"},
		{"A: 1\r\nx-mine : a\r\n more\r\n\tmore\r\nB: 2\r\n\r\nX-Mine: stays\r\n", "A: 1\r\nB: 2\r\n\r\nX-Mine: stays\r\n"},
		{"X-Min: 1\r\nX-Mines: 2\r\nX-Mine: 3\r\nX-MINE:4\r\n\r\n", "X-Min: 1\r\nX-Mines: 2\r\n\r\n"},
		{"A: 1\n X-Mine: folded\nX-Mine: a\n\nb", "A: 1\n X-Mine: folded\n\nb"},
		{"X-Mi", "X-Mi"},
		{"X-Mine", "X-Mine"},
		{"X-Mine\r\nX-Mine: gone", "X-Mine\r\n"},
		{"X-Mine" + strings.Repeat(" ", 200) + ": odd\r\n\r\n", "X-Mine" + strings.Repeat(" ", 200) + ": odd\r\n\r\n"},
	} {
		for _, piece := range []int{1, 2, 3, 1000} {
			rec := &mailtest.Recorder{}
			door := middleware.Remove{Names: []string{"X-Mine"}}.Wrap(rec)
			s := &mail.Session{}
			r, err := door.Open(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			tx, err := r.Begin(t.Context(), s, mail.Sender{})
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Recipient(t.Context(), &mail.Recipient{Address: mail.Address{Local: "a", Domain: "b.example"}}); err != nil {
				t.Fatal(err)
			}
			for rest := c.in; rest != ""; {
				n := min(piece, len(rest))
				if _, err := tx.Write([]byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if _, err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := string(rec.Messages()[0].Content); got != c.want {
				t.Errorf("%q in pieces of %d gives %q, not %q", c.in, piece, got, c.want)
			}
		}
	}
}
