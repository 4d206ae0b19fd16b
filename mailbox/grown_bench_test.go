package mailbox

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store/log"
)

// BenchmarkGrown is what must not depend on the size of a mailbox, or only by a microsecond a message, on the log engine:
// SAMOTOP_GROWN="10000 100000 1000000" says how many messages; without it 10,000. The text index is finished before it begins.
func BenchmarkGrown(b *testing.B) {
	sizes := os.Getenv("SAMOTOP_GROWN")
	if sizes == "" {
		sizes = "10000"
	}
	for s := range strings.FieldsSeq(sizes) {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		benchmarkGrown(b, n)
	}
}

func benchmarkGrown(b *testing.B, n int) {
	ctx := context.Background()
	e, err := log.Open(ctx, log.Options{Dir: b.TempDir(), SieveKinds: []byte(SieveKinds)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	m := open(b, e, Config{Limits: noIndexer})
	b.Cleanup(func() { m.Close() })
	a, box := fill(b, m, n)
	if err := m.Reindex(ctx, 1, nil); err != nil {
		b.Fatal(err)
	}
	fetch := func(set imap.UIDSet, need imap.Need) error {
		for _, err := range box.Fetch(ctx, set, need) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	search := func(q *imap.Query) error {
		q.Within = everything()
		_, err := box.Search(ctx, q)
		return err
	}
	other, err := a.Select(ctx, "INBOX", false)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { other.Close() })
	snap, err := other.Snapshot(ctx)
	if err != nil {
		b.Fatal(err)
	}
	at := imap.UID(n / 2)
	page := imap.UIDSet{{Start: at, Stop: at + 99}}
	for _, x := range []struct {
		name string
		op   func(i int) error
	}{
		{"select", func(int) error {
			box, err := a.Select(ctx, "INBOX", false)
			if err != nil {
				return err
			}
			if _, err = box.Snapshot(ctx); err != nil {
				return err
			}
			return box.Close()
		}},
		{"status", func(int) error { _, err := a.Status(ctx, "INBOX"); return err }},
		{"fetch of 100, flags", func(int) error { return fetch(page, 0) }},
		{"fetch of 100, envelope", func(int) error { return fetch(page, imap.NeedEnvelope) }},
		{"fetch of all, flags", func(int) error { return fetch(everything(), 0) }},
		{"search unseen", func(int) error {
			return search(&imap.Query{Criteria: &imap.Criteria{NotFlag: imap.Flags{System: imap.FlagSeen}}})
		}},
		{"search body, one hit", func(int) error {
			return search(&imap.Query{Criteria: &imap.Criteria{Body: []string{fmt.Sprintf("Body number %d.", n-1)}}})
		}},
		{"search body, no hit", func(int) error { return search(&imap.Query{Criteria: &imap.Criteria{Body: []string{"qqqxyzzy"}}}) }},
		{"sort date", func(int) error { return search(&imap.Query{Sort: []imap.SortKey{{Key: "DATE"}}}) }},
		{"sort subject", func(int) error { return search(&imap.Query{Sort: []imap.SortKey{{Key: "SUBJECT"}}}) }},
		{"thread", func(int) error { return search(&imap.Query{Thread: imap.ThreadReferences}) }},
		{"store of one", func(i int) error {
			_, err := box.Store(ctx, imap.UIDSet{{Start: at, Stop: at}}, imap.StoreChange{Mode: imap.StoreAdd + imap.StoreMode(i%2), Flags: imap.Flags{System: imap.FlagFlagged}})
			return err
		}},
		{"append, until another session knows", func(i int) error {
			ap, err := a.Append(ctx, "INBOX")
			if err != nil {
				return err
			}
			w, err := ap.Next(ctx, imap.AppendOptions{Flags: imap.Flags{System: imap.FlagSeen}})
			if err == nil {
				_, err = io.WriteString(w, letter(n+i))
			}
			if err == nil {
				_, err = ap.Commit(ctx)
			}
			if err != nil {
				return err
			}
			for {
				ch, err := other.Changes(ctx, snap.HighestModSeq)
				if err != nil {
					return err
				}
				if snap.HighestModSeq = ch.ModSeq; len(ch.New) > 0 {
					return nil
				}
				<-other.Notify()
			}
		}},
	} {
		b.Run(fmt.Sprint(n, "/", x.name), func(b *testing.B) {
			b.ReportAllocs()
			defer cpuPerOp(b)()
			for i := range b.N {
				if err := x.op(i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
