package sasl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
)

func at(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4711} }

func TestLimiterSlowsAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{}
		home, attacker := at("192.0.2.1"), at("203.0.113.9")
		l.Succeeded("alice", home)
		for i := range 40 {
			before := time.Now()
			if err := l.Wait(t.Context(), "alice", attacker); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(before); (i < 5) != (d == 0) || d > 8*time.Second {
				t.Errorf("attempt %d waited %v", i, d)
			}
			l.Failed("alice", attacker)
		}
		for _, c := range []struct {
			who  string
			from net.Addr
			slow bool
		}{
			{"alice", attacker, true}, {"bob", attacker, true}, {"alice", at("198.51.100.1"), true},
			{"alice", home, false}, {"bob", at("198.51.100.1"), false},
		} {
			if d := l.Delay(c.who, c.from); (d > 0) != c.slow || d > 8*time.Second {
				t.Errorf("%s from %s: %v", c.who, c.from, d)
			}
		}
		time.Sleep(2 * time.Hour)
		if d := l.Delay("alice", attacker); d != 0 {
			t.Errorf("not forgotten: %v", d)
		}
	})
}

func TestLimiterKnownNetworkPaysForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{}
		home := at("2001:db8::1")
		l.Succeeded("alice", home)
		for range 10 {
			l.Failed("alice", home)
		}
		if l.Delay("alice", at("2001:db8::2")) == 0 {
			t.Error("failures from a known network cost nothing")
		}
		if l.Delay("alice", at("2001:db8:1::2")) != 0 {
			t.Error("they cost elsewhere")
		}
		l.Succeeded("alice", home)
		if l.Delay("alice", home) != 0 {
			t.Error("a login does not end it")
		}
		if l.Delay("bob", home) == 0 {
			t.Error("a login pays for guessing at others")
		}
		time.Sleep(31 * 24 * time.Hour)
		for range 20 {
			l.Failed("alice", at("203.0.113.9"))
		}
		if l.Delay("alice", home) == 0 {
			t.Error("a network is known for ever")
		}
	})
}

func TestLimiterLocalPeers(t *testing.T) {
	l := &Limiter{}
	for _, local := range []net.Addr{at("127.0.0.1"), &net.UnixAddr{Name: "x", Net: "unix"}, nil} {
		for i := range 100 {
			l.Failed(fmt.Sprint("user", i), local)
		}
		if l.Delay("alice", local) != 0 {
			t.Errorf("%v counts as a network", local)
		}
	}
	for range 10 {
		l.Failed("alice", nil)
	}
	if l.Delay("alice", at("127.0.0.1")) == 0 {
		t.Error("guessing at one account through a local peer is not slowed")
	}
}

func TestLimiterWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{MaxWaiting: 3}
		from := at("203.0.113.9")
		for range 30 {
			l.Failed("alice", from)
		}
		var sent, refused int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				err := l.Wait(t.Context(), "bob", from)
				mu.Lock()
				defer mu.Unlock()
				var r *mail.Reply
				switch {
				case err == nil:
					sent++
				case errors.As(err, &r) && r.Code == 454:
					refused++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if sent != 3 || refused != 7 {
			t.Errorf("%d waited, %d refused", sent, refused)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Wait(ctx, "bob", from); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if len(l.waiting) != 0 {
			t.Errorf("still waiting: %v", l.waiting)
		}
	})
}

func TestLimiterIsBounded(t *testing.T) {
	l := &Limiter{MaxKeys: 100}
	for i := range 10_000 {
		from := at(fmt.Sprintf("10.0.%d.%d", i/256, i%256))
		l.Failed(fmt.Sprint("u", i), from)
		l.Succeeded(fmt.Sprint("u", i), from)
	}
	if n := len(l.accounts.now) + len(l.accounts.old); n > 100 {
		t.Errorf("%d accounts", n)
	}
	if n := len(l.networks.now) + len(l.networks.old); n > 100 {
		t.Errorf("%d networks", n)
	}
	if n := len(l.pairs.now) + len(l.pairs.old); n > 100 {
		t.Errorf("%d pairs", n)
	}
}

func TestGuessingIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Limiter = &Limiter{}
		a := New(cfg)
		begin := time.Now()
		for _, user := range []string{"alice@example.test", "Alice@example.test", `"alice"@example.test`, "alice@EXAMPLE.test"} {
			for range 3 {
				c, _ := NewClient([]string{ScramSHA256}, ClientConfig{User: user, Password: "wrong"})
				s := session(nil)
				s.RemoteAddr = nil // so that only the account counts
				if _, err := talk(t, a, s, c); !errors.Is(err, mail.ErrCredentials) {
					t.Fatal(err)
				}
			}
		}
		if d := time.Since(begin); d < 20*time.Second {
			t.Errorf("twelve guesses in %v: spellings are counted apart", d)
		}
		c, _ := NewClient([]string{ScramSHA256}, ClientConfig{User: "alice@example.test", Password: "pencil"})
		if _, err := talk(t, a, session(nil), c); err != nil {
			t.Errorf("the owner is locked out: %v", err)
		}
	})
}

func BenchmarkLimiter(b *testing.B) {
	l := &Limiter{}
	from := at("203.0.113.9")
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Wait(b.Context(), "alice@example.test", from); err != nil {
			b.Fatal(err)
		}
		l.Succeeded("alice@example.test", from)
	}
}
