package guard

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/smtp/smtptest"
)

type rules map[string]Resolution

func (r rules) Resolve(_ context.Context, a mail.Address) (Resolution, error) {
	if a.Local == "broken" {
		return Resolution{}, errors.New("disk on fire")
	}
	if a.Local == "later" {
		return Resolution{}, mail.NewReply(450, mail.Enhanced{4, 7, 1}, "Not yet")
	}
	if res, ok := r[strings.ToLower(a.String())]; ok {
		return res, nil
	}
	return Resolution{OurDomain: a.Domain == "example.test" || a.Domain == ""}, nil
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, _, err := mail.ParsePath("<" + s + ">")
	if err != nil {
		t.Fatal(s, err)
	}
	return a
}

func testRules(t testing.TB) rules {
	alice := mail.Target{Address: address(t, "alice@example.test")}
	tagged := mail.Target{Address: address(t, "alice+lists@example.test")}
	away := mail.Target{Address: address(t, "bob@elsewhere.test"), Remote: true}
	return rules{
		"alice@example.test":       {OurDomain: true, Targets: []mail.Target{alice}},
		"alice+lists@example.test": {OurDomain: true, Targets: []mail.Target{tagged}},
		"all@example.test":         {OurDomain: true, Targets: []mail.Target{alice, away}},
		"gone@example.test":        {OurDomain: true, Disabled: true},
		"postmaster":               {OurDomain: true, Targets: []mail.Target{alice}},
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct{ to, folder, want string }{
		{"alice@example.test", "", "<alice@example.test>"},
		{"ALICE+lists@example.test", "", "<alice+lists@example.test>"},
		{"alice@example.test", "Work", "<alice@example.test>;folder=Work"},
		{"all@example.test", "Work", "<alice@example.test>;folder=Work <bob@elsewhere.test>;remote"},
		{"all@example.test", "", "<alice@example.test> <bob@elsewhere.test>;remote"},
		{"postmaster", "", "<alice@example.test>"},
		{"nobody@example.test", "", "550 5.1.1 <nobody@example.test>: no such user here"},
		{"x@elsewhere.test", "", "550 5.7.1 <x@elsewhere.test>: relaying denied"},
		{"x@[192.0.2.1]", "", "550 5.7.1 <x@[192.0.2.1]>: relaying denied"},
		{"gone@example.test", "", "550 5.2.1 <gone@example.test>: account is disabled"},
		{"later@example.test", "", "450 4.7.1 Not yet"},
		{"broken@example.test", "", "451 4.3.0 Temporary local problem, please try again later"},
		{"", "", "550 5.1.3 <> is not a recipient"},
	} {
		tx := begin(t, New(Config{Rules: testRules(t)}))
		r := &mail.Recipient{Address: address(t, c.to), Folder: c.folder}
		got := ""
		err := tx.Recipient(t.Context(), r)
		if err != nil {
			got = mail.AsReply(err).String()
		} else {
			got = mail.FormatTargets(r.Targets)
		}
		if got != c.want {
			t.Errorf("<%s>: got %q, want %q", c.to, got, c.want)
		}
		replies, err2 := tx.Commit(t.Context())
		if err2 != nil || (len(replies) == 1) != (err == nil) {
			t.Errorf("<%s>: commit: %v %v", c.to, replies, err2)
		}
	}
}

func begin(t testing.TB, d mail.Door) mail.Transaction {
	t.Helper()
	s := &mail.Session{}
	r, err := d.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(context.Background(), s, mail.Sender{Address: address(t, "x@sender.test")})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestRulesAreNotChanged(t *testing.T) {
	r := testRules(t)
	before := slices.Clone(r["all@example.test"].Targets)
	tx := begin(t, New(Config{Rules: r}))
	if err := tx.Recipient(t.Context(), &mail.Recipient{Address: address(t, "all@example.test"), Folder: "F"}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, r["all@example.test"].Targets) {
		t.Error("the guard wrote into the targets of its rules")
	}
}

func TestTooManyRecipients(t *testing.T) {
	tx := begin(t, New(Config{Rules: testRules(t), MaxRecipients: 2}))
	for i := range 3 {
		err := tx.Recipient(t.Context(), &mail.Recipient{Address: address(t, "alice@example.test")})
		if got := mail.AsReply(err); (i == 2) != (got != nil && got.Code == 452) {
			t.Errorf("recipient %d: %v", i, err)
		}
	}
	if replies, err := tx.Commit(t.Context()); err != nil || len(replies) != 2 {
		t.Errorf("commit: %v %v", replies, err)
	}
}

func TestWithoutRules(t *testing.T) {
	if _, err := mail.Chain(New(Config{})); err == nil {
		t.Error("a guard without rules was chained")
	}
	if _, err := New(Config{}).Open(t.Context(), &mail.Session{}); err == nil {
		t.Error("a guard without rules opened")
	}
}

func TestAfterTheEnd(t *testing.T) {
	tx := begin(t, New(Config{Rules: testRules(t)}))
	if err := tx.Abort(); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Write([]byte("x")); err == nil {
		t.Error("written after the end")
	}
	if _, err := tx.Commit(t.Context()); err == nil {
		t.Error("committed after the end")
	}
	if err := tx.Recipient(t.Context(), &mail.Recipient{Address: address(t, "alice@example.test")}); err == nil {
		t.Error("recipient after the end")
	}
	if err := tx.Abort(); err != nil {
		t.Error(err)
	}
}

func TestSuite(t *testing.T) {
	mailtest.Run(t, mailtest.Suite{
		New: func(t *testing.T) (mail.Door, mailtest.Probe) {
			r := testRules(t)
			r["bob@example.test"] = Resolution{OurDomain: true, Targets: []mail.Target{{Address: address(t, "bob@example.test")}}}
			return New(Config{Rules: r}), func(context.Context, mail.Address) ([][]byte, error) { return nil, nil }
		},
		Known:        []mail.Address{address(t, "alice@example.test"), address(t, "bob@example.test")},
		Unknown:      address(t, "nobody@example.test"),
		KeepsNothing: true,
		Forms:        []mailtest.Form{{Name: "pipe", Wrap: smtptest.OverPipe}, {Name: "unix", Wrap: smtptest.OverUnix}},
	})
}

func BenchmarkRecipient(b *testing.B) {
	d := New(Config{Rules: testRules(b)})
	to := address(b, "alice@example.test")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		tx := begin(b, d)
		if err := tx.Recipient(ctx, &mail.Recipient{Address: to}); err != nil {
			b.Fatal(err)
		}
		if _, err := tx.Commit(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
