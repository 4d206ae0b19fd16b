package mailbox

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
)

// TestKeysAgree: what is answered from keys made at delivery is what the messages themselves say.
func TestKeysAgree(t *testing.T) {
	t.Run("columns", func(t *testing.T) { testKeysAgree(t, 1, Limits{}) })
	t.Run("no columns", func(t *testing.T) { testKeysAgree(t, defaultColumnWorth, Limits{}) })
	t.Run("too large", func(t *testing.T) { testKeysAgree(t, 1, Limits{ColumnOctets: 1}) })
}

func testKeysAgree(t *testing.T, worth int, limits Limits) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: limits})
	m.columnWorth = worth
	a := login(t, m, 1)
	headers := []string{
		"Subject: Re: [list] =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: \"A. Name\" <a@x.example>\r\nDate: Mon, 1 Jan 2024 23:30:00 -0500\r\n",
		"Subject: second\r\nSubject: other\r\nFrom: b (a comment) @ x . example\r\nTo: grp: c@d.example, e@f.example;\r\n",
		"From: =?iso-8859-1?q?J=F6rg?= <joerg@example.org>\r\nTo: a@b.example,\r\n c@d.example\r\nDate: Tue, 2 Jan 2024 00:10:00 +0900\r\nCc: x@y.example\r\n",
		"Subject:\r\nDate: garbage\r\nBcc: hidden@example.org\r\nMessage-ID: <1@x>\r\n",
		"Message-ID: <2@x>\r\nReferences: <1@x>\r\nSubject: (fwd) second\r\nDate: 1 Jan 70 00:00 GMT\r\n",
		"Message-ID: <3@x>\r\nIn-Reply-To: <2@x>\r\nSubject: Re: second\r\nDate: Wed, 31 Dec 1969 12:00:00 +0000\r\n",
		"Subject: " + strings.Repeat("long ", 3000) + "\r\nFrom: q@r.example\r\n",
		"",
	}
	for i, h := range headers {
		put(t, a, "INBOX", imap.AppendOptions{Date: time.Unix(int64(1700000000+i), 0)}, h+"\r\nbody\r\n")
	}
	box, _ := choose(t, a, "INBOX")
	day := func(d int) time.Time { return time.Date(2024, 1, d, 0, 0, 0, 0, time.UTC) }
	list := []*imap.Criteria{{SentSince: day(1)}, {SentSince: day(2)}, {SentBefore: day(2)}, {SentSince: day(1), SentBefore: day(2)},
		{SentBefore: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)}}
	for _, name := range []string{"Subject", "FROM", "to", "cc", "bcc", "sender"} {
		for _, v := range []string{"", "second", "GR\u00dc", "name", "b@x.example", "comment", "d.example, e", "j\u00f6rg", "hidden", "long long", "<"} {
			list = append(list, &imap.Criteria{Header: []imap.HeaderKey{{Name: name, Value: v}}},
				&imap.Criteria{Header: []imap.HeaderKey{{Name: name, Value: v}, {Name: "message-id", Value: "x"}}, SentSince: day(1).AddDate(-60, 0, 0)})
		}
	}
	full := func(need imap.Need, fn func(msg *imap.Message)) {
		for msg, err := range box.Fetch(ctx, everything(), need|imap.NeedContent|imap.NeedDates) {
			if err != nil {
				t.Fatal(err)
			}
			msg.Header = nil
			fn(msg)
		}
	}
	for _, c := range list {
		var want imap.UIDSet
		full(imap.NeedsOf(c), func(msg *imap.Message) {
			ok, err := imap.Match(ctx, c, msg)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				want.Add(msg.UID)
			}
		})
		res, err := box.Search(ctx, &imap.Query{Within: everything(), Criteria: c})
		if err != nil || !res.UIDs.Equal(want) {
			t.Errorf("%+v: found %v, not %v (%v)", c, res.UIDs, want, err)
		}
	}
	for _, key := range strings.Fields("ARRIVAL CC DATE FROM SIZE SUBJECT TO DISPLAYFROM DISPLAYTO") {
		keys := []imap.SortKey{{Key: key}, {Key: "SUBJECT", Reverse: true}}
		var entries []imap.SortEntry
		full(imap.SortNeeds(keys), func(msg *imap.Message) {
			e, err := imap.SortEntryOf(ctx, msg, keys)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, e)
		})
		res, err := box.Search(ctx, &imap.Query{Within: everything(), Sort: keys})
		if want := imap.SortUIDs(entries, keys); err != nil || !slices.Equal(res.Ordered, want) {
			t.Errorf("%s: %v, not %v (%v)", key, res.Ordered, want, err)
		}
	}
	for _, how := range []string{"REFERENCES", "ORDEREDSUBJECT"} {
		var entries []imap.ThreadEntry
		full(imap.ThreadNeeds, func(msg *imap.Message) {
			e, err := imap.ThreadEntryOf(ctx, msg)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, e)
		})
		res, err := box.Search(ctx, &imap.Query{Within: everything(), Thread: how})
		if want := imap.Threads(how, entries); err != nil || !reflect.DeepEqual(res.Threads, want) {
			t.Errorf("%s: %v, not %v (%v)", how, res.Threads, want, err)
		}
	}
}

// TestReadAhead reads bodies in every pattern, with large ones between.
func TestReadAhead(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: Limits{PageMessages: 7}})
	a := login(t, m, 1)
	var want []string
	for i := range 40 {
		text := letter(i)
		if i%5 == 3 {
			text += strings.Repeat("x", aheadBody)
		}
		want = append(want, text)
		put(t, a, "INBOX", imap.AppendOptions{}, text)
	}
	box, _ := choose(t, a, "INBOX")
	for step := 1; step <= 3; step++ {
		i := 0
		for msg, err := range box.Fetch(ctx, everything(), imap.NeedContent) {
			if err != nil {
				t.Fatal(err)
			}
			if i%step == 0 {
				if got := read(t, msg); got != want[i] {
					t.Fatalf("message %d: %d octets, not %d", i, len(got), len(want[i]))
				}
				if b, err := msg.Content.Append(ctx, nil, 10, 20); err != nil || string(b) != want[i][10:30] {
					t.Fatal(fmt.Sprint(i), err)
				}
			}
			i++
		}
		if i != len(want) {
			t.Fatal(i)
		}
	}
}
