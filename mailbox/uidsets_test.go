package mailbox

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
)

// TestUIDSets: what is kept of the chunks in memory is what their rows say, whatever has happened since it was made.
func TestUIDSets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newBox(t, Config{Limits: noIndexer})
		defer m.Close()
		a := login(t, m, 1)
		box, _ := choose(t, a, "INBOX")
		s := box.(*selected)
		for range rapid.IntRange(3, 12).Draw(rt, "steps") {
			setsStep(t, rt, s, a)
			if rapid.Bool().Draw(rt, "look") {
				setsAgree(t, s)
			}
		}
		setsAgree(t, s)
	})
}

func setsStep(t *testing.T, rt *rapid.T, s *selected, a imap.Account) {
	ctx := context.Background()
	flags := rapid.SampledFrom([]imap.SystemFlags{0, imap.FlagSeen, imap.FlagDeleted, imap.FlagSeen | imap.FlagDeleted})
	set := imap.UIDSet{{Start: 1, Stop: imap.UID(rapid.IntRange(1, 3*chunkUIDs).Draw(rt, "to"))}}
	var err error
	switch rapid.IntRange(0, 4).Draw(rt, "what") {
	case 0, 1:
		put(t, a, "INBOX", imap.AppendOptions{Flags: imap.Flags{System: flags.Draw(rt, "flags")}}, "\r\na", "\r\nb", "\r\nc")
	case 2:
		skipUIDs(s, uid(rapid.IntRange(1, chunkUIDs+10).Draw(rt, "skip")))
	case 3:
		mode := rapid.SampledFrom([]imap.StoreMode{imap.StoreAdd, imap.StoreRemove, imap.StoreReplace}).Draw(rt, "mode")
		_, err = s.Store(ctx, set, imap.StoreChange{Mode: mode, Flags: imap.Flags{System: flags.Draw(rt, "flags")}})
	case 4:
		_, err = s.Expunge(ctx, set)
	}
	if err != nil {
		rt.Fatal(err)
	}
}

// skipUIDs lets the next message have a later UID, so that few messages are in many chunks.
func skipUIDs(s *selected, n uid) {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	if b := s.account.boxes[s.id]; b != nil {
		b.UIDNext += n
	}
}

func setsAgree(t *testing.T, s *selected) {
	t.Helper()
	ctx := context.Background()
	var all, unseen, deleted imap.UIDSet
	err := s.m.eng.View(ctx, func(r store.Reader) error {
		row, err := s.row(ctx, r)
		if err != nil {
			return err
		}
		sets, err := s.setsAt(ctx, r, s.id, &row)
		if err != nil {
			return err
		}
		err = s.chunks(ctx, r, s.id, 0, func(no uint32, c *chunk) bool {
			c.All.addTo(&all, no, 0)
			c.Unseen.addTo(&unseen, no, 0)
			c.Deleted.addTo(&deleted, no, 0)
			return true
		})
		if sets == nil || !sets.all.Equal(all) || !sets.unseen().Equal(unseen) || !sets.deleted().Equal(deleted) || sets.firstUnseen() != uid(unseen.Min()) {
			t.Fatalf("%+v: not %v, unseen %v, deleted %v", sets, all, unseen, deleted)
		}
		if got, want := sets.with(imap.FlagDeleted, imap.FlagSeen), deleted.Intersect(unseen); !got.Equal(want) {
			t.Fatalf("unseen and deleted: %v, not %v", got, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot(ctx)
	if err != nil || !snap.UIDs.Equal(all) || int(snap.Unseen) != unseen.Len() || uid(snap.FirstUnseen) != uid(unseen.Min()) {
		t.Fatalf("%+v: not %v, unseen %v (%v)", snap, all, unseen, err)
	}
}

// TestUIDSetsForgotten: the sets of all mailboxes together have a limit.
func TestUIDSetsForgotten(t *testing.T) {
	var table uidSetTable
	for i := range boxID(100) {
		key := logKeyOf{1, i}
		k := table.kept(key)
		table.grown(key, k, setsOctets/10)
		table.kept(logKeyOf{1, 0}) // used all the time
	}
	if len(table.all) != 10 || table.octets != 10*(setsOctets/10) || table.all[logKeyOf{1, 0}] == nil || table.all[logKeyOf{1, 99}] == nil {
		t.Errorf("%d sets, %d octets", len(table.all), table.octets)
	}
}
