package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/smtp"
	"net/textproto"
	"os"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Rounds of TestKill: in CI, and with SAMOTOP_NIGHTLY. SAMOTOP_KILLS says another number.
const (
	killsInCI    = 5
	killsNightly = 60
)

// TestKill kills the server at random moments under a load of ten sessions that try again, half of them strangers'
// deliveries, half submissions. No acknowledged message may be missing; one may be there twice only if the answer to
// it was lost, and those are counted.
func TestKill(t *testing.T) {
	kills := killsInCI
	if os.Getenv("SAMOTOP_NIGHTLY") != "" {
		kills = killsNightly
	}
	if n, err := strconv.Atoi(os.Getenv("SAMOTOP_KILLS")); err == nil {
		kills = n
	}
	h := newHouse(t, "a.test", "u0", "u1", "u2")
	h.start()
	ctx, stop := context.WithCancel(t.Context())
	load := &load{h: h, acked: map[string]bool{}, lost: map[string]int{}}
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() { load.run(ctx, w) })
	}
	for range kills {
		time.Sleep(time.Duration(50+rand.IntN(700)) * time.Millisecond)
		if err := h.stop(syscall.SIGKILL); err == nil {
			t.Fatal("the server ended by itself\n", h.log)
		}
		h.start()
	}
	time.Sleep(200 * time.Millisecond)
	stop()
	wg.Wait()
	h.settle()
	h.drain()
	h.start() // what is there must be there after a clean start too
	load.check(t, kills)
}

// load is what the sessions know: by Message-ID, whether it was acknowledged, and how often the answer was lost after
// the whole message had been sent.
type load struct {
	h     *house
	mu    sync.Mutex
	acked map[string]bool
	lost  map[string]int
}

// run sends one message after the other, each until it is acknowledged.
func (l *load) run(ctx context.Context, worker int) {
	for n := 0; ctx.Err() == nil; {
		c, err := l.connect(worker)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		for ctx.Err() == nil {
			id := fmt.Sprintf("%d.%d", worker, n)
			if err := l.send(c, worker, id); err != nil {
				break
			}
			n++
		}
		c.Close()
	}
}

func (l *load) connect(worker int) (*smtp.Client, error) {
	if worker%2 == 0 {
		return smtp.Dial(l.h.addr(25))
	}
	return l.h.login(fmt.Sprintf("u%d@a.test", worker%3))
}

func (l *load) send(c *smtp.Client, worker int, id string) error {
	from, to := "x@x.example", fmt.Sprintf("u%d@a.test", rand.IntN(3))
	if worker%2 == 1 {
		from = fmt.Sprintf("u%d@a.test", worker%3)
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	text := make([]byte, rand.IntN(20_000))
	for i := range text {
		text[i] = "abcdefghijklmnopqrstuvwxyz \n"[rand.IntN(28)]
	}
	if _, err := fmt.Fprintf(w, "From: %s\nTo: %s\nMessage-ID: <%s@kill>\n\n%s\n", from, to, id, text); err != nil {
		return err
	}
	err = w.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	var refused *textproto.Error
	switch {
	case err == nil:
		l.acked[id] = true
	case !errors.As(err, &refused): // no answer at all
		l.lost[id]++
	}
	return err
}

// settle waits until the queue is empty.
func (h *house) settle() {
	h.t.Helper()
	h.until("the queue is empty", func() bool {
		h.run("", "queue", "retry", "--all") // what was under way to somebody who was killed is put off again after the first
		time.Sleep(200 * time.Millisecond)
		n, _ := h.inQueue()
		return n == 0
	})
}

func (l *load) check(t *testing.T, kills int) {
	ids := regexp.MustCompile(`Message-ID: <([0-9.]+)@kill>`)
	seen := map[string]int{}
	for i := range 3 {
		for _, m := range l.h.messages(fmt.Sprintf("u%d@a.test", i), "INBOX") {
			if found := ids.FindStringSubmatch(m); found != nil {
				seen[found[1]]++
			}
		}
	}
	doubled, unacked := 0, 0
	for id, n := range seen {
		if n > 1 {
			doubled++
		}
		most := l.lost[id] // each may have been kept
		if l.acked[id] {
			most++
		}
		if n > most {
			t.Errorf("message %s is there %d times: acknowledged %v, %d answers lost", id, n, l.acked[id], l.lost[id])
		}
		if !l.acked[id] {
			unacked++
		}
	}
	missing := 0
	for id := range l.acked {
		if seen[id] == 0 {
			missing++
			t.Errorf("message %s was acknowledged and is missing", id)
		}
	}
	if len(l.acked) < kills {
		t.Errorf("only %d messages were acknowledged: the load was none", len(l.acked))
	}
	t.Logf("%d kills, %d messages acknowledged, %d missing, %d doubled after a lost answer, %d kept whose answer was lost",
		kills, len(l.acked), missing, doubled, unacked)
}

// TestKillVerbs: what a verb has confirmed is there after a kill.
func TestKillVerbs(t *testing.T) {
	h := newHouse(t, "a.test")
	h.start()
	for i := range 3 {
		name := fmt.Sprintf("new%d@a.test", i)
		h.run(password, "account", "add", name, "--password-file", "-")
		h.run("", "alias", "add", fmt.Sprintf("alias%d@a.test", i), name)
		if err := h.stop(syscall.SIGKILL); err == nil {
			t.Fatal("the server ended by itself")
		}
		h.run("", "account", "show", name)
		h.start()
		if err := h.send("x@x.example", []string{fmt.Sprintf("alias%d@a.test", i)}, letter("x@x.example", name, "after", "hello")); err != nil {
			t.Error(err)
		}
		h.await(name, 1)
	}
	h.run("", "verify")
}
