package mailbox

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
)

func TestMetadata(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: Limits{MetadataEntries: 3, MetadataOctets: 10}})
	a := login(t, m, 1)
	md := a.(imap.Metadata)
	set := func(want, box string, pairs ...string) {
		t.Helper()
		var list []imap.MetadataEntry
		for i := 0; i < len(pairs); i += 2 {
			e := imap.MetadataEntry{Name: pairs[i]}
			if pairs[i+1] != "NIL" {
				e.Value = []byte(pairs[i+1])
			}
			list = append(list, e)
		}
		got := ""
		if err := md.SetEntries(ctx, box, list); err != nil {
			got = code(err)
		}
		if got != want {
			t.Errorf("set %q %v: %q, not %q", box, pairs, got, want)
		}
	}
	get := func(box string) string {
		t.Helper()
		list, err := md.Entries(ctx, box)
		if err != nil {
			return code(err)
		}
		var b strings.Builder
		for _, e := range list {
			fmt.Fprintf(&b, "%s=%q ", e.Name, e.Value)
		}
		return strings.TrimSpace(b.String())
	}
	expect := func(box, want string) {
		t.Helper()
		if got := get(box); got != want {
			t.Errorf("entries of %q: %s, not %s", box, got, want)
		}
	}
	set("", "Drafts", "/private/comment", "mine", "/shared/comment", "")
	set("", "", "/private/filters/values/x", "ALL")
	expect("Drafts", `/private/comment="mine" /shared/comment=""`)
	expect("", `/private/filters/values/x="ALL"`)
	set("METADATA MAXSIZE 10", "Drafts", "/private/a", "x", "/private/b", "12345678901")
	set("METADATA TOOMANY", "Drafts", "/private/a", "x", "/private/b", "y")
	set("NONEXISTENT", "nowhere", "/private/a", "x")
	set("", "Drafts", "/public/a", "x")
	expect("nowhere", "NONEXISTENT")
	expect("Drafts", `/private/comment="mine" /shared/comment=""`)
	set("", "Drafts", "/private/comment", "NIL", "/private/a", "x", "/private/b", "y")
	if err := a.Rename(ctx, "Drafts", "Kept"); err != nil {
		t.Fatal(err)
	}
	expect("Kept", `/private/a="x" /private/b="y" /shared/comment=""`)
	if err := a.Delete(ctx, "Kept"); err != nil {
		t.Fatal(err)
	}
	if err := m.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Create(ctx, "Kept", nil); err != nil {
		t.Fatal(err)
	}
	expect("Kept", "")
	expect("", `/private/filters/values/x="ALL"`)
	verify(t, m)
}

