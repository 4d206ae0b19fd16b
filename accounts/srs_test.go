package accounts

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/mem"
)

func TestReversePath(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	c := config(mem.New(mem.Options{}))
	c.Clock = func() time.Time { return now }
	a := open(t, c)
	for _, d := range []string{"example.test", "bücher.test"} {
		must(t)(a.AddDomain(ctx, d))
	}
	path := func(sender, via string) mail.Address {
		t.Helper()
		p, err := a.ReversePath(ctx, addr(t, sender), addr(t, via))
		ok(t, err)
		return p
	}
	if p := path("bob@far.test", ""); p != addr(t, "bob@far.test") {
		t.Error("without an admin there is no domain to use:", p)
	}
	must(t)(a.AddAccount(ctx, "alice@example.test", Options{Admin: true}))
	for _, x := range []struct{ sender, via, domain string }{
		{"bob@far.test", "team@bücher.test", "xn--bcher-kva.test"}, {"bob@far.test", "team@elsewhere.test", "example.test"}, {"bob@far.test", "", "example.test"},
	} {
		p := path(x.sender, x.via)
		if !strings.HasPrefix(p.Local, "SRS0=") || p.Domain != x.domain {
			t.Errorf("%s by %s leaves as %v", x.sender, x.via, p)
		}
		res, err := a.Resolve(ctx, p)
		if err != nil || len(res.Targets) != 1 || !res.Targets[0].Remote || res.Targets[0].Address != addr(t, x.sender) || len(res.Accounts) != 1 {
			t.Errorf("%v leads to %+v, %v", p, res, err)
		}
		if may, err := a.MaySendAs(ctx, "alice@example.test", p); err != nil || may {
			t.Error("an account may send as a rewritten path", err)
		}
	}
	for _, s := range []string{"", "alice@example.test", "nobody@BÜCHER.test"} {
		if p := path(s, "team@example.test"); p != addr(t, s) {
			t.Errorf("%s leaves as %v", s, p)
		}
	}
	p := path("bob@far.test", "")
	forged := p
	forged.Local = strings.Replace(p.Local, "far.test", "victim.test", 1)
	for _, x := range []mail.Address{forged, {Local: "SRS0=x", Domain: "example.test"}} {
		if res, err := a.Resolve(ctx, x); err != nil || !res.OurDomain || len(res.Targets) != 0 {
			t.Errorf("%v leads to %+v, %v", x, res, err)
		}
	}
	if res, err := a.Resolve(ctx, mail.Address{Local: p.Local, Domain: "elsewhere.test"}); err != nil || res.OurDomain {
		t.Errorf("in a domain that is not ours: %+v, %v", res, err)
	}
	must(t)(a.AddDomain(ctx, "far.test"))
	if res, err := a.Resolve(ctx, p); err != nil || len(res.Targets) != 0 {
		t.Errorf("a domain that has become ours: %+v, %v", res, err)
	}
	now = now.Add(30 * 24 * time.Hour)
	if res, err := a.Resolve(ctx, path("x@other.test", "")); err != nil || len(res.Targets) != 1 {
		t.Error(res, err)
	}
	if res, err := a.Resolve(ctx, p); err != nil || len(res.Targets) != 0 {
		t.Errorf("after a month: %+v, %v", res, err)
	}
}
