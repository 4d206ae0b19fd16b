package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
)

func flags(text string) (f imap.Flags) {
	words := strings.Split(text, ",")
	for _, c := range words[0] {
		f.System |= 1 << strings.IndexRune("SAFDT", c)
	}
	f.Keywords = words[1:]
	return f
}

func verify(t testing.TB, m *Mailbox) {
	t.Helper()
	faults, err := m.Verify(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

func names(t testing.TB, a imap.Account) string {
	t.Helper()
	list, err := a.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var b []string
	for _, f := range list {
		s := f.Name
		if f.NonExistent {
			s += "?"
		}
		if f.Subscribed {
			s += "*"
		}
		b = append(b, s)
	}
	return strings.Join(b, " ")
}

func TestFolders(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: Limits{NameDepth: 4, NameOctets: 40, Mailboxes: 14}})
	a := login(t, m, 1)
	if got, want := names(t, a), "Archive* Drafts* INBOX* Junk* Sent* Trash*"; got != want {
		t.Errorf("new account: %s", got)
	}
	steps := []struct {
		do   string
		code string // expected error
		want string
	}{
		{"create a/b/c", "", "a? a/b? a/b/c"},
		{"create a/", "", "a a/b? a/b/c"},
		{"create a", "ALREADYEXISTS", ""},
		{"create inbox", "ALREADYEXISTS", ""},
		{"create a//b", "CANNOT", ""},
		{"create x\x01", "CANNOT", ""},
		{"create x\xff", "CANNOT", ""},
		{"create 1/2/3/4/5", "LIMIT", ""},
		{"create " + strings.Repeat("x", 41), "LIMIT", ""},
		{"create e\u0301", "", "a a/b? a/b/c \u00e9"},
		{"delete \u00e9", "", "a a/b? a/b/c"},
		{"delete a", "", "a? a/b? a/b/c"},
		{"delete a", "HASCHILDREN", ""},
		{"delete nothing", "NONEXISTENT", ""},
		{"delete INBOX", "CANNOT", ""},
		{"create a", "", "a a/b? a/b/c"},
		{"rename a a/x", "CANNOT", ""},
		{"rename a Sent", "ALREADYEXISTS", ""},
		{"rename a z", "", "z z/b? z/b/c"},
		{"rename z/b q/w", "", "q? q/w? q/w/c z"},
		{"rename nothing y", "NONEXISTENT", ""},
		{"rename q/w z/1/2/3", "LIMIT", ""},
		{"subscribe q/w/c", "", "q? q/w? q/w/c* z"},
		{"subscribe ghost", "", "ghost?* q? q/w? q/w/c* z"},
		{"delete q/w/c", "", "ghost?* q/w/c?* z"},
		{"unsubscribe q/w/c", "", "ghost?* z"},
		{"unsubscribe ghost", "", "z"},
	}
	for _, s := range steps {
		f := strings.SplitN(s.do, " ", 3)
		var err error
		switch f[0] {
		case "create":
			_, err = a.Create(ctx, f[1], nil)
		case "delete":
			err = a.Delete(ctx, f[1])
		case "rename":
			err = a.Rename(ctx, f[1], f[2])
		case "subscribe", "unsubscribe":
			err = a.Subscribe(ctx, f[1], f[0] == "subscribe")
		}
		if s.code != "" || err != nil {
			if code(err) != s.code {
				t.Errorf("%s: %v", s.do, err)
			}
			continue
		}
		got := strings.Fields(names(t, a))
		got = slices.DeleteFunc(got, func(n string) bool {
			return slices.Contains(strings.Fields("Archive* Drafts* INBOX* Junk* Sent* Trash*"), n)
		})
		if strings.Join(got, " ") != s.want {
			t.Errorf("%s: %s, not %s", s.do, got, s.want)
		}
	}
	var err error
	for i := 0; err == nil; i++ {
		_, err = a.Create(ctx, fmt.Sprint("n", i), nil)
	}
	if code(err) != "LIMIT" {
		t.Error(err)
	}
	if _, err := a.Create(ctx, "Sent2", []imap.SpecialUse{imap.UseSent}); code(err) != "LIMIT" && code(err) != "USEATTR" {
		t.Error(err)
	}
	verify(t, m)
}

