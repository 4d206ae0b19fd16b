package qm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/resolver"
	"github.com/samotop/samotop/resolver/resolvertest"
	"github.com/samotop/samotop/store/mem"
)

// manner is what a server does when it is at a stage, instead of what it should.
type manner struct {
	name string
	do   func(c net.Conn)
}

// stages of a session, by what was said last.
var stages = []string{"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."}

func manners() []manner {
	repeat := func(text string) func(c net.Conn) {
		return func(c net.Conn) {
			for range 1_000_000 { // until we have enough of it
				if _, err := c.Write([]byte(text)); err != nil {
					return
				}
			}
		}
	}
	once := func(text string) func(c net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Write([]byte(text)) // who has gone hears nothing
			hang(c)
		}
	}
	return []manner{
		{"says nothing", hang},
		{"closes", func(net.Conn) {}},
		{"writes without end", repeat(strings.Repeat("x", 4096))},
		{"lines without end", repeat("250-" + strings.Repeat("y", 70) + "\r\n")},
		{"garbage", once("\x00\xff\xfe 99999 !!\r\n\r\n\n\n250\n")},
		{"codes that disagree", once("250-one\r\n550 two\r\n")},
		{"a code of no kind", once("099 hello\r\n")},
		{"half a line", once("25")},
		{"one octet a minute", func(c net.Conn) {
			for range 100_000 {
				if _, err := c.Write([]byte("2")); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		}},
	}
}

// hang reads whatever comes until the peer has gone, and answers nothing.
func hang(c net.Conn) {
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// offers are the extensions that a server has so that a stage is come to.
var offers = map[string]string{"STARTTLS": "STARTTLS", "TLS": "STARTTLS", "BDAT": "CHUNKING"}

// behave is a server that is well until it comes to a stage. taken is called for each message that it takes.
func behave(c net.Conn, at string, m manner, taken func()) {
	defer c.Close()
	r := bufio.NewReader(c)
	say := func(stage, answer string) bool {
		if stage == at {
			m.do(c)
			return false
		}
		_, err := c.Write([]byte(answer + "\r\n"))
		return err == nil
	}
	ok := say("CONNECT", "220 bad.test")
	for data := false; ok; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		word, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch verb, _, _ := strings.Cut(strings.ToUpper(word), ":"); {
		case data && line == ".\r\n":
			data, ok = false, say(".", "250 taken")
			if ok {
				taken()
			}
		case data:
		case verb == "DATA":
			data, ok = true, say("DATA", "354 go on")
		case verb == "EHLO" && offers[at] != "":
			ok = say(verb, "250-fine\r\n250 "+offers[at])
		case verb == "STARTTLS":
			if ok = say(verb, "220 go on"); ok && at == "TLS" {
				m.do(c)
			}
			return
		case verb == "BDAT":
			var n int64
			if _, err := fmt.Sscanf(line, "BDAT %d", &n); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, r, n); err != nil {
				return
			}
			if ok = say(verb, "250 taken"); ok && strings.Contains(line, "LAST") {
				taken()
			}
		case verb == "MAIL", verb == "RCPT", verb == "EHLO":
			ok = say(verb, "250 fine")
		case verb == "QUIT":
			say(verb, "221 bye")
			return
		default:
			ok = say(verb, "250 well")
		}
	}
}

// badNames are names that lie, loop, or never end; all others lead to a server of their own.
type badNames struct {
	resolver.Resolver
	self string
}

func (b badNames) MX(ctx context.Context, domain string) ([]resolver.MX, resolver.Answer, error) {
	var mx []resolver.MX
	switch domain {
	case "silent.test":
		<-ctx.Done()
		return nil, resolver.Answer{}, ctx.Err()
	case "broken.test":
		return nil, resolver.Answer{}, fmt.Errorf("%w: SERVFAIL", resolver.ErrTemporary)
	case "self.test":
		mx = []resolver.MX{{Host: b.self}}
	case "null.test":
		mx = []resolver.MX{{Host: ""}}
	case "many.test":
		for i := range 5000 {
			mx = append(mx, resolver.MX{Preference: uint16(i), Host: fmt.Sprintf("mx%d.many.test", i)})
		}
	default:
		mx = []resolver.MX{{Host: "mx." + domain}}
	}
	return mx, resolver.Answer{}, nil
}

