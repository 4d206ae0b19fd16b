package accounts

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
)

// show writes a resolution as the tables below have it.
func show(r Resolution) string {
	switch {
	case !r.OurDomain:
		return "not ours"
	case r.Disabled:
		return "disabled"
	case len(r.Targets) == 0:
		return "unknown"
	}
	return mail.FormatTargets(r.Targets)
}

func TestResolve(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	must(t)(a.AddAccount(ctx, "Straße@bücher.test", Options{}))
	must(t)(a.AddAccount(ctx, "иван@xn--bcher-kva.test", Options{}))
	must(t)(a.AddAccount(ctx, "gone@example.test", Options{}))
	off := false
	must(t)(a.SetAccount(ctx, "gone@example.test", Change{Enabled: &off}))
	must(t)(a.AddAlias(ctx, "sales@example.test", "alice@example.test", "Bob+Sales@EXAMPLE.test", "Ann.Lee@Elsewhere.Test"))
	must(t)(a.AddAlias(ctx, "info@example.test", "sales@example.test", "alice@example.test"))
	must(t)(a.AddAlias(ctx, "me@example.test", "alice@example.test"))
	must(t)(a.AddAlias(ctx, "bob+shop@example.test", "carol@example.test"))
	must(t)(a.AddAlias(ctx, "old@example.test", "gone@example.test"))
	must(t)(a.AddAlias(ctx, "oldandnew@example.test", "gone@example.test", "bob@example.test"))
	must(t)(a.AddAlias(ctx, "away@example.test", "x@bücher-fremd.test"))
	must(t)(a.AddAlias(ctx, "abuse@bücher.test", "bob@example.test"))
	for _, c := range []struct{ to, want string }{
		{"alice@example.test", "<alice@example.test>"},
		{"ALICE@EXAMPLE.TEST", "<alice@example.test>"},
		{`"alice"@example.test`, "<alice@example.test>"},
		{"Alice+Lists@example.test", "<alice+Lists@example.test>"},
		{"alice+@example.test", "<alice+@example.test>"},
		{"alice+a+b@example.test", "<alice+a+b@example.test>"},
		{"+alice@example.test", "unknown"},
		{"bob+shop@example.test", "<carol@example.test>"},
		{"bob+shop+x@example.test", "<carol+x@example.test>"},
		{"bob+shopx@example.test", "<bob+shopx@example.test>"},
		{"nobody@example.test", "unknown"},
		{"alice@elsewhere.test", "not ours"},
		{"alice@sub.example.test", "not ours"},
		{"alice@[192.0.2.1]", "not ours"},
		{"gone@example.test", "disabled"},
		{"gone+x@example.test", "disabled"},
		{"old@example.test", "disabled"},
		{"oldandnew@example.test", "<bob@example.test>"},
		{"me@example.test", "<alice@example.test>"},
		{"me+x@example.test", "<alice+x@example.test>"},
		{"sales@example.test", "<alice@example.test> <bob+Sales@example.test> <Ann.Lee@elsewhere.test>;remote"},
		{"sales+q@example.test", "<alice+q@example.test> <bob+Sales@example.test> <Ann.Lee@elsewhere.test>;remote"},
		{"info@example.test", "<alice@example.test> <bob+Sales@example.test> <Ann.Lee@elsewhere.test>;remote"},
		{"away@example.test", "<x@xn--bcher-fremd-thb.test>;remote"},
		{"STRASSE@xn--bcher-kva.test", "<strasse@xn--bcher-kva.test>"},
		{"straße@BÜCHER.test", "<strasse@xn--bcher-kva.test>"},
		{"strasse@bu\u0308cher.test", "<strasse@xn--bcher-kva.test>"},
		{"ИВАН@bücher.test", "<иван@xn--bcher-kva.test>"},
		{"postmaster@example.test", "<alice@example.test>"},
		{"PostMaster@bücher.test", "<alice@example.test>"},
		{"postmaster", "<alice@example.test>"},
		{"abuse@example.test", "<alice@example.test>"},
		{"Abuse+x@example.test", "<alice@example.test>"},
		{"abuse@bücher.test", "<bob@example.test>"},
		{"", "not ours"},
	} {
		for range 2 { // from the disk, then from the cache
			res, err := a.Resolve(ctx, addr(t, c.to))
			if got := show(res); err != nil || got != c.want {
				t.Errorf("<%s>: got %s, %v, want %s", c.to, got, err, c.want)
			}
			if len(res.Accounts) != len(res.Targets) {
				t.Errorf("<%s>: %d accounts for %d targets", c.to, len(res.Accounts), len(res.Targets))
			}
		}
	}
	sound(t, a)
}

func TestRoles(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	yes, no := true, false
	want := func(to, want string) {
		t.Helper()
		res, err := a.Resolve(ctx, addr(t, to))
		if got := show(res); err != nil || got != want {
			t.Errorf("<%s>: got %s, %v, want %s", to, got, err, want)
		}
	}
	must(t)(a.AddAccount(ctx, "berta@bücher.test", Options{Admin: true}))
	want("postmaster@bücher.test", "<berta@xn--bcher-kva.test>")
	want("postmaster@example.test", "<alice@example.test>")
	must(t)(a.AddAlias(ctx, "postmaster@bücher.test", "carol@example.test"))
	want("postmaster@bücher.test", "<carol@example.test>")
	must(t)(a.SetAccount(ctx, "carol@example.test", Change{Enabled: &no}))
	want("postmaster@bücher.test", "<berta@xn--bcher-kva.test>")
	must(t)(a.SetAccount(ctx, "alice@example.test", Change{Enabled: &no}))
	want("postmaster@example.test", "<berta@xn--bcher-kva.test>")
	want("postmaster", "<berta@xn--bcher-kva.test>")
	must(t)(a.SetAccount(ctx, "berta@bücher.test", Change{Admin: &no}))
	want("postmaster@example.test", "<bob@example.test>")
	want("postmaster", "<bob@example.test>")
	must(t)(a.SetAccount(ctx, "bob@example.test", Change{Admin: &yes}))
	want("abuse@bücher.test", "<bob@example.test>")
	must(t)(a.RemoveAccount(ctx, "bob@example.test"))
	want("abuse@bücher.test", "<berta@xn--bcher-kva.test>")
	must(t)(a.AddAccount(ctx, "abuse@bücher.test", Options{}))
	want("abuse@bücher.test", "<abuse@xn--bcher-kva.test>")
	sound(t, a)
}

