package sasl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
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
			end, err := l.Wait(t.Context(), "alice", attacker)
			if err != nil {
				t.Fatal(err)
			}
			if d := time.Since(before); (i < 5) != (d == 0) || d > 8*time.Second {
				t.Errorf("attempt %d waited %v", i, d)
			}
			l.Failed("alice", attacker)
			end()
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
				end, err := l.Wait(t.Context(), "bob", from)
				defer end()
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
		if _, err := l.Wait(ctx, "bob", from); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if len(l.waiting) != 0 {
			t.Errorf("still waiting: %v", l.waiting)
		}
	})
}

// attempts makes n of them at the same time, each of which takes a second. It returns how many were under way at once at most, and
// how many were sent away.
func attempts(t *testing.T, l *Limiter, n int, who func(i int) (string, net.Addr), good bool) (most, refused int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	now := 0
	for i := range n {
		wg.Go(func() {
			account, from := who(i)
			end, err := l.Wait(t.Context(), account, from)
			defer end()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused++
				return
			}
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			if good {
				l.Succeeded(account, from)
			} else {
				l.Failed(account, from)
			}
		})
	}
	wg.Wait()
	return most, refused
}

// TestLimiterAtOnce: guesses that come at the same time are not free because none of them has failed yet.
func TestLimiterAtOnce(t *testing.T) {
	nth := func(i int) net.Addr { return at(fmt.Sprintf("203.0.113.%d", i)) }
	for name, c := range map[string]struct {
		who           func(i int) (string, net.Addr)
		good          bool
		most, refused int
		took          time.Duration
	}{
		"one account, one network":   {func(int) (string, net.Addr) { return "alice", nth(9) }, false, 8, 87, 0},
		"one account, many networks": {func(i int) (string, net.Addr) { return "alice", nth(i) }, false, 95, 0, 0}, // all after a delay, nobody is locked out
		"many accounts, one network": {func(i int) (string, net.Addr) { return fmt.Sprint("u", i), nth(9) }, false, 8, 87, 0},
		"people behind one address":  {func(i int) (string, net.Addr) { return fmt.Sprint("u", i), nth(9) }, true, 5, 0, 20 * time.Second},
		"a program with many":        {func(int) (string, net.Addr) { return "alice", nth(9) }, true, 10, 0, 0}, // five until the first login, then those of a known network
		"strangers to each other":    {func(i int) (string, net.Addr) { return fmt.Sprint("u", i), nth(i) }, false, 100, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, begin := &Limiter{}, time.Now()
				most, refused := attempts(t, l, 100, c.who, c.good)
				if took := time.Since(begin); (most != c.most && !(c.good && most < c.most)) || refused != c.refused || c.took > 0 && took != c.took {
					t.Errorf("%d at once, %d refused, in %v", most, refused, took)
				}
				if len(l.turns) != 0 || len(l.waiting) != 0 {
					t.Errorf("left behind: %v %v", l.turns, l.waiting)
				}
			})
		})
	}
}

// TestLimiterGivesUp: who waits for the outcome of others may go, and those behind him still get their turn.
func TestLimiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, from := &Limiter{Free: 1}, at("203.0.113.9")
		end, err := l.Wait(t.Context(), "alice", from)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if i%2 == 0 {
					ctx = t.Context()
				}
				defer cancel()
				end, err := l.Wait(ctx, "alice", from)
				defer end()
				if (err == nil) != (i%2 == 0) {
					t.Errorf("%d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		end()
		wg.Wait()
		if len(l.turns) != 0 {
			t.Errorf("left behind: %v", l.turns)
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
		var log bytes.Buffer
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
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
		if n := strings.Count(log.String(), "level=WARN msg=\"somebody guesses at an account"); n != 1 {
			t.Errorf("told %d times", n)
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
		end, err := l.Wait(b.Context(), "alice@example.test", from)
		if err != nil {
			b.Fatal(err)
		}
		l.Succeeded("alice@example.test", from)
		end()
	}
}
