package qm

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/resolver/resolvertest"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/store/mem"
)

// TestRouteChoice: the first route whose conditions all hold wins.
func TestRouteChoice(t *testing.T) {
	rs, err := parseRoutes([]Route{
		{Domain: "*", Account: "Boss@home.test", To: "smtp://boss.test"},
		{Domain: "*", Account: "@sales.test", To: "smtp://sales.test"},
		{Domain: "far.test", Sender: "<>", To: "smtp://reports.test"},
		{Domain: "*", Sender: ".lists.test", To: "mx", Interval: time.Second},
		{Domain: "far.test", To: "smtp://far.test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ sender, account, domain, want string }{
		{"a@home.test", "boss@home.test", "far.test", "smtp://boss.test:25"},
		{"a@home.test", "x@sales.test", "far.test", "smtp://sales.test:25"},
		{"", "", "far.test", "smtp://reports.test:25"},
		{"", "", "other.test", "mx:other.test"},
		{"a@b.lists.test", "", "far.test", "mx:far.test"},
		{"a@lists.test", "", "far.test", "smtp://far.test:25"},
	} {
		name := rs.line(mail.Target{Address: addr("x@" + c.domain), Remote: true}, &messageRow{sender: mail.Sender{Address: addr(c.sender)}, origin: origin{account: c.account}})
		h, ok := rs.byName(name)
		if place, _, _ := cutOptions(name); place != c.want || !ok || name != place && h.name == "" {
			t.Errorf("%+v goes by %s", c, name)
		}
	}
	for _, r := range []Route{{Domain: "*", To: "exec:relative"}, {Domain: "*", To: "smtp://x", Fallback: "mx"}, {Domain: "*", To: "smtp://x", TLS: "maybe"},
		{Domain: "*", To: "mx", TLS: "verified"}, {Domain: "*", To: "smtps://x", TLS: "off"}, {Domain: "*", To: "smtp://x", Hello: "a b"},
		{Domain: "*", To: "smtp://x", Interval: -1}, {Domain: "*", Sender: "a b", To: "mx"}} {
		if _, err := parseRoute(r); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}

func cutOptions(name string) (place, options string, ok bool) {
	for i := range name {
		if name[i] == '#' {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

// TestRate: a route's interval, or that of all destinations, holds between any two messages.
func TestRate(t *testing.T) {
	for name, slow := range map[string]func(c *Config){
		"route": func(c *Config) { c.Routes = []Route{{Domain: "far.test", To: "mx", Interval: time.Minute}} },
		"all":   func(c *Config) { c.Limits.Interval = time.Minute },
		"route first": func(c *Config) {
			c.Limits.Interval, c.Routes = time.Hour, []Route{{Domain: "far.test", To: "mx", Interval: time.Minute}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWith(t, slow, func(w *world, q *QM) {
				for range 5 {
					w.send(q, "a@home.test", "x@far.test")
					w.send(q, "a@home.test", "b@home.test")
				}
				for i := range 5 {
					synctest.Wait()
					if n := len(w.got("x@far.test")); n != i+1 {
						t.Errorf("%d after %d minutes", n, i)
					}
					if n := len(w.box("b@home.test")); n != 5 {
						t.Errorf("%d of 5 here", n)
					}
					time.Sleep(time.Minute)
				}
			})
		})
	}
}

// TestFallback: after repeated refusals another way is taken.
func TestFallback(t *testing.T) {
	rec := &mailtest.Recorder{}
	other := serve(t, "tcp", "127.0.0.1:0", &smtp.Server{Door: rec, Hostname: "other.test"})
	w := newWorld(t)
	q := onSockets(t, w, mem.New(mem.Options{}), Route{Domain: "*", To: "smtp://127.0.0.1:1", Fallback: "smtp://" + other, FallbackAfter: 2})
	w.send(q, "a@home.test", "x@far.test")
	var id string
	eventually(t, "not tried", func() bool {
		p, err := q.List(context.Background(), Filter{State: StateDeferred})
		if err == nil && len(p.Entries) == 1 {
			id = p.Entries[0].ID
		}
		return id != ""
	})
	if len(rec.Messages()) != 0 {
		t.Error("the fallback is taken at once")
	}
	eventually(t, "the fallback is not taken", func() bool {
		_ = q.Retry(context.Background(), id)
		return len(rec.Messages()) == 1
	})
}

// busyDoor says 4yz to MAIL.
type busyDoor struct{}

func (busyDoor) Open(context.Context, *mail.Session) (mail.Receiver, error) { return busyDoor{}, nil }
func (busyDoor) Begin(context.Context, *mail.Session, mail.Sender) (mail.Transaction, error) {
	return nil, mail.NewReply(451, mail.Enhanced{4, 3, 2}, "not now")
}

// TestNextHost: 4yz to MAIL leaves it to the next mail server (RFC 5321 section 5.1).
func TestNextHost(t *testing.T) {
	n := newInternet(t)
	n.host("far.test", nil, "", "")
	n.at["192.0.2.50:25"] = serve(t, "tcp", "127.0.0.1:0", &smtp.Server{Door: busyDoor{}, Hostname: "first.test"})
	n.zone.WriteString("far.test. MX 5 first.test.\nfirst.test. A 192.0.2.50\n")
	q := n.queue(resolvertest.New(t, n.zone.String()))
	n.check(q, []fate{{"far.test", ""}}, letter)
}

// TestExecRoute: a child process that speaks LMTP on its standard input and output takes mail.
func TestExecRoute(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is needed: ", err)
	}
	dir := t.TempDir()
	script := "import sys\ndef say(s):\n sys.stdout.write(s+'\\r\\n'); sys.stdout.flush()\nsay('220 child.test LMTP')\nn=0\nfor l in sys.stdin:\n v=l.split()[0].upper()\n" +
		" if v=='LHLO': say('250 child.test')\n elif v=='DATA':\n  say('354 go')\n  f=open('" + dir + "/got','w')\n  for l in sys.stdin:\n   if l.rstrip()=='.': break\n   f.write(l)\n" +
		"  f.close(); say('250 taken')\n elif v=='QUIT': say('221 bye'); break\n else: say('250 ok')\n"
	if err := os.WriteFile(dir+"/child.py", []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	q := onSockets(t, w, mem.New(mem.Options{}), Route{Domain: "*", To: "exec:" + python + " " + dir + "/child.py"})
	w.send(q, "a@home.test", "x@far.test")
	eventually(t, "the queue does not become empty", func() bool { return len(rows(t, q.cfg.Engine)) == 0 })
	if b, err := os.ReadFile(dir + "/got"); err != nil || len(b) < len(letter)-10 {
		t.Errorf("%q %v", b, err)
	}
}
