package mailbox

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/mem"
)

func importBatch(t testing.TB, m *Mailbox, folder string, ids ...int) (stored, repeated int) {
	t.Helper()
	ctx := context.Background()
	im, err := m.Import(ctx, &mail.Session{Login: mail.Identity{Account: user(1)}}, folder)
	if err != nil {
		t.Error(err)
		return
	}
	defer im.Close()
	for _, id := range ids {
		w, err := im.Next(ctx, fmt.Sprint(id), imap.AppendOptions{Size: -1, Date: time.Unix(1e9, 0), Flags: imap.Flags{System: imap.FlagSeen, Keywords: []string{"work"}}})
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.WriteString(w, letter(id)); err != nil {
			t.Error(err)
		}
	}
	if stored, repeated, err = im.Commit(ctx); err != nil {
		t.Error(err)
	}
	return stored, repeated
}

func TestImport(t *testing.T) {
	e := mem.New(mem.Options{})
	m := open(t, e, Config{})
	check := func(stored, repeated, wantStored, wantRepeated int) {
		t.Helper()
		if stored != wantStored || repeated != wantRepeated {
			t.Errorf("stored %d, repeated %d, want %d and %d", stored, repeated, wantStored, wantRepeated)
		}
	}
	a, b := importBatch(t, m, "Old/2020", 1, 2, 3, 2)
	check(a, b, 3, 1)
	a, b = importBatch(t, m, "Old/2020", 3, 4)
	check(a, b, 1, 1)
	a, b = importBatch(t, m, "Old/2020", 1, 2)
	check(a, b, 0, 2)
	m.Close()
	m = open(t, e, Config{})
	a, b = importBatch(t, m, "Old/2020", 4, 5) // also after a restart
	check(a, b, 1, 1)
	acct := login(t, m, 1)
	box, _ := choose(t, acct, "Old/2020")
	n := 0
	for msg, err := range box.Fetch(context.Background(), everything(), imap.NeedDates) {
		if err != nil || msg.Flags.System != imap.FlagSeen || fmt.Sprint(msg.Flags.Keywords) != "[work]" || msg.InternalDate.Unix() != 1e9 {
			t.Errorf("%+v %v", msg, err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d messages", n)
	}
}

// TestImportAtOnce: batches with the same messages at the same time store each once.
func TestImportAtOnce(t *testing.T) {
	m := newBox(t, Config{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { importBatch(t, m, "Many", i, i+1, i+2, 100) })
	}
	wg.Wait()
	if s, err := login(t, m, 1).Status(context.Background(), "Many"); err != nil || s.Messages != 11 {
		t.Errorf("%d messages, %v", s.Messages, err)
	}
}
