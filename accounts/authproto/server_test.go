package authproto

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/sasl"
	"github.com/samotop/samotop/store/mem"
)

// start serves alice@example.test with the password "pencil" on a Unix socket.
func start(t *testing.T, s *Server) (dial func() *client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a, err := accounts.Open(ctx, accounts.Config{Engine: mem.New(mem.Options{}), Hash: accounts.HashParams{MemoryKiB: 64, Passes: 1, ScramIterations: 16}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddDomain(ctx, "example.test"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddAccount(ctx, "alice@example.test", accounts.Options{Password: "pencil"}); err != nil {
		t.Fatal(err)
	}
	if s.Auth == nil {
		s.Auth = sasl.New(sasl.Config{Credentials: a, Secret: a.Secret(), PlaintextLoopback: true})
	}
	path := filepath.Join(t.TempDir(), "auth.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		a.Close()
	})
	return func() *client {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(time.Minute))
		return &client{t, c, bufio.NewReader(c)}
	}
}

type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (c *client) line() string {
	s, err := c.r.ReadString('\n')
	if err != nil {
		return "closed"
	}
	return strings.TrimSuffix(s, "\n")
}

// script runs a dialogue: "C: " lines are sent, "S: " lines are regular expressions; a bar stands for a tab.
func (c *client) script(script string) {
	c.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		line = strings.TrimSpace(line)
		text := strings.ReplaceAll(strings.TrimPrefix(line[2:], " "), "|", "\t")
		if line[0] == 'C' {
			fmt.Fprintf(c, "%s\n", text)
		} else if got := c.line(); !regexp.MustCompile("^(?:" + text + ")$").MatchString(got) {
			c.t.Fatalf("want %s\ngot  %q", line, got)
		}
	}
}

const greeting = `
S: VERSION|1|2
S: MECH|SCRAM-SHA-256|mutual-auth
S: MECH|SCRAM-SHA-1|mutual-auth
S: MECH|PLAIN|plaintext
S: MECH|LOGIN|plaintext
S: SPID|[0-9]+
S: CUID|[0-9]+
S: COOKIE|[0-9a-f]{32}
S: DONE
C: VERSION|1|1
C: CPID|4711
`

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestDialogues(t *testing.T) {
	plain, wrong := b64("\x00Alice@example.test\x00pencil"), b64("\x00alice@example.test\x00pen")
	for name, script := range map[string]string{
		"initial response": "C: AUTH|1|PLAIN|service=smtp|nologin|lip=192.0.2.1|rip=192.0.2.2|secured|resp=" + plain + "\nS: OK|1|user=alice@example.test",
		"challenge":        "C: AUTH|7|PLAIN|service=smtp|secured=tls\nS: CONT|7|\nC: CONT|7|" + plain + "\nS: OK|7|user=alice@example.test",
		"wrong":            "C: AUTH|1|PLAIN|service=smtp|secured|resp=" + wrong + "\nS: FAIL|1",
		"login": "C: AUTH|1|LOGIN|service=smtp|secured\nS: CONT|1|VXNlcm5hbWU6\nC: CONT|1|" + b64("alice@example.test") +
			"\nS: CONT|1|UGFzc3dvcmQ6\nC: CONT|1|" + b64("pencil") + "\nS: OK|1|user=alice@example.test",
		"not secured":         "C: AUTH|1|PLAIN|service=smtp|resp=" + plain + "\nS: FAIL|1|reason=.*not available",
		"plus":                "C: AUTH|1|SCRAM-SHA-256-PLUS|service=smtp|secured\nS: FAIL|1|reason=.*not available",
		"unknown mechanism":   "C: AUTH|1|CRAM-MD5|service=smtp|secured\nS: FAIL|1|reason=.*not available",
		"malformed":           "C: AUTH|1|PLAIN|service=smtp|secured|resp=" + b64("x") + "\nS: FAIL|1|reason=.*malformed",
		"not base64":          "C: AUTH|1|PLAIN|service=smtp|secured|resp=!\nS: FAIL|1|reason=.*malformed",
		"later not base64":    "C: AUTH|1|PLAIN|service=smtp|secured\nS: CONT|1|\nC: CONT|1|!\nS: FAIL|1|reason=.*malformed",
		"unknown is ignored":  "C: FUTURE|x\nC: CONT|99|\nC: CANCEL|99\nC: AUTH|1|PLAIN|service=smtp|secured|new=\x01t\x011|resp=" + plain + "\nS: OK|1|user=alice@example.test",
		"side by side":        "C: AUTH|1|PLAIN|service=a|secured\nS: CONT|1|\nC: AUTH|2|PLAIN|service=b|secured|resp=" + plain + "\nS: OK|2|.*\nC: CONT|1|" + plain + "\nS: OK|1|.*",
		"an id again":         "C: AUTH|1|PLAIN|service=a|secured|resp=" + wrong + "\nS: FAIL|1\nC: AUTH|1|PLAIN|service=a|secured|resp=" + plain + "\nS: OK|1|.*",
		"version twice":       "C: VERSION|1|1\nS: closed",
		"id twice":            "C: AUTH|1|PLAIN|service=a|secured\nS: CONT|1|\nC: AUTH|1|PLAIN|service=a|secured\nS: closed",
		"no id":               "C: AUTH|x|PLAIN|service=a\nS: closed",
		"short":               "C: AUTH|1\nS: closed",
		"resp not last":       "C: AUTH|1|PLAIN|resp=AAAA|secured\nS: closed",
		"line too long":       "C: AUTH|1|PLAIN|service=" + strings.Repeat("x", 17000) + "\nS: closed",
		"too many parameters": "C: AUTH|1|PLAIN" + strings.Repeat("|x", 300) + "\nS: closed",
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, &Server{})()
			c.script(greeting)
			c.script(script)
		})
	}
}

