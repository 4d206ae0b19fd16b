package accounts_test

import (
	"context"
	"fmt"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/mem"
)

func Example() {
	ctx := context.Background()
	acc, err := accounts.Open(ctx, accounts.Config{Engine: mem.New(mem.Options{})})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer acc.Close()
	if _, err := acc.AddAccount(ctx, "alice@example.test", accounts.Options{}); err != nil {
		fmt.Println(err)
	}
	acc.AddDomain(ctx, "example.test")
	acc.AddAccount(ctx, "alice@example.test", accounts.Options{Admin: true})
	acc.AddAlias(ctx, "info@example.test", "alice@example.test", "helper@elsewhere.test")
	for _, to := range []string{"Alice+Lists@Example.test", "info@example.test", "postmaster@example.test", "bob@example.test"} {
		a, _ := mail.ParseAddress(to)
		res, err := acc.Resolve(ctx, a)
		fmt.Println(to, "->", mail.FormatTargets(res.Targets), err)
	}
	// Output:
	// domain example.test is not known: add it with `samotop domain add example.test`
	// Alice+Lists@Example.test -> <alice+Lists@example.test> <nil>
	// info@example.test -> <alice@example.test> <helper@elsewhere.test>;remote <nil>
	// postmaster@example.test -> <alice@example.test> <nil>
	// bob@example.test ->  <nil>
}
