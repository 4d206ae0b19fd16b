package srs

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/mail"
)

func rewriter(now *time.Time) *Rewriter {
	return &Rewriter{Keys: [][]byte{bytes.Repeat([]byte("k"), 32)}, Clock: func() time.Time { return *now }}
}

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(s, err)
	}
	return a
}

func TestThereAndBack(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	r := rewriter(&now)
	for _, s := range []string{"bob@far.example", "Bob+x=y@Far.example", `"a b"@far.example`, "a@[192.0.2.1]", "jörg@bücher.example", "srs0@far.example",
		"SRS0X=a@far.example", strings.Repeat("l", 64) + "@far.example"} {
		there, err := r.Forward(addr(t, s), "our.example")
		if err != nil {
			t.Fatal(s, err)
		}
		if !Is(there) || there.Domain != "our.example" {
			t.Errorf("%s became %v", s, there)
		}
		back, err := r.Reverse(addr(t, there.String()))
		if err != nil || back != addr(t, s) {
			t.Errorf("%s came back as %v, %v", s, back, err)
		}
		for _, changed := range []string{strings.ToLower(there.String()), strings.ToUpper(there.String())} {
			back, err := r.Reverse(addr(t, changed))
			if err != nil || !strings.EqualFold(back.String(), s) {
				t.Errorf("%s came back as %v, %v", changed, back, err)
			}
		}
	}
}

func TestGuarded(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	r := rewriter(&now)
	other := &Rewriter{Keys: [][]byte{bytes.Repeat([]byte("o"), 32)}, Clock: r.Clock}
	third := &Rewriter{Keys: [][]byte{bytes.Repeat([]byte("3"), 32)}, Clock: r.Clock}
	first, err := other.Forward(addr(t, "bob@far.example"), "other.example")
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.Forward(first, "our.example")
	if err != nil || !strings.HasPrefix(second.Local, "SRS1=") || !strings.Contains(second.Local, "=other.example==") {
		t.Fatal(second, err)
	}
	last, err := third.Forward(second, "third.example")
	if err != nil || len(last.Local) != len(second.Local) {
		t.Fatalf("%v grew from %v: %v", last, second, err)
	}
	for _, x := range []struct {
		r    *Rewriter
		path mail.Address
	}{{third, last}, {r, second}} { // what comes back to any of them goes to the first
		back, err := x.r.Reverse(x.path)
		if err != nil || back != first {
			t.Errorf("%v came back as %v, %v", x.path, back, err)
		}
	}
	if _, err := r.Reverse(last); !errors.Is(err, ErrHash) {
		t.Error("another's path is taken:", err)
	}
	dashed := mail.Address{Local: "srs0+abcd=xx=far.example=bob", Domain: "other.example"}
	there, err := r.Forward(dashed, "our.example")
	if err != nil || !strings.Contains(there.Local, "=other.example=+abcd") {
		t.Fatal(there, err)
	}
	if back, err := r.Reverse(there); err != nil || back.Local != "SRS0+abcd=xx=far.example=bob" {
		t.Error(back, err)
	}
}