func TestUIDValidityGrows(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{})
	a := login(t, m, 1)
	last := uint32(0)
	for range 5 {
		if _, err := a.Create(ctx, "box", nil); err != nil {
			t.Fatal(err)
		}
		st, err := a.Status(ctx, "box")
		if err != nil || st.UIDValidity <= last {
			t.Fatal(st, err, last)
		}
		last = st.UIDValidity
		if err := a.Rename(ctx, "box", "other"); err != nil {
			t.Fatal(err)
		}
		moved, err := a.Status(ctx, "other")
		if err != nil || moved.UIDValidity != last || moved.ID != st.ID {
			t.Fatal(moved, err)
		}
		if err := a.Delete(ctx, "other"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRenameInbox(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{})
	a := login(t, m, 1)
	put(t, a, "INBOX", imap.AppendOptions{Flags: flags("S,$work")}, letter(1), letter(2))
	box, snap := choose(t, login(t, m, 1), "INBOX")
	before, _ := a.Status(ctx, "INBOX")
	if err := a.Rename(ctx, "INBOX", "old"); err != nil {
		t.Fatal(err)
	}
	<-box.Notify()
	put(t, a, "INBOX", imap.AppendOptions{Flags: flags(",$work")}, letter(3))
	ch, err := box.Changes(ctx, snap.HighestModSeq)
	if err != nil || ch.Gone || ch.Vanished.String() != "1:2" || ch.New.String() != "3" {
		t.Errorf("%+v, %v", ch, err)
	}
	if got := show(t, box); got != "3,$work" {
		t.Error(got)
	}
	now, _ := a.Status(ctx, "INBOX")
	if now.UIDValidity != before.UIDValidity || now.ID != before.ID || now.UIDNext != 4 || now.Messages != 1 {
		t.Errorf("%+v", now)
	}
	old, snap := choose(t, a, "old")
	if got := show(t, old); got != "1S,$work 2S,$work" || snap.UIDValidity <= before.UIDValidity || snap.ID == before.ID {
		t.Error(got, snap)
	}
	verify(t, m)
}

func TestStore(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: Limits{StoreMessages: 2, Keywords: 3, MessageKeywords: 2, KeywordOctets: 20}})
	a := login(t, m, 1)
	put(t, a, "INBOX", imap.AppendOptions{}, letter(1), letter(2), letter(3), letter(4), letter(5))
	box, snap := choose(t, a, "INBOX")
	for _, s := range []struct {
		uids  imap.UIDSet
		mode  imap.StoreMode
		flags string
		want  string
		code  string
	}{
		{everything(), imap.StoreAdd, "S", "1S 2S 3S 4S 5S", ""},
		{imap.UIDSet{{Start: 2, Stop: 3}}, imap.StoreReplace, "FD,$Work", "1S 2FD,$Work 3FD,$Work 4S 5S", ""},
		{imap.UIDSet{{Start: 3, Stop: 4}}, imap.StoreAdd, ",$WORK,abc", "1S 2FD,$Work 3FD,$Work,abc 4S,$Work,abc 5S", ""},
		{everything(), imap.StoreRemove, "S,$work,never", "1 2FD 3FD,abc 4,abc 5", ""},
		{imap.UIDSet{{Start: 1, Stop: 1}}, imap.StoreAdd, ",third,fourth", "", "LIMIT"},
		{imap.UIDSet{{Start: 3, Stop: 3}}, imap.StoreAdd, ",third,$Work", "", "LIMIT"},
		{imap.UIDSet{{Start: 3, Stop: 3}}, imap.StoreAdd, "," + strings.Repeat("k", 21), "", "LIMIT"},
		{nil, imap.StoreAdd, "S", "1 2FD 3FD,abc 4,abc 5", ""},
	} {
		_, err := box.Store(ctx, s.uids, imap.StoreChange{Mode: s.mode, Flags: flags(s.flags)})
		if s.code != "" || err != nil {
			if code(err) != s.code {
				t.Errorf("%v: %v", s, err)
			}
			continue
		}
		if got := show(t, box); got != s.want {
			t.Errorf("%v: %s", s, got)
		}
	}
	ch, err := box.Changes(ctx, snap.HighestModSeq)
	if err != nil || len(ch.Flags) != 5 || len(ch.New)+len(ch.Vanished) != 0 {
		t.Errorf("%+v %v", ch, err)
	}
	mid := ch.ModSeq
	res, err := box.Store(ctx, imap.UIDSet{{Start: 5, Stop: 5}}, imap.StoreChange{Mode: imap.StoreAdd, Flags: flags("A")})
	if err != nil || len(res.Stored) != 1 || res.Stored[0].ModSeq <= mid {
		t.Error(res, err)
	}
	res, err = box.Store(ctx, everything(), imap.StoreChange{Mode: imap.StoreAdd, Flags: flags("T"), UnchangedSince: &mid})
	if err != nil || res.Modified.String() != "5" || len(res.Stored) != 4 {
		t.Error(res, err)
	}
	verify(t, m)
}

