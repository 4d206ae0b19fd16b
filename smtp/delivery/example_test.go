package delivery_test

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/smtp/delivery"
)

// A message is put into a journal without any server, and found again.
func ExampleJournal() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	j := &delivery.Journal{Dir: dir}
	defer j.Close()

	ctx, s := context.Background(), &mail.Session{ID: "example"}
	r, err := j.Open(ctx, s)
	if err != nil {
		fmt.Println(err)
		return
	}
	tx, err := r.Begin(ctx, s, mail.Sender{Address: alice})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tx.Abort()
	if err := tx.Recipient(ctx, &mail.Recipient{Address: bob}); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := io.WriteString(tx, "Subject: hello\r\n\r\nbody\r\n"); err != nil {
		fmt.Println(err)
		return
	}
	replies, err := tx.Commit(ctx)
	fmt.Println(replies[0], err)
	for e, err := range delivery.Entries(dir) {
		fmt.Println(e.From.Path(), e.To.Path(), e.Size, err)
	}
	// Output:
	// 250 2.0.0 OK <nil>
	// <alice@example.test> <bob@example.test> 24 <nil>
}
