package mailbox

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/store/mem"
)

// said is a connection whose peer has said everything already.
type said struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *said) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *said) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *said) Close() error                     { return nil }
func (c *said) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 143} }
func (c *said) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (c *said) SetDeadline(time.Time) error      { return nil }
func (c *said) SetReadDeadline(time.Time) error  { return nil }
func (c *said) SetWriteDeadline(time.Time) error { return nil }

// private stands in the names, the text and the keywords of what the other user has and does not share.
const private = "Xq7hidden"

// sharedStates bring user 2 into the states of a session, with the mailboxes that user 1 shares.
var sharedStates = []string{
	"",
	"l LOGIN user2@example.test secret\r\n",
	"l LOGIN user2@example.test secret\r\ns SELECT \"Other Users/user1@example.test/Read\"\r\n",
	"l LOGIN user2@example.test secret\r\ns SELECT \"Other Users/user1@example.test/Write\"\r\n",
	"l LOGIN user2@example.test secret\r\ne ENABLE IMAP4rev2 QRESYNC\r\ns EXAMINE \"Other Users/user1@example.test/Write\"\r\n",
	"l LOGIN user2@example.test secret\r\nn NOTIFY SET (SUBTREE \"Other Users\" (MessageNew MessageExpunge FlagChange MailboxName))\r\ns SELECT INBOX\r\n",
}

// FuzzShared: whatever a client says, in whatever state, it learns nothing of what is not shared, changes nothing of it, and
// leaves the database whole.
func FuzzShared(f *testing.F) {
	const theirs = "\"Other Users/user1@example.test/"
	for state := range sharedStates {
		for _, s := range []string{
			"a LIST \"\" * RETURN (MYRIGHTS STATUS (MESSAGES UNSEEN))\r\nb LSUB \"\" *\r\nc NAMESPACE\r\n",
			"a GETACL " + theirs + "Read\"\r\nb SETACL " + theirs + "Write\" user2 +a\r\nc MYRIGHTS " + theirs + "Write/Sub\"\r\n",
			"a FETCH 1:* (FLAGS BODY[] ENVELOPE)\r\nb STORE 1 +FLAGS (\\Seen \\Deleted x)\r\nc EXPUNGE\r\nd SEARCH UNSEEN TEXT a\r\n",
			"a COPY 1 " + theirs + "Write\"\r\nb MOVE 1 INBOX\r\nc UID COPY 1:* " + theirs + "Read\"\r\n",
			"a APPEND " + theirs + "Write\" (\\Seen) {3+}\r\nabc\r\nb CREATE " + theirs + "Write/New\"\r\nc RENAME " + theirs + "Write\" " + theirs + "Old\"\r\nd DELETE " + theirs + "Write\"\r\n",
			"a ESEARCH IN (SUBTREE \"Other Users\" PERSONAL) ALL\r\nb GETMETADATA " + theirs + "Read\" (/shared/comment /private/comment)\r\nc SETMETADATA " + theirs + "Write\" (/shared/comment \"a\")\r\n",
			"a GETQUOTAROOT " + theirs + "Read\"\r\nb GENURLAUTH \"imap://user1@example.test@h/Read/;uid=1;urlauth=anonymous\" INTERNAL\r\nc URLFETCH \"imap://user1@example.test@h/Read/;uid=1\"\r\n",
			"a THREAD REFERENCES UTF-8 ALL\r\nb SORT (SUBJECT) UTF-8 ALL\r\nc CLOSE\r\nd STATUS " + theirs + "Write\" (MESSAGES)\r\n",
		} {
			f.Add(uint8(state), s)
		}
	}
	f.Fuzz(func(t *testing.T, state uint8, text string) {
		if strings.Contains(strings.ToLower(text), strings.ToLower(private)) {
			return // what a client says may be said back
		}
		fuzzShared(t, sharedStates[int(state)%len(sharedStates)]+text)
	})
}

func fuzzShared(t *testing.T, text string) {
	ctx := context.Background()
	m, err := Open(ctx, Config{Engine: mem.New(mem.Options{}), Directory: people{}, Limits: Limits{MessageOctets: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := m.Backend().Open(ctx, &mail.Session{Login: mail.Identity{Account: user(1)}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	hidden := strings.ReplaceAll(letter(1), "Subject: ", "Subject: "+private+" ")
	for name, rights := range map[string]string{"Read": "lr", "Write": "lrswitek", private: "", "Write/" + private: ""} {
		if _, err := a.Create(ctx, name, nil); err != nil {
			t.Fatal(err)
		}
		content := letter(2)
		if rights == "" {
			content = hidden
		}
		put(t, a, name, imap.AppendOptions{}, content)
		for _, id := range []string{user(2), "anyone"} {
			if err := a.(imap.ACLs).SetACL(ctx, name, id, imap.StoreReplace, rights); err != nil {
				t.Fatal(err)
			}
			rights = strings.TrimLeft(rights, "lrswitek") // the second has nothing
		}
	}
	put(t, a, "INBOX", imap.AppendOptions{Flags: imap.Flags{Keywords: []string{private}}}, hidden)
	var log bytes.Buffer
	srv := &imap.Server{Backend: m.Backend(), Auth: imapmem.Passwords{user(2): "secret"}, PlaintextLoopback: true,
		Log:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})),
		Limits: imap.Limits{LoginDelay: -1, CommandOctets: 8 << 10, MessageOctets: 64 << 10, SkipOctets: 64 << 10}}
	c := &said{in: bytes.NewReader([]byte(text))}
	srv.ServeConn(ctx, c)
	out := c.out.String()
	if !strings.HasPrefix(out, "* OK ") || log.Len() > 0 || strings.Contains(out, private) {
		t.Fatalf("%q: %q\n%s", text, out, log.String())
	}
	for _, name := range []string{"INBOX", private, "Write/" + private} {
		box, err := a.Select(ctx, name, true)
		if err != nil {
			t.Fatalf("%s: %v after %q", name, err, text)
		}
		got := ""
		for msg, err := range box.Fetch(ctx, everything(), imap.NeedContent) {
			if err != nil || read(t, msg) != hidden {
				t.Fatalf("%s: %v, changed by %q", name, err, text)
			}
			got += fmt.Sprint(msg.UID, flagText(msg.Flags))
		}
		if want := map[bool]string{true: "1," + private, false: "1"}[name == "INBOX"]; got != want {
			t.Fatalf("%s has %q, not %q, after %q", name, got, want, text)
		}
		_ = box.Close()
	}
	faults, err := m.Verify(ctx, nil)
	if err != nil || len(faults) > 0 {
		t.Fatalf("%v %v after %q", err, faults, text)
	}
}
