package accounts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
	"pgregory.net/rapid"
)

// flaky is an engine whose next change can be made to fail: before it is applied, with its outcome lost, or with the
// outcome lost although it was applied.
type flaky struct {
	*mem.Engine
	next string
}

var errFlaky = errors.New("flaky")

func (f *flaky) Submit(ctx context.Context, b *store.Batch) (store.Pending, error) {
	how := f.next
	f.next = ""
	switch how {
	case "refused":
		return nil, errFlaky
	case "lost": // taken, never applied
		return failed{}, nil
	}
	p, err := f.Engine.Submit(ctx, b)
	if how == "applied" && err == nil {
		if err := p.Wait(ctx); err != nil {
			return nil, err
		}
		return failed{}, nil
	}
	return p, err
}

type failed struct{}

func (failed) Pos() store.Pos             { return 0 }
func (failed) Wait(context.Context) error { return fmt.Errorf("%w: %w", store.ErrUnknown, errFlaky) }

// TestHistories does random changes, some of which fail, and asks after each the room that has remembered much and
// one that is opened anew on what a power cut would leave: both must say the same, and every reference must hold.
func TestHistories(t *testing.T) {
	names := []string{"a@x.test", "b@x.test", "a@y.test", "A+t@x.test", "postmaster@x.test", "c@y.test"}
	targets := append([]string{"a+u@x.test", "out@z.test"}, names...)
	rapid.Check(t, func(rt *rapid.T) {
		e := &flaky{Engine: mem.New(mem.Options{})}
		c := config(e)
		c.CacheOctets = 3 * nameOctets // so that names go and come back
		a, err := Open(context.Background(), c)
		if err != nil {
			rt.Fatal(err)
		}
		ctx := context.Background()
		pick := func(from []string, label string) string { return rapid.SampledFrom(from).Draw(rt, label) }
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			e.next = pick([]string{"", "", "", "", "refused", "lost", "applied"}, "fault")
			who, yes := pick(names, "name"), rapid.Bool().Draw(rt, "yes")
			var err error
			switch op := pick([]string{"domain", "domain", "nodomain", "add", "add", "add", "set", "remove", "alias", "alias", "alias", "noalias", "notarget",
				"list", "list", "member", "member", "nomember", "nolist", "grant", "grant", "revoke", "real", "rule", "norule", "catch"}, "op"); op {
			case "domain":
				_, err = a.AddDomain(ctx, pick([]string{"x.test", "y.test", "z.test"}, "domain"))
			case "nodomain":
				err = a.RemoveDomain(ctx, pick([]string{"x.test", "y.test", "z.test"}, "domain"))
			case "add":
				_, err = a.AddAccount(ctx, who, Options{Admin: yes})
			case "set":
				_, err = a.SetAccount(ctx, who, Change{Enabled: &yes, Admin: &yes})
			case "remove":
				_, err = a.RemoveAccount(ctx, who)
			case "alias":
				_, err = a.AddAlias(ctx, who, pick(targets, "target"), pick(targets, "target"))
			case "noalias":
				err = a.RemoveAlias(ctx, who)
			case "list":
				_, err = a.AddList(ctx, who, NewList{Owners: []string{pick(targets, "owner")}})
			case "member":
				_, err = a.AddMembers(ctx, who, pick(targets, "target"), pick(targets, "target"))
			case "nomember":
				_, err = a.RemoveMembers(ctx, who, pick(targets, "target"))
			case "nolist":
				err = a.RemoveList(ctx, who)
			case "grant":
				err = a.Grant(ctx, who, pick(targets, "target"))
			case "revoke":
				err = a.Revoke(ctx, who, pick(targets, "target"))
			case "real":
				of := pick([]string{"x.test", "y.test", "z.test", ""}, "of")
				_, err = a.SetDomain(ctx, pick([]string{"x.test", "y.test", "z.test"}, "domain"), DomainChange{AliasOf: &of})
			case "rule":
				_, err = a.AddRule(ctx, pick([]string{"x.test", "y.test"}, "domain"), MapRule{pick([]string{"r.*", "(.)@.*", "q"}, "pattern"), pick([]string{"a@x.test", "$0@y.test", "q"}, "replace")}, 0)
			case "norule":
				_, err = a.RemoveRule(ctx, pick([]string{"x.test", "y.test"}, "domain"), 1)
			case "catch":
				_, err = a.AddAlias(ctx, pick([]string{"@x.test", "@y.test"}, "all"), pick(targets, "target"))
			case "notarget":
				err = a.RemoveAlias(ctx, who, pick(targets, "target"))
			}
			e.next = ""
			var refusal *Error
			if err != nil && !errors.As(err, &refusal) && !errors.Is(err, errFlaky) {
				rt.Fatal(err)
			}
			if errors.Is(err, errFlaky) && rapid.Bool().Draw(rt, "goes on") {
				continue
			}
			compare(rt, a, e, targets)
		}
		a.Close()
		after := config(e.Crash())
		b, err := Open(ctx, after)
		if err != nil {
			rt.Fatal(err)
		}
		defer b.Close()
		e.Engine = after.Engine.(*mem.Engine)
		compare(rt, a, e, targets)
	})
}