func TestCopyMove(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: Limits{CopyMessages: 3, StoreMessages: 2}})
	a := login(t, m, 1)
	put(t, a, "INBOX", imap.AppendOptions{Flags: flags("S,abc")}, letter(1), letter(2), letter(3), letter(4))
	box, _ := choose(t, a, "INBOX")
	if _, err := box.Copy(ctx, everything(), "Sent", false); code(err) != "LIMIT" {
		t.Error(err)
	}
	if _, err := box.Copy(ctx, everything(), "nowhere", true); code(err) != "TRYCREATE" {
		t.Error(err)
	}
	res, err := box.Copy(ctx, imap.UIDSet{{Start: 2, Stop: 3}}, "Sent", false)
	if err != nil || res.Source.String() != "2:3" || res.Dest.String() != "1:2" {
		t.Error(res, err)
	}
	if res, err = box.Copy(ctx, imap.UIDSet{{Start: 4, Stop: 4}}, "INBOX", false); err != nil || res.Dest.String() != "5" {
		t.Error(res, err)
	}
	ids := func(b imap.Mailbox) map[string]string {
		out := map[string]string{}
		for msg, err := range b.Fetch(ctx, everything(), imap.NeedIDs|imap.NeedContent) {
			if err != nil {
				t.Fatal(err)
			}
			out[read(t, msg)] = msg.EmailID + msg.ThreadID
		}
		return out
	}
	sent, _ := choose(t, a, "Sent")
	inboxIDs := ids(box)
	for content, id := range ids(sent) {
		if inboxIDs[content] != id {
			t.Error("EMAILID changed")
		}
	}
	if res, err = box.Copy(ctx, everything(), "Archive", true); err != nil || res.Source.String() != "1:5" || res.Dest.String() != "1:5" {
		t.Error(res, err)
	}
	archive, _ := choose(t, a, "Archive")
	if got := show(t, archive); got != "1S,abc 2S,abc 3S,abc 4S,abc 5S,abc" || show(t, box) != "" {
		t.Error(got)
	}
	if res, err = archive.Copy(ctx, everything(), "Archive", true); err != nil || res.Dest.String() != "6:10" {
		t.Error(res, err)
	}
	verify(t, m)
	ro, err := a.Select(ctx, "Archive", true)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if _, err := ro.Copy(ctx, everything(), "Sent", true); code(err) != "READ-ONLY" {
		t.Error(err)
	}
}

func TestRecent(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{})
	a := login(t, m, 1)
	deliver(t, m, letter(1), rcpt(1))
	if st, _ := a.Status(ctx, "INBOX"); st.Recent != 1 {
		t.Error(st.Recent)
	}
	ro, err := a.Select(ctx, "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if snap, _ := ro.Snapshot(ctx); snap.Recent != 1 {
		t.Error("EXAMINE does not see it")
	}
	b1, s1 := choose(t, a, "INBOX")
	b2, s2 := choose(t, a, "INBOX")
	if s1.Recent != 1 || s2.Recent != 0 {
		t.Error(s1.Recent, s2.Recent)
	}
	deliver(t, m, letter(2), rcpt(1))
	c2, _ := b2.Changes(ctx, s2.HighestModSeq)
	c1, _ := b1.Changes(ctx, s1.HighestModSeq)
	if c2.Recent.String() != "2" || len(c1.Recent) != 0 || c1.New.String() != "2" {
		t.Error(c1, c2)
	}
	if st, _ := a.Status(ctx, "INBOX"); st.Recent != 0 {
		t.Error(st.Recent)
	}
}

