package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

func openAbuse(t testing.TB, c AbuseConfig) *Abuse {
	t.Helper()
	a, err := OpenAbuse(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func ip(s string) netip.Addr    { return netip.MustParseAddr(s) }
func pre(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestBans(t *testing.T) {
	e, now := mem.New(mem.Options{}), day0
	c := AbuseConfig{Engine: e, Own: []netip.Prefix{pre("10.0.0.0/8")}, Clock: func() time.Time { return now }}
	a := openAbuse(t, c)
	ctx := t.Context()
	for _, x := range []struct {
		p    string
		own  bool
		hour int // how long; 0: for ever
	}{{"192.0.2.1/32", false, 1}, {"2001:db8::/64", false, 0}, {"198.51.100.0/24", false, 0}, {"10.1.2.3/32", true, 0}, {"0.0.0.0/0", true, 0}, {"::/0", true, 0}, {"127.0.0.1/32", true, 0}} {
		b := Ban{Network: pre(x.p), Reason: "a\nreason"}
		if x.hour > 0 {
			b.Until = now.Add(time.Duration(x.hour) * time.Hour)
		}
		if err := a.Add(ctx, b); errors.Is(err, ErrOwnNetwork) != x.own || !x.own && err != nil {
			t.Errorf("%s: %v", x.p, err)
		}
	}
	check := func(a *Abuse, when string, want ...string) {
		t.Helper()
		for _, s := range []string{"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1:2:3:4", "2001:db8:0:1::", "198.51.100.77", "10.1.2.3", "127.0.0.1", "::1"} {
			_, got := a.Banned(ip(s))
			if is := strings.Contains(" "+strings.Join(want, " ")+" ", " "+s+" "); is != got {
				t.Errorf("%s: %s banned: %v", when, s, got)
			}
		}
	}
	check(a, "at first", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1:2:3:4", "198.51.100.77")
	if b, _ := a.Banned(ip("192.0.2.1")); b.Reason != "a reason" {
		t.Errorf("%q", b.Reason)
	}
	again := openAbuse(t, c)
	check(again, "after a restart", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1:2:3:4", "198.51.100.77")
	now = now.Add(time.Hour)
	check(again, "an hour later", "2001:db8::1:2:3:4", "198.51.100.77")
	if err := again.Add(ctx, Ban{Network: pre("192.0.2.1/32")}); err != nil { // anew, in the same moment as the old one is forgotten
		t.Error(err)
	}
	if err := again.Remove(ctx, pre("198.51.100.0/24")); err != nil {
		t.Error(err)
	}
	for _, p := range []string{"198.51.100.0/24", "203.0.113.0/24"} {
		if err := again.Remove(ctx, pre(p)); !errors.Is(err, ErrNoBan) {
			t.Errorf("%s: %v", p, err)
		}
	}
	third := openAbuse(t, c)
	check(third, "after changes", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1:2:3:4")
	if got := fmt.Sprint(third.List()[0].Network, third.List()[1].Network, len(third.List())); got != "192.0.2.1/32 2001:db8::/64 2" {
		t.Error(got)
	}
	copied := openAbuse(t, AbuseConfig{Clock: c.Clock})
	watch := copied.Watch()
	copied.Replace(third.List())
	check(copied, "in a copy", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1:2:3:4")
	select {
	case <-watch:
	default:
		t.Error("nobody was told")
	}
}

// A ban that cannot be kept holds all the same, and whoever asked for it hears.
func TestBanNotKept(t *testing.T) {
	e := mem.New(mem.Options{})
	a := openAbuse(t, AbuseConfig{Engine: e})
	e.Close()
	if err := a.Add(t.Context(), Ban{Network: pre("192.0.2.1/32")}); !errors.Is(err, store.ErrClosed) {
		t.Error(err)
	}
	if _, banned := a.Banned(ip("192.0.2.1")); !banned {
		t.Error("not banned")
	}
}

func FuzzBan(f *testing.F) {
	f.Add(banKey(pre("192.0.2.0/24")), appendBan(nil, Ban{Since: day0, Until: day0, Reason: "why"}))
	f.Add([]byte("b::/0"), []byte{1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		x, ok := readBan(key, value)
		if !ok {
			return
		}
		y, ok := readBan(banKey(x.Network), appendBan(nil, x))
		if !ok || y.Network != x.Network || y.Reason != x.Reason || y.Automatic != x.Automatic || !y.Since.Equal(x.Since) || !y.Until.Equal(x.Until) {
			t.Fatalf("%+v became %+v", x, y)
		}
	})
}

func TestGuessersAreBanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := events{}
		a := openAbuse(t, AbuseConfig{Engine: mem.New(mem.Options{}), Own: []netip.Prefix{pre("10.0.0.0/8")}, WrongPasswords: 10, UnknownRecipients: 20, Journal: &told})
		ctx := t.Context()
		try := func(d Deed, from string, n int, pause time.Duration) {
			for range n {
				a.Did(ctx, d, ip(from))
				time.Sleep(pause)
			}
		}
		is := func(from string, want bool) {
			t.Helper()
			if b, got := a.Banned(ip(from)); got != want {
				t.Errorf("%s banned: %v, %+v", from, got, b)
			}
		}
		try(WrongPassword, "192.0.2.1", 9, time.Second)
		is("192.0.2.1", false)
		try(WrongPassword, "192.0.2.1", 2, time.Second)
		is("192.0.2.1", true)
		is("192.0.2.2", false)
		if len(told) != 1 || told[0].Kind != "banned" || told[0].Peer != "192.0.2.1/32" || !strings.HasPrefix(told[0].Text, "10 wrong passwords within an hour, so until ") {
			t.Errorf("told %+v", told)
		}
		time.Sleep(DefaultBan)
		is("192.0.2.1", false)
		try(WrongPassword, "192.0.2.1", 11, time.Second) // the second time it is twice as long
		time.Sleep(DefaultBan + DefaultBan/2)
		is("192.0.2.1", true)
		time.Sleep(DefaultBan)
		is("192.0.2.1", false)

		try(WrongPassword, "192.0.2.9", 60, 10*time.Minute) // slowly: they fade
		is("192.0.2.9", false)
		try(WrongPassword, "10.1.1.1", 1000, 0)
		try(WrongPassword, "127.0.0.1", 1000, 0)
		is("10.1.1.1", false)
		for i := range 41 { // spread over a network
			try(WrongPassword, fmt.Sprintf("198.51.100.%d", i), 1, time.Second)
		}
		is("198.51.100.200", true)
		for i := range 11 { // an IPv6 /64 is one address
			try(WrongPassword, fmt.Sprintf("2001:db8::%x", i+1), 1, time.Second)
		}
		is("2001:db8::ffff", true)
		is("2001:db8:0:1::1", false)

		for range 200 { // a forwarder or a list with some stale addresses is no guesser
			try(KnownRecipient, "203.0.113.1", 3, time.Millisecond)
			try(UnknownRecipient, "203.0.113.1", 1, time.Millisecond)
		}
		is("203.0.113.1", false)
		try(UnknownRecipient, "203.0.113.2", 21, time.Millisecond)
		is("203.0.113.2", true)
	})
}

// TestAutomaticBanSurvives: what a threshold banned is banned after a restart.
func TestAutomaticBanSurvives(t *testing.T) {
	e := mem.New(mem.Options{})
	a, err := OpenAbuse(t.Context(), AbuseConfig{Engine: e, WrongPasswords: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		a.Did(t.Context(), WrongPassword, ip("192.0.2.1"))
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, banned := openAbuse(t, AbuseConfig{Engine: e}).Banned(ip("192.0.2.1")); !banned {
		t.Error("forgotten")
	}
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := openAbuse(t, AbuseConfig{Connections: 10, Messages: -1})
		refused := func(from string, n int, pause time.Duration) (no int) {
			for range n {
				if a.Did(t.Context(), Connection, ip(from)) {
					no++
				}
				time.Sleep(pause)
			}
			return no
		}
		if no := refused("192.0.2.1", 10, 0); no != 0 {
			t.Error("refused at once", no)
		}
		if no := refused("192.0.2.1", 10, 0); no != 10 {
			t.Error("too many are let in", no)
		}
		time.Sleep(10 * time.Minute)
		if no := refused("192.0.2.1", 100, 7*time.Second); no != 0 {
			t.Error("refused though slower than the limit", no)
		}
		for i := range 50 {
			if no := refused(fmt.Sprintf("198.51.100.%d", i), 1, 0); (no != 0) != (i >= 40) {
				t.Error("network", i, no)
			}
		}
		for range 1000 {
			if a.Did(t.Context(), MessageBegun, ip("192.0.2.1")) || a.Did(t.Context(), Connection, ip("127.0.0.1")) {
				t.Fatal("limited without a limit")
			}
		}
	})
}

func TestTarpit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := openAbuse(t, AbuseConfig{})
		wait := func(from string) time.Duration {
			start := time.Now()
			a.Tarpit(t.Context(), ip(from))
			return time.Since(start)
		}
		var total time.Duration
		for range 8 {
			a.Did(t.Context(), UnknownRecipient, ip("192.0.2.1"))
			total += wait("192.0.2.1")
		}
		if total < 14*time.Second || total > 15*time.Second { // 1+2+3+4+5
			t.Error(total)
		}
		if d := wait("192.0.2.2"); d != 0 {
			t.Error("somebody else waits", d)
		}
		for range 30 {
			a.Did(t.Context(), UnknownRecipient, ip("192.0.2.1"))
		}
		for range MaxTarpits {
			go a.Tarpit(t.Context(), ip("192.0.2.1"))
		}
		synctest.Wait()
		if d := wait("192.0.2.1"); d != 0 {
			t.Error("there is no end to the tarpits", d)
		}
		time.Sleep(tarpitMost)
		if d := wait("192.0.2.1"); d != tarpitMost {
			t.Error(d)
		}
	})
}

// TestBansOfAnyKind compares with the plain reading of a list.
func TestBansOfAnyKind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := day0
		b, _, err := openBans(context.Background(), nil, nil, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		model := map[netip.Prefix]Ban{}
		any := func() netip.Addr {
			x := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 128, 255}), 4, 4).Draw(t, "ip")
			return netip.AddrFrom4([4]byte{200, x[1], x[2], x[3]})
		}
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			p, _ := any().Prefix(rapid.IntRange(9, 32).Draw(t, "bits"))
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				delete(model, p)
				_ = b.Remove(context.Background(), p) // that it is not there is no matter
			case 1:
				now = now.Add(time.Hour)
			default:
				x := Ban{Network: p, Until: now.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "minutes")) * time.Minute)}
				if err := b.Add(context.Background(), x); err != nil {
					t.Fatal(err)
				}
				model[p] = x
			}
			who, want := any(), false
			for p, x := range model {
				want = want || p.Contains(who) && now.Before(x.Until)
			}
			if _, got := b.Banned(who); got != want {
				t.Fatalf("%s banned: %v, want %v", who, got, want)
			}
		}
	})
}

func BenchmarkBanned(b *testing.B) {
	a := openAbuse(b, AbuseConfig{})
	var all []Ban
	for i := range 50_000 {
		bits := 32
		if i%10 == 0 {
			bits = 24
		}
		p, _ := netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}).Prefix(bits)
		all = append(all, Ban{Network: p})
	}
	a.Replace(all)
	who := ip("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if _, banned := a.Banned(who); banned {
			b.Fatal("banned")
		}
	}
}

func BenchmarkDid(b *testing.B) {
	a := openAbuse(b, AbuseConfig{Connections: -1})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		a.Did(b.Context(), Connection, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
	}
}
