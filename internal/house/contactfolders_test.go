package house

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/message"
	"github.com/samotop/samotop/store/mem"
)

// awayRoom is the accounts room of another process, which may be away.
type awayRoom struct {
	*accounts.Accounts
	away bool
}

var errAway = errors.New("away")

func (a *awayRoom) ContactPage(ctx context.Context, q accounts.ContactRange) (accounts.ContactPage, error) {
	if a.away {
		return accounts.ContactPage{}, errAway
	}
	return a.Accounts.ContactPage(ctx, q)
}

func (a *awayRoom) Judge(ctx context.Context, v accounts.Verdict) error {
	if a.away {
		return errAway
	}
	return a.Accounts.Judge(ctx, v)
}

func (a *awayRoom) ContactNews(ctx context.Context, c accounts.ContactCursor) (accounts.ContactNews, error) {
	if a.away {
		return accounts.ContactNews{}, errAway
	}
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond) // what there is
	defer cancel()
	n, err := a.Accounts.ContactNews(ctx, c)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return n, err
}

// desktop is alice's mail program beside the accounts room.
type desktop struct {
	t    failer
	a    *awayRoom
	m    *mailbox.Mailbox
	desk *contactDesk
	at   accounts.ContactCursor
	imap imap.Account
	late atomic.Int64 // nanoseconds that have passed
}

// failer is a testing.T or a rapid.T.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