// TestChangesSince asks for the changes since every modseq, with a short log so that its horizon is passed, and
// replays them on what the mailbox was then.
func TestChangesSince(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: Limits{LogRows: 4}})
	a := login(t, m, 1)
	box, _ := choose(t, a, "INBOX")
	type state struct {
		at   imap.ModSeq
		uids imap.UIDSet
		text string
	}
	var states []state
	note := func() {
		snap, err := box.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, state{snap.HighestModSeq, snap.UIDs, show(t, box)})
	}
	note()
	for i := range 30 {
		switch i % 3 {
		case 0:
			put(t, a, "INBOX", imap.AppendOptions{}, letter(i), letter(i))
		case 1:
			box.Store(ctx, imap.UIDSet{{Start: imap.UID(i / 2), Stop: imap.UID(i)}}, imap.StoreChange{Mode: imap.StoreAdd, Flags: flags("F,k" + fmt.Sprint(i))})
		case 2:
			u := imap.UIDSet{{Start: imap.UID(i / 3), Stop: imap.UID(i / 3)}}
			box.Store(ctx, u, imap.StoreChange{Mode: imap.StoreAdd, Flags: flags("D")})
			box.Expunge(ctx, u)
		}
		note()
	}
	if err := m.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	last := states[len(states)-1]
	for _, s := range states {
		other, err := a.Select(ctx, "INBOX", true)
		if err != nil {
			t.Fatal(err)
		}
		ch, err := other.Changes(ctx, s.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.uids.Subtract(ch.Vanished).Union(ch.New); got.String() != last.uids.String() || ch.ModSeq != last.at {
			t.Errorf("since %d: %v", s.at, got)
		}
		for _, f := range strings.Fields(last.text) {
			known := strings.Contains(" "+s.text+" ", " "+f+" ")
			var u imap.UID
			fmt.Sscan(f, &u)
			i := slices.IndexFunc(ch.Flags, func(c imap.FlagChange) bool { return c.UID == u })
			if !known && !ch.New.Contains(u) && (i < 0 || fmt.Sprint(u, flagText(ch.Flags[i].Flags)) != fmt.Sprint(u, strings.TrimLeft(f, "0123456789"))) {
				t.Errorf("since %d: change to %s is not told", s.at, f)
			}
		}
		other.Close()
	}
	verify(t, m)
}

func TestGone(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{})
	a := login(t, m, 1)
	a.Create(ctx, "box", nil)
	put(t, a, "box", imap.AppendOptions{}, letter(1))
	box, snap := choose(t, a, "box")
	if err := login(t, m, 1).Delete(ctx, "box"); err != nil {
		t.Fatal(err)
	}
	<-box.Notify()
	if ch, err := box.Changes(ctx, snap.HighestModSeq); err != nil || !ch.Gone {
		t.Error(ch, err)
	}
	if _, err := box.Store(ctx, everything(), imap.StoreChange{}); code(err) != "NONEXISTENT" {
		t.Error(err)
	}
	if got := show(t, box); got != "" {
		t.Error(got)
	}
	inbox, snap := choose(t, a, "INBOX")
	deliver(t, m, letter(2), rcpt(1), rcpt(2))
	for range 2 {
		if err := m.Purge(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	if ch, err := inbox.Changes(ctx, snap.HighestModSeq); err != nil || !ch.Gone {
		t.Error(ch, err)
	}
	if _, err := inbox.Store(ctx, everything(), imap.StoreChange{}); code(err) != "NONEXISTENT" {
		t.Error(err)
	}
	if err := m.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	verify(t, m)
}

func TestSearch(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{})
	a := login(t, m, 1)
	for i := 1; i <= 6; i++ {
		put(t, a, "INBOX", imap.AppendOptions{Flags: flags([]string{"", "S", "SD", "F", "D,abc", "ST"}[i-1])}, letter(i))
	}
	box, _ := choose(t, a, "INBOX")
	yes := int64(10)
	for want, c := range map[string]*imap.Criteria{
		"1:6":     nil,
		"1,4:5":   {NotFlag: imap.Flags{System: imap.FlagSeen}},
		"3,5":     {Flags: imap.Flags{System: imap.FlagDeleted}},
		"3":       {Flags: imap.Flags{System: imap.FlagDeleted | imap.FlagSeen}},
		"5":       {Flags: imap.Flags{Keywords: []string{"ABC"}}},
		"2:3":     {UIDs: []imap.UIDSet{{{Start: 2, Stop: 4}}}, Not: []imap.Criteria{{Flags: imap.Flags{System: imap.FlagFlagged}}}},
		"":        {Smaller: &yes},
		"4":       {Header: []imap.HeaderKey{{Name: "subject", Value: "LETTER 4"}}},
		"6":       {Body: []string{"number 6"}},
		"1:2,4:6": {Not: []imap.Criteria{{Header: []imap.HeaderKey{{Name: "dkim-signature", Value: "none"}}, Text: []string{"x"}}, {Text: []string{"letter 3"}}}},
	} {
		res, err := box.Search(ctx, &imap.Query{Within: everything(), Criteria: c})
		if err != nil || res.UIDs.String() != want {
			t.Errorf("%s: %v, %v", want, res, err)
		}
	}
	res, err := box.Search(ctx, &imap.Query{Within: everything(), Sort: []imap.SortKey{{Key: "SUBJECT", Reverse: true}}})
	if err != nil || fmt.Sprint(res.Ordered) != "[6 5 4 3 2 1]" {
		t.Error(res, err)
	}
	res, err = box.Search(ctx, &imap.Query{Within: everything(), Thread: "ORDEREDSUBJECT"})
	if err != nil || len(res.Threads) != 6 {
		t.Error(res, err)
	}
}
