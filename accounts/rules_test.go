package accounts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

func text(s string) *string { return &s }

// resolves compares where addresses lead.
func resolves(t *testing.T, a *Accounts, want map[string]string) {
	t.Helper()
	for to, w := range want {
		res, err := a.Resolve(t.Context(), addr(t, to))
		got := show(res)
		if err != nil {
			got = mail.AsReply(err).String()
		}
		if got != w {
			t.Errorf("<%s>: got %s, want %s", to, got, w)
		}
	}
}

// refusals compares what is said about changes that cannot be made.
func refusals(t *testing.T, all map[string]error) {
	t.Helper()
	for want, err := range all {
		var refusal *Error
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Text, want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestDomainSettings(t *testing.T) {
	a, e := house(t)
	ctx := t.Context()
	for _, d := range []string{"alias.test", "other.test", "plain.test"} {
		must(t)(a.AddDomain(ctx, d))
	}
	must(t)(a.AddAccount(ctx, "dora@plain.test", Options{}))
	must(t)(a.SetDomain(ctx, "Alias.test", DomainChange{AliasOf: text("Example.test")}))
	must(t)(a.SetDomain(ctx, "example.test", DomainChange{Separators: text("+-")}))
	must(t)(a.SetDomain(ctx, "plain.test", DomainChange{Separators: text(NoSeparators)}))
	must(t)(a.AddAlias(ctx, "@other.test", "bob@example.test", "x@elsewhere.test"))
	must(t)(a.AddAlias(ctx, "named@other.test", "alice@alias.test"))
	want := map[string]string{
		"Alice@ALIAS.test":          "<alice@example.test>",
		"alice-x@alias.test":        "<alice-x@example.test>",
		"nobody@alias.test":         "unknown",
		"postmaster@alias.test":     "<alice@example.test>",
		"bob-a+b@example.test":      "<bob-a+b@example.test>",
		"bob+a-b@example.test":      "<bob+a-b@example.test>",
		"dora+x@plain.test":         "unknown",
		"dora@plain.test":           "<dora@plain.test>",
		"any.body@other.test":       "<bob@example.test> <x@elsewhere.test>;remote",
		"named@other.test":          "<alice@example.test>",
		"named+x@other.test":        "<alice+x@example.test>",
		"postmaster@other.test":     "<alice@example.test>", // never by chance
		"abuse+x@other.test":        "<alice@example.test>",
		"*@other.test":              "<bob@example.test> <x@elsewhere.test>;remote",
		"nobody@xn--bcher-kva.test": "unknown",
	}
	resolves(t, a, want)
	if o, err := a.Lookup(ctx, addr(t, "bob-work@alias.test")); err != nil || o.Address.String() != "bob@example.test" || o.Detail != "work" {
		t.Error(o, err)
	}
	if acc, err := a.Account(ctx, "bob@alias.test"); err != nil || acc.ID != 2 {
		t.Error(acc, err)
	}
	if who, err := a.Password(ctx, nil, "alice@alias.test", "alice's password"); err != nil || who != "alice@example.test" {
		t.Error(who, err)
	}
	if yes, err := a.MaySendAs(ctx, "alice@alias.test", addr(t, "alice@alias.test")); !yes || err != nil {
		t.Error(yes, err)
	}
	refusals(t, map[string]error{
		"is another name of example.test: use x@example.test": second(a.AddAccount(ctx, "x@alias.test", Options{})),
		"cannot be another name of itself":                    second(a.SetDomain(ctx, "example.test", DomainChange{AliasOf: text("example.test")})),
		"is itself another name of example.test":              second(a.SetDomain(ctx, "bücher.test", DomainChange{AliasOf: text("alias.test")})),
		"alias.test is another name of example.test: change":  second(a.SetDomain(ctx, "example.test", DomainChange{AliasOf: text("bücher.test")})),
		"has addresses of its own, such as *@other.test":      second(a.SetDomain(ctx, "other.test", DomainChange{AliasOf: text("example.test")})),
		"domain nosuch.test is not known":                     second(a.SetDomain(ctx, "alias.test", DomainChange{AliasOf: text("nosuch.test")})),
		"separators \"+x\"":                                   second(a.SetDomain(ctx, "alias.test", DomainChange{Separators: text("+x")})),
		"would lead back to itself by way of":                 second(a.AddAlias(ctx, "@plain.test", "nobody@plain.test")),
		"alias @other.test leads to bob@example.test":         second(a.RemoveAccount(ctx, "bob@example.test")),
	})
	sound(t, a)
	resolves(t, open(t, config(e)), want)
	must(t)(a.SetDomain(ctx, "alias.test", DomainChange{AliasOf: text("")}))
	ok(t, a.RemoveAlias(ctx, "@other.test", "bob@example.test"))
	ok(t, a.RemoveAlias(ctx, "@other.test"))
	refusals(t, map[string]error{"domain example.test still has addresses": a.RemoveDomain(ctx, "example.test")})
	resolves(t, a, map[string]string{"alice@alias.test": "unknown", "any@other.test": "unknown"})
	must(t)(a.SetDomain(ctx, "alias.test", DomainChange{AliasOf: text("bücher.test")}))
	refusals(t, map[string]error{"domain alias.test is another name of it": a.RemoveDomain(ctx, "bücher.test")})
	sound(t, a)
}

func TestRules(t *testing.T) {
	a, e := house(t)
	ctx := t.Context()
	must(t)(a.AddDomain(ctx, "far.test"))
	must(t)(a.AddAccount(ctx, "sales@example.test", Options{}))
	must(t)(a.AddAlias(ctx, "team@example.test", "alice@example.test", "bob@example.test"))
	for _, r := range []MapRule{
		{`(?:sale|offer)s?-.*`, `sales`},
		{`(\w+)\.old`, `$1`},
		{`order-(\d+)@example\.test`, `sales+$1@example.test`},
		{`out-(.*)`, `$1@elsewhere.test`},
		{`n(\d+)`, `n${1}`}, // no letter shows that it is a circle
	} {
		must(t)(a.AddRule(ctx, "example.test", r, 0))
	}
	must(t)(a.AddRule(ctx, "far.test", MapRule{`(.*)`, `b$1@example.test`}, 0))
	refusals(t, map[string]error{"rule 6 would rewrite its own result (x@far.test) again": second(a.AddRule(ctx, "example.test", MapRule{`b(.*)`, `$1@far.test`}, 0))})
	must(t)(a.AddRule(ctx, "example.test", MapRule{`sales-vip`, `team`}, 1))
	want := map[string]string{
		"Sales-Anything@example.test": "<sales@example.test>",
		"sales-VIP@example.test":      "<alice@example.test> <bob@example.test>",
		"bob.old@example.test":        "<bob@example.test>",
		"bob@example.test":            "<bob@example.test>", // who is there comes first
		"bob+x@example.test":          "<bob+x@example.test>",
		"n12@example.test":            "451 4.4.6 The address is rewritten in a circle",
		"order-12@example.test":       "<sales+12@example.test>",
		"order-x@example.test":        "unknown",
		"out-me@example.test":         "<me@elsewhere.test>;remote",
		"ob@far.test":                 "<bob@example.test>",
		"nobody.old@example.test":     "unknown",
		"postmaster@far.test":         "<alice@example.test>",
	}
	resolves(t, a, want)
	res, err := a.Resolve(ctx, addr(t, "SALES-vip@example.test"))
	if err != nil || len(res.Rewritten) != 1 || res.Rewritten[0].String() != "<sales-vip@example.test> is now <team@example.test>, by rule 1 of example.test" || !res.Alias {
		t.Error(res, err)
	}
	if o, err := a.Lookup(ctx, addr(t, "order-7@example.test")); err != nil || o.Address.Local != "sales" || o.Detail != "7" {
		t.Error(o, err)
	}
	long := strings.Repeat("a", MaxPatternOctets)
	refusals(t, map[string]error{
		"is not a regular expression":              second(a.AddRule(ctx, "example.test", MapRule{`a)|(b`, "sales"}, 0)),
		"never makes an address":                   second(a.AddRule(ctx, "example.test", MapRule{`x(.*)`, "a..b"}, 0)),
		"\"$0@y.test\" never makes":                second(a.AddRule(ctx, "example.test", MapRule{`x(.*)`, "$0@y.test"}, 0)),
		"no group \"2\"":                           second(a.AddRule(ctx, "example.test", MapRule{`x(.*)`, "$2"}, 0)),
		"needs a pattern":                          second(a.AddRule(ctx, "example.test", MapRule{``, "sales"}, 0)),
		"a pattern may have 512 octets":            second(a.AddRule(ctx, "example.test", MapRule{long + "a", "sales"}, 0)),
		"repeats too much":                         second(a.AddRule(ctx, "example.test", MapRule{`[^a]{999}[^b]{999}[^c]{999}[^d]{999}[^e]{999}`, "sales"}, 0)),
		"leads to nobody@example.test":             second(a.AddRule(ctx, "example.test", MapRule{`zzz`, "nobody"}, 0)),
		"again and again: make the pattern narrow": second(a.AddRule(ctx, "example.test", MapRule{`x(.*)`, "xx$1"}, 0)),
		"there is no place 9":                      second(a.AddRule(ctx, "example.test", MapRule{`zzz`, "sales"}, 9)),
		"has no rule 7":                            second(a.RemoveRule(ctx, "example.test", 7)),
	})
	sound(t, a)
	resolves(t, open(t, config(e)), want)
	must(t)(a.RemoveRule(ctx, "example.test", 1))
	resolves(t, a, map[string]string{"sales-vip@example.test": "<sales@example.test>"})
	for i := range MaxMapRules - 5 {
		must(t)(a.AddRule(ctx, "example.test", MapRule{fmt.Sprintf("r%d", i), "sales"}, 0))
	}
	refusals(t, map[string]error{"has 100 rules, which is the limit": second(a.AddRule(ctx, "example.test", MapRule{"s", "sales"}, 0))})
}

func TestLists(t *testing.T) {
	a, e := house(t)
	ctx := t.Context()
	must(t)(a.AddAlias(ctx, "team@example.test", "bob@example.test", "x@elsewhere.test"))
	must(t)(a.AddList(ctx, "News@example.test", NewList{Owners: []string{"alice@example.test"}, Title: "What is new"}))
	must(t)(a.AddList(ctx, "talk@example.test", NewList{Owners: []string{"carol@example.test"}, Posting: PostAnyone}))
	must(t)(a.AddMembers(ctx, "news@example.test", "team@example.test", "bob+news@example.test", "Y@Elsewhere.test", "y@elsewhere.test"))
	must(t)(a.AddAlias(ctx, "both@example.test", "news@example.test", "carol@example.test"))
	resolves(t, a, map[string]string{
		"news@example.test":          "<news@example.test>;remote",
		"news+x@example.test":        "<news@example.test>;remote",
		"both@example.test":          "<news@example.test>;remote <carol@example.test>",
		"news-owner@example.test":    "<alice@example.test>",
		"NEWS-bounces@example.test":  "<alice@example.test>",
		"news-request@example.test":  "<alice@example.test>",
		"other-bounces@example.test": "unknown",
	})
	res, err := a.Resolve(ctx, addr(t, "both@example.test"))
	if err != nil || len(res.Lists) != 2 || !res.Lists[0] || res.Lists[1] {
		t.Error(res, err)
	}
	post := func(list, author string) string {
		t.Helper()
		p, err := a.PostTo(ctx, addr(t, list), addr(t, author), false)
		if err != nil {
			t.Fatal(err)
		}
		if !p.Allowed {
			return "no"
		}
		return p.Sender.String() + " " + mail.FormatTargets(p.Members)
	}
	yes := "news-bounces@example.test <bob@example.test> <x@elsewhere.test>;remote <Y@elsewhere.test>;remote"
	for author, want := range map[string]string{
		"bob@example.test": yes, "BOB+tag@example.test": yes, "y@ELSEWHERE.test": yes, "team@example.test": yes,
		"alice@example.test": "no", "x@elsewhere.test": "no", "": "no", "stranger@far.test": "no",
		"news@example.test": "no", "news-bounces@example.test": "no",
	} {
		if got := post("news@example.test", author); got != want {
			t.Errorf("%s posts: %s", author, got)
		}
	}
	if got := post("talk@example.test", "stranger@far.test"); got != "talk-bounces@example.test " {
		t.Error(got)
	}
	if got := post("talk@example.test", ""); got != "no" {
		t.Error(got)
	}
	must(t)(a.AddPosters(ctx, "talk@example.test", "@far.test", "alice@example.test"))
	listed := PostListed
	must(t)(a.SetList(ctx, "talk@example.test", ListChange{Posting: &listed}))
	for author, want := range map[string]string{"any@far.test": "talk-bounces@example.test ", "alice+x@example.test": "talk-bounces@example.test ", "bob@example.test": "no"} {
		if got := post("talk@example.test", author); got != want {
			t.Errorf("%s posts: %s", author, got)
		}
	}
	if _, err := a.PostTo(ctx, addr(t, "bob@example.test"), addr(t, "bob@example.test"), true); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	many := make([]string, MaxListOwners+1)
	for i := range many {
		many[i] = fmt.Sprintf("o%d@elsewhere.test", i)
	}
	refusals(t, map[string]error{
		"a list cannot be part of another, name its":     second(a.AddMembers(ctx, "talk@example.test", "news@example.test")),
		"list talk@example.test would lead to list news": second(a.AddMembers(ctx, "talk@example.test", "both@example.test")),
		"would lead to list talk@example.test":           second(a.SetList(ctx, "talk@example.test", ListChange{Owners: []string{"talk@example.test"}})),
		"and is part of list news@example.test":          second(a.AddAlias(ctx, "team@example.test", "talk@example.test")),
		"target nobody@example.test of list":             second(a.AddMembers(ctx, "talk@example.test", "nobody@example.test")),
		"has no member carol@example.test":               second(a.RemoveMembers(ctx, "news@example.test", "carol@example.test")),
		"needs an owner":                                 second(a.AddList(ctx, "l@example.test", NewList{})),
		"21 owners, more than 20":                        second(a.SetList(ctx, "talk@example.test", ListChange{Owners: many})),
		"addresses that end in -owner belong to lists":   second(a.AddList(ctx, "l-owner@example.test", NewList{Owners: []string{"x@y.test"}})),
		"use at most 56 letters":                         second(a.AddList(ctx, "l+x@example.test", NewList{Owners: []string{"x@y.test"}})),
		"must be one line":                               second(a.SetList(ctx, "talk@example.test", ListChange{Title: text("a\r\nb")})),
		"is a list: remove it first with `samotop list":  second(a.AddAccount(ctx, "talk@example.test", Options{})),
		"is a list, not an account":                      second(a.Account(ctx, "talk@example.test")),
		"list nosuch@example.test is not known":          a.RemoveList(ctx, "nosuch@example.test"),
		"alias both@example.test leads to news@example":  a.RemoveList(ctx, "news@example.test"),
		"list news@example.test has team@example.test":   a.RemoveAlias(ctx, "team@example.test"),
	})
	must(t)(a.AddAccount(ctx, "dora@example.test", Options{}))
	must(t)(a.AddMembers(ctx, "talk@example.test", "dora+x@example.test"))
	refusals(t, map[string]error{"list talk@example.test has dora+x@example.test: remove it": second(a.RemoveAccount(ctx, "dora@example.test"))})
	sound(t, a)
	b := open(t, config(e))
	l, err := b.List(ctx, "NEWS@example.test")
	if err != nil || l.Title != "What is new" || len(l.Members) != 3 || l.Posting != PostMembers {
		t.Error(l, err)
	}
	must(t)(a.RemoveMembers(ctx, "news@example.test", "bob+news@example.test", "team@example.test"))
	ok(t, a.RemoveAlias(ctx, "both@example.test"))
	ok(t, a.RemoveList(ctx, "news@example.test"))
	n := 0
	for l, err := range a.Lists(ctx, "example.test") {
		if err != nil || l.Address.Local != "talk" {
			t.Error(l, err)
		}
		n++
	}
	if n != 1 {
		t.Error(n)
	}
	resolves(t, a, map[string]string{"news@example.test": "unknown", "news-owner@example.test": "unknown"})
	sound(t, a)
}

// TestBounded: what was made in an order in which no single step shows it, or by damage, is bounded when it is met.
func TestBounded(t *testing.T) {
	a, e := house(t)
	ctx := t.Context()
	must(t)(a.AddList(ctx, "l@example.test", NewList{Owners: []string{"alice@example.test"}, Posting: PostAnyone}))
	must(t)(a.AddMembers(ctx, "l@example.test", "bob@example.test"))
	l, err := a.List(ctx, "l@example.test")
	ok(t, err)
	l.Members = append(l.Members, l.Address)
	ok(t, store.Commit(ctx, e, &store.Batch{Ops: []store.Op{store.Put(keyName(l.Address), encodeList(l))}}))
	b := open(t, config(e))
	p, err := b.PostTo(ctx, l.Address, addr(t, "x@y.test"), false)
	if err != nil || mail.FormatTargets(p.Members) != "<bob@example.test>" {
		t.Error(p, err)
	}
	if faults, err := b.Verify(ctx); err != nil || len(faults) == 0 || !strings.Contains(strings.Join(faults, "\n"), "leads to another list") {
		t.Error(faults, err)
	}
	many := make([]string, 0, MaxListMembers)
	for i := range MaxListMembers - 1 {
		many = append(many, fmt.Sprintf("m%d@elsewhere.test", i))
	}
	must(t)(a.AddList(ctx, "big@example.test", NewList{Owners: []string{"alice@example.test"}, Posting: PostAnyone}))
	must(t)(a.AddMembers(ctx, "big@example.test", many...))
	must(t)(a.AddMembers(ctx, "big@example.test", "bob@example.test"))
	if p, err := a.PostTo(ctx, addr(t, "big@example.test"), addr(t, "x@y.test"), false); err != nil || len(p.Members) != MaxListMembers {
		t.Error(len(p.Members), err)
	}
	refusals(t, map[string]error{"would have 10001 members": second(a.AddMembers(ctx, "big@example.test", "carol@example.test"))})
}

func TestGrants(t *testing.T) {
	a, e := house(t)
	ctx := t.Context()
	must(t)(a.AddAlias(ctx, "us@example.test", "alice@example.test", "bob@example.test"))
	must(t)(a.AddAccount(ctx, "alice+own@example.test", Options{}))
	ok(t, a.Grant(ctx, "bob@example.test", "Us@example.test"))
	ok(t, a.Grant(ctx, "bob@example.test", "alice@example.test"))
	ok(t, a.Grant(ctx, "carol@example.test", "@bücher.test"))
	for q, want := range map[[2]string]bool{
		{"bob@example.test", "us@example.test"}: true, {"bob@example.test", "us+x@example.test"}: true,
		{"bob@example.test", "alice+x@example.test"}: true, {"bob@example.test", "alice+own@example.test"}: false,
		{"bob@example.test", "carol@example.test"}: false, {"alice@example.test", "us@example.test"}: false,
		{"carol@example.test", "anything@bücher.test"}: true, {"carol@example.test", "anything@example.test"}: false,
		{"bob@example.test", "us@elsewhere.test"}: false,
	} {
		if got, err := a.MaySendAs(ctx, q[0], addr(t, q[1])); err != nil || got != want {
			t.Errorf("%v: %v %v", q, got, err)
		}
	}
	got, err := a.Grants(ctx, "bob@example.test")
	if err != nil || fmt.Sprint(got) != "[alice@example.test us@example.test]" {
		t.Error(got, err)
	}
	refusals(t, map[string]error{
		"only what is ours":                  a.Grant(ctx, "bob@example.test", "x@elsewhere.test"),
		"address nobody@example.test":        a.Grant(ctx, "bob@example.test", "nobody@example.test"),
		"account nobody@example.test":        a.Grant(ctx, "nobody@example.test", "us@example.test"),
		"was not granted carol@example.test": a.Revoke(ctx, "bob@example.test", "carol@example.test"),
	})
	ok(t, a.Revoke(ctx, "bob@example.test", "alice@example.test"))
	// Who gets the address next is another.
	ok(t, a.RemoveAlias(ctx, "us@example.test"))
	must(t)(a.AddAlias(ctx, "us@example.test", "alice@example.test", "carol@example.test"))
	if yes, err := a.MaySendAs(ctx, "bob@example.test", addr(t, "us@example.test")); yes || err != nil {
		t.Error(yes, err)
	}
	ok(t, a.RemoveDomain(ctx, "bücher.test"))
	if got, err := a.Grants(ctx, "carol@example.test"); len(got) > 0 || err != nil {
		t.Error(got, err)
	}
	ok(t, a.Grant(ctx, "bob@example.test", "us@example.test"))
	sound(t, open(t, config(e)))
	must(t)(a.RemoveAccount(ctx, "bob@example.test"))
	sound(t, a)
	refusals(t, map[string]error{"domain example.test still has addresses": a.RemoveDomain(ctx, "example.test")})
}

func TestAccountSettings(t *testing.T) {
	a, e := house(t)
	ctx := t.Context()
	n, yes := int64(7), true
	must(t)(a.SetAccount(ctx, "bob@example.test", Change{QuotaMessages: &n, PlusFolders: &yes}))
	must(t)(a.AddAccount(ctx, "dora@example.test", Options{QuotaMessages: 5}))
	b := open(t, config(e))
	for to, want := range map[string]string{"bob+Work@example.test": "7 true Work", "dora@example.test": "5 false ", "alice@example.test": "0 false "} {
		o, err := b.Lookup(ctx, addr(t, to))
		if got := fmt.Sprint(o.QuotaMessages, " ", o.PlusFolders, " ", o.Detail); err != nil || got != want {
			t.Error(to, got, err)
		}
	}
	n = -1
	refusals(t, map[string]error{"is negative": second(a.SetAccount(ctx, "bob@example.test", Change{QuotaMessages: &n}))})
	sound(t, a)
}

// TestFormerFormat: a database of format 1 opens, and is then refused by a program that knows no other.
func TestFormerFormat(t *testing.T) {
	e := mem.New(mem.Options{})
	a := open(t, config(e))
	must(t)(a.AddDomain(t.Context(), "example.test"))
	must(t)(a.AddAccount(t.Context(), "a@example.test", Options{}))
	ok(t, a.Close())
	ok(t, store.Commit(t.Context(), e, &store.Batch{Ops: []store.Op{store.Put(keyFormat, []byte{0, 0, 0, 1})}}))
	b := open(t, config(e))
	must(t)(b.SetDomain(t.Context(), "example.test", DomainChange{Separators: text("-")}))
	sound(t, b)
	row, err := b.get(t.Context(), keyFormat)
	if err != nil || binary.BigEndian.Uint32(row) != formatVersion {
		t.Error(row, err)
	}
}