func TestExpires(t *testing.T) {
	start := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	now := start
	r := rewriter(&now)
	there, err := r.Forward(addr(t, "bob@far.example"), "our.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		days int
		want error
	}{{0, nil}, {21, nil}, {22, ErrExpired}, {1000, ErrExpired}, {-1, nil}, {-2, ErrExpired}, {slots, nil}} { // after so long it comes round
		now = start.Add(time.Duration(c.days) * day)
		if _, err := r.Reverse(there); !errors.Is(err, c.want) {
			t.Errorf("after %d days: %v", c.days, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	r := rewriter(&now)
	there, err := r.Forward(addr(t, "bob@far.example"), "our.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		local string
		want  error
	}{
		{"bob", ErrNotSRS}, {"SRS0=", ErrNotSRS}, {"SRS0=a=b", ErrNotSRS}, {"SRS2=a=aa=b=c", ErrNotSRS}, {"SRS0=aaaaaaaa=!!=far.example=bob", ErrNotSRS},
		{"SRS1=a=b", ErrNotSRS}, {"SRS1=a=b=", ErrNotSRS}, {"SRS1=aaaaaaaa=host==x", ErrHash},
		{strings.Replace(there.Local, "=bob", "=eve", 1), ErrHash},
		{strings.Replace(there.Local, "far.example", "victim.example", 1), ErrHash},
		{"SRS0==" + strings.Join(strings.Split(there.Local, "=")[2:], "="), ErrHash}, // a hash of no length is none
		{there.Local[:10] + there.Local[13:], ErrHash},
	} {
		if back, err := r.Reverse(mail.Address{Local: c.local, Domain: "our.example"}); !errors.Is(err, c.want) {
			t.Errorf("%s gave %v, %v", c.local, back, err)
		}
	}
	for _, a := range []mail.Address{{}, {Local: "postmaster"}} {
		if _, err := r.Forward(a, "our.example"); !errors.Is(err, ErrAddress) {
			t.Errorf("%v: %v", a, err)
		}
	}
	for _, keys := range [][][]byte{nil, {[]byte("short")}} {
		bad := &Rewriter{Keys: keys}
		if _, err := bad.Forward(addr(t, "bob@far.example"), "our.example"); !errors.Is(err, ErrKey) {
			t.Error(err)
		}
		if _, err := bad.Reverse(there); !errors.Is(err, ErrKey) {
			t.Error(err)
		}
	}
}

// A key can be replaced while paths of the old one are about.
func TestKeys(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	old := rewriter(&now)
	there, err := old.Forward(addr(t, "bob@far.example"), "our.example")
	if err != nil {
		t.Fatal(err)
	}
	fresh := bytes.Repeat([]byte("n"), 32)
	both := &Rewriter{Keys: [][]byte{fresh, old.Keys[0]}, Clock: old.Clock}
	if _, err := both.Reverse(there); err != nil {
		t.Error(err)
	}
	only := &Rewriter{Keys: [][]byte{fresh}, Clock: old.Clock}
	if _, err := only.Reverse(there); !errors.Is(err, ErrHash) {
		t.Error(err)
	}
	for n, want := range map[int]int{0: 8, 1: 4, 12: 12, 99: 32} {
		x := &Rewriter{Keys: old.Keys, Clock: old.Clock, HashOctets: n}
		there, err := x.Forward(addr(t, "bob@far.example"), "our.example")
		if err != nil || len(strings.Split(there.Local, "=")[1]) != want {
			t.Errorf("%d: %v, %v", n, there, err)
		}
	}
}

// Whatever the sender, the path leads back to it; and a path with any octet changed, but for case, leads nowhere.
func TestProperty(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	r := rewriter(&now)
	rapid.Check(t, func(t *rapid.T) {
		sender := mail.Address{Local: rapid.StringMatching(`[ -~]{1,40}`).Draw(t, "local"),
			Domain: rapid.StringMatching(`[a-zA-Z0-9]{1,20}(\.[a-z]{1,9}){0,2}`).Draw(t, "domain")}
		there, err := r.Forward(sender, "our.example")
		if err != nil {
			t.Fatal(err)
		}
		back, err := r.Reverse(there)
		switch kind(sender.Local) {
		case -1:
			if err != nil || back != sender {
				t.Fatalf("%v came back as %v, %v", sender, back, err)
			}
		case 0:
			if err != nil || !strings.EqualFold(back.String(), sender.String()) {
				t.Fatalf("%v came back as %v, %v", sender, back, err)
			}
		}
		b := []byte(there.Local)
		i := rapid.IntRange(5, len(b)-1).Draw(t, "at")
		c := byte(rapid.IntRange(' ', '~').Draw(t, "octet"))
		if bytes.EqualFold([]byte{b[i]}, []byte{c}) {
			return
		}
		b[i] = c
		if back, err := r.Reverse(mail.Address{Local: string(b), Domain: "our.example"}); err == nil {
			t.Fatalf("%s, changed from %s, gave %v", b, there.Local, back)
		}
	})
}

func FuzzReverse(f *testing.F) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	r := rewriter(&now)
	for _, s := range []string{"SRS0=aaaaaaaa=aa=far.example=bob", "SRS1=aaaaaaaa=far.example==a=b=c=d", "srs0+", "SRS1-=", ""} {
		f.Add(s, "our.example")
	}
	there, err := r.Forward(mail.Address{Local: "bob", Domain: "far.example"}, "our.example")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(there.Local, there.Domain)
	f.Fuzz(func(t *testing.T, local, domain string) {
		a := mail.Address{Local: local, Domain: domain}
		if back, err := r.Reverse(a); err == nil {
			if again, err := mail.ParseAddress(back.String()); err != nil || again != back {
				t.Fatalf("%q led to %q, which is no address", local, back)
			}
		}
		if there, err := r.Forward(a, "our.example"); err == nil {
			if back, err := r.Reverse(there); err == nil && kind(local) < 0 && back != a {
				t.Fatalf("%q came back as %q", a, back)
			}
		}
	})
}
