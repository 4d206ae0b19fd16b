package test

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// dying is an LMTP server that hangs up in the middle of the first content of each message, and takes it the second time.
type dying struct {
	socket string
	mu     sync.Mutex
	begun  map[string]int // by subject
	took   map[string]int
}

func newDying(t *testing.T) *dying {
	t.Helper()
	d := &dying{socket: newForeign(t).path("lmtp"), begun: map[string]int{}, took: map[string]int{}}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go d.serve(c)
		}
	}()
	return d
}

func (d *dying) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	answer := "220 dies.test"
	for {
		if _, err := fmt.Fprintf(c, "%s\r\n", answer); err != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		answer = "250 2.0.0 ok"
		if strings.HasPrefix(line, "DATA") {
			fmt.Fprint(c, "354 go on\r\n")
			if !d.content(r) {
				return
			}
		}
	}
}

// content reads a message, and reports whether the connection lives on.
func (d *dying) content(r *bufio.Reader) bool {
	subject := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		d.mu.Lock()
		if s, ok := strings.CutPrefix(line, "Subject: "); ok && subject == "" {
			subject = strings.TrimSpace(s)
			if d.begun[subject]++; d.begun[subject] == 1 {
				d.mu.Unlock()
				return false
			}
		}
		if line == ".\r\n" {
			d.took[subject]++
			d.mu.Unlock()
			return true
		}
		d.mu.Unlock()
	}
}

// times tells how often a message was begun, and taken.
func (d *dying) times(subject string) (begun, took int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begun[subject], d.took[subject]
}

// parted is a split house whose mail for team@s.test goes to four LMTP servers: our own Mailbox, that of another house, Dovecot, and
// one that dies. At each of the first three somebody takes mail, and somebody does not.
type parted struct {
	*split
	two     *house
	dovecot *foreign
	dies    *dying
}

func newParted(t *testing.T) *parted {
	t.Helper()
	p := &parted{two: newHouse(t, "two.test", "carol", "full", "boss"), dies: newDying(t)}
	p.dovecot, _ = startDovecot(t)
	p.split = &split{house: newHouse(t, "s.test", "alice", "bob", "full"), procs: map[string]process{}}
	routes := ""
	for domain, socket := range map[string]string{"two.test": filepath.Join(p.two.dir, "run", "lmtp.sock"), "d.test": p.dovecot.path("lmtp"), "dies.test": p.dies.socket} {
		routes += fmt.Sprintf("[[qm.route]]\ndomain = %q\nto = \"unix:%s\"\n", domain, socket)
	}
	p.dropIn("routes", routes)
	p.run("", "alias", "add", "team@s.test", "alice@s.test", "full@s.test", "carol@two.test", "full@two.test", "nobody@two.test",
		"carol@d.test", "nobody@d.test", "x@dies.test")
	p.two.start()
	p.startAll()
	return p
}

// fill leaves no room to both who are full.
func (p *parted) fill() {
	p.t.Helper()
	for _, h := range []*house{p.house, p.two} {
		if err := h.send("boss@two.test", []string{"full@" + h.domain}, long("boss@two.test", "there already")); err != nil {
			p.t.Fatal(err)
		}
		h.await("full@"+h.domain, 1)
	}
	p.room(false)
}

// room gives both who are full room, or takes it away.
func (p *parted) room(is bool) {
	p.t.Helper()
	octets := map[bool]string{false: "7000", true: "0"}[is] // a message has some 5000
	p.run("", "account", "set", "full@s.test", "--quota", octets)
	p.two.run("", "account", "set", "full@two.test", "--quota", octets)
}

// begin speaks up to the content, and returns the answers to the recipients.
func (p *parted) begin(from string, to ...string) (c *conversation, answers []string) {
	p.t.Helper()
	c = p.talk(25)
	c.hear("220 ")
	for _, line := range []string{"EHLO x.example", "MAIL FROM:<" + from + ">"} {
		c.say(line)
		c.hear("250 ")
	}
	for _, a := range to {
		c.say("RCPT TO:<" + a + ">")
		answers = append(answers, c.hear("")[:3])
	}
	return c, answers
}

// end sends content and returns the answer.
func (c *conversation) end(content string) string {
	c.t.Helper()
	c.say("DATA")
	if answer := c.hear(""); !strings.HasPrefix(answer, "354 ") {
		return answer
	}
	c.say(content + ".")
	return c.hear("")
}

func long(from, subject string) string {
	return letter(from, "team@s.test", subject, strings.TrimSuffix(strings.Repeat("twenty octets a line\r\n", 200), "\r\n"))
}

// holds checks how many messages each who takes mail has, once, and that whoever dies has taken each that he was given.
func (p *parted) holds(alice, bob, carol, dovecot int) {
	p.t.Helper()
	p.await("alice@s.test", alice)
	p.await("bob@s.test", bob)
	p.two.await("carol@two.test", carol)
	p.dovecot.has(p.house, "carol", dovecot)
}

