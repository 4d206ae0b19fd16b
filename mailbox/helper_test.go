package mailbox

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

// people is a Directory of user1@example.test, user2@example.test, ...
type people struct {
	quota    int64
	messages int64
	create   bool
}

func (d people) Lookup(_ context.Context, a mail.Address) (Owner, error) {
	var n uint64
	if _, err := fmt.Sscanf(a.Local, "user%d", &n); err != nil || a.Domain != "example.test" {
		return Owner{}, fmt.Errorf("lookup %s: %w", a, ErrNoOwner)
	}
	_, plus, _ := strings.Cut(a.Local, "+")
	return Owner{ID: n, Address: a.String(), QuotaOctets: d.quota, QuotaMessages: d.messages, CreateFolders: d.create, PlusFolder: plus}, nil
}

func user(n int) string { return fmt.Sprintf("user%d@example.test", n) }

func open(t testing.TB, e store.Engine, c Config) *Mailbox {
	t.Helper()
	c.Engine = e
	if c.Directory == nil {
		c.Directory = people{}
	}
	m, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	m.columnWorth, m.setsWorth = 1, 1
	t.Cleanup(func() { m.Close() })
	return m
}

func newBox(t testing.TB, c Config) *Mailbox { return open(t, mem.New(mem.Options{}), c) }

func login(t testing.TB, m *Mailbox, n int) imap.Account {
	t.Helper()
	a, err := m.Backend().Open(context.Background(), &mail.Session{Login: mail.Identity{Account: user(n)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func choose(t testing.TB, a imap.Account, name string) (imap.Mailbox, *imap.Snapshot) {
	t.Helper()
	box, err := a.Select(context.Background(), name, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	snap, err := box.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return box, snap
}

func begin(t testing.TB, m *Mailbox) mail.Transaction {
	t.Helper()
	s := &mail.Session{}
	r, err := m.Door().Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(context.Background(), s, mail.Sender{Address: mail.Address{Local: "bob", Domain: "example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// deliver sends a message to recipients and returns the replies.
func deliver(t testing.TB, m *Mailbox, content string, to ...mail.Recipient) []mail.Reply {
	t.Helper()
	tx := begin(t, m)
	for i := range to {
		if err := tx.Recipient(context.Background(), &to[i]); err != nil {
			t.Fatal(err)
		}
	}
	tx.Trace(mail.Field{Name: "Received", Value: "by inner"})
	tx.Trace(mail.Field{Name: "Received", Value: "by outer"})
	if _, err := io.WriteString(tx, content); err != nil {
		t.Fatal(err)
	}
	replies, err := tx.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return replies
}

func rcpt(n int) mail.Recipient {
	return mail.Recipient{Address: mail.Address{Local: fmt.Sprintf("user%d", n), Domain: "example.test"}}
}

func letter(n int) string {
	return fmt.Sprintf("From: Bob <bob@example.org>\r\nTo: user@example.test\r\nSubject: letter %d\r\nMessage-ID: <%d@example.org>\r\n"+
		"DKIM-Signature: v=1; long\r\nDate: Mon, 2 Jan 2006 15:04:05 +0100\r\n\r\nBody number %d.\r\n", n, n, n)
}

func put(t testing.TB, a imap.Account, box string, o imap.AppendOptions, content ...string) imap.AppendResult {
	t.Helper()
	ap, err := a.Append(context.Background(), box)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range content {
		o.Size = int64(len(c))
		w, err := ap.Next(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, c); err != nil {
			t.Fatal(err)
		}
	}
	res, err := ap.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func everything() imap.UIDSet { return imap.UIDSet{{Start: 1, Stop: maxUID}} }

// show returns "uid flags" of all messages.
func show(t testing.TB, box imap.Mailbox) string {
	t.Helper()
	var b strings.Builder
	for m, err := range box.Fetch(context.Background(), everything(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d%s ", m.UID, flagText(m.Flags))
	}
	return strings.TrimSpace(b.String())
}

func flagText(f imap.Flags) string {
	s := ""
	for i, l := range "SAFDT" {
		if f.System&(1<<i) != 0 {
			s += string(l)
		}
	}
	for _, k := range f.Keywords {
		s += "," + k
	}
	return s
}

func read(t testing.TB, m *imap.Message) string {
	t.Helper()
	b, err := m.Content.Append(context.Background(), nil, 0, m.Content.Size())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func code(err error) string {
	if e, ok := err.(*imap.Error); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

// clock is a Clock that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }
