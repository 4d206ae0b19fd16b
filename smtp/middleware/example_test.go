package middleware_test

import (
	"context"
	"fmt"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/middleware"
)

// Addresses by convention: everything at a domain goes to one mailbox, with what stood in front of the @ as its folder
// behind a plus sign. A rule that could make an invalid address is refused when the Mapper is built.
func ExampleNewMapper() {
	m, err := middleware.NewMapper(
		middleware.Rule{Pattern: `(postmaster|abuse)@.*`, Replace: "admin@example.org"},
		middleware.Rule{Pattern: `(.+)@alice\.example\.org`, Replace: "alice+$1@example.org"},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	inbox := &mailtest.Recorder{}
	door, err := mail.Chain(inbox, m.Wrap)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, s := context.Background(), &mail.Session{}
	r, err := door.Open(ctx, s)
	if err != nil {
		fmt.Println(err)
		return
	}
	tx, err := r.Begin(ctx, s, mail.Sender{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, to := range []string{"shop@alice.example.org", "abuse@example.net", "bob@example.org"} {
		a, err := mail.ParseAddress(to)
		if err == nil {
			err = tx.Recipient(ctx, &mail.Recipient{Address: a})
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	if _, err := tx.Commit(ctx); err != nil {
		fmt.Println(err)
	}
	for _, to := range inbox.Messages()[0].To {
		fmt.Println(to.Address)
	}
	_, err = middleware.NewMapper(middleware.Rule{Pattern: `(.*)@x`, Replace: "a b@$1"})
	fmt.Println(err != nil)
	// Output:
	// alice+shop@example.org
	// admin@example.org
	// bob@example.org
	// true
}