func TestMaySendAs(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	must(t)(a.AddAlias(ctx, "me@example.test", "alice@example.test"))
	must(t)(a.AddAlias(ctx, "deep@example.test", "me@example.test"))
	must(t)(a.AddAlias(ctx, "us@example.test", "alice@example.test", "bob@example.test"))
	must(t)(a.AddAlias(ctx, "out@example.test", "alice@example.test", "alice@elsewhere.test"))
	must(t)(a.AddAlias(ctx, "alice+bob@example.test", "bob@example.test"))
	must(t)(a.AddAlias(ctx, "half@example.test", "alice@example.test", "carol@example.test"))
	no := false
	must(t)(a.SetAccount(ctx, "carol@example.test", Change{Enabled: &no}))
	for _, c := range []struct {
		who, from string
		want      bool
	}{
		{"alice@example.test", "alice@example.test", true},
		{"alice@example.test", "ALICE+x@Example.test", true},
		{"Alice@Example.Test", "alice@example.test", true},
		{"alice@example.test", "me@example.test", true},
		{"alice@example.test", "deep+x@example.test", true},
		{"alice@example.test", "postmaster@example.test", true},
		{"alice@example.test", "us@example.test", false},
		{"alice@example.test", "out@example.test", false},
		{"alice@example.test", "half@example.test", false},
		{"alice@example.test", "alice+bob@example.test", false},
		{"bob@example.test", "alice+bob@example.test", true},
		{"bob@example.test", "alice@example.test", false},
		{"bob@example.test", "postmaster@example.test", false},
		{"alice@example.test", "nobody@example.test", false},
		{"alice@example.test", "alice@elsewhere.test", false},
		{"alice@example.test", "", false},
		{"alice@example.test", "postmaster", false},
		{"me@example.test", "alice@example.test", false},
		{"carol@example.test", "carol@example.test", false},
		{"", "alice@example.test", false},
	} {
		got, err := a.MaySendAs(ctx, c.who, addr(t, c.from))
		if err != nil || got != c.want {
			t.Errorf("%s as <%s>: %v, %v", c.who, c.from, got, err)
		}
	}
}

func TestLookup(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	must(t)(a.AddAlias(ctx, "me@example.test", "bob+x@example.test"))
	must(t)(a.AddAlias(ctx, "us@example.test", "alice@example.test", "bob@example.test"))
	for _, c := range []struct{ to, want string }{
		{"Bob@example.test", "2 bob@example.test  1000"},
		{"bob+Work@example.test", "2 bob@example.test Work 1000"},
		{"me@example.test", "2 bob@example.test x 1000"},
		{"postmaster@example.test", "1 alice@example.test  0"},
		{"us@example.test", "unknown"},
		{"nobody@example.test", "unknown"},
		{"bob@elsewhere.test", "unknown"},
		{"", "unknown"},
	} {
		o, err := a.Lookup(ctx, addr(t, c.to))
		got := fmt.Sprintf("%d %s %s %d", o.ID, o.Address, o.Detail, o.Quota)
		if errors.Is(err, ErrUnknown) {
			got = "unknown"
		} else if err != nil {
			t.Error(err)
		}
		if got != c.want {
			t.Errorf("<%s>: got %q, want %q", c.to, got, c.want)
		}
	}
}

func TestTooFar(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	last := "alice@example.test"
	for i := range MaxAliasDepth {
		next := fmt.Sprintf("a%d@example.test", i)
		must(t)(a.AddAlias(ctx, next, last))
		last = next
	}
	res, err := a.Resolve(ctx, addr(t, last))
	if err != nil || show(res) != "<alice@example.test>" {
		t.Fatal(res, err)
	}
	if _, err := a.AddAlias(ctx, "b@example.test", last); !errors.Is(err, ErrInvalid) {
		t.Fatalf("too deep: %v", err)
	}
	many := make([]string, MaxTargets-1)
	for i := range many {
		many[i] = fmt.Sprintf("u%d@elsewhere.test", i)
	}
	must(t)(a.AddAlias(ctx, "many@example.test", many...))
	if _, err := a.AddAlias(ctx, "many@example.test", "p@q.test", "q@q.test"); !errors.Is(err, ErrInvalid) {
		t.Fatalf("too many: %v", err)
	}
	// Made in an order in which no single step shows it.
	must(t)(a.AddAlias(ctx, "inner@example.test", "bob@example.test"))
	must(t)(a.AddAlias(ctx, "outer@example.test", "many@example.test", "inner@example.test"))
	must(t)(a.AddAlias(ctx, "inner@example.test", "p@q.test", "q@q.test", "r@q.test"))
	var reply *mail.Reply
	if _, err := a.Resolve(ctx, addr(t, "outer@example.test")); !errors.As(err, &reply) || reply.Code != 451 || !strings.Contains(reply.Text, "too many") {
		t.Fatalf("outer: %v", err)
	}
}