func (b badNames) Addrs(_ context.Context, host string, _ resolver.Family) ([]netip.Addr, resolver.Answer, error) {
	var ips []netip.Addr
	var n int
	switch {
	case host == "mx.nowhere.test":
		return nil, resolver.Answer{}, resolver.ErrNoData
	case host == "mx.loopback.test":
		ips = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("0.0.0.0")}
	case host == "mx.manyaddresses.test":
		for i := range 3000 {
			ips = append(ips, netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}))
		}
	case strings.HasSuffix(host, ".many.test"):
		ips = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	default:
		if _, err := fmt.Sscanf(host, "mx.s%d.test", &n); err != nil {
			return nil, resolver.Answer{}, resolver.ErrNoName
		}
		ips = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})}
	}
	return ips, resolver.Answer{}, nil
}

// TestHostileServers: at whatever point and in whatever manner a server fails, and whatever the names say, the sender is
// told in the end, once, and nothing is left.
func TestHostileServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cfg := w.config(mem.New(mem.Options{}))
		cfg.Resolver = badNames{resolvertest.New(t, "x.test A 192.0.2.1\n"), cfg.Hostname}
		cfg.Log = nil
		cfg.Journal = mail.NoJournal
		type server struct {
			at string
			m  manner
		}
		var servers []server
		for _, m := range manners() {
			for _, at := range stages {
				servers = append(servers, server{at, m})
			}
		}
		var dials atomic.Int64
		cfg.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
			ip := netip.MustParseAddrPort(address).Addr().As4()
			if ip[0] != 192 {
				dials.Add(1)
				return nil, errors.New("connection refused")
			}
			ours, theirs := net.Pipe()
			s := servers[ip[3]]
			go behave(theirs, s.at, s.m, func() {})
			return ours, nil
		}
		q, err := Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- q.Run(context.Background()) }()
		domains := []string{"silent.test", "broken.test", "self.test", "null.test", "many.test", "manyaddresses.test", "loopback.test", "nowhere.test"}
		for i := range servers {
			domains = append(domains, fmt.Sprintf("s%d.test", i))
		}
		for i, d := range domains {
			w.send(q, fmt.Sprintf("u%d@home.test", i), "x@"+d)
		}
		time.Sleep(9 * 24 * time.Hour)
		synctest.Wait()
		for i, d := range domains {
			what := d
			var n int
			if _, err := fmt.Sscanf(d, "s%d.test", &n); err == nil {
				what = servers[n].m.name + " at " + servers[n].at
			}
			failed := 0
			box := w.box(fmt.Sprintf("u%d@home.test", i))
			for _, m := range box {
				if strings.Contains(m, "Action: failed") {
					failed++
				}
			}
			if failed != 1 || len(box) > 2 { // one of the delay may have come before
				t.Errorf("%s: %d reports of failure, %d messages", what, failed, len(box))
			}
		}
		// Ten hosts in an attempt, and an attempt every four hours at the end: a name with thousands of them costs no more.
		if n := dials.Load(); n > 2*10*60 {
			t.Errorf("%d connections were tried to names with too many hosts", n)
		}
		w.empty(q)
		if err := q.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestHostileStages are those that not every session comes to: the server may be hostile to STARTTLS, in place of a handshake, to
