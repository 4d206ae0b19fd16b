package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

func TestDomains(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	for _, c := range []struct {
		in, want string
		kind     error
	}{
		{"Example.TEST", "domain example.test exists already: nothing to do", ErrExists},
		{"bu\u0308cher.test.", "domain xn--bcher-kva.test exists already: nothing to do", ErrExists},
		{"", "", ErrInvalid}, {"a b", "", ErrInvalid}, {"-a.test", "", ErrInvalid}, {"[192.0.2.1]", "", ErrInvalid},
		{"a..test", "", ErrInvalid}, {strings.Repeat("a", 64) + ".test", "", ErrInvalid}, {"x@y.test", "", ErrInvalid},
		{strings.Repeat("abcdefg.", 32) + "test", "", ErrInvalid}, {"xn--zzzzzz--.test", "", ErrInvalid}, {"xn--abc-.test", "", ErrInvalid},
		{"例え。テスト", "", nil}, {"under_score.test", "", nil},
	} {
		_, err := a.AddDomain(ctx, c.in)
		if !errors.Is(err, c.kind) || c.want != "" && err.Error() != c.want {
			t.Errorf("%q: %v", c.in, err)
		}
	}
	ds, err := a.Domains(ctx)
	got := ""
	for _, d := range ds {
		got += d.Name + "=" + d.Unicode + " "
	}
	if want := "example.test=example.test under_score.test=under_score.test xn--bcher-kva.test=bücher.test xn--r8jz45g.xn--zckzah=例え.テスト "; err != nil || got != want {
		t.Errorf("%s %v", got, err)
	}
	err = a.RemoveDomain(ctx, "example.test")
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "alice@example.test") {
		t.Error(err)
	}
	ok(t, a.RemoveDomain(ctx, "BÜCHER.test"))
	if err := a.RemoveDomain(ctx, "bücher.test"); !errors.Is(err, ErrUnknown) || err.Error() != "domain xn--bcher-kva.test is not known: add it with `samotop domain add xn--bcher-kva.test`" {
		t.Error(err)
	}
	sound(t, a)
}

func TestAccountsVerbs(t *testing.T) {
	a, e := house(t)
	ctx := t.Context()
	long := strings.Repeat("ŉ", 32) // folds to three octets each
	for _, c := range []struct {
		address string
		o       Options
		kind    error
	}{
		{"ALICE@example.test", Options{}, ErrExists}, {"x@elsewhere.test", Options{}, ErrUnknown}, {"alice", Options{}, ErrInvalid},
		{"x@[192.0.2.1]", Options{}, ErrUnknown}, {"q@example.test", Options{Quota: -1}, ErrInvalid}, {long + "@example.test", Options{}, ErrInvalid},
		{"q@example.test", Options{Password: "a\nb"}, ErrInvalid}, {"q@example.test", Options{Password: "\xff"}, ErrInvalid},
		{"q@example.test", Options{Password: "\u00ad"}, ErrInvalid}, {"q@example.test", Options{Password: strings.Repeat("x", 1025)}, ErrInvalid},
		{"", Options{}, ErrInvalid}, {"a@b@example.test", Options{}, ErrInvalid},
	} {
		if _, err := a.AddAccount(ctx, c.address, c.o); !errors.Is(err, c.kind) {
			t.Errorf("%.40q %+v: %v", c.address, c.o, err)
		}
	}
	got := ""
	list := func(domain string) {
		got = ""
		for acc, err := range a.Accounts(ctx, domain) {
			ok(t, err)
			got += fmt.Sprintf("%d %s %v %v %d; ", acc.ID, acc.Address, acc.Admin, acc.Enabled, acc.Quota)
		}
	}
	list("")
	if want := "1 alice@example.test true true 0; 2 bob@example.test false true 1000; 3 carol@example.test false true 0; "; got != want {
		t.Error(got)
	}
	q := int64(5)
	must(t)(a.SetAccount(ctx, "Bob@example.test", Change{Quota: &q}))
	must(t)(a.RemoveAccount(ctx, "carol@example.test"))
	list("Example.test")
	if want := "1 alice@example.test true true 0; 2 bob@example.test false true 5; "; got != want {
		t.Error(got)
	}
	list("bücher.test")
	if got != "" {
		t.Error(got)
	}
	for _, err := range a.Accounts(ctx, "elsewhere.test") {
		if !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	}
	acc, err := a.AddAccount(ctx, "carol@example.test", Options{})
	if err != nil || acc.ID != 4 {
		t.Errorf("an id was given twice: %v %v", acc, err)
	}
	for _, f := range []func() error{
		func() error { _, err := a.Account(ctx, "nobody@example.test"); return err },
		func() error { _, err := a.SetAccount(ctx, "nobody@example.test", Change{}); return err },
		func() error { return a.SetPassword(ctx, "nobody@example.test", "x") },
		func() error { _, err := a.RemoveAccount(ctx, "nobody@example.test"); return err },
	} {
		if err := f(); !errors.Is(err, ErrUnknown) || err.Error() != "account nobody@example.test is not known: add it with `samotop account add nobody@example.test`" {
			t.Error(err)
		}
	}
	sound(t, a)
	b := open(t, config(e.Crash()))
	again, err := b.Account(ctx, "bob@example.test")
	if err != nil || again.Quota != 5 {
		t.Error(again, err)
	}
	if string(a.Secret()) != string(b.Secret()) || len(b.Secret()) != 32 {
		t.Error("the secret changed")
	}
}