func TestBeforeVersion(t *testing.T) {
	for _, first := range []string{"AUTH|1|PLAIN|service=a", "VERSION|2|0", "VERSION", ""} {
		c := start(t, &Server{})()
		c.script(strings.Split(greeting, "C:")[0])
		c.script("C: " + first + "\nS: closed")
	}
}

func TestCancelHasNoAnswer(t *testing.T) {
	c := start(t, &Server{MaxRequests: 1})()
	c.script(greeting)
	c.script("C: AUTH|1|PLAIN|service=a|secured\nS: CONT|1|\nC: AUTH|2|PLAIN|service=a|secured\nS: FAIL|2|temp|reason=.*\nC: CANCEL|1")
	for id := 3; ; id++ { // until the place is free
		c.script(fmt.Sprintf("C: AUTH|%d|PLAIN|service=a|secured|resp=%s", id, b64("\x00alice@example.test\x00pencil")))
		got := c.line()
		if strings.HasPrefix(got, fmt.Sprintf("OK\t%d\t", id)) {
			return
		}
		if !strings.HasPrefix(got, fmt.Sprintf("FAIL\t%d\ttemp", id)) {
			t.Fatal(got)
		}
	}
}

func TestScram(t *testing.T) {
	dial := start(t, &Server{})
	for _, finalInOK := range []bool{false, true} {
		c := dial()
		c.script(greeting)
		cl, err := sasl.NewClient([]string{sasl.ScramSHA256}, sasl.ClientConfig{User: "alice@example.test", Password: "pencil"})
		if err != nil {
			t.Fatal(err)
		}
		first, _ := cl.Start()
		extra := ""
		if finalInOK {
			extra = "\tfinal-resp-ok"
		}
		fmt.Fprintf(c, "AUTH\t5\tSCRAM-SHA-256\tservice=smtp%s\tresp=%s\n", extra, b64(string(first)))
		take := func(prefix string) []byte {
			t.Helper()
			s, ok := strings.CutPrefix(c.line(), prefix)
			if !ok {
				t.Fatal("not", prefix)
			}
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			r, err := cl.Next(b)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		fmt.Fprintf(c, "CONT\t5\t%s\n", b64(string(take("CONT\t5\t"))))
		if finalInOK {
			take("OK\t5\tuser=alice@example.test\tresp=")
		} else {
			take("CONT\t5\t")
			c.script("C: CONT|5|\nS: OK|5|user=alice@example.test")
		}
		if err := cl.Done(); err != nil {
			t.Error(err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	dial := start(t, &Server{MaxConnections: 4})
	var all sync.WaitGroup
	for range 4 {
		c := dial()
		all.Go(func() {
			for range 9 {
				c.line()
			}
			fmt.Fprintf(c, "VERSION\t1\t1\n")
			for i := range 50 {
				fmt.Fprintf(c, "AUTH\t%d\tPLAIN\tservice=a\tsecured\tresp=%s\n", i, b64("\x00alice@example.test\x00pencil"))
			}
			seen := map[string]bool{}
			for range 50 {
				s := c.line()
				if !strings.HasPrefix(s, "OK\t") {
					t.Error(s)
					return
				}
				seen[s] = true
			}
			if len(seen) != 50 {
				t.Errorf("%d answers", len(seen))
			}
		})
	}
	all.Wait()
}

type tired struct{}

func (tired) Mechanisms(*mail.Session) []string { return []string{"PLAIN"} }
func (tired) Start(context.Context, *mail.Session, string) (mail.Exchange, error) {
	return nil, mail.NewReply(454, mail.Enhanced{4, 7, 0}, "Later,\tplease")
}

func TestTrouble(t *testing.T) {
	c := start(t, &Server{Auth: tired{}})()
	for c.line() != "DONE" {
	}
	c.script("C: VERSION|1|1\nC: AUTH|1|PLAIN|service=a\nS: FAIL|1|temp|reason=Later,\x01tplease")
	if err := (&Server{}).Serve(t.Context(), nil); err == nil {
		t.Error("serves without an authenticator")
	}
}

func FuzzLine(f *testing.F) {
	f.Add("AUTH\t1\tPLAIN\tservice=smtp\trip=192.0.2.1\trport=25\tsecured\tresp=AAAA")
	f.Add("AUTH\t1\tPLAIN\tservice=\x01t\x01")
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescape(escape(s)); got != s {
			t.Errorf("%q comes back as %q", s, got)
		}
		if strings.ContainsAny(escape(s), "\t\r\n\x00") {
			t.Errorf("%q is not escaped", s)
		}
		words, err := splitLine(s)
		if err != nil {
			return
		}
		if a, err := parseAuth(words); err == nil && (a.id == "" || a.malformed && a.initial != nil) {
			t.Errorf("%q: %+v", s, a)
		}
	})
}