// BDAT, and to QUIT. Each message is taken once, or its sender is told so, never both.
func TestHostileStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cfg := w.config(mem.New(mem.Options{}))
		cfg.Resolver = badNames{resolvertest.New(t, "x.test A 192.0.2.1\n"), cfg.Hostname}
		cfg.Log = nil
		cfg.Journal = mail.NoJournal
		type server struct {
			at string
			m  manner
		}
		var servers []server
		for _, m := range manners() {
			for _, at := range []string{"STARTTLS", "TLS", "BDAT", "QUIT"} {
				servers = append(servers, server{at, m})
			}
		}
		taken := make([]atomic.Int64, len(servers))
		cfg.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			i := netip.MustParseAddrPort(address).Addr().As4()[3]
			go behave(theirs, servers[i].at, servers[i].m, func() { taken[i].Add(1) })
			return ours, nil
		}
		q, err := Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- q.Run(context.Background()) }()
		body := letter + strings.Repeat("text\r\n", 1000)
		for i := range servers {
			from := mail.Sender{Address: addr(fmt.Sprintf("u%d@home.test", i)), Size: int64(len(body))}
			if _, err := submit(context.Background(), q, from, body, mail.Recipient{Address: addr(fmt.Sprintf("x@s%d.test", i))}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(9 * 24 * time.Hour)
		synctest.Wait()
		for i, s := range servers {
			failed := 0
			for _, m := range w.box(fmt.Sprintf("u%d@home.test", i)) {
				if strings.Contains(m, "Action: failed") {
					failed++
				}
			}
			sent := s.at != "BDAT" && (s.at != "STARTTLS" || s.m.name != "one octet a minute") // that takes all the time of an attempt
			if n := int(taken[i].Load()); n+failed != 1 || (n == 1) != sent {                  // without TLS it goes in clear
				t.Errorf("%s at %s: taken %d times, %d reports of failure", s.m.name, s.at, n, failed)
			}
		}
		w.empty(q)
		if err := q.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestClockJumps: a clock that is set forward or back loses nothing and sends nothing twice.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{24 * time.Hour, -24 * time.Hour, -365 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			var offset atomic.Int64
			clock := func(c *Config) { c.Clock = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) } }
			inWith(t, clock, func(w *world, q *QM) {
				w.site("far.test").down = true
				w.send(q, "a@home.test", "x@far.test")
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				offset.Store(int64(jump))
				w.send(q, "a@home.test", "y@far.test")
				w.send(q, "a@home.test", "z@live.test")
				synctest.Wait()
				if n := len(w.got("z@live.test")); n != 1 {
					t.Errorf("%d, not one, to a server that is well", n)
				}
				w.mu.Lock()
				w.sites["far.test"].down = false
				w.mu.Unlock()
				time.Sleep(25 * time.Hour)
				offset.Store(0) // somebody sets it right
				time.Sleep(25 * time.Hour)
				synctest.Wait()
				for _, to := range []string{"x@far.test", "y@far.test"} {
					if n := len(w.got(to)); n != 1 {
						t.Errorf("%s got it %d times", to, n)
					}
				}
				w.empty(q)
			})
		})
	}
}

// TestGiveWay: however many dead destinations have filled the memory, a message to another one is sent at once, and what gave
// way is not forgotten.
func TestGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := mem.New(mem.Options{})
		before := w.open(w.config(e)) // never runs: all is found on disk
		for i := range 40 {
			w.site(fmt.Sprintf("d%d.test", i)).down = true
			w.send(before, "a@home.test", fmt.Sprintf("x@d%d.test", i))
		}
		w.silent = true
		time.Sleep(time.Second) // ids are made of the time
		cfg := w.config(e)
		cfg.Limits = Limits{MaxDestinations: 8, MaxConnections: 4}
		q, stop := w.start(cfg)
		synctest.Wait()
		for i := range 5 {
			begin := time.Now()
			to := fmt.Sprintf("x@live%d.test", i)
			w.send(q, "a@home.test", to)
			synctest.Wait()
			if n := len(w.got(to)); n != 1 || time.Since(begin) != 0 {
				t.Errorf("live%d: %d messages after %v", i, n, time.Since(begin))
			}
		}
		w.mu.Lock()
		for i := range 40 {
			w.sites[fmt.Sprintf("d%d.test", i)].down = false
		}
		w.mu.Unlock()
		w.release()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		for i := range 40 {
			if to := fmt.Sprintf("x@d%d.test", i); len(w.got(to)) != 1 {
				t.Errorf("%s got it %d times", to, len(w.got(to)))
			}
		}
		w.empty(q)
		stop()
	})
}