func TestURLKeys(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{})
	a := login(t, m, 1)
	keys := a.(imap.URLKeys)
	key := func(k imap.URLKeys, box string, create bool) []byte {
		t.Helper()
		b, err := k.URLKey(ctx, box, create)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if k := key(keys, "INBOX", false); k != nil {
		t.Errorf("there is a key already: %x", k)
	}
	first := key(keys, "INBOX", true)
	if len(first) < 16 || !bytes.Equal(first, key(keys, "inbox", false)) || !bytes.Equal(first, key(keys, "INBOX", true)) {
		t.Errorf("the key changed")
	}
	if bytes.Equal(first, key(keys, "Sent", true)) {
		t.Error("two mailboxes have one key")
	}
	other, err := login(t, m, 2).(imap.URLKeys).Owner(ctx, user(1))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if !bytes.Equal(first, key(other.(imap.URLKeys), "INBOX", false)) {
		t.Error("whoever reads the URL finds another key")
	}
	if _, err := keys.Owner(ctx, "nobody@example.test"); code(err) != "NONEXISTENT" {
		t.Error(err)
	}
	if err := keys.ResetURLKey(ctx, "INBOX"); err != nil {
		t.Fatal(err)
	}
	second := key(keys, "INBOX", false)
	if second == nil || bytes.Equal(first, second) {
		t.Error("the key was not replaced")
	}
	if err := keys.ResetURLKey(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if key(keys, "INBOX", false) != nil || key(keys, "Sent", false) != nil {
		t.Error("keys are left")
	}
	if third := key(keys, "INBOX", true); bytes.Equal(third, first) || bytes.Equal(third, second) {
		t.Error("an old key came back")
	}
	if err := keys.ResetURLKey(ctx, "nowhere"); code(err) != "NONEXISTENT" {
		t.Error(err)
	}
}

// TestURLKeysReset: the owner's other sessions hear once that keys were reset, and find the new ones at once (RFC 4467 section 7).
func TestURLKeysReset(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{})
	here, there := login(t, m, 1), login(t, m, 1)
	inbox, snap := choose(t, there, "INBOX")
	sent, sentSnap := choose(t, there, "Sent")
	told := func(box imap.Mailbox, since imap.ModSeq) bool {
		t.Helper()
		ch, err := box.Changes(ctx, since)
		if err != nil {
			t.Fatal(err)
		}
		return ch.NewKeys
	}
	before, err := there.(imap.URLKeys).URLKey(ctx, "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reset       string
		inbox, sent bool
	}{{"INBOX", true, false}, {"", true, true}} {
		if err := here.(imap.URLKeys).ResetURLKey(ctx, c.reset); err != nil {
			t.Fatal(err)
		}
		select {
		case <-inbox.Notify():
		default:
			t.Errorf("%q: the other session was not woken", c.reset)
		}
		if now, err := there.(imap.URLKeys).URLKey(ctx, "INBOX", false); err != nil || bytes.Equal(now, before) {
			t.Errorf("%q: the old key still holds there: %v", c.reset, err)
		}
		if a, b := told(inbox, snap.HighestModSeq), told(sent, sentSnap.HighestModSeq); a != c.inbox || b != c.sent {
			t.Errorf("%q: INBOX was told %v, Sent %v", c.reset, a, b)
		}
		if told(inbox, snap.HighestModSeq) {
			t.Errorf("%q: told twice", c.reset)
		}
	}
	late, snap := choose(t, here, "INBOX")
	if told(late, snap.HighestModSeq) {
		t.Error("a session is told what happened before it came")
	}
}

func TestWatch(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: Limits{WatchEvents: 4}})
	mine, others := login(t, m, 1), login(t, m, 1)
	w, err := mine.(imap.Watcher).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		list, lost, err := w.Events(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, e := range list {
			fmt.Fprintf(&b, "%d %s%s%v ", e.Kind, e.Mailbox, e.OldName, e.Entries)
		}
		if lost {
			b.WriteString("lost")
		}
		if got := strings.TrimSpace(b.String()); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	deliver(t, m, letter(1), rcpt(1), rcpt(2))
	deliver(t, m, letter(2), rcpt(1))
	<-w.Notify()
	expect("1 INBOX[]")
	for _, a := range []imap.Account{others, mine} {
		box, _ := choose(t, a, "INBOX")
		put(t, a, "Sent", imap.AppendOptions{}, letter(3))
		if _, err := box.Store(ctx, everything(), imap.StoreChange{Mode: imap.StoreAdd, Flags: imap.Flags{System: imap.FlagDeleted}}); err != nil {
			t.Fatal(err)
		}
		if _, err := box.Expunge(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if a == others {
			expect("1 Sent[] 3 INBOX[] 2 INBOX[]")
		} else {
			expect("1 Sent[]")
		}
	}
	change := func(a imap.Account) {
		t.Helper()
		_, err := a.Create(ctx, "x", nil)
		if err == nil {
			err = a.Rename(ctx, "x", "y")
		}
		if err == nil {
			err = a.Subscribe(ctx, "y", true)
		}
		if err == nil {
			err = a.(imap.Metadata).SetEntries(ctx, "y", []imap.MetadataEntry{{Name: "/private/a", Value: []byte("b")}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	change(others)
	expect("4 x[] 6 yx[] 7 y[] 8 y[/private/a]")
	if err := others.Delete(ctx, "y"); err != nil {
		t.Fatal(err)
	}
	expect("5 y[]")
	change(mine)
	expect("")
	if err := others.Delete(ctx, "y"); err != nil {
		t.Fatal(err)
	}
	if err := others.Subscribe(ctx, "y", false); err != nil {
		t.Fatal(err)
	}
	change(others)
	expect("lost")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	deliver(t, m, letter(9), rcpt(1))
	expect("")
}
