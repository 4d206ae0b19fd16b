package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store"
	"github.com/samotop/samotop/store/mem"
)

func TestDeliver(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{})
	for i, r := range deliver(t, m, letter(1), rcpt(1), rcpt(2)) {
		if r.Code != 250 || !strings.HasPrefix(r.Text, "Delivered as E") {
			t.Errorf("reply %d: %v", i, r)
		}
	}
	want := "Return-Path: <bob@example.org>\r\nDelivered-To: user2@example.test\r\nReceived: by outer\r\nReceived: by inner\r\n" + letter(1)
	box, snap := choose(t, login(t, m, 2), "INBOX")
	if snap.Messages != 1 || snap.Unseen != 1 || snap.Recent != 1 || snap.Size != int64(len(want)) || snap.FirstUnseen != 1 {
		t.Errorf("snapshot %+v", snap)
	}
	n := 0
	all := imap.NeedDates | imap.NeedSize | imap.NeedIDs | imap.NeedEnvelope | imap.NeedStructure | imap.NeedParts | imap.NeedHeader | imap.NeedContent
	for msg, err := range box.Fetch(ctx, everything(), all) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if got := read(t, msg); got != want {
			t.Errorf("content %q", got)
		}
		for off := int64(0); off < msg.Content.Size(); off += 7 {
			b, err := msg.Content.Append(ctx, []byte("x"), off, 11)
			if err != nil || string(b) != "x"+want[off:min(off+11, int64(len(want)))] {
				t.Fatalf("range at %d: %q, %v", off, b, err)
			}
		}
		p := msg.Parts
		if p.HeaderStart != 0 || want[p.BodyStart:p.End] != "Body number 1.\r\n" || p.End != msg.Size {
			t.Errorf("parts %+v", p)
		}
		if !msg.HeaderPartial || strings.Contains(string(msg.Header), "DKIM") || strings.Contains(string(msg.Header), "Received") ||
			!strings.Contains(string(msg.Header), "Subject: letter 1\r\n") || !strings.HasSuffix(string(msg.Header), "\r\n\r\n") {
			t.Errorf("header %q", msg.Header)
		}
		if !strings.Contains(string(msg.Envelope), `"letter 1"`) || msg.EmailID == "" || msg.ThreadID == "" || msg.InternalDate.IsZero() || msg.SaveDate.IsZero() {
			t.Errorf("message %+v", msg)
		}
	}
	if n != 1 {
		t.Errorf("%d messages", n)
	}
	for _, unknown := range []string{"nobody", "user0"} {
		tx := begin(t, m)
		err := tx.Recipient(ctx, &mail.Recipient{Address: mail.Address{Local: unknown, Domain: "example.test"}})
		if r := mail.AsReply(err); r == nil || r.Code != 550 || r.Enhanced != (mail.Enhanced{5, 1, 1}) {
			t.Errorf("%s: %v", unknown, err)
		}
		tx.Abort()
	}
}

func TestDeliveryID(t *testing.T) {
	c := &clock{time.Unix(1700000000, 0)}
	m := newBox(t, Config{Clock: c.now})
	to := rcpt(1)
	to.DeliveryID = "q1-1"
	other := rcpt(2)
	other.DeliveryID = "q1-2"
	for range 3 {
		for _, r := range deliver(t, m, letter(1), to, other, to) {
			if r.Code != 250 {
				t.Error(r)
			}
		}
	}
	for n := 1; n <= 2; n++ {
		if u, err := m.Usage(context.Background(), uint64(n)); err != nil || u.Messages != 1 {
			t.Errorf("user %d: %+v, %v", n, u, err)
		}
	}
	// An id is kept over one turn of the buckets, and gone after the second.
	for i, want := range []int64{1, 1, 2} {
		if err := m.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		deliver(t, m, letter(1), to)
		if u, _ := m.Usage(context.Background(), 1); u.Messages != want {
			t.Errorf("after %d weeks: %+v", i, u)
		}
		c.t = c.t.Add(7 * 24 * time.Hour)
	}
}

