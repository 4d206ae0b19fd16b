package mailbox

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/message"
)

// FuzzRows: no row, however damaged, makes a decoder crash, and what can be read is written back as it was.
func FuzzRows(f *testing.F) {
	small := smallRow{System: 3, S: 9, Arrived: 4, Date: 1700000000, Zone: -90, Saved: 1700000001, Size: 4096, Keywords: []byte{1, 2}}
	f.Add(small.appendTo(nil))
	box := boxRow{UIDValidity: 1, UIDNext: 2, S: 3, Name: "INBOX"}
	f.Add(box.appendTo(nil))
	acc := accountRow{S: 1, Email: 2, Box: 3}
	f.Add(acc.appendTo(nil))
	mail := emailRow{Thread: 1, IDs: []msgIDHash{{1}}, Places: []place{{1, 2}}}
	f.Add(mail.appendTo(nil))
	entry := logRow{Flags: imap.UIDSet{{Start: 1, Stop: 5}}, Gone: []goneMessage{{7, 8}}, All: 3}
	f.Add(entry.appendTo(nil))
	var c chunk
	c.put(5, 0)
	c.put(4095, imap.FlagSeen|imap.FlagDeleted)
	f.Add(c.appendTo(nil))
	sum := summaryRow{Email: 1, Thread: 2, Body: 3, Prefix: []byte("a: b\r\n"), Shared: appendShared(nil, &message.Part{Type: "text", Subtype: "plain"}, nil, 1000)}
	f.Add(sum.appendTo(nil))
	f.Add(appendKeywords(nil, []string{"a", "b"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeSmall(b); err == nil {
			again, err := decodeSmall(r.appendTo(nil))
			if err != nil || !reflect.DeepEqual(r, again) {
				t.Errorf("%+v is read as %+v, %v", r, again, err)
			}
		}
		if r, err := decodeBox(b); err == nil {
			if again, err := decodeBox(r.appendTo(nil)); err != nil || again != r {
				t.Errorf("%+v is read as %+v, %v", r, again, err)
			}
		}
		if r, err := decodeAccount(b); err == nil {
			if again, err := decodeAccount(r.appendTo(nil)); err != nil || again != r {
				t.Errorf("%+v is read as %+v, %v", r, again, err)
			}
		}
		if r, err := decodeEmail(b); err == nil {
			if again, err := decodeEmail(r.appendTo(nil)); err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("%+v is read as %+v, %v", r, again, err)
			}
		}
		var c, again chunk
		if decodeChunk(b, &c) == nil {
			if err := decodeChunk(c.appendTo(nil), &again); err != nil || again != c {
				t.Error("a chunk is not read as it was written", err)
			}
		}
		var flags, gone imap.UIDSet
		_ = decodeLog(b, 7, &flags, &gone)
		if r, err := decodeACL(b); err == nil {
			if again, err := decodeACL(r.appendTo(nil)); err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("%+v is read as %+v, %v", r, again, err)
			}
		}
		var own, ownAgain ownChunk
		if decodeOwn(b, &own) == nil {
			if err := decodeOwn(own.appendTo(nil), &ownAgain); err != nil || ownAgain != own {
				t.Error("what a viewer has seen is not read as it was written", err)
			}
		}
		_, _ = decodeMsgID(b)
		_, _ = decodeBody(b)
		_, _ = decodeKeywords(b)
		_, _ = decodeIDs(nil, b)
		_, _, _, _ = decodeHeaderRow(b)
		_, _, _ = decodeKeys(b)
		_, _ = decodeTexts(b)
		if s, err := decodeSummary(b); err == nil {
			if sh, err := decodeShared(s.Shared); err == nil {
				_, _ = decodeParts(sh.parts, 10)
			}
		}
		_, _ = decodeParts(b, 0)
	})
}

// TestSets compares chunks and sets with a map.
func TestSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c, again chunk
		model := map[uid]imap.SystemFlags{}
		base := uid(rapid.IntRange(0, 3).Draw(t, "chunk")) << chunkShift
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			lo := base + uid(rapid.IntRange(0, chunkUIDs-1).Draw(t, "at"))
			hi := min(lo+uid(rapid.IntRange(0, 300).Draw(t, "run")), base+chunkUIDs-1)
			f := imap.SystemFlags(rapid.IntRange(0, 31).Draw(t, "flags"))
			on := rapid.Bool().Draw(t, "put")
			for u := lo; u <= hi; u += 1 + uid(rapid.IntRange(0, 1).Draw(t, "gap")) {
				if on {
					c.put(u, f)
					model[u] = f
				} else {
					c.drop(u)
					delete(model, u)
				}
			}
		}
		row := c.appendTo(nil)
		if err := decodeChunk(row, &again); err != nil || again != c || len(row) > chunkRoom {
			t.Fatalf("row of %d octets: %v", len(row), err)
		}
		var all, unseen imap.UIDSet
		again.All.addTo(&all, chunkOf(base), 0)
		again.Unseen.addTo(&unseen, chunkOf(base), 0)
		if all.Len() != len(model) || again.All.count() != len(model) {
			t.Fatalf("%d of %d", all.Len(), len(model))
		}
		for u, f := range model {
			if !all.Contains(imap.UID(u)) || unseen.Contains(imap.UID(u)) == (f&imap.FlagSeen != 0) {
				t.Fatalf("message %d", u)
			}
		}
		var set imap.UIDSet
		d := decoderOf(appendSet(nil, all))
		if d.set(&set); d.Bad || !set.Equal(all) {
			t.Fatalf("%v is read as %v", all, set)
		}
	})
}

// TestSized: a length before what is appended, for lengths of one octet to four.
func TestSized(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 1<<21 - 1, 1 << 21, 1<<21 + 5} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(rand.IntN(256))
		}
		b := appendSized([]byte("x"), func(b []byte) []byte { return append(b, data...) })
		d := decoderOf(b[1:])
		if got := d.Bytes(); d.Bad || len(d.B) != 0 || !bytes.Equal(got, data) || len(b) != 1+len(binary.AppendUvarint(nil, uint64(n)))+n {
			t.Errorf("%d octets", n)
		}
	}
}

// FuzzNames: a canonical name stays as it is, and within its limits.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"INBOX", "inbox/x", "e\u0301", "a/b/c", "a//b", "\xff", ""} {
		f.Add(s)
	}
	m := &Mailbox{limits: Limits{}.withDefaults()}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := m.canonical(s)
		if err != nil {
			return
		}
		again, err := m.canonical(n)
		if err != nil || again != n || len(n) > m.limits.NameOctets {
			t.Errorf("%q becomes %q, then %q, %v", s, n, again, err)
		}
	})
}
