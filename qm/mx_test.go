package qm

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
	"github.com/samotop/samotop/store/mem"
)

func TestHosts(t *testing.T) {
	z := resolvertest.Zone(t, `
		plain.test     MX 20 b.plain.test
		plain.test     MX 10 a.plain.test
		a.plain.test   A 192.0.2.1
		a.plain.test   AAAA 2001:db8::1
		b.plain.test   A 192.0.2.2
		implicit.test  A 192.0.2.3
		null.test      MX 0 .
		none.test      TXT "no address"
		ghost.test     MX 10 gone.test
		self.test      MX 10 a.plain.test
		self.test      MX 20 Host.Home.Test
		self.test      MX 20 b.plain.test
		self.test      MX 30 b.plain.test
		only.test      MX 5 host.home.test
		alias.test     CNAME plain.test
		viaalias.test  MX 10 cname.test
		cname.test     CNAME a.plain.test
		half.test      MX 10 down.test
		half.test      MX 20 b.plain.test
		slow.test      MX 10 down.test
		zero.test      A 0.0.0.0
		loopback.test  A 127.0.0.1
		mapped.test    AAAA ::1
	`)
	z.Fail("down.test", resolver.ErrTemporary)
	z.Fail("broken.test", resolver.ErrTemporary)
	w := newWorld(t)
	cfg := w.config(mem.New(mem.Options{}))
	cfg.Resolver = z.Resolver(resolver.Config{})
	q := w.open(cfg)
	for domain, want := range map[string]string{
		"plain.test": "[2001:db8::1]:25 192.0.2.1:25 192.0.2.2:25", "implicit.test": "192.0.2.3:25", "alias.test": "[2001:db8::1]:25 192.0.2.1:25 192.0.2.2:25",
		"viaalias.test": "[2001:db8::1]:25 192.0.2.1:25", "null.test": "556 5.1.10", "none.test": "550 5.4.4", "ghost.test": "550 5.4.4",
		"unknown.test": "550 5.1.2", "self.test": "[2001:db8::1]:25 192.0.2.1:25", "only.test": "554 5.4.6", "half.test": "192.0.2.2:25",
		"slow.test": "451 4.4.3", "broken.test": "451 4.4.3", "[192.0.2.7]": "192.0.2.7:25", "[IPv6:2001:db8::7]": "[2001:db8::7]:25",
		"[ipv6:2001:db8::7]": "[2001:db8::7]:25", "zero.test": "554 5.4.6", "loopback.test": "554 5.4.6", "mapped.test": "554 5.4.6", "not a domain": "550 5.1.2",
	} {
		q.mu.Lock()
		l := q.line("mx:" + domain)
		q.mu.Unlock()
		hosts, err := q.hosts(context.Background(), l)
		var got []string
		for _, h := range hosts {
			got = append(got, h.address)
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = mail.AsReply(err).String()
		}
		if !strings.HasPrefix(text, want) {
			t.Errorf("%s: %s, want %s", domain, text, want)
		}
	}
}

func TestShuffle(t *testing.T) {
	w := newWorld(t)
	q := w.open(w.config(mem.New(mem.Options{})))
	first := map[string]int{}
	for range 300 {
		mx := []resolver.MX{{Preference: 10, Host: "a"}, {Preference: 10, Host: "b"}, {Preference: 10, Host: "c"}, {Preference: 20, Host: "d"}}
		q.shuffle(mx)
		if !slices.IsSortedFunc(mx, func(a, b resolver.MX) int { return int(a.Preference) - int(b.Preference) }) {
			t.Fatalf("%v", mx)
		}
		first[mx[0].Host]++
	}
	for _, h := range []string{"a", "b", "c"} {
		if first[h] < 50 {
			t.Errorf("%s comes first %d times of 300", h, first[h])
		}
	}
}