func TestQuota(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Directory: people{quota: 1000}})
	big := letter(1) + strings.Repeat("x", 500) + "\r\n"
	if r := deliver(t, m, big, rcpt(1), rcpt(1)); r[0].Code != 250 || r[1].Code != 452 || r[1].Enhanced != (mail.Enhanced{4, 2, 2}) {
		t.Error(r)
	}
	tx := begin(t, m).(*delivery)
	to := rcpt(2)
	for range 2 {
		if err := tx.Recipient(ctx, &to); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(tx, big)
	replies, err := tx.Prepare(ctx)
	if err != nil || replies[0].Code != 250 || replies[1].Code != 452 {
		t.Fatal(replies, err)
	}
	if r := deliver(t, m, big, rcpt(2)); r[0].Code != 452 {
		t.Error("room that was promised is given away", r)
	}
	if replies, err = tx.Commit(ctx); err != nil || replies[0].Code != 250 || replies[1].Code != 452 {
		t.Fatal(replies, err)
	}
	full := newBox(t, Config{Directory: people{quota: 1}})
	deliver(t, full, "", rcpt(1))
	tx2 := begin(t, full)
	err = tx2.Recipient(ctx, &to)
	if err == nil {
		io.WriteString(tx2, big)
		replies, err = tx2.Commit(ctx)
		if err != nil || replies[0].Code != 552 || replies[0].Enhanced != (mail.Enhanced{5, 2, 2}) {
			t.Error(replies, err)
		}
	}
	a := login(t, m, 1)
	ap, err := a.Append(ctx, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = ap.Next(ctx, imap.AppendOptions{Size: 900}); code(err) != "OVERQUOTA" {
		t.Error(err)
	}
}

// TestPlusFolder: an address may name a folder, but not one with a special use, nor too many; whoever names another folder wins.
func TestPlusFolder(t *testing.T) {
	m := newBox(t, Config{Limits: Limits{PlusFolders: 8}})
	to := func(detail string) mail.Recipient {
		return mail.Recipient{Address: mail.Address{Local: "user1+" + detail, Domain: "example.test"}}
	}
	named := to("work")
	named.Folder = `\Junk`
	deliver(t, m, letter(1), to("work"), to("work"), named, to("Sent"), to("no//name"), to("Contacts/Approved"), to("home"), to("one"), to("too"), to("many"))
	a := login(t, m, 1)
	for name, want := range map[string]uint32{"work": 2, "Junk": 1, "Sent": 0, "home": 1, "INBOX": 0} {
		st, err := a.Status(context.Background(), name)
		if name == "INBOX" && st.Messages < 3 || name != "INBOX" && st.Messages != want || err != nil {
			t.Error(name, st.Messages, err)
		}
	}
	if u, err := m.Usage(context.Background(), 1); err != nil || u.Mailboxes != 8 || u.Messages != 10 {
		t.Errorf("%+v %v", u, err)
	}
}

func TestQuotaOfMessages(t *testing.T) {
	m := newBox(t, Config{Directory: people{messages: 2}})
	for i, want := range []int{250, 250, 452} {
		tx, to := begin(t, m), rcpt(1)
		err := tx.Recipient(context.Background(), &to)
		if r := mail.AsReply(err); (r == nil) != (want == 250) || r != nil && (r.Code != want || r.Enhanced != (mail.Enhanced{4, 2, 2})) {
			t.Errorf("%d: %v", i, err)
		}
		tx.Abort()
		if err == nil {
			deliver(t, m, letter(1), rcpt(1))
		}
	}
}

func TestAmend(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Directory: people{create: true}})
	tx := begin(t, m)
	for n := 1; n <= 4; n++ {
		to := rcpt(n)
		if err := tx.Recipient(ctx, &to); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(tx, letter(1))
	for i, folder := range []string{`\Junk`, "new/folder", "no//name"} {
		if err := tx.(mail.Amender).Amend(i, folder, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.(mail.Amender).Amend(3, "", true); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	for n, name := range []string{"Junk", "new/folder", "INBOX"} {
		if st, err := login(t, m, n+1).Status(ctx, name); err != nil || st.Messages != 1 {
			t.Error(name, st, err)
		}
	}
	if u, _ := m.Usage(ctx, 4); u.Messages != 0 {
		t.Error("dropped recipient got it")
	}
}

// TestBodies: one body for all who have it, removed after the last reference.
func TestBodies(t *testing.T) {
	ctx := context.Background()
	e := mem.New(mem.Options{MoveBodies: true})
	m := open(t, e, Config{Limits: Limits{BodyGrace: -1}})
	deliver(t, m, letter(1), rcpt(1), rcpt(2))
	deliver(t, m, letter(1), rcpt(3))
	a := login(t, m, 4)
	put(t, a, "Sent", imap.AppendOptions{}, letter(1), letter(1))
	count := func(kind byte) (n int) {
		e.View(ctx, func(r store.Reader) error {
			for range r.Scan(ctx, []byte{kind}, []byte{kind + 1}, false) {
				n++
			}
			return nil
		})
		return n
	}
	if b, r := count(kindBody), count(kindRef); b != 1 || r != 5 {
		t.Fatalf("%d bodies, %d references", b, r)
	}
	for n, name := range []string{"INBOX", "INBOX", "INBOX", "Sent"} {
		if _, err := e.Collect(ctx, 1<<20); err != nil {
			t.Fatal(err)
		}
		a := login(t, m, n+1)
		box, _ := choose(t, a, name)
		if _, err := box.Store(ctx, everything(), imap.StoreChange{Mode: imap.StoreAdd, Flags: imap.Flags{System: imap.FlagDeleted}}); err != nil {
			t.Fatal(err)
		}
		if _, err := box.Copy(ctx, everything(), "Trash", false); err != nil {
			t.Fatal(err)
		}
		if _, err := box.Expunge(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if err := m.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if count(kindBody) != 1 {
			t.Fatal("body is gone too early")
		}
		if err := a.Delete(ctx, "Trash"); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := m.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []byte{kindBody, kindRef, kindFree, kindEmail, kindThread, kindMsgID, kindSmall, kindSummary, kindHeader, kindSort, kindDoomed} {
		if n := count(kind); n != 0 {
			t.Errorf("%d rows of kind %c are left", n, kind)
		}
	}
	if u, _ := m.Usage(ctx, 1); u.Messages != 0 || u.Octets != 0 {
		t.Error(u)
	}
}

func TestNewerFormat(t *testing.T) {
	e := mem.New(mem.Options{})
	m := open(t, e, Config{})
	m.Close()
	format := append(appendString(nil, formatName), formatVersion+1)
	if err := store.Commit(context.Background(), e, &store.Batch{Ops: []store.Op{store.Put([]byte{kindFormat}, format)}}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(context.Background(), Config{Engine: e, Directory: people{}})
	if !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), fmt.Sprintf("format %d", formatVersion+1)) {
		t.Error(err)
	}
}

func TestPreview(t *testing.T) {
	for want, content := range map[string]string{
		"Body number 1.": letter(1),
		"":               "Subject: x\r\n\r\n",
		"caf\u00e9 is 1 < 2": "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=iso-8859-1\r\n" +
			"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>caf=E9\r\n <b>is</b> 1 &lt; 2</p>\r\n--b--\r\n",
		strings.Repeat("w ", previewRunes/2): "\r\n" + strings.Repeat(" w\r\n", 10000),
	} {
		m := newBox(t, Config{})
		a := login(t, m, 1)
		put(t, a, "INBOX", imap.AppendOptions{}, content)
		box, _ := choose(t, a, "INBOX")
		for msg, err := range box.Fetch(context.Background(), everything(), imap.NeedPreview) {
			if err != nil || strings.TrimSpace(msg.Preview) != strings.TrimSpace(want) {
				t.Errorf("%q, not %q (%v)", msg.Preview, want, err)
			}
		}
	}
}

func TestThreads(t *testing.T) {
	m := newBox(t, Config{})
	a := login(t, m, 1)
	mail := func(id, irt, refs string) string {
		return "Message-ID: <" + id + "@x>\r\nIn-Reply-To: " + irt + "\r\nReferences: " + refs + "\r\n\r\nbody " + id + "\r\n"
	}
	put(t, a, "INBOX", imap.AppendOptions{}, mail("a", "", ""), mail("b", "<a@x>", "<a@x>"), mail("other", "", ""))
	put(t, a, "Sent", imap.AppendOptions{}, mail("late", "", "<never@x> <b@x>"))
	deliver(t, m, mail("last", "<late@x>", ""), rcpt(1), rcpt(2))
	threads := map[string][]string{}
	for _, name := range []string{"INBOX", "Sent"} {
		box, _ := choose(t, a, name)
		for msg, err := range box.Fetch(context.Background(), everything(), imap.NeedIDs|imap.NeedContent) {
			if err != nil {
				t.Fatal(err)
			}
			_, id, _ := strings.Cut(read(t, msg), "\r\n\r\nbody ")
			threads[msg.ThreadID] = append(threads[msg.ThreadID], strings.TrimSpace(id))
		}
	}
	if len(threads) != 2 || len(threads[threadName(1, 1)]) != 4 || len(threads[threadName(1, 3)]) != 1 {
		t.Error(threads)
	}
	verify(t, m)
}

// TestBeginsWithWhiteSpace: a sender must not be able to go on with our trace fields.
func TestBeginsWithWhiteSpace(t *testing.T) {
	m := newBox(t, Config{})
	content := " forged; Mon, 1 Jan 2001 00:00:00 +0000\r\nSubject: x\r\n\r\nbody\r\n"
	to := mail.Address{Local: "user1", Domain: "example.test"}
	if r := deliver(t, m, content, mail.Recipient{Address: to}); !r[0].Positive() {
		t.Fatal(r)
	}
	msgs, err := inboxOf(t.Context(), t, m, to)
	if err != nil || len(msgs) != 1 {
		t.Fatal(msgs, err)
	}
	head, rest, ok := strings.Cut(string(msgs[0]), "X-Folded-Beginning: the message begins with white space\r\n")
	if !ok || rest != content || !strings.HasSuffix(head, "\r\n") {
		t.Errorf("stored as %q", msgs[0])
	}
}
