package test

import (
	"errors"
	"fmt"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// failing serves under strace, which makes the n-th sync (or write that is synced at once) of a database's log fail as a broken disk would, and all after it.
func (h *house) failing(database string, n int) {
	h.t.Helper()
	strace := need(h.t, "strace")
	logs, err := filepath.Glob(filepath.Join(h.dir, database, "log", "*.log"))
	if err != nil || len(logs) == 0 {
		h.t.Fatal(logs, err)
	}
	wrapped := filepath.Join(h.t.TempDir(), "strace.sh")
	script := fmt.Sprintf("#!/bin/sh\nexec %s -f -qq -o /dev/null -e trace=fdatasync,fsync,pwritev2 -P %s -e inject=fdatasync,fsync,pwritev2:error=EIO:when=%d+ -- %s \"$@\"\n",
		strace, logs[len(logs)-1], n, binary)
	if err := os.WriteFile(wrapped, []byte(script), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if h.process, err = h.serveBy(wrapped); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(h.killHolder) // strace is not the server
}

// killHolder kills the process that holds the lock of the mails.
func (h *house) killHolder() {
	b, err := os.ReadFile(filepath.Join(h.dir, "mails", "LOCK"))
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	exe, err2 := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if errors.Join(err, err2) == nil && exe == binary {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// TestFailedSync: when a sync fails, nothing more is acknowledged, whoever is connected hears 421, and the server ends and
// says why. What was acknowledged before is there after the next start, and the store is whole.
func TestFailedSync(t *testing.T) {
	for database, try := range map[string]func(h *house, n int) error{
		"mails": func(h *house, n int) error {
			return h.send("x@x.example", []string{"bob@b.test"}, fmt.Sprintf("Subject: s\r\nMessage-ID: <%d@x>\r\n\r\ntext\r\n", n))
		},
		"queue": func(h *house, n int) error {
			return h.submit("bob@b.test", []string{"someone@far.test"}, fmt.Sprintf("From: bob@b.test\r\nSubject: s\r\nMessage-ID: <%d@x>\r\n\r\ntext\r\n", n))
		},
		"accounts": func(h *house, n int) error {
			out, err := h.try("", "alias", "add", fmt.Sprintf("a%d@b.test", n), "bob@b.test")
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			return err
		},
	} {
		t.Run(database, func(t *testing.T) { failedSync(t, database, try) })
	}
}

func failedSync(t *testing.T, database string, try func(*house, int) error) {
	h := newHouse(t, "b.test", "bob")
	h.route(&house{domain: "far.test", base: h.base + 50}) // where nobody listens
	h.start()
	if err := errors.Join(try(h, 1), try(h, 2)); err != nil {
		t.Fatal(err)
	}
	h.drain()
	h.failing(database, 4)
	idle, err := smtp.Dial(h.addr(25))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	good := []int{1, 2}
	var failed error
	for n := 3; failed == nil && n < 40; n++ {
		if failed = try(h, n); failed == nil {
			good = append(good, n)
		}
	}
	if failed == nil {
		t.Fatal("no sync has failed")
	}
	var reply *textproto.Error
	if errors.As(failed, &reply) && reply.Code != 421 && reply.Code != 451 {
		t.Errorf("answered %v", failed)
	}
	if err := idle.Noop(); err == nil {
		if err = waitRefused(idle); err == nil || !strings.HasPrefix(err.Error(), "421") {
			t.Errorf("a session that was open hears %v", err)
		}
	} else if errors.As(err, &reply) && reply.Code != 421 {
		t.Errorf("a session that was open hears %v", err)
	}
	var exit *exec.ExitError
	if err := h.wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("serve ended with %v", err)
	}
	for _, word := range []string{database, "input/output error", "restart"} {
		if !strings.Contains(h.log.String(), word) {
			t.Errorf("serve did not say %q", word)
		}
	}
	h.start()
	h.run("", "verify")
	switch database {
	case "mails":
		all := strings.Join(h.messages("bob@b.test", "INBOX"), "")
		for _, n := range good {
			if !strings.Contains(all, fmt.Sprintf("Message-ID: <%d@x>", n)) {
				t.Errorf("message %d was acknowledged and is missing", n)
			}
		}
	case "queue":
		if n := strings.Count(h.run("", "queue", "list"), "someone@far.test"); n < len(good) || n > len(good)+1 {
			t.Errorf("%d in the queue, acknowledged %d", n, len(good))
		}
	case "accounts":
		all := h.run("", "alias", "list")
		for _, n := range good {
			if !strings.Contains(all, fmt.Sprintf("a%d@b.test", n)) {
				t.Errorf("alias %d was acknowledged and is missing", n)
			}
		}
	}
	h.drain()
}

// waitRefused asks until the server refuses.
func waitRefused(c *smtp.Client) (err error) {
	for end := time.Now().Add(patience); err == nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		err = c.Noop()
	}
	return err
}
