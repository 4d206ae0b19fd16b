package test

import (
	"context"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// rooms are served by a process each, in any order: who comes first waits for the others.
var rooms = []string{"mta", "guard", "mailbox", "msa", "qm", "management", "accounts"}

// split is a house of a process for each room.
type split struct {
	*house
	mu    sync.Mutex
	procs map[string]process
}

func newSplit(t *testing.T, domain string, names ...string) *split {
	t.Helper()
	s := &split{house: newHouse(t, domain, names...), procs: map[string]process{}}
	s.startAll()
	return s
}

func (s *split) startAll() {
	s.t.Helper()
	var wg sync.WaitGroup
	for _, r := range rooms {
		wg.Go(func() { s.startRoom(r) })
	}
	wg.Wait()
	if s.t.Failed() {
		s.t.FailNow()
	}
}

func (s *split) startRoom(room string) {
	s.t.Helper()
	p, err := s.serve(room)
	if err != nil {
		s.t.Errorf("%s: %v", room, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs[room] = p
	s.process = process{log: &output{}} // what failed tests show; each room has its own
}

func (s *split) kill(room string, sig os.Signal) {
	s.t.Helper()
	p := s.procs[room]
	if err := p.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		s.t.Fatalf("%s does not end\n%s", room, p.log)
	}
}

// until waits for what comes true by itself.
func (s *split) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("never: " + what)
		}
	}
}

// TestSplit sends mail in, out and around a house whose rooms are processes, as TestExchange and others do with one.
func TestSplit(t *testing.T) {
	s := newSplit(t, "s.test", "alice", "bob")
	other := newHouse(t, "o.test", "carol")
	other.start()
	s.route(other)
	s.kill("qm", syscall.SIGTERM)
	s.startRoom("qm") // reads the route

	if err := s.send("x@x.example", []string{"alice@s.test", "bob@s.test"}, letter("x@x.example", "alice@s.test", "in", "hello")); err != nil {
		t.Fatal(err)
	}
	s.await("alice@s.test", 1)
	s.await("bob@s.test", 1)
	if err := s.submit("alice@s.test", []string{"bob@s.test", "carol@o.test"}, letter("alice@s.test", "bob@s.test", "out", "hello")); err != nil {
		t.Fatal(err)
	}
	s.await("bob@s.test", 2)
	for _, m := range other.await("carol@o.test", 1) {
		if !strings.Contains(m, "SMTPSA tls") {
			t.Errorf("the trace does not tell of the login:\n%s", m)
		}
	}
	if err := s.send("x@x.example", []string{"nobody@s.test"}, letter("x@x.example", "nobody@s.test", "no", "hello")); err == nil || !strings.Contains(err.Error(), "5.1.1") {
		t.Errorf("unknown user: %v", err)
	}

	s.until("the journal knows what became of the message", func() bool {
		out, err := s.try("", "why", "carol@o.test")
		return err == nil && strings.Contains(out, "qm") && strings.Contains(out, "msa")
	})

	// What is changed holds at once, in rooms that keep answers too.
	s.run(password, "account", "add", "dave@s.test", "--password-file", "-")
	s.run("", "alias", "add", "team@s.test", "dave@s.test", "alice@s.test")
	if err := s.send("x@x.example", []string{"team@s.test"}, letter("x@x.example", "team@s.test", "alias", "hello")); err != nil {
		t.Error(err)
	}
	s.await("dave@s.test", 1)
	s.run("", "alias", "remove", "team@s.test")
	s.run("", "account", "remove", "dave@s.test")
	refused := func() bool {
		err := s.send("x@x.example", []string{"dave@s.test"}, letter("x@x.example", "dave@s.test", "gone", "hello"))
		return err != nil && strings.Contains(err.Error(), "550")
	}
	s.until("who was removed gets no more mail", refused)
	s.run("", "domain", "add", "second.test")
	if out := s.run("", "dkim", "list", "second.test"); !strings.Contains(out, "second.test") {
		t.Errorf("the new domain has no keys:\n%s", out)
	}
	if out := s.run("", "account", "show", "alice@s.test"); !strings.Contains(out, "Messages  2") {
		t.Errorf("usage is not told:\n%s", out)
	}
	// One trace id leads through the logs of all rooms that had the message.
	for _, way := range [][]string{{"mta", "guard", "mailbox"}, {"msa", "qm", "mailbox"}} {
		said := regexp.MustCompile(`msg=accepted room=` + way[0] + ` (trace=\S+)`).FindStringSubmatch(s.procs[way[0]].log.String())
		if said == nil {
			t.Errorf("%s does not log what it takes:\n%s", way[0], s.procs[way[0]].log)
			continue
		}
		for _, room := range way[1:] {
			if !strings.Contains(s.procs[room].log.String(), said[1]) {
				t.Errorf("%s of %s is not in the log of %s", said[1], way[0], room)
			}
		}
	}

	status := s.run("", "status") // of all processes, by the one of management
	for _, want := range []string{"Certificate mta: mx.s.test, ", "Certificate mailbox: ", "Certificate msa: ", "Queue       0 messages",
		"Room        guard runs in process ", "/guard.sock", s.addr(25), s.addr(993)} {
		if !strings.Contains(status, want) {
			t.Errorf("status does not tell %q:\n%s", want, status)
		}
	}
	for _, verb := range [][]string{{"queue", "list"}, {"store", "status"}, {"verify"}, {"account", "list"}, {"domain", "show", "s.test"}, {"dns", "show", "s.test"}} {
		s.run("", verb...)
	}
}