func TestAliasesVerbs(t *testing.T) {
	a, _ := house(t)
	ctx := t.Context()
	add := func(want error, address string, targets ...string) {
		t.Helper()
		if _, err := a.AddAlias(ctx, address, targets...); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s to %s: %v", address, targets, err)
		}
	}
	add(nil, "a@example.test", "alice@example.test")
	add(nil, "A@example.test", "ALICE@example.test", "bob@example.test") // the first is there already
	add(ErrExists, "alice@example.test", "bob@example.test")
	add(ErrUnknown, "a@elsewhere.test", "bob@example.test")
	add(ErrUnknown, "b@example.test", "nobody@example.test")
	add(ErrInvalid, "b@example.test")
	add(ErrInvalid, "b@example.test", "not an address")
	add(ErrInvalid, "b@example.test", "b@example.test")
	add(ErrInvalid, "b@example.test", "B+x@example.test")
	add(nil, "b@example.test", "a@example.test")
	add(nil, "c@example.test", "b+x@example.test")
	add(ErrInvalid, "a@example.test", "c@example.test")
	add(ErrInvalid, "a@example.test", "c+y@example.test")
	add(ErrInvalid, "b+x@example.test", "c@example.test")
	add(nil, "role@example.test", "postmaster@example.test")
	add(nil, "late@example.test", "x@later.test")
	must(t)(a.AddDomain(ctx, "later.test"))
	add(ErrInvalid, "x@later.test", "late@example.test") // the target is ours now
	add(nil, "x@later.test", "bob@example.test")
	add(nil, "tag@example.test", "carol+tag@example.test")
	sound(t, a)

	if _, err := a.RemoveAccount(ctx, "carol@example.test"); !errors.Is(err, ErrInUse) ||
		err.Error() != "alias tag@example.test leads to carol@example.test: remove it first with `samotop alias remove tag@example.test carol+tag@example.test`" {
		t.Error(err)
	}
	if err := a.RemoveAlias(ctx, "b@example.test"); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	if err := a.RemoveAlias(ctx, "nobody@example.test"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := a.RemoveAlias(ctx, "a@example.test", "carol@example.test"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	ok(t, a.RemoveAlias(ctx, "c@example.test"))
	ok(t, a.RemoveAlias(ctx, "a@example.test", "BOB@example.test"))
	ok(t, a.RemoveAlias(ctx, "tag@example.test", "carol+TAG@example.test"))
	must(t)(a.RemoveAccount(ctx, "carol@example.test"))
	got := ""
	for al, err := range a.Aliases(ctx, "") {
		ok(t, err)
		got += al.Address.String() + " ->"
		for _, t := range al.Targets {
			got += " " + t.String()
		}
		got += "; "
	}
	want := "a@example.test -> alice@example.test; b@example.test -> a@example.test; late@example.test -> x@later.test; " +
		"role@example.test -> postmaster@example.test; x@later.test -> bob@example.test; "
	if got != want {
		t.Error(got)
	}
	if al, err := a.Alias(ctx, "A@Example.test"); err != nil || len(al.Targets) != 1 {
		t.Error(al, err)
	}
	if _, err := a.Alias(ctx, "alice@example.test"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	res, err := a.Resolve(ctx, addr(t, "role@example.test"))
	if err != nil || show(res) != "<alice@example.test>" {
		t.Error(show(res), err)
	}
	sound(t, a)
}

func TestFormat(t *testing.T) {
	e := mem.New(mem.Options{})
	ok(t, store.Commit(t.Context(), e, &store.Batch{Ops: []store.Op{store.Put(keyFormat, []byte{0, 0, 0, 9}), store.Put(keySecret, make([]byte, 32))}}))
	if _, err := Open(t.Context(), config(e)); !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), "format 9") {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("opened without an engine")
	}
}

