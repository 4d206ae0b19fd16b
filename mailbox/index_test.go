package mailbox

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/log"
	"github.com/samotop/samotop/store/mem"
)

// noIndexer keeps the background from indexing, so that a test decides when.
var noIndexer = Limits{IndexEmails: 1 << 30}

// babble makes a message of random words in some charset and encoding.
func babble(r *rand.Rand, n int) string {
	words := []string{"alpha", "Beta", "gr\u00fcn", "\u00c9cole", "\u6771\u4eac", "zebra", "index", "Stra\u00dfe", "x", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2"}
	text := func(k int) string {
		var b strings.Builder
		for range k {
			b.WriteString(words[r.IntN(len(words))])
			fmt.Fprintf(&b, "%d ", r.IntN(40))
			if r.IntN(8) == 0 {
				b.WriteString("\r\n")
			}
		}
		return b.String()
	}
	head := fmt.Sprintf("Subject: =?utf-8?q?%s?=\r\nMessage-ID: <%d@x>\r\nMIME-Version: 1.0\r\n", strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf("%x", n)), " ", "_"), n)
	switch r.IntN(4) {
	case 0:
		return head + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text(30)
	case 1:
		latin := []byte{}
		for _, c := range text(20) {
			if c < 256 {
				latin = append(latin, byte(c))
			}
		}
		return head + "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + string(latin)
	case 2:
		return head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>" + text(10) +
			"<b>al</b>pha</p>\r\n--b\r\nContent-Type: application/pdf; name=\"plan " + text(1) + ".pdf\"\r\n\r\nbinary\r\n--b--\r\n"
	}
	return head + "Content-Type: message/rfc822\r\n\r\nSubject: " + text(3) + "\r\n\r\n" + text(10)
}

