package test

import (
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	pending  = "Contacts/Pending"
	approved = "Contacts/Approved"
	rejected = "Contacts/Rejected"
)

// serving is what a merged and a split house have in common.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatal("never: " + what)
		}
	}
}

// shows waits until a folder has just the messages about these contacts.
func (h *house) shows(user, folder string, contacts ...string) {
	h.t.Helper()
	var got []string
	h.until(folder+" shows "+strings.Join(contacts, ", "), func() bool {
		if got = h.cards(user, folder); len(got) != len(contacts) {
			return false
		}
		for _, c := range contacts {
			if !strings.Contains(strings.Join(got, ""), "\nSubject: Contact "+c) {
				return false
			}
		}
		return true
	})
}

func (h *house) cards(user, folder string) []string {
	c := h.imap(user)
	defer c.Close()
	if _, err := c.Select(folder, nil).Wait(); err != nil {
		return nil // not made yet
	}
	return h.messages(user, folder)
}

// move does what a person does in a mail program: the only message of a folder goes to another, or is deleted.
func (h *house) move(user, from, to string) {
	h.t.Helper()
	c := h.imap(user)
	defer c.Close()
	if _, err := c.Select(from, nil).Wait(); err != nil {
		h.t.Fatal(err)
	}
	if to != "" {
		if _, err := c.Move(imap.SeqSetNum(1), to).Wait(); err != nil {
			h.t.Fatal(err)
		}
		return
	}
	if err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		h.t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		h.t.Fatal(err)
	}
}

// idle watches a folder; each arrival is a value.
func (h *house) idle(user, folder string) (arrivals <-chan uint32, stop func()) {
	h.t.Helper()
	news := make(chan uint32, 100)
	c, err := imapclient.DialTLS(h.addr(993), &imapclient.Options{TLSConfig: insecure, UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				news <- *d.NumMessages
			}
		}}})
	if err == nil {
		err = c.Login(user, password).Wait()
	}
	if err == nil {
		_, err = c.Select(folder, nil).Wait()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		h.t.Fatal(err)
	}
	return news, func() {
		if err := idle.Close(); err != nil {
			h.t.Error(err)
		}
		c.Close()
	}
}

// TestContacts is the diagram of contacts: a stranger's server is put off and queues, the owner decides in his mail
// program, and the stranger's next attempt meets the decision.
func TestContacts(t *testing.T) {
	a, b := newHouse(t, "a.test", "alice"), newHouse(t, "b.test", "bob", "carol", "dave")
	b.route(a)
	a.run("", "contact", "policy", "alice@a.test", "ask")
	a.start()
	b.start()
	diagram(t, a, b)
	a.drain()
}

// TestSplitContacts: the Mailbox and the accounts are in different processes.
func TestSplitContacts(t *testing.T) {
	s, b := newSplit(t, "a.test", "alice"), newHouse(t, "b.test", "bob", "carol", "dave")
	b.route(s.house)
	s.run("", "contact", "policy", "alice@a.test", "ask")
	b.start()
	diagram(t, s.house, b)
}

func diagram(t *testing.T, a, b *house) {
	const alice = "alice@a.test"
	a.shows(alice, pending)
	news, stop := a.idle(alice, pending)
	defer stop()
	if err := b.submit("bob@b.test", []string{alice}, letter("bob@b.test", alice, "may I", "hello")); err != nil {
		t.Fatal(err)
	}
	b.queued(1)
	select {
	case n := <-news:
		if n != 1 {
			t.Errorf("IDLE told of %d messages", n)
		}
	case <-time.After(patience):
		t.Fatal("IDLE does not tell of who asks")
	}
	a.shows(alice, pending, "bob@b.test")
	text := a.cards(alice, pending)[0]
	for _, want := range []string{"First seen", "127.0.0.0/24", "samotop contact approve alice@a.test bob@b.test", approved} {
		if !strings.Contains(text, want) {
			t.Errorf("the message does not tell %q:\n%s", want, text)
		}
	}
	a.await(alice, 0)

	decided, stop2 := a.idle(alice, approved)
	defer stop2()
	a.move(alice, pending, approved)
	select {
	case <-decided:
	case <-time.After(patience):
		t.Fatal("IDLE does not tell of the decision")
	}
	b.run("", "queue", "retry", "--all")
	a.await(alice, 1)
	b.queued(0)

	// Deleted while pending is rejected: the stranger is told for good.
	if err := b.submit("carol@b.test", []string{alice}, letter("carol@b.test", alice, "buy", "hello")); err != nil {
		t.Fatal(err)
	}
	a.shows(alice, pending, "carol@b.test")
	b.run("", "queue", "retry", "--all") // the second attempt is read, and put off at its end
	a.shows(alice, pending, "carol@b.test: buy")
	b.queued(1)
	a.move(alice, pending, "")
	a.shows(alice, rejected, "carol@b.test")
	a.shows(alice, pending)
	b.run("", "queue", "retry", "--all")
	b.until("carol gets a report", func() bool {
		got := b.messages("carol@b.test", "INBOX")
		return len(got) == 1 && strings.Contains(got[0], "Status: 5.7.1")
	})
	a.await(alice, 1)

	// The same from the command line, seen in the mail program.
	if err := b.submit("dave@b.test", []string{alice}, letter("dave@b.test", alice, "third", "hello")); err != nil {
		t.Fatal(err)
	}
	a.shows(alice, pending, "dave@b.test")
	a.run("", "contact", "approve", alice, "dave@b.test")
	a.shows(alice, approved, "bob@b.test", "dave@b.test")
	a.shows(alice, pending)
	b.run("", "queue", "retry", "--all")
	a.await(alice, 2)
	a.move(alice, rejected, "Trash") // forgotten
	a.until("carol is forgotten", func() bool { return !strings.Contains(a.run("", "contact", "list", alice), "carol") })

	// A report comes in only if it is about what she has sent.
	about := "From: m@b.test\r\nSubject: failed\r\n\r\n--x\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: "
	if err := a.submit(alice, []string{"admin@a.test"}, "From: "+alice+"\r\nMessage-ID: <mine@a.test>\r\n\r\nhello\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := a.send("", []string{alice}, about+"<other@a.test>\r\n"); err == nil || !strings.Contains(err.Error(), "5.7.1") {
		t.Errorf("a report about nothing: %v", err)
	}
	if err := a.send("", []string{alice}, about+"<mine@a.test>\r\n"); err != nil {
		t.Errorf("a report about her mail: %v", err)
	}
	a.await(alice, 3)

	a.run("", "contact", "policy", alice, "closed")
	if err := b.submit("carol@b.test", []string{alice}, letter("carol@b.test", alice, "closed", "hello")); err != nil {
		t.Fatal(err)
	}
	b.until("carol gets another report", func() bool { return len(b.messages("carol@b.test", "INBOX")) == 2 })
	a.shows(alice, pending)

	a.run("", "contact", "policy", alice, "show")
	if err := b.submit("carol@b.test", []string{alice}, letter("carol@b.test", alice, "shown apart", "hello")); err != nil {
		t.Fatal(err)
	}
	a.until("it is kept apart", func() bool { return len(a.cards(alice, "Contacts/Unknown")) == 1 })
	a.shows(alice, pending, "carol@b.test")
	a.await(alice, 3)
	a.move(alice, pending, approved)
	if err := b.submit("carol@b.test", []string{alice}, letter("carol@b.test", alice, "now approved", "hello")); err != nil {
		t.Fatal(err)
	}
	a.await(alice, 4)
	if out, err := a.try("", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