// TestRowsOfFormat1 reads rows as format 1 has them on disk: they must stay readable.
func TestRowsOfFormat1(t *testing.T) {
	when := time.UnixMilli(1_700_000_000_000).UTC()
	acc := Account{ID: 300, Address: mail.Address{Local: "a", Domain: "b.test"}, Admin: true, Enabled: true, Quota: 1000, Created: when}
	al := Alias{Address: acc.Address, Targets: []mail.Address{{Local: "x", Domain: "y.test"}}, Created: when}
	if got, want := string(encodeAccount(acc)), "\x01\x03\xe8\x07\x80\xd0\x95\xff\xbc1\x06b.test\x01a"; got != want {
		t.Errorf("account %q", got)
	}
	if got, want := string(encodeAlias(al)), "\x01l\x80\xd0\x95\xff\xbc1\x01\x06y.test\x01x"; got != want {
		t.Errorf("alias %q", got)
	}
	if got, want := string(encodeNameOfAccount(300)), "\x01a\xac\x02"; got != want {
		t.Errorf("name %q", got)
	}
	if back, err := decodeAccount(300, encodeAccount(acc)); err != nil || back != acc {
		t.Error(back, err)
	}
	if _, back, err := decodeName(al.Address, encodeAlias(al)); err != nil || back.alias.Targets[0] != al.Targets[0] || !back.alias.Created.Equal(when) {
		t.Error(back, err)
	}
}

// TestVerifyFinds damages each kind of row.
func TestVerifyFinds(t *testing.T) {
	name := func(s string) mail.Address { return addr(t, s) }
	for what, ops := range map[string][]store.Op{
		"next number":      {store.Put(keyNextID, []byte("x"))},
		"number given":     {store.Put(keyNextID, make([]byte, 8))},
		"account gone":     {store.Delete(keyID(tagAccount, 2))},
		"account damaged":  {store.Put(keyID(tagAccount, 2), []byte("rubbish"))},
		"name gone":        {store.Delete(keyName(name("bob@example.test")))},
		"name elsewhere":   {store.Put(keyName(name("bob@example.test")), encodeNameOfAccount(1))},
		"name of nobody":   {store.Put(keyName(name("x@example.test")), encodeNameOfAccount(77))},
		"name not ours":    {store.Put(keyName(name("x@elsewhere.test")), encodeAlias(Alias{Targets: []mail.Address{name("bob@example.test")}}))},
		"name not folded":  {store.Put(keyName(name("X@example.test")), encodeNameOfAccount(1))},
		"alias damaged":    {store.Put(keyName(name("al@example.test")), []byte{1, kindAlias, 0, 0})},
		"admin gone":       {store.Delete(keyID(tagAdmin, 1))},
		"admin of nobody":  {store.Put(keyID(tagAdmin, 77), nil)},
		"admin not":        {store.Put(keyID(tagAdmin, 2), nil)},
		"password damaged": {store.Put(keyID(tagPassword, 1), []byte("rubbish"))},
		"password of none": {store.Put(keyID(tagPassword, 77), encodeSecrets(secrets{}))},
		"password empty":   {store.Put(keyID(tagPassword, 1), encodeSecrets(secrets{}))},
		"target lost":      {store.Delete(keyReverse(name("bob@example.test"), name("al@example.test")))},
		"target invented":  {store.Put(keyReverse(name("bob@example.test"), name("no@example.test")), nil)},
		"domain damaged":   {store.Put(keyDomain("example.test"), []byte{9})},
		"circle":           {store.Put(keyName(name("al@example.test")), encodeAlias(Alias{Targets: []mail.Address{name("al+x@example.test")}}))},
	} {
		a, e := house(t)
		must(t)(a.AddAlias(t.Context(), "al@example.test", "bob@example.test", "carol@example.test"))
		sound(t, a)
		waitLoaded(t, a)
		ok(t, store.Commit(t.Context(), e, &store.Batch{Ops: ops}))
		a.names.mu.Lock()
		a.names.cache.clear()
		a.names.mu.Unlock()
		faults, err := a.Verify(t.Context())
		if err != nil || len(faults) == 0 {
			t.Errorf("%s: %q %v", what, faults, err)
		}
	}
}

func TestGeneratePassword(t *testing.T) {
	a, _ := house(t)
	p, err := a.GeneratePassword()
	q, err2 := a.GeneratePassword()
	if err != nil || err2 != nil || p == q || len(p) != 27 || strings.Trim(p, passwordAlphabet+"-") != "" {
		t.Error(p, q, err, err2)
	}
	if len(passwordAlphabet) != 32 {
		t.Error(len(passwordAlphabet))
	}
}

func TestCancelled(t *testing.T) {
	a, _ := house(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.AddAccount(ctx, "x@example.test", Options{Password: "y"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := a.Account(t.Context(), "x@example.test"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}
