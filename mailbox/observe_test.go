package mailbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
)

// diary is an Observer that writes down what it is told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) Observe(_ context.Context, e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := fmt.Sprintf("%d %s %s>%s", e.Owner, e.Cause, e.From.Name, e.To.Name)
	for _, m := range e.Messages {
		line += fmt.Sprintf(" %s/%d", m.EmailID, m.UID)
		if len(m.Added)+len(m.Removed) > 0 {
			line += fmt.Sprintf("+%v-%v", m.Added, m.Removed)
		}
	}
	d.lines = append(d.lines, line)
}

func (d *diary) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := strings.Join(d.lines, "\n")
	d.lines = nil
	return s
}

func TestObserver(t *testing.T) {
	ctx := context.Background()
	d := &diary{}
	m := newBox(t, Config{Observer: d})
	expect := func(want ...string) {
		t.Helper()
		if got := d.take(); got != strings.Join(want, "\n") {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	deliver(t, m, letter(1), rcpt(1), rcpt(2))
	expect("1 delivered >INBOX E1-1/1", "2 delivered >INBOX E2-1/1")
	a := login(t, m, 1)
	put(t, a, "INBOX", imap.AppendOptions{}, letter(2), letter(3))
	expect("1 appended >INBOX E1-2/2 E1-3/3")
	box, _ := choose(t, a, "INBOX")
	store := func(mode imap.StoreMode, f imap.SystemFlags, words ...string) {
		t.Helper()
		if _, err := box.Store(ctx, everything(), imap.StoreChange{Mode: mode, Flags: imap.Flags{System: f, Keywords: words}}); err != nil {
			t.Fatal(err)
		}
	}
	store(imap.StoreAdd, imap.FlagSeen)
	expect("")
	store(imap.StoreAdd, 0, "$Junk")
	expect("1 flagged INBOX> E1-1/1+[$Junk]-[] E1-2/2+[$Junk]-[] E1-3/3+[$Junk]-[]")
	store(imap.StoreReplace, 0, "$NotJunk")
	expect("1 flagged INBOX> E1-1/1+[$NotJunk]-[$Junk] E1-2/2+[$NotJunk]-[$Junk] E1-3/3+[$NotJunk]-[$Junk]")
	if _, err := box.Copy(ctx, imap.UIDSet{{Start: 1, Stop: 1}}, "Archive", false); err != nil {
		t.Fatal(err)
	}
	expect("1 copied INBOX>Archive E1-1/1")
	if _, err := box.Copy(ctx, imap.UIDSet{{Start: 2, Stop: 3}}, "Junk", true); err != nil {
		t.Fatal(err)
	}
	expect("1 moved INBOX>Junk E1-2/1 E1-3/2")
	store(imap.StoreAdd, imap.FlagDeleted)
	if _, err := box.Expunge(ctx, nil); err != nil {
		t.Fatal(err)
	}
	expect("1 expunged INBOX> E1-1/1")
	if err := a.Rename(ctx, "Archive", "Old"); err != nil {
		t.Fatal(err)
	}
	if err := a.Delete(ctx, "Old"); err != nil {
		t.Fatal(err)
	}
	expect("1 folder renamed Archive>Old", "1 folder deleted Old>")

	quiet, err := m.QuietBackend().Open(ctx, &mail.Session{Login: mail.Identity{Account: user(1)}})
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	put(t, quiet, "INBOX", imap.AppendOptions{}, letter(4))
	expect("")

	if err := m.Sweep(ctx); err != nil { // takes the messages of the deleted folder away
		t.Fatal(err)
	}
	c, err := m.Content(ctx, 1, "E1-2")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, &imap.Message{Content: c}); got != letter(2) {
		t.Errorf("content is %q", got)
	}
	for _, id := range []string{"E1-1", "E2-1", "E1-02", "x", ""} {
		if _, err := m.Content(ctx, 1, id); !errors.Is(err, ErrNoMessage) {
			t.Errorf("content of %q: %v", id, err)
		}
	}
}