// TestPartsDisagree: of several LMTP servers some take a message, some refuse it, some put it off and one dies in the middle of it. The
// sender gets one answer, 250; nobody gets the message twice, nobody not at all; who refused is reported once, and to nobody where the
// sender is <>; who put it off gets it when he has room. Where there is no queue to see to all that, nobody gets anything.
func TestPartsDisagree(t *testing.T) {
	p := newParted(t)
	p.fill()
	c, answers := p.begin("boss@two.test", "team@s.test", "bob@s.test", "nobody@s.test")
	if got := strings.Join(answers, " "); got != "250 250 550" {
		t.Fatal(got)
	}
	if got := c.end(long("boss@two.test", "first")); !strings.HasPrefix(got, "250 ") {
		t.Fatal(got)
	}
	p.holds(1, 1, 1, 1)
	p.refused(1)
	// The same from nobody: nobody is told.
	c, _ = p.begin("", "team@s.test")
	if got := c.end(long("", "second")); !strings.HasPrefix(got, "250 ") {
		t.Fatal(got)
	}
	p.holds(2, 1, 2, 2)

	p.room(true)
	p.settle() // also who died
	p.holds(2, 1, 2, 2)
	p.await("full@s.test", 3)
	p.two.await("full@two.test", 3)
	p.refused(1)
	for _, subject := range []string{"first", "second"} {
		if begun, took := p.dies.times(subject); begun != 2 || took != 1 {
			t.Errorf("who dies was given %q %d times and took it %d times", subject, begun, took)
		}
	}
	p.queueAway(2, 1, 2, 2)
}

// queueAway: while the queue is away, mail for an alias that leads to our Mailbox and elsewhere is put off as a whole; when it is
// back, everybody gets it once.
func (p *parted) queueAway(alice, bob, carol, dovecot int) {
	p.t.Helper()
	p.kill("qm", syscall.SIGKILL)
	c, answers := p.begin("boss@two.test", "team@s.test")
	got := answers[0]
	if got == "250" {
		got = c.end(long("boss@two.test", "away"))
	}
	if !strings.HasPrefix(got, "4") {
		p.t.Fatal(got)
	}
	c, _ = p.begin("boss@two.test", "bob@s.test") // needs no queue
	if got := c.end(long("boss@two.test", "not away")); !strings.HasPrefix(got, "250 ") {
		p.t.Fatal(got)
	}
	p.holds(alice, bob+1, carol, dovecot)
	p.startRoom("qm")
	p.split.until("the queue is back", func() bool {
		c, _ := p.begin("boss@two.test", "team@s.test")
		return strings.HasPrefix(c.end(long("boss@two.test", "back")), "250 ")
	})
	p.holds(alice+1, bob+1, carol+1, dovecot+1)
}

// refused waits until the sender was told of both who refused one message of his, of each once and of nobody else.
func (p *parted) refused(messages int) {
	p.t.Helper()
	var all string
	p.split.until("both who refused are reported", func() bool {
		all = strings.Join(p.two.messages("boss@two.test", "INBOX"), "\n")
		return strings.Count(all, "Final-Recipient:") >= 2*messages
	})
	if strings.Count(all, "Final-Recipient:") != 2*messages || strings.Count(all, "Final-Recipient: rfc822; nobody@two.test") != messages ||
		strings.Count(all, "Final-Recipient: rfc822; nobody@d.test") != messages {
		p.t.Errorf("the reports are not about these two:\n%s", all)
	}
}

// TestPartDies: a room of the house itself is killed in the middle of the content. What the sender is told is true: after 250
// everybody gets the message once; after 4yz nobody has it, and it comes again.
func TestPartDies(t *testing.T) {
	p := newParted(t)
	for _, room := range []string{"mailbox", "qm", "guard", "accounts"} {
		for _, to := range []string{"team@s.test", "bob@s.test"} {
			if to == "bob@s.test" && (room == "guard" || room == "accounts") {
				continue // no other than for the alias
			}
			subject := room + " dies, to " + to
			for attempt := 0; ; attempt++ {
				c, answers := p.begin("boss@two.test", to)
				if answers[0] != "250" {
					t.Fatal(room, to, answers)
				}
				c.say("DATA")
				c.hear("354 ")
				c.say(strings.TrimSuffix(letter("boss@two.test", to, subject, strings.Repeat("twenty octets a line\r\n", 15_000)), "\r\n"))
				if attempt == 0 {
					p.kill(room, syscall.SIGKILL)
				}
				c.say(strings.Repeat("twenty octets a line\r\n", 15_000))
				if attempt == 0 {
					p.startRoom(room)
				}
				c.say(".")
				if got := c.hear(""); strings.HasPrefix(got, "250 ") {
					break
				} else if !strings.HasPrefix(got, "4") || attempt > 0 {
					t.Fatalf("%s: %s", subject, got)
				}
			}
			p.settle() // a queue that is killed before it has noted that another server took a message sends it there again
		}
	}
	count := map[string]int{}
	for _, text := range p.two.messages("carol@two.test", "INBOX") {
		count["carol"+subjectOf(text)]++
	}
	for _, who := range []string{"alice", "bob", "full"} {
		for _, text := range p.messages(who+"@s.test", "INBOX") {
			count[who+subjectOf(text)]++
		}
	}
	if len(count) != 4*3+2 { // alice, carol and full by the alias, and bob
		t.Errorf("not all is there: %v", count)
	}
	for what, n := range count {
		if n != 1 {
			t.Errorf("%s is there %d times", what, n)
		}
	}
}

func subjectOf(text string) string {
	_, rest, _ := strings.Cut(text, "\nSubject: ")
	subject, _, _ := strings.Cut(rest, "\r\n")
	return ": " + subject
}