// TestSplitNeighbourAway: a room whose neighbour is away puts people off or queues, says so, and goes on by itself.
func TestSplitNeighbourAway(t *testing.T) {
	s := newSplit(t, "s.test", "alice")
	message := letter("x@x.example", "alice@s.test", "away", "hello")
	for i, room := range []string{"guard", "mailbox", "accounts"} {
		s.kill(room, syscall.SIGKILL)
		if err := s.send("x@x.example", []string{"alice@s.test"}, message); err == nil || !strings.HasPrefix(err.Error(), "4") {
			t.Errorf("without %s: %v", room, err)
		}
		if out := s.run("", "status"); !strings.Contains(out, room+" is away") {
			t.Errorf("status without %s:\n%s", room, out)
		}
		s.startRoom(room)
		s.until(room+" is back and mail is taken", func() bool { return s.send("x@x.example", []string{"alice@s.test"}, message) == nil })
		s.await("alice@s.test", i+1)
	}
	s.kill("mailbox", syscall.SIGKILL)
	if err := s.submit("alice@s.test", []string{"alice@s.test"}, letter("alice@s.test", "alice@s.test", "queued", "hello")); err != nil {
		t.Errorf("without the mailbox nothing can be queued: %v", err)
	}
	s.startRoom("mailbox")
	s.settle()
	s.await("alice@s.test", 4)
}

// TestSplitKill kills one process after the other under load. Nothing that was acknowledged may be missing, and nothing
// may be there twice but what a client sent again because its answer was lost.
func TestSplitKill(t *testing.T) {
	kills := len(rooms)
	if os.Getenv("SAMOTOP_NIGHTLY") != "" {
		kills = killsNightly
	}
	if n, err := strconv.Atoi(os.Getenv("SAMOTOP_KILLS")); err == nil {
		kills = n
	}
	s := newSplit(t, "a.test", "u0", "u1", "u2")
	ctx, stop := context.WithCancel(t.Context())
	load := &load{h: s.house, acked: map[string]bool{}, lost: map[string]int{}}
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() { load.run(ctx, w) })
	}
	for i := range kills {
		time.Sleep(time.Duration(50+rand.IntN(500)) * time.Millisecond)
		room := rooms[i%len(rooms)]
		s.kill(room, syscall.SIGKILL)
		s.startRoom(room)
	}
	time.Sleep(200 * time.Millisecond)
	stop()
	wg.Wait()
	s.settle()
	load.check(t, kills)
	if out, err := s.try("", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for r, p := range s.procs {
		if text := p.log.String(); t.Failed() || strings.Contains(text, "panic") {
			t.Errorf("%s:\n%s", r, text)
		}
	}
}
