package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/samotop/samotop/internal/testports"
)

// sink is a running smtp-sink of Postfix, which keeps what it gets in a file.
type sink struct {
	t    *testing.T
	dir  string
	port string
	cmd  *exec.Cmd
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{t: t, dir: t.TempDir(), port: freePort(t)}
	need(t, "smtp-sink")
	t.Cleanup(s.stop)
	return s
}

// freePort returns a port that is this test's alone.
func freePort(t *testing.T) string {
	t.Helper()
	port, release, err := testports.One()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return strconv.Itoa(port)
}

// start runs it with options that say what it refuses, and waits until it listens.
func (s *sink) start(options ...string) {
	s.t.Helper()
	args := append([]string{"-c", "-D", filepath.Join(s.dir, "got")}, options...)
	if os.Getuid() == 0 { // it does not keep root's rights
		if err := os.Chmod(s.dir, 0o777); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Chmod(filepath.Dir(s.dir), 0o755); err != nil {
			s.t.Fatal(err)
		}
		args = append(args, "-u", "nobody")
	}
	s.cmd = exec.Command(need(s.t, "smtp-sink"), append(args, "127.0.0.1:"+s.port, "1000")...)
	s.cmd.Dir = s.dir
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			s.t.Fatal("smtp-sink does not listen: ", err)
		}
	}
}

func (s *sink) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may have ended
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// got counts by Message-ID what it has taken.
func (s *sink) got() map[string]int {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "got"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	out := map[string]int{}
	for _, m := range regexp.MustCompile(`(?mi)^Message-ID: <([^>]+)>`).FindAllSubmatch(text, -1) {
		out[string(m[1])]++
	}
	return out
}

func (s *sink) route(h *house) {
	h.dropIn("route-far", "[[qm.route]]\ndomain = \"far.test\"\nto = \"smtp://127.0.0.1:"+s.port+"\"\n")
}

// TestSink: whatever the next server does wrong, and wherever in a transaction, is put off or reported; nothing is lost, and
// when it behaves again what was put off arrives once.
func TestSink(t *testing.T) {
	s := newSink(t)
	h := newHouse(t, "a.test", "alice")
	s.route(h)
	h.start()
	id := 0
	for _, c := range []struct {
		options string
		reports int    // a refusal for good is reported
		again   string // what says that it may have been taken, though nobody said so
	}{
		{options: "-r CONNECT"}, {options: "-r EHLO,HELO"}, {options: "-r MAIL"}, {options: "-r RCPT"}, {options: "-r DATA"}, {options: "-r ."},
		{options: "-f MAIL", reports: 1}, {options: "-f RCPT", reports: 1}, {options: "-f DATA", reports: 1}, {options: "-f .", reports: 1},
		{options: "-q CONNECT"}, {options: "-q EHLO,HELO"}, {options: "-q MAIL"}, {options: "-q RCPT"}, {options: "-q DATA"},
		{options: "-q .", again: "it may be delivered twice"},
		{options: "-Q MAIL"}, {options: "-Q RCPT"}, {options: "-Q DATA"}, {options: "-Q ."}, {options: "-f CONNECT"}, {options: "-f EHLO,HELO"},
	} {
		t.Run(c.options, func(t *testing.T) {
			s.t, h.t = t, t
			s.start(strings.Fields(c.options)...)
			id++
			name := fmt.Sprintf("%d@sink", id)
			before := strings.Count(h.log.String(), c.again)
			message := strings.Replace(letter("alice@a.test", "x@far.test", c.options, "hello"), "Message-ID: <", "X-Old: <", 1)
			if err := h.submit("alice@a.test", []string{"x@far.test"}, "Message-ID: <"+name+">\r\n"+message); err != nil {
				t.Fatal(err)
			}
			if c.reports > 0 {
				h.queued(0)
			} else {
				h.deferred(1)
			}
			s.stop()
			if c.again != "" && strings.Count(h.log.String(), c.again) == before {
				t.Errorf("the log does not say %q", c.again)
			}
			s.start()
			h.run("", "queue", "retry", "--all")
			h.queued(0)
			s.stop()
			want := 1
			if c.reports > 0 {
				want = 0
			}
			if strings.HasSuffix(c.options, ".") { // it writes down what it then refuses
				want++
			}
			if n := s.got()[name]; n != want {
				t.Errorf("taken %d times, not %d", n, want)
			}
		})
	}
	s.t, h.t = t, t
	h.await("alice@a.test", 4)
}