// TestIndex compares searches with and without the index, while mail comes, goes, is copied, indexed and merged.
func TestIndex(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	m := open(t, mem.New(mem.Options{}), Config{Limits: noIndexer})
	a := login(t, m, 1)
	box, _ := choose(t, a, "INBOX")
	other, _ := choose(t, a, "Archive")
	needles := []string{"alpha", "ZEBRA1", "a1", "9 ", "gr\u00dcn2", "\u6771\u4eac3", "stra\u00dfe 1", "strasse", "plan ", "pha", ".pdf", "missing words", "subject", "<p>", "\u03c3\u03af\u03c3\u03c5", "ta12 alpha", ""}
	pick := func() string {
		if r.IntN(3) > 0 {
			return needles[r.IntN(len(needles))]
		}
		return fmt.Sprintf("%s%d", []string{"alpha", "index", "x", "eta"}[r.IntN(4)], r.IntN(40))
	}
	criteria := func() *imap.Criteria {
		switch r.IntN(5) {
		case 0:
			return &imap.Criteria{Body: []string{pick()}}
		case 1:
			return &imap.Criteria{Text: []string{pick(), pick()}}
		case 2:
			return &imap.Criteria{Or: [][2]imap.Criteria{{{Body: []string{pick()}}, {Text: []string{pick()}}}}, Text: []string{pick()}}
		case 3:
			return &imap.Criteria{Not: []imap.Criteria{{Body: []string{pick()}}, {Not: []imap.Criteria{{Text: []string{pick()}}}}}}
		}
		return &imap.Criteria{Text: []string{pick()}, Header: []imap.HeaderKey{{Name: "Message-ID", Value: fmt.Sprint(r.IntN(10))}}}
	}
	check := func(box imap.Mailbox) {
		t.Helper()
		for range 6 {
			c := criteria()
			var want imap.UIDSet
			for msg, err := range box.Fetch(ctx, everything(), imap.NeedsOf(c)|imap.NeedContent) {
				if err != nil {
					t.Fatal(err)
				}
				ok, err := imap.Match(ctx, c, msg)
				if err != nil {
					t.Fatal(err)
				}
				if ok {
					want.Add(msg.UID)
				}
			}
			res, err := box.Search(ctx, &imap.Query{Within: everything(), Criteria: c})
			if err != nil || !res.UIDs.Equal(want) {
				t.Fatalf("%+v: found %v, not %v (%v)", c, res.UIDs, want, err)
			}
		}
	}
	blocks := func() int {
		row, err := readIndexOf(ctx, m, 1)
		if err != nil {
			t.Fatal(err)
		}
		return len(row.blocks)
	}
	n, merged := 0, false
	for step := range 40 {
		for range 1 + r.IntN(6) {
			put(t, a, "INBOX", imap.AppendOptions{}, babble(r, n))
			n++
		}
		switch r.IntN(4) {
		case 0:
			some := imap.UIDSet{{Start: imap.UID(1 + r.IntN(n)), Stop: imap.UID(1 + r.IntN(n))}}
			if some[0].Start > some[0].Stop {
				some[0].Start, some[0].Stop = some[0].Stop, some[0].Start
			}
			if _, err := box.Store(ctx, some, imap.StoreChange{Mode: imap.StoreAdd, Flags: imap.Flags{System: imap.FlagDeleted}}); err != nil {
				t.Fatal(err)
			}
			if r.IntN(3) == 0 {
				if _, err := box.Expunge(ctx, nil); err != nil {
					t.Fatal(err)
				}
			}
		case 1:
			at := imap.UID(1 + r.IntN(n))
			if _, err := box.Copy(ctx, imap.UIDSet{{Start: at, Stop: at + 2}}, "Archive", r.IntN(2) == 0); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(4) > 0 {
			before := blocks()
			if err := m.indexAccount(ctx, 1, 1, nil); err != nil {
				t.Fatal(err)
			}
			merged = merged || blocks() < before
		}
		if step == 20 {
			if err := m.Reindex(ctx, 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		check(box)
		check(other)
	}
	if !merged || blocks() == 0 {
		t.Errorf("merged: %v, %d blocks", merged, blocks())
	}
	faults, err := m.Verify(ctx, nil)
	if err != nil || len(faults) > 0 {
		t.Error(faults, err)
	}
}

func readIndexOf(ctx context.Context, m *Mailbox, a accountID) (row indexRow, err error) {
	err = m.eng.View(ctx, func(r store.Reader) error {
		row, err = readIndex(ctx, r, a)
		return err
	})
	return row, err
}

// TestIndexProposes: what the index covers is not looked into unless it may match.
func TestIndexProposes(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: noIndexer})
	a := login(t, m, 1)
	for i := range 300 {
		put(t, a, "INBOX", imap.AppendOptions{}, letter(i))
	}
	box, _ := choose(t, a, "INBOX")
	proposed := func(needle string) int {
		t.Helper()
		plan := planText(&imap.Criteria{Body: []string{needle}})
		if plan == nil {
			return -1
		}
		set, err := box.(*selected).propose(ctx, imap.UIDSet{{Start: 1, Stop: 300}}, plan)
		if err != nil {
			t.Fatal(err)
		}
		return set.Len()
	}
	if got := proposed("nowhere to be found"); got != 300 {
		t.Errorf("without an index %d of 300 are proposed", got)
	}
	if err := m.Reindex(ctx, 1, func(done, total uint64) {
		if done != 300 || total != 300 {
			t.Errorf("progress %d of %d", done, total)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for needle, most := range map[string]int{"nowhere to be found": 0, "number 277": 5, "Letter 1": 300, "le": -1, "": -1} {
		if got := proposed(needle); got > most || most < 0 && got != most {
			t.Errorf("%q: %d are proposed", needle, got)
		}
	}
	put(t, a, "INBOX", imap.AppendOptions{}, letter(300))
	if res, err := box.Search(ctx, &imap.Query{Within: everything(), Criteria: &imap.Criteria{Body: []string{"number 300"}}}); err != nil || res.UIDs.String() != "301" {
		t.Errorf("what came after the index: %v %v", res, err)
	}
}

// TestIndexLong: text over the limit is always looked into.
func TestIndexLong(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Limits: Limits{IndexOctets: 1000}})
	a := login(t, m, 1)
	put(t, a, "INBOX", imap.AppendOptions{}, letter(1), "Subject: long\r\n\r\n"+strings.Repeat("line of text\r\n", 10_000)+"the needle\r\n", letter(2))
	if err := m.Reindex(ctx, 1, nil); err != nil {
		t.Fatal(err)
	}
	box, _ := choose(t, a, "INBOX")
	for needle, want := range map[string]string{"needle": "2", "number 2": "3", "nothing": ""} {
		res, err := box.Search(ctx, &imap.Query{Within: everything(), Criteria: &imap.Criteria{Body: []string{needle}}})
		if err != nil || res.UIDs.String() != want {
			t.Errorf("%q: %v %v", needle, res.UIDs, err)
		}
	}
}

// TestIndexBackground: mail is indexed without being asked, also what came before a restart.
func TestIndexBackground(t *testing.T) {
	ctx := context.Background()
	e := mem.New(mem.Options{})
	m := open(t, e, Config{Limits: noIndexer})
	a := login(t, m, 1)
	for i := range 20 {
		put(t, a, "INBOX", imap.AppendOptions{}, letter(i))
	}
	a.Close()
	m.Close()
	m = open(t, e, Config{Limits: Limits{IndexEmails: 10}})
	wait := func(upTo emailID) {
		t.Helper()
		for {
			row, err := readIndexOf(ctx, m, 1)
			if err != nil {
				t.Fatal(err)
			}
			if row.upTo() >= upTo {
				return
			}
			m.pause(indexQuiet / 10)
		}
	}
	wait(20)
	a = login(t, m, 1)
	for i := range 12 {
		put(t, a, "INBOX", imap.AppendOptions{}, letter(i))
	}
	wait(30)
	if err := m.Purge(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if row, err := readIndexOf(ctx, m, 1); err != nil || row.raw != nil {
		t.Errorf("index of a purged account: %v %v", row, err)
	}
}

func FuzzIndexRow(f *testing.F) {
	f.Add((&indexRow{next: 3, blocks: []indexBlock{{no: 1, first: 1, n: 64, bits: 8}, {no: 2, first: 65, n: 1, bits: 20}}}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		row, err := decodeIndex(b)
		if err != nil {
			return
		}
		again, err := decodeIndex(row.append(nil))
		if err != nil || !bytes.Equal(again.append(nil), row.append(nil)) {
			t.Fatal(err)
		}
		mergeFrom(row.blocks)
	})
}

func BenchmarkIndex(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	text := []byte{}
	for len(text) < 4096 {
		text = fmt.Appendf(text, "%x ", r.IntN(1<<20))
	}
	builder := newBlockBuilder()
	builder.reset(1)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		builder.add(text)
		if builder.end(false); builder.n == indexBlockEmails {
			builder.reset(1)
		}
	}
}

// prose is a letter of about 3 KiB of words.
func prose(r *rand.Rand, n int) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(letter(n), "\r\n"))
	for line := 0; b.Len() < 3000; {
		k := 2 + r.IntN(8)
		for range k {
			b.WriteByte("etaoinshrdlucmfwypvbgk"[min(r.IntN(22), r.IntN(22))])
		}
		if line += k + 1; line > 70 {
			b.WriteString("\r\n")
			line = 0
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

func BenchmarkReindex(b *testing.B) {
	ctx := context.Background()
	e, err := log.Open(ctx, log.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	m := open(b, e, Config{Limits: noIndexer})
	a := login(b, m, 1)
	r := rand.New(rand.NewPCG(1, 2))
	const n = 10_000
	for i := 0; i < n; i += 500 {
		var list []string
		for k := range 500 {
			list = append(list, prose(r, i+k))
		}
		put(b, a, "INBOX", imap.AppendOptions{}, list...)
	}
	box, _ := choose(b, a, "INBOX")
	b.Run("make", func(b *testing.B) {
		b.ReportAllocs()
		defer cpuPerOp(b)()
		for b.Loop() {
			if err := m.Reindex(ctx, 1, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, needle := range map[string]string{"rare": "number 5000.", "none": "qqqxyzzy", "common": "the "} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := box.Search(ctx, &imap.Query{Within: everything(), Criteria: &imap.Criteria{Body: []string{needle}}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestMergeFrom: however many emails come, each is written anew a few times only, and there are few blocks.
func TestMergeFrom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var blocks []indexBlock
		all, written := uint64(0), uint64(0)
		small := rapid.Uint32Range(1, indexBlockEmails).Draw(t, "small")
		for i := range 2000 {
			n := uint32(indexBlockEmails)
			if i%5 == 0 {
				n = small
			}
			blocks = append(blocks, indexBlock{first: emailID(all + 1), n: n})
			all += uint64(n)
			for from := mergeFrom(blocks); from >= 0; from = mergeFrom(blocks) {
				n := uint32(0)
				for _, b := range blocks[from:] {
					n += b.n
				}
				blocks = append(blocks[:from], indexBlock{first: blocks[from].first, n: n})
				written += uint64(n)
			}
			if len(blocks) > 5*indexFanOut {
				t.Fatalf("%d blocks", len(blocks))
			}
		}
		if written > 8*all {
			t.Fatalf("%d emails were written %d times", all, written)
		}
	})
}