func newDesktop(t failer, cleanup func(func())) *desktop {
	d := &desktop{t: t}
	ctx := context.Background()
	clock := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC).Add(time.Duration(d.late.Load())) }
	a, err := accounts.Open(ctx, accounts.Config{Engine: mem.New(mem.Options{}), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	cleanup(func() { a.Close() })
	d.a = &awayRoom{Accounts: a}
	if _, err := a.AddDomain(ctx, "our.test"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddAccount(ctx, "alice@our.test", accounts.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := a.SetPolicy(ctx, "alice@our.test", accounts.PolicyAsk); err != nil {
		t.Fatal(err)
	}
	var obs observers
	d.m, err = mailbox.Open(ctx, mailbox.Config{Engine: mem.New(mem.Options{}), Directory: someone{}, Observer: &obs, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	cleanup(func() { d.m.Close() })
	d.desk = newContactDesk(d.a, d.m, slog.New(slog.DiscardHandler))
	d.desk.clock = clock
	obs.add(d.desk)
	if d.imap, err = d.m.Backend().Open(ctx, &mail.Session{Login: mail.Identity{Account: "alice@our.test"}}); err != nil {
		t.Fatal(err)
	}
	cleanup(func() { d.imap.Close() })
	d.step()
	return d
}

// someone is account 1.
type someone struct{}

func (someone) Lookup(_ context.Context, a mail.Address) (mailbox.Owner, error) {
	return mailbox.Owner{ID: 1, Address: a.String(), QuotaOctets: 100_000}, nil
}

// step takes all news.
func (d *desktop) step() {
	d.t.Helper()
	for range 3 {
		next, err := d.desk.step(context.Background(), d.at)
		if err != nil {
			if !d.a.away {
				d.t.Fatal(err)
			}
			return
		}
		d.at = next
	}
}

func (d *desktop) writes(sender string) accounts.Decision {
	d.t.Helper()
	from, err := mail.ParseAddress(sender)
	if err != nil {
		d.t.Fatal(err)
	}
	x, err := d.a.Decide(context.Background(), accounts.Question{To: mail.Address{Local: "alice", Domain: "our.test"}, Sender: from, IP: netip.MustParseAddr("192.0.2.1"), Proven: true})
	if err != nil {
		d.t.Fatal(err)
	}
	return x
}

// seen lists the subjects in each folder.
func (d *desktop) seen() string {
	d.t.Helper()
	var b strings.Builder
	for i, f := range contactFolders {
		if i > 0 {
			b.WriteString(" | ")
		}
		var names []string
		for _, m := range d.folder(f) {
			names = append(names, m.subject)
		}
		slices.Sort(names)
		b.WriteString(strings.Join(names, ","))
	}
	faults, err := d.m.Verify(context.Background(), nil)
	if err != nil || len(faults) > 0 {
		d.t.Errorf("verify: %v %v", faults, err)
	}
	return b.String()
}

type shown struct {
	uid           imap.UID
	subject, text string
	flags         imap.Flags
}

func (d *desktop) folder(name string) (out []shown) {
	d.t.Helper()
	box := d.open(name)
	if box == nil {
		return nil
	}
	defer box.Close()
	for m, err := range box.Fetch(context.Background(), imap.UIDSet{{Start: 1, Stop: 1 << 31}}, imap.NeedContent) {
		if err != nil {
			d.t.Fatal(err)
		}
		text, err := m.Content.Append(context.Background(), nil, 0, m.Content.Size())
		if err != nil {
			d.t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "Subject: Contact ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		out = append(out, shown{m.UID, subject, string(text), m.Flags})
	}
	return out
}

func (d *desktop) open(name string) imap.Mailbox {
	box, err := d.imap.Select(context.Background(), name, false)
	if err != nil {
		return nil
	}
	return box
}

// move moves the message about a contact; to "" expunges it.
func (d *desktop) move(subject, from, to string) {
	d.t.Helper()
	ctx := context.Background()
	for _, m := range d.folder(from) {
		if m.subject != subject {
			continue
		}
		box := d.open(from)
		defer box.Close()
		set := imap.UIDSet{{Start: m.uid, Stop: m.uid}}
		var err error
		if to != "" {
			_, err = box.Copy(ctx, set, to, true)
		} else if _, err = box.Store(ctx, set, imap.StoreChange{Mode: imap.StoreAdd, Flags: imap.Flags{System: imap.FlagDeleted}}); err == nil {
			_, err = box.Expunge(ctx, set)
		}
		if err != nil {
			d.t.Fatal(err)
		}
		return
	}
	d.t.Fatalf("%s is not in %s: %s", subject, from, d.seen())
}

func (d *desktop) expect(want string) {
	d.t.Helper()
	if got := d.seen(); got != want {
		d.t.Errorf("folders show %q, want %q", got, want)
	}
}

func (d *desktop) set(sender string, s accounts.ContactState) {
	d.t.Helper()
	if _, err := d.a.SetContact(context.Background(), "alice@our.test", sender, accounts.Decided{State: s}); err != nil {
		d.t.Fatal(err)
	}
}

const (
	inPending  = "Contacts/Pending"
	inApproved = "Contacts/Approved"
	inRejected = "Contacts/Rejected"
)

func TestContactFolders(t *testing.T) {
	ctx := context.Background()
	d := newDesktop(t, t.Cleanup)
	if d.open(inPending) == nil || d.open(inRejected) == nil {
		t.Fatal("no folders")
	}
	d.writes("x@far.test")
	d.writes("y@far.test")
	d.step()
	d.expect("x@far.test,y@far.test |  | ")

	d.move("x@far.test", inPending, inApproved)
	d.expect("y@far.test | x@far.test | ")
	if got := d.writes("x@far.test"); got != accounts.Known {
		t.Errorf("moved to Approved: %d", got)
	}
	d.move("y@far.test", inPending, "") // deleted: rejected, and to be found there
	d.expect(" | x@far.test | y@far.test")
	if got := d.writes("y@far.test"); got != accounts.Refuse {
		t.Errorf("deleted while pending: %d", got)
	}
	d.move("y@far.test", inRejected, "Trash") // forgotten
	d.step()
	d.expect(" | x@far.test | ")
	if got := d.writes("y@far.test"); got != accounts.Later {
		t.Errorf("deleted when rejected: %d", got)
	}
	d.step()
	d.expect("y@far.test | x@far.test | ")

	d.set("y@far.test", accounts.Approved) // from the command line
	d.set("x@far.test", accounts.Rejected)
	d.step()
	d.expect(" | y@far.test | x@far.test")
	if err := d.a.RemoveContact(ctx, "alice@our.test", "y@far.test"); err != nil {
		t.Fatal(err)
	}
	d.step()
	d.expect(" |  | x@far.test")
	d.move("x@far.test", inRejected, inPending) // taken back
	d.step()
	d.expect("x@far.test |  | ")

	// Ordinary messages decide nothing, whatever is in them.
	text := d.folder(inPending)[0].text
	_, token, _ := strings.Cut(text, contactField+": ")
	d.send(inApproved, strings.Replace(text, token[:4], strings.Repeat("0", 4), 1))
	d.step()
	if got := d.writes("x@far.test"); got == accounts.Known || got == accounts.Accept {
		t.Errorf("a copied text decides: %d", got)
	}
	if u, err := d.m.Usage(ctx, 1); err != nil || u.Messages != 2 { // the copy, and what is in the trash
		t.Errorf("quota counts: %+v, %v", u, err)
	}
}

// A program that cannot move sends the message anew and deletes the old one, before or after that.
func TestContactFoldersSent(t *testing.T) {
	d := newDesktop(t, t.Cleanup)
	d.writes("x@far.test")
	d.writes("y@far.test")
	d.step()
	x, y := d.text("x@far.test", inPending), d.text("y@far.test", inPending)
	d.send(inApproved, x)
	if got := d.writes("x@far.test"); got != accounts.Known {
		t.Errorf("sent to Approved: %d", got)
	}
	d.expect("y@far.test | x@far.test | ") // the old one is gone, so that it need not be deleted
	d.step()
	d.expect("y@far.test | x@far.test | ")
	d.move("y@far.test", inPending, "")
	if got := d.writes("y@far.test"); got != accounts.Refuse {
		t.Errorf("deleted: %d", got)
	}
	d.send(inApproved, y)
	d.step()
	d.expect(" | x@far.test,y@far.test | ")
	if got := d.writes("y@far.test"); got != accounts.Known {
		t.Errorf("sent after it was deleted: %d", got)
	}
	d.send(inApproved, y) // twice is once
	d.expect(" | x@far.test,y@far.test | ")
	d.send("Archive", x) // decides nothing
	d.send(inRejected, strings.Replace(x, contactField+": ", contactField+":\r\n  ", 1))
	d.step()
	d.expect(" | y@far.test | x@far.test")
	d.move("x@far.test", inRejected, "Trash")
	d.send(inPending, x) // from a backup: known again, and to be decided
	d.step()
	d.expect("x@far.test | y@far.test | ")
	d.move("x@far.test", inPending, inApproved) // what was sent is the message now
	d.expect(" | x@far.test,y@far.test | ")
	d.a.away = true
	d.send(inRejected, x)
	d.a.away = false
	d.step()
	d.expect(" | y@far.test | x@far.test")
	if got := d.writes("x@far.test"); got != accounts.Refuse {
		t.Errorf("sent while the accounts were away: %d", got)
	}
}

// text is that of the message about a contact.
func (d *desktop) text(subject, folder string) string {
	d.t.Helper()
	for _, m := range d.folder(folder) {
		if m.subject == subject {
			return m.text
		}
	}
	d.t.Fatalf("%s is not in %s", subject, folder)
	return ""
}

// send appends a message.
func (d *desktop) send(folder, text string) {
	d.t.Helper()
	ctx := context.Background()
	ap, err := d.imap.Append(ctx, folder)
	if err != nil {
		d.t.Fatal(err)
	}
	w, err := ap.Next(ctx, imap.AppendOptions{Size: int64(len(text))})
	if err != nil {
		d.t.Fatal(err)
	}
	fmt.Fprint(w, text)
	if _, err := ap.Commit(ctx); err != nil {
		d.t.Fatal(err)
	}
}

// What was done while the accounts room was away is told when it is back.
func TestContactFoldersWhileAway(t *testing.T) {
	d := newDesktop(t, t.Cleanup)
	for _, s := range []string{"a@far.test", "b@far.test", "c@far.test"} {
		d.writes(s)
	}
	d.step()
	d.a.away = true
	d.move("a@far.test", inPending, inApproved)
	d.move("b@far.test", inPending, "")
	d.step()
	d.a.away = false
	d.set("c@far.test", accounts.Approved)
	d.step()
	d.expect(" | a@far.test,c@far.test | b@far.test")

	// Nor is anything forgotten by a process that was killed: all is compared anew.
	d.a.away = true
	d.move("a@far.test", inApproved, inRejected)
	d.a.away = false
	d.desk.again, d.at = map[uint64]bool{}, accounts.ContactCursor{}
	d.step()
	d.expect(" | c@far.test | a@far.test,b@far.test")
	if got := d.writes("a@far.test"); got != accounts.Refuse {
		t.Error(got)
	}
	if err := d.imap.Delete(context.Background(), inRejected); err != nil { // decides nothing
		t.Fatal(err)
	}
	d.step()
	d.expect(" | c@far.test | a@far.test,b@far.test")
}

// A flood of strangers costs a few messages, not one each.
func TestContactFoldersFlood(t *testing.T) {
	d := newDesktop(t, t.Cleanup)
	for i := range accounts.MaxPending + 200 {
		d.late.Add(int64(time.Millisecond))
		d.writes(fmt.Sprintf("s%04d@far.test", i))
		if i%100 == 0 {
			d.step()
		}
	}
	d.step()
	box := d.open(inPending)
	defer box.Close()
	snap, err := box.Snapshot(context.Background())
	if err != nil || snap.UIDNext > cardsAtFirst+5 {
		t.Errorf("%d messages were made, %v", snap.UIDNext-1, err)
	}
	d.late.Add(int64(cardEvery * cardsAtFirst))
	for id, names := range d.desk.due() {
		if err := d.desk.update(context.Background(), id, names); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.folder(inPending)); n < cardsAtFirst/2 || n > 2*cardsAtFirst {
		t.Errorf("%d are shown later", n)
	}
}

// However decisions from both sides and absences follow each other, in the end each contact is one message, in its folder.
func TestContactFoldersAgree(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := newDesktop(r, t.Cleanup)
		who := []string{"a@far.test", "b@far.test", "c@far.test"}
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			s := rapid.SampledFrom(who).Draw(r, "who")
			switch rapid.IntRange(0, 8).Draw(r, "what") {
			case 0, 1:
				d.late.Add(int64(2 * time.Hour))
				d.writes(s)
			case 2:
				d.set(s, rapid.SampledFrom([]accounts.ContactState{accounts.Approved, accounts.Rejected}).Draw(r, "state"))
			case 3:
				d.a.RemoveContact(context.Background(), "alice@our.test", s) //nolint:errcheck // it may not be there
			case 4, 5:
				from := rapid.SampledFrom(contactFolders).Draw(r, "from")
				to := rapid.SampledFrom(append(contactFolders[:3:3], "", "Trash")).Draw(r, "to")
				if slices.ContainsFunc(d.folder(from), func(x shown) bool { return x.subject == s }) {
					d.move(s, from, to)
				}
			case 6:
				d.a.away = !d.a.away
			case 7:
				d.step()
			case 8: // a program that cannot move
				from := rapid.SampledFrom(contactFolders).Draw(r, "from")
				for _, m := range d.folder(from) {
					if to := rapid.SampledFrom(contactFolders).Draw(r, "to"); m.subject == s && to != from {
						if rapid.Bool().Draw(r, "deletes first") {
							d.move(s, from, "")
						}
						d.send(to, m.text)
					}
				}
			}
		}
		d.a.away = false
		d.step()
		d.step()
		var want [3][]string
		for c, err := range d.a.Contacts(context.Background(), "alice@our.test") {
			if err != nil {
				r.Fatal(err)
			}
			want[c.State] = append(want[c.State], c.Sender)
		}
		d.expect(strings.Join(want[0], ",") + " | " + strings.Join(want[1], ",") + " | " + strings.Join(want[2], ","))
	})
}

// What a stranger writes cannot change how the message reads, or what the command does.
func TestContactCard(t *testing.T) {
	c := &accounts.Contact{Sender: `"x'; touch y #\"` + "\u202e" + `"@far.test`, FirstSeen: time.Unix(1e9, 0), LastSeen: time.Unix(1e9, 0), Tries: 5,
		Subject: "Hello\r\nBcc: evil\x1b[2J " + strings.Repeat("ü", 400)}
	text := string(contactCard("alice@our.test", "token", c))
	if strings.Contains(text, "\x1b") || strings.Contains(text, "\nBcc") || strings.Contains(text, "\u202e") {
		t.Errorf("%q", text)
	}
	for _, line := range strings.Split(text, "\r\n") {
		if len(line) > 900 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
	if _, err := message.Parse(strings.NewReader(text), message.Limits{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "4 times or more") {
		t.Error(text)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	for _, who := range []string{c.Sender, "bob@far.test", "-x@far.test", "a b@far.test", "$(id)@far.test", "`id`@x"} {
		out, err := exec.Command(sh, "-c", "printf %s "+shellWord(who)).Output()
		if err != nil || string(out) != printable(who) {
			t.Errorf("%q became %q, %v", who, out, err)
		}
	}
}

// FuzzCardField: only what the house wrote names a contact.
func FuzzCardField(f *testing.F) {
	d := newDesktop(f, f.Cleanup)
	c := &accounts.Contact{Sender: "bob@far.test", FirstSeen: time.Unix(1e9, 0)}
	ours := contactCard("alice@our.test", d.desk.cards.Token(1, c.Sender), c)
	f.Add(ours)
	f.Add(contactCard("alice@our.test", d.desk.cards.Token(2, c.Sender), c))
	f.Add([]byte(contactField + ": x\r\n\r\n"))
	token := d.desk.cards.Token(1, c.Sender)
	f.Fuzz(func(t *testing.T, text []byte) {
		if name := d.desk.nameOf(1, text); name != "" && (name != c.Sender || !strings.Contains(string(text), token)) {
			t.Errorf("%q names %q", text, name)
		}
	})
}