func compare(rt *rapid.T, a *Accounts, e store.Engine, addresses []string) {
	ctx := context.Background()
	b, err := Open(ctx, config(e))
	if err != nil {
		rt.Fatal(err)
	}
	defer b.Close()
	faults, err := b.Verify(ctx)
	if err != nil || len(faults) > 0 {
		rt.Fatalf("%q %v", faults, err)
	}
	for _, s := range addresses {
		addr, err := mail.ParseAddress(s)
		if err != nil {
			rt.Fatal(err)
		}
		x, err1 := a.Resolve(ctx, addr)
		y, err2 := b.Resolve(ctx, addr)
		var r1, r2 *mail.Reply // rules can lead in a circle, and are bounded
		if errors.As(err1, &r1) && errors.As(err2, &r2) && r1.String() == r2.String() {
			continue
		}
		if err1 != nil || err2 != nil || show(x) != show(y) {
			rt.Fatalf("%s: remembered %s %v, on disk %s %v", s, show(x), err1, show(y), err2)
		}
	}
}

// TestStateAfterLostDomain: a domain or admin whose outcome was lost is seen as the disk has it.
func TestStateAfterLostDomain(t *testing.T) {
	for _, how := range []string{"refused", "lost", "applied"} {
		e := &flaky{Engine: mem.New(mem.Options{})}
		a := open(t, config(e))
		e.next = how
		if _, err := a.AddDomain(t.Context(), "x.test"); !errors.Is(err, errFlaky) {
			t.Fatal(err)
		}
		_, err := a.Domain(t.Context(), "x.test")
		if (how == "applied") != (err == nil) {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// TestRaces reads and changes at once: nobody ever sees anything but one of the two states, and in the end all see
// the last one.
func TestRaces(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	must(t)(a.AddAlias(ctx, "al@example.test", "alice@example.test"))
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for _, to := range []string{"al@example.test", "tmp@example.test", "bob@example.test", "postmaster@bücher.test"} {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, err := a.Resolve(ctx, addr(t, to))
				if err != nil || to != "tmp@example.test" && len(res.Targets) == 0 && !res.Disabled {
					t.Errorf("%s: %s %v", to, show(res), err)
					return
				}
				if _, err := a.Password(ctx, nil, "alice@example.test", "alice's password"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	const rounds = 100
	writers.Go(func() {
		for range rounds {
			must(t)(a.AddAccount(ctx, "tmp@example.test", Options{}))
			must(t)(a.RemoveAccount(ctx, "tmp@example.test"))
		}
	})
	writers.Go(func() {
		for range rounds {
			must(t)(a.AddAlias(ctx, "al@example.test", "bob@example.test", "x@elsewhere.test"))
			ok(t, a.RemoveAlias(ctx, "al@example.test", "bob@example.test"))
		}
	})
	writers.Go(func() {
		for i := range rounds {
			off := i%2 == 0
			must(t)(a.SetAccount(ctx, "bob@example.test", Change{Enabled: &off, Admin: &off}))
			ok(t, a.SetPassword(ctx, "carol@example.test", fmt.Sprint("password ", i)))
		}
	})
	writers.Wait()
	close(stop)
	readers.Wait()
	for to, want := range map[string]string{
		"al@example.test": "<alice@example.test> <x@elsewhere.test>;remote", "tmp@example.test": "unknown", "bob@example.test": "disabled",
	} {
		if res, err := a.Resolve(ctx, addr(t, to)); err != nil || show(res) != want {
			t.Errorf("%s: %s %v", to, show(res), err)
		}
	}
	sound(t, a)
}

// TestNoDiskRead: what was asked once, and what does not exist, is answered from memory.
func TestNoDiskRead(t *testing.T) {
	a, e := house(t)
	waitLoaded(t, a)
	b := open(t, config(e))
	waitLoaded(t, b)
	ctx := t.Context()
	for _, to := range []string{"alice@example.test", "alice+x@example.test", "x@elsewhere.test"} {
		must(t)(b.Resolve(ctx, addr(t, to)))
	}
	before := b.reads.Load()
	for i := range 1000 {
		for _, to := range []string{"ALICE+y@example.test", fmt.Sprintf("guess%d@example.test", i), "x@elsewhere.test"} {
			must(t)(b.Resolve(ctx, addr(t, to)))
		}
	}
	if n := b.reads.Load() - before; n != 0 {
		t.Errorf("%d reads", n)
	}
}