// deferred waits until as many messages wait for their next attempt.
func (h *house) deferred(n int) {
	h.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		lines := max(strings.Count(h.run("", "queue", "list", "--state", "deferred"), "\n")-1, 0)
		if lines == n {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("%d messages are deferred, not %d\n%s", lines, n, h.log)
		}
	}
}

// Messages of TestRelayKill, and how often the house is killed: in CI, and with SAMOTOP_NIGHTLY.
const (
	relayedInCI, relayKillsInCI       = 1000, 5
	relayedNightly, relayKillsNightly = 10_000, 50
)

// TestRelayKill kills the house at random moments while messages go out. None that was acknowledged may be missing; one may
// arrive twice only if the answer to its sender was lost, or if the log says that it may have been on the wire.
func TestRelayKill(t *testing.T) {
	total, kills := int64(relayedInCI), relayKillsInCI
	if os.Getenv("SAMOTOP_NIGHTLY") != "" {
		total, kills = relayedNightly, relayKillsNightly
	}
	if n, err := strconv.Atoi(os.Getenv("SAMOTOP_KILLS")); err == nil {
		kills, total = n, int64(n)*relayedNightly/relayKillsNightly
	}
	s := newSink(t)
	h := newHouse(t, "a.test", "u0", "u1", "u2")
	s.route(h)
	s.start()
	h.start()
	var acked, lost sync.Map
	var logs strings.Builder
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() {
			for n := next.Add(1); n <= total; n = next.Add(1) {
				h.relayOne(fmt.Sprintf("u%d@a.test", w%3), fmt.Sprintf("%d@relay", n), &acked, &lost)
			}
		})
	}
	for k := range kills {
		for float64(next.Load()) < float64(total)*float64(k)/float64(kills+1) { // spread over the messages
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		if err := h.stop(syscall.SIGKILL); err == nil {
			t.Fatal("the house ended by itself\n", h.log)
		}
		logs.WriteString(h.log.String())
		h.start()
	}
	wg.Wait()
	h.settle()
	checkRelayed(t, suspects(logs.String()+h.log.String()), s.got(), &acked, &lost, kills)
}

// relayOne hands a message in until it is acknowledged.
func (h *house) relayOne(user, id string, acked, lost *sync.Map) {
	message := "From: " + user + "\r\nTo: x@far.test\r\nMessage-ID: <" + id + ">\r\n\r\n" + strings.Repeat("hello ", rand.IntN(500)) + "\r\n"
	for {
		c, err := h.login(user)
		if err == nil {
			err = transact(c, user, []string{"x@far.test"}, message)
			c.Close()
			var refused *textproto.Error
			switch {
			case err == nil:
				acked.Store(id, true)
				return
			case !errors.As(err, &refused):
				lost.Store(id, true)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func checkRelayed(t *testing.T, said map[string]bool, got map[string]int, acked, lost *sync.Map, kills int) {
	messages, missing, double, unsaid, resent := 0, 0, 0, 0, 0
	acked.Range(func(k, _ any) bool {
		messages++
		n := got[k.(string)]
		_, wasLost := lost.Load(k)
		switch {
		case n == 0:
			missing++
			t.Errorf("%v is lost", k)
		case n > 1 && said[k.(string)]:
			double++
		case n > 1 && wasLost:
			resent++
		case n > 1:
			unsaid++
			t.Errorf("%v arrived %d times, and nothing in the log says why", k, n)
		}
		return true
	})
	t.Logf("%d kills, %d messages acknowledged, %d missing, %d double as the log says, %d double because the sender heard no answer, %d double without a word",
		kills, messages, missing, double, resent, unsaid)
}

// suspects are the Message-IDs of what the log says may arrive twice.
func suspects(log string) map[string]bool {
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`msg="(?:this may have been on the wire|the answer to the end of the message was lost)[^\n]* message_id=<?([^\s>"]+)`).FindAllStringSubmatch(log, -1) {
		out[m[1]] = true
	}
	return out
}
