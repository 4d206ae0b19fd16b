package power_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/samotop/samotop/management"
)

// answer sends one message and returns the first reply that refuses something, else the last one. The session stays open.
func (c *conn) answer(from, to, text string) string {
	c.Helper()
	for _, s := range []string{"MAIL FROM:<" + from + ">\r\n", "RCPT TO:<" + to + ">\r\n", "DATA\r\n", text + ".\r\n"} {
		c.send(s)
		l := c.line()
		for len(l) > 3 && l[3] == '-' {
			l = c.line()
		}
		if l[0] != '2' && l[0] != '3' || strings.HasSuffix(s, ".\r\n") {
			return l
		}
	}
	return ""
}

// greet begins an SMTP or LMTP session.
func (m *machine) greet(address, hello string) *conn {
	m.Helper()
	c := m.dial(address)
	c.reply("220")
	c.send(hello + " client.test\r\n")
	c.reply("250")
	return c
}

// populated is a machine with two people and some mail of bob's.
func populated(t *testing.T) *machine {
	m := newMachine(t, false)
	for _, s := range steps[:3] {
		if err := s.do(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, subject := range []string{"one", "two", "three"} {
		m.dial(smtpPort).smtp("EHLO", "x@far.test", []string{bob}, text(subject), false)
	}
	return m
}

// fill leaves so much room on the disk.
func (m *machine) fill(free int64) {
	m.Helper()
	s, err := m.disk.Space("/")
	if err != nil {
		m.Fatal(err)
	}
	m.disk.SetCapacity(s.Total - s.Free + free)
}

// TestFullDisk: below the reserve, and with no octet left, new mail is put off at every door, reading and deleting go on;
// with room again all is taken again, by the same process and in the same sessions. Nothing that was acknowledged is lost.
func TestFullDisk(t *testing.T) {
	for _, free := range []int64{8 << 20, 1 << 20} {
		t.Run(fmt.Sprintf("%d MiB free", free>>20), func(t *testing.T) { fullDisk(t, free) })
	}
}

func fullDisk(t *testing.T, free int64) {
	m := populated(t)
	stranger, local := m.greet(smtpPort, "EHLO"), m.greet(lmtpPort, "LHLO")
	reader := m.imap(bob)
	reader.do("SELECT INBOX")
	m.fill(free)
	const full = "452 4.3.1 "
	stopped := func(ask func() string) {
		t.Helper()
		if err := eventually(func() error {
			if got := ask(); !strings.HasPrefix(got, full) {
				return fmt.Errorf("got %q, want %s", got, full)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	// What the engine takes before it looks at the disk again is acknowledged, and there afterwards.
	taken := 0
	stopped(func() string {
		got := stranger.answer("x@far.test", bob, text("full"))
		if strings.HasPrefix(got, "250") {
			taken++
		}
		stranger.send("RSET\r\n")
		stranger.reply("250")
		return got
	})
	stopped(func() string { return local.answer("x@far.test", bob, text("full")) })
	submitter := m.dial(submission)
	submitter.authenticate(alice, password)
	waiting := 0
	stopped(func() string {
		got := submitter.answer(alice, "someone@far.test", text("full"))
		if strings.HasPrefix(got, "250") {
			waiting++
		}
		submitter.send("RSET\r\n")
		submitter.reply("250")
		return got
	})
	s := text("full")
	if status, lines := reader.try(fmt.Sprintf("APPEND INBOX {%d}", len(s)), s); status != "NO" {
		t.Errorf("APPEND: %s %q", status, lines)
	}
	if status, lines := reader.try("COPY 1 Trash"); status != "NO" {
		t.Errorf("COPY: %s %q", status, lines)
	}
	if err := holds(bob, "INBOX", "one|two|three"+strings.Repeat("|full", taken))(m); err != nil {
		t.Error("reading: ", err)
	}
	if got := strings.Join(reader.do("FETCH 3 BODY.PEEK[]"), "\n"); !strings.Contains(got, "A line of three.") {
		t.Errorf("reading: %.300q", got)
	}
	reader.do(`STORE 2 +FLAGS (\Deleted)`)
	reader.do("EXPUNGE")
	if err := holds(bob, "INBOX", "one|three"+strings.Repeat("|full", taken))(m); err != nil {
		t.Error("deleting: ", err)
	}
	m.disk.SetCapacity(0)
	resumed := func(c *conn, from, to string) {
		t.Helper()
		if err := eventually(func() error {
			if got := c.answer(from, to, text("again")); !strings.HasPrefix(got, "250") {
				c.send("RSET\r\n")
				c.reply("250")
				return fmt.Errorf("with room again: %s", got)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	resumed(stranger, "x@far.test", bob)
	resumed(local, "x@far.test", bob)
	resumed(submitter, alice, "someone@far.test")
	reader.do(fmt.Sprintf("APPEND INBOX {%d}", len(s)), s)
	m.cut()
	if err := holds(bob, "INBOX", "one|three"+strings.Repeat("|full", taken)+"|again|again|full")(m); err != nil {
		t.Error(err)
	}
	queued := 0
	if err := each(m, "queue/list", management.Filter{}, func(management.Entry) { queued++ }); err != nil || queued != waiting+1 {
		t.Errorf("%d in the queue, want %d: %v", queued, waiting+1, err)
	}
	if err := each(m, "store/verify", struct{}{}, func(f management.Fault) { t.Errorf("verify: %+v", f) }); err != nil {
		t.Fatalf("verify: %v", err)
	}
}

// TestStartsOnFullDisk: the power is cut while the disk is full. The house starts, people read and delete, and when there is
// room it takes mail and the queue is sent.
func TestStartsOnFullDisk(t *testing.T) {
	m := populated(t)
	m.fill(0)
	m.cut()
	if err := holds(bob, "INBOX", "one|two|three")(m); err != nil {
		t.Error("reading: ", err)
	}
	stranger := m.greet(smtpPort, "EHLO")
	if got := stranger.answer("x@far.test", bob, text("full")); !strings.HasPrefix(got, "452 4.3.1 ") {
		t.Errorf("a full disk took mail: %s", got)
	}
	reader := m.imap(bob)
	reader.do("SELECT INBOX")
	reader.do(`STORE 2 +FLAGS (\Deleted)`)
	reader.do("EXPUNGE")
	m.disk.SetCapacity(0)
	if err := eventually(func() error {
		stranger.send("RSET\r\n")
		stranger.reply("250")
		if got := stranger.answer("x@far.test", bob, text("again")); !strings.HasPrefix(got, "250") {
			return fmt.Errorf("with room again: %s", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	m.cut()
	if err := holds(bob, "INBOX", "one|three|again")(m); err != nil {
		t.Error(err)
	}
}
