package accounts

import (
	"context"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

// weak makes hashing cheap enough for tests.
var weak = HashParams{MemoryKiB: 64, Passes: 1, Threads: 1, ScramIterations: 16}

func config(e store.Engine) Config { return Config{Engine: e, Hash: weak} }

func open(t testing.TB, c Config) *Accounts {
	t.Helper()
	a, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// house is a room with example.test, bücher.test, alice (admin), bob and carol.
func house(t testing.TB) (*Accounts, *mem.Engine) {
	t.Helper()
	e := mem.New(mem.Options{})
	a := open(t, config(e))
	ctx := context.Background()
	must(t)(a.AddDomain(ctx, "Example.Test"))
	must(t)(a.AddDomain(ctx, "bücher.test"))
	must(t)(a.AddAccount(ctx, "Alice@example.test", Options{Password: "alice's password", Admin: true}))
	must(t)(a.AddAccount(ctx, "bob@example.test", Options{Password: "bob's password", Quota: 1000}))
	must(t)(a.AddAccount(ctx, "carol@example.test", Options{}))
	return a, e
}

func must(t testing.TB) func(_ any, err error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, _, err := mail.ParsePath("<" + s + ">")
	if err != nil {
		t.Fatal(s, err)
	}
	return a
}

func sound(t testing.TB, a *Accounts) {
	t.Helper()
	faults, err := a.Verify(context.Background())
	if err != nil || len(faults) > 0 {
		t.Fatalf("verify: %v %q", err, faults)
	}
}

func waitLoaded(t testing.TB, a *Accounts) {
	t.Helper()
	select {
	case <-a.loaded:
	case <-time.After(time.Minute):
		t.Fatal("names were not loaded")
	}
}
