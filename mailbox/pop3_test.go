package mailbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/pop3"
	"github.com/samotop/samotop/store/mem"
)

func openDrop(t testing.TB, m *Mailbox, n, limit int) (pop3.Drop, error) {
	t.Helper()
	d, err := m.POP3().Open(context.Background(), &mail.Session{Login: mail.Identity{Account: user(n)}}, limit)
	if err == nil {
		t.Cleanup(func() { d.Close() })
	}
	return d, err
}

func drop(t testing.TB, m *Mailbox, n int) pop3.Drop {
	t.Helper()
	d, err := openDrop(t, m, n, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func readAll(t testing.TB, d pop3.Drop, i int) (text string) {
	t.Helper()
	err := d.Read(context.Background(), i, func(c pop3.Content) error {
		b, err := c.Append(context.Background(), nil, 0, c.Size())
		text = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func uidls(d pop3.Drop) (out []string) {
	for i := range d.Len() {
		out = append(out, string(d.AppendUIDL(nil, i)))
	}
	return out
}

func TestPOP3(t *testing.T) {
	e := mem.New(mem.Options{})
	m := open(t, e, Config{})
	for i := range 5 {
		deliver(t, m, letter(i), rcpt(1))
	}
	d := drop(t, m, 1)
	if d.Len() != 5 {
		t.Fatal(d.Len())
	}
	before := uidls(d)
	for i := range 5 {
		text := readAll(t, d, i)
		if !strings.HasSuffix(text, letter(i)) || int64(len(text)) != d.Size(i) {
			t.Errorf("message %d: size %d, %q", i, d.Size(i), text)
		}
	}
	if err := d.Delete(context.Background(), []int{3, 1}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	m.Close()
	d = drop(t, open(t, e, Config{}), 1) // after a restart: what was deleted is gone, the others keep their names
	if got, want := fmt.Sprint(uidls(d)), fmt.Sprint([]string{before[0], before[2], before[4]}); got != want {
		t.Errorf("unique-ids %s, want %s", got, want)
	}
}

func TestPOP3Lock(t *testing.T) {
	m := newBox(t, Config{})
	deliver(t, m, letter(1), rcpt(1))
	d := drop(t, m, 1)
	if _, err := openDrop(t, m, 1, 10); !errors.Is(err, pop3.ErrInUse) {
		t.Errorf("a second session: %v", err)
	}
	drop(t, m, 2) // another account is free
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	drop(t, m, 1)
}

// TestPOP3BesideIMAP: what IMAP does to the mailbox while it is open neither shifts numbers nor gets the wrong message
// deleted.
func TestPOP3BesideIMAP(t *testing.T) {
	m := newBox(t, Config{})
	ctx := context.Background()
	for i := range 3 {
		deliver(t, m, letter(i), rcpt(1))
	}
	d := drop(t, m, 1)
	a := login(t, m, 1)
	box, snap := choose(t, a, "INBOX")
	if snap.Recent != 3 {
		t.Errorf("POP3 has taken \\Recent: %d", snap.Recent)
	}
	first := imap.UIDSet{{Start: 1, Stop: 1}}
	if _, err := box.Store(ctx, first, imap.StoreChange{Mode: imap.StoreAdd, Flags: imap.Flags{System: imap.FlagDeleted}}); err != nil {
		t.Fatal(err)
	}
	if _, err := box.Expunge(ctx, nil); code(err) != "INUSE" {
		t.Errorf("EXPUNGE while POP3 has INBOX: %v", err)
	}
	if _, err := box.Copy(ctx, first, "Trash", true); code(err) != "INUSE" {
		t.Errorf("MOVE while POP3 has INBOX: %v", err)
	}
	if _, err := box.Copy(ctx, first, "Trash", false); err != nil {
		t.Errorf("COPY: %v", err)
	}
	deliver(t, m, letter(9), rcpt(1))
	if !strings.HasSuffix(readAll(t, d, 0), letter(0)) {
		t.Error("a message that is to be expunged cannot be read")
	}
	if !strings.HasSuffix(readAll(t, d, 1), letter(1)) {
		t.Error("numbers have shifted")
	}
	if err := d.Delete(ctx, []int{0, 1}); err != nil {
		t.Fatal(err)
	}
	if got := show(t, box); !strings.HasPrefix(got, "3") || !strings.Contains(got, "4") || strings.Contains(got, "2") {
		t.Errorf("left: %s", got)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := box.Copy(ctx, everything(), "Trash", true); err != nil || show(t, box) != "" {
		t.Errorf("MOVE after POP3: %v", err)
	}
}

func TestPOP3Renamed(t *testing.T) {
	m := newBox(t, Config{})
	ctx := context.Background()
	deliver(t, m, letter(1), rcpt(1))
	d := drop(t, m, 1)
	a := login(t, m, 1)
	if err := a.Rename(ctx, "INBOX", "Old"); code(err) != "INUSE" {
		t.Errorf("INBOX was renamed while POP3 had it: %v", err)
	}
	if err := errors.Join(d.Delete(ctx, []int{0}), d.Close(), a.Rename(ctx, "INBOX", "Old")); err != nil {
		t.Fatal(err)
	}
	deliver(t, m, letter(2), rcpt(1))
	for name, want := range map[string]uint32{"INBOX": 1, "Old": 0} {
		if s, err := a.Status(ctx, name); err != nil || s.Messages != want {
			t.Errorf("%s: %d messages, %v", name, s.Messages, err)
		}
	}
}

func TestPOP3Limit(t *testing.T) {
	m := newBox(t, Config{Limits: Limits{StoreMessages: 2, PageMessages: 2}})
	for i := range 7 {
		deliver(t, m, letter(i), rcpt(1))
	}
	d, err := openDrop(t, m, 1, 5)
	if err != nil || d.Len() != 5 {
		t.Fatal(d, err)
	}
	if err := d.Delete(context.Background(), []int{0, 1, 2, 3, 4}); err != nil { // several batches
		t.Fatal(err)
	}
	d.Close()
	if d = drop(t, m, 1); d.Len() != 2 || !strings.HasSuffix(readAll(t, d, 0), letter(5)) {
		t.Error(d.Len())
	}
	if _, err := m.POP3().Open(context.Background(), &mail.Session{Login: mail.Identity{Account: "nobody@example.test"}}, 1); err == nil {
		t.Error("nobody got in")
	}
}
