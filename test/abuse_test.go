package test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// stranger is a connection that a proxy says is of somebody far away.
type stranger struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (h *house) stranger(ip string, port int) *stranger {
	h.t.Helper()
	c := behind(h.t, "127.0.0.2", h.addr(port))
	s := &stranger{h.t, c, bufio.NewReader(c)}
	fmt.Fprintf(c, "PROXY TCP4 %s 127.0.0.1 4444 %d\r\n", ip, port)
	return s
}

// secure goes on under TLS.
func (s *stranger) secure() *stranger {
	s.Conn = tls.Client(s.Conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test on loopback
	s.r = bufio.NewReader(s.Conn)
	return s
}

// says sends a line and returns the last line of the answer; "" if there is none.
func (s *stranger) says(line string) string {
	if line != "" {
		fmt.Fprintf(s, "%s\r\n", line)
	}
	for {
		answer, err := s.r.ReadString('\n')
		if err != nil {
			return ""
		}
		if len(answer) < 4 || answer[3] != '-' {
			return strings.TrimSpace(answer)
		}
	}
}

// mail says hello and MAIL, and answers what RCPT got.
func (s *stranger) mail(from string, to ...string) (answers []string) {
	s.t.Helper()
	for _, line := range []string{"", "EHLO mail.far.test", "MAIL FROM:<" + from + ">"} {
		if a := s.says(line); !strings.HasPrefix(a, "2") {
			return append(answers, a)
		}
	}
	for _, r := range to {
		answers = append(answers, s.says("RCPT TO:<"+r+">"))
	}
	return answers
}

const strangersConf = `[mta]
trusted = ["127.0.0.2"]
proxy = true
checks = false
[msa]
proxy = true
[mailbox]
proxy = true
[guard]
unknown_recipients = 5
wrong_passwords = 4
sent_messages_per_hour = 2
greylist = "all"
greylist_delay = "1s"
`

// TestAbuse: in a house that is one process and in one that is split, who guesses is banned everywhere at once, also after a
// crash; who is new comes again; who is denied goes; who sends too much waits, and the owner hears.
func TestAbuse(t *testing.T) {
	t.Run("one", func(t *testing.T) {
		h := newHouse(t, "a.test", "alice")
		h.dropIn("guard", strangersConf)
		h.start()
		var log string
		abuse(t, h, func() {
			if err := h.cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-h.ended
			log = h.log.String()
			h.start()
		})
		t.Run("fail2ban", func(t *testing.T) { fail2ban(t, log, "203.0.113.1", "198.51.100.7") })
	})
	t.Run("split", func(t *testing.T) {
		s := &split{house: newHouse(t, "a.test", "alice"), procs: map[string]process{}}
		s.dropIn("guard", strangersConf)
		s.startAll()
		abuse(t, s.house, func() {
			s.kill("guard", syscall.SIGKILL)
			s.startRoom("guard")
		})
	})
}

// fail2ban: Debian's, with the filter that docs/guard.md shows, finds just these addresses in a log.
func fail2ban(t *testing.T, log string, want ...string) {
	t.Helper()
	program := need(t, "fail2ban-regex")
	doc, err := os.ReadFile("../docs/guard.md")
	if err != nil {
		t.Fatal(err)
	}
	_, expr, _ := strings.Cut(string(doc), "failregex = ")
	expr, _, _ = strings.Cut(expr, "\n")
	filter := filepath.Join(t.TempDir(), "samotop.conf")
	if err := os.WriteFile(filter, []byte("[Definition]\nfailregex = "+expr+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(command(t, "", nil, program, "-o", "ip", file(t, log), filter))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(slices.Compact(got), want) {
		t.Errorf("fail2ban finds %v, not %v, in\n%s", got, want, log)
	}
}

func abuse(t *testing.T, h *house, crash func()) {
	is := func(what, got, want string) {
		t.Helper()
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	banned := func(ip string, want bool) bool {
		got := h.stranger(ip, 25).says("")
		return strings.HasPrefix(got, "554 5.7.1 You are banned") == want && (want || strings.HasPrefix(got, "220"))
	}

	// Recipients are guessed.
	idle := h.stranger("203.0.113.1", 143)
	is("greeting", idle.says(""), "* OK")
	guesser := h.stranger("203.0.113.1", 25)
	var names []string
	for i := range 5 {
		names = append(names, fmt.Sprintf("nobody%d@a.test", i))
	}
	for _, a := range guesser.mail("x@far.test", names...)[:4] {
		is("guess", a, "550 5.1.1")
	}
	h.until("the guesser is banned", func() bool { return banned("203.0.113.1", true) })
	h.until("his other connection is cut off", func() bool { return idle.says("a NOOP") == "" }) // a moment later than he is banned
	is("IMAP", h.stranger("203.0.113.1", 143).says(""), "* BYE")
	if !banned("203.0.113.2", false) {
		t.Error("his neighbour is banned")
	}
	if out := h.run("", "ban", "list"); !strings.Contains(out, "203.0.113.1/32") || !strings.Contains(out, "unknown recipients within an hour") {
		t.Errorf("ban list:\n%s", out)
	}

	// Passwords are guessed, at IMAP.
	for range 2 {
		thief := h.stranger("198.51.100.7", 993).secure()
		thief.says("")
		for i := range 2 {
			fmt.Fprintf(thief, "a%d LOGIN alice@a.test wrong%d\r\n", i, i)
			thief.says("")
		}
	}
	h.until("who guesses passwords is banned", func() bool { return banned("198.51.100.7", true) })
	h.run("", "ban", "add", "192.0.2.0/24", "--for", "1h", "--reason", "by hand")
	h.until("who is banned by hand is", func() bool { return banned("192.0.2.77", true) })
	h.run("", "ban", "remove", "203.0.113.1")
	h.until("who is not banned any more may speak", func() bool { return banned("203.0.113.1", false) })

	crash()
	h.until("the ban has survived", func() bool { return banned("192.0.2.77", true) && banned("203.0.113.1", false) })

	// Who is new is put off, and let in when he comes again.
	is("new", h.stranger("198.51.100.20", 25).mail("new@far.test", "alice@a.test")[0], "451 4.7.1 <alice@a.test>: you are new to us")
	h.until("who comes again is let in", func() bool {
		return strings.HasPrefix(h.stranger("198.51.100.20", 25).mail("new@far.test", "alice@a.test")[0], "250")
	})
	h.run("", "sender", "deny", "@far.test", "--account", "alice@a.test")
	h.run("", "sender", "allow", "198.51.100.99")
	is("denied", h.stranger("198.51.100.20", 25).mail("new@far.test", "alice@a.test", "admin@a.test")[0], "550 5.7.1 <alice@a.test>: the recipient takes no mail from you")
	is("not by him", h.stranger("198.51.100.20", 25).mail("new@far.test", "admin@a.test")[0], "250")
	is("allowed", h.stranger("198.51.100.99", 25).mail("other@else.test", "admin@a.test")[0], "250")
	h.until("the journal tells why", func() bool {
		out, err := h.try("", "why", "alice@a.test")
		return err == nil && strings.Contains(out, "greylisted") && strings.Contains(out, "denied by the list entry @far.test")
	})

	// Who sends too much.
	var err error
	for range 3 {
		err = h.submit("alice@a.test", []string{"admin@a.test"}, letter("alice@a.test", "admin@a.test", "much", "hello"))
	}
	if err == nil || !strings.Contains(err.Error(), "450 ") && !strings.Contains(err.Error(), "4.7.1") {
		t.Errorf("the third message of an hour: %v", err)
	}
	if got := h.await("alice@a.test", 1); !strings.Contains(got[0], "Subject: Unusual sending from your account") {
		t.Errorf("the owner is told:\n%s", got[0])
	}
	h.run("", "verify")
}
