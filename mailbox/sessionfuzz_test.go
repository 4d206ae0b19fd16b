package mailbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/pop3"
	"github.com/samotop/samotop/store/mem"
)

// The states of a session, each reached by what a client says.
var (
	imapLogin  = "l LOGIN user1@example.test secret\r\n"
	imapPicked = imapLogin + "s SELECT INBOX\r\n"
	imapStates = []string{
		"",                         // not authenticated
		"x AUTHENTICATE PLAIN\r\n", // an exchange in progress
		imapLogin,
		imapPicked,
		imapLogin + "e ENABLE IMAP4rev2 QRESYNC UIDONLY\r\ns SELECT INBOX\r\n",
		imapLogin + "s EXAMINE Box\r\n",
		imapPicked + "i IDLE\r\n",
		imapLogin + "e ENABLE IMAP4rev2\r\ns SELECT INBOX\r\nk IDLE\r\n",
		imapLogin + "m APPEND Box {400+}\r\nSubject: begun\r\n", // an APPEND in progress, of whatever comes
		imapPicked + "m APPEND INBOX (\\Seen) {4+}\r\na: b (\\Flagged) ~{90+}\r\n",
		imapPicked + "m APPEND INBOX CATENATE (TEXT {3+}\r\na: TEXT {70+}\r\n",
		imapPicked + "m REPLACE 1 INBOX {30+}\r\n",
		imapPicked + "n NOTIFY SET (selected (MessageNew (uid flags) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge MailboxName))\r\n",
		imapPicked + "c UID SEARCH RETURN (UPDATE SAVE) ALL\r\nd SORT RETURN (UPDATE) (SUBJECT) UTF-8 ALL\r\n",
		imapPicked + "d STORE 1:3 +FLAGS.SILENT (\\Deleted)\r\n",
		imapPicked + "u UNAUTHENTICATE\r\n",
	}
	pop3Login  = "USER user1@example.test\r\nPASS secret\r\n"
	pop3States = []string{
		"",
		"USER user1@example.test\r\n",
		"AUTH PLAIN\r\n",
		pop3Login,
		pop3Login + "DELE 1\r\nDELE 3\r\n",
		"UTF8\r\n" + pop3Login + "RETR 1\r\n",
	}
)

// hardMail are messages that the sessions have before them.
var hardMail = []string{
	letter(1),
	"From: a <a@b.c>\r\nSubject: =?utf-8?q?=C3=A4?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ=\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nTo: d\r\n\r\n--x--\r\n",
	"Subject: \xff\x80\r\nMessage-ID: <1@x>\r\nReferences: <1@x> <2@x>\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B\x00\xfe",
}

// world is a room with two users' mail in memory, user1 of which talks.
func world(t testing.TB) *Mailbox {
	m, err := Open(context.Background(), Config{Engine: mem.New(mem.Options{}), Directory: people{}, Limits: Limits{MessageOctets: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ {
		a, err := m.Backend().Open(context.Background(), &mail.Session{Login: mail.Identity{Account: user(n)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Create(context.Background(), "Box", nil); err != nil {
			t.Fatal(err)
		}
		put(t, a, "INBOX", imap.AppendOptions{Flags: imap.Flags{Keywords: []string{"$K"}}}, hardMail...)
		put(t, a, "Box", imap.AppendOptions{}, hardMail[0])
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// afterwards: the database is whole, the other's mail is what it was, and the one who talked can log in again.
func afterwards(t *testing.T, m *Mailbox, text string) {
	ctx := context.Background()
	faults, err := m.Verify(ctx, nil)
	if err != nil || len(faults) > 0 {
		t.Fatalf("%v %v after %q", err, faults, text)
	}
	d, err := m.POP3().Open(ctx, &mail.Session{Login: mail.Identity{Account: user(1)}}, 1000)
	if err != nil {
		t.Fatalf("%v after %q", err, text) // also: nobody has the lock any more
	}
	_ = d.Close()
	d, err = m.POP3().Open(ctx, &mail.Session{Login: mail.Identity{Account: user(2)}}, 1000)
	if err != nil || d.Len() != len(hardMail) {
		t.Fatalf("%v after %q", err, text)
	}
	for i, want := range hardMail {
		if got := readAll(t, d, i); !strings.HasSuffix(got, want) {
			t.Fatalf("%q, not %q, after %q", got, want, text)
		}
	}
	_ = d.Close()
}

// inClear takes passwords without TLS.
type inClear struct{ imapmem.Passwords }

func (inClear) Mechanisms(*mail.Session) []string { return []string{"PLAIN", "LOGIN"} }

func (a inClear) Start(ctx context.Context, s *mail.Session, mechanism string) (mail.Exchange, error) {
	under := *s
	under.TLS = &tls.ConnectionState{}
	return a.Passwords.Start(ctx, &under, mechanism)
}

// taggedAnswer begins a line that ends a command.
var taggedAnswer = regexp.MustCompile(`(?m)^[A-Za-z0-9]+ (OK|NO|BAD) `)

// FuzzIMAP: whatever a client says to an IMAP server over the real mailbox, in whatever state, it is answered without an
// internal error, and leaves the database whole and others' mail alone.
func FuzzIMAP(f *testing.F) {
	for state := range imapStates {
		for _, s := range []string{
			"a SELECT INBOX\r\nb UID FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BINARY[1] PREVIEW EMAILID MODSEQ)\r\nc CLOSE\r\n",
			"DONE\r\na STORE 1:* (UNCHANGEDSINCE 1) +FLAGS (x \\Deleted)\r\nb EXPUNGE\r\nc SEARCH RETURN (SAVE) OR TEXT a SUBJECT \"\"\r\nd FETCH $ (BODY[2.HEADER])\r\n",
			"a MOVE 2 Box\r\nb COPY 1:* Box\r\nc SORT (REVERSE SUBJECT ARRIVAL) UTF-8 ALL\r\nd THREAD REFERENCES UTF-8 ALL\r\ne ESEARCH IN (personal) RETURN (ALL COUNT) ALL\r\n",
			"a CREATE x/y\r\nb RENAME INBOX old\r\nc DELETE Box\r\nd LIST (SUBSCRIBED) \"\" (* %) RETURN (STATUS (MESSAGES SIZE) METADATA (/private/comment))\r\n",
			"a APPEND INBOX {3+}\r\na:b\r\nb REPLACE 1 INBOX ~{4+}\r\n\x00\x01\x02\x03\r\nc UID EXPUNGE 1:*\r\nd FETCH 1:* BODY[]\r\n",
			"a GENURLAUTH \"imap://user1@example.test@h/INBOX/;uid=1;urlauth=anonymous\" INTERNAL\r\nb SETMETADATA INBOX (/private/comment {2+}\r\nhi)\r\nc SETACL INBOX user2@example.test lr\r\n",
			"AHVzZXIxQGV4YW1wbGUudGVzdABzZWNyZXQ=\r\na SELECT Box (QRESYNC (1 1))\r\nb IDLE\r\nDONE\r\nc LOGOUT\r\n",
		} {
			f.Add(uint8(state), s)
		}
	}
	f.Fuzz(func(t *testing.T, state uint8, text string) {
		text = imapStates[int(state)%len(imapStates)] + text
		m := world(t)
		defer m.Close()
		var log bytes.Buffer
		srv := &imap.Server{Backend: m.Backend(), Auth: imapmem.Passwords{user(1): "secret"}, PlaintextLoopback: true,
			Log:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})),
			Limits: imap.Limits{LoginDelay: -1, CommandOctets: 8 << 10, MessageOctets: 64 << 10, SkipOctets: 64 << 10}}
		c := &said{in: bytes.NewReader([]byte(text))}
		srv.ServeConn(context.Background(), c)
		out := c.out.String()
		if !strings.HasPrefix(out, "* OK ") || log.Len() > 0 || strings.Contains(out, "SERVERBUG") {
			t.Fatalf("%q: %q\n%s", text, out, log.String())
		}
		if lines, tagged := strings.Count(text, "\n")+1, len(taggedAnswer.FindAllString(out, -1)); tagged > 2*lines+50 {
			t.Fatalf("%d answers to %d lines: %q", tagged, lines, text)
		}
		afterwards(t, m, text)
	})
}

// FuzzPOP3: the same of a POP3 server over the real mailbox; nothing is deleted but by QUIT.
func FuzzPOP3(f *testing.F) {
	for state := range pop3States {
		for _, s := range []string{
			"CAPA\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 2\r\nTOP 3 1\r\nDELE 1\r\nRSET\r\nDELE 3\r\nQUIT\r\n",
			"PASS secret\r\nRETR 3\r\nTOP 1 0\r\nLANG *\r\nDELE 99\r\nFROB\r\n\r\nDELE 1\nDELE 2",
			"AHVzZXIxQGV4YW1wbGUudGVzdABzZWNyZXQ=\r\nUIDL 2\r\nLIST 4\r\nQUIT\r\n",
			"*\r\nAUTH LOGIN =\r\n\r\nUTF8\r\nSTLS\r\nQUIT\r\n",
		} {
			f.Add(uint8(state), s)
		}
	}
	if got := popSession(f, world(f), pop3Login+"QUIT\r\n"); strings.Contains(got, "-ERR") {
		f.Fatal(got) // the states would not be what they say
	}
	f.Fuzz(func(t *testing.T, state uint8, text string) {
		text = pop3States[int(state)%len(pop3States)] + text
		m := world(t)
		defer m.Close()
		if out := popSession(t, m, text); !strings.HasPrefix(out, "+OK") {
			t.Fatalf("%q: %q", text, out)
		}
		afterwards(t, m, text)
		if upper := strings.ToUpper(text); strings.Contains(upper, "QUIT") && strings.Contains(upper, "DELE") {
			return
		}
		d, err := m.POP3().Open(context.Background(), &mail.Session{Login: mail.Identity{Account: user(1)}}, 1000)
		if err != nil || d.Len() != len(hardMail) {
			t.Fatalf("%v: something was deleted by %q", err, text)
		}
		_ = d.Close()
	})
}

// popSession runs a POP3 session over the room.
func popSession(t testing.TB, m *Mailbox, text string) string {
	var log bytes.Buffer
	srv := &pop3.Server{
		Backend: m.POP3(), Auth: inClear{imapmem.Passwords{user(1): "secret"}},
		Log:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})),
		Limits: pop3.Limits{FailureDelay: -1, Commands: 200, Errors: 5},
	}
	c := &said{in: bytes.NewReader([]byte(text))}
	srv.ServeConn(context.Background(), c)
	if log.Len() > 0 {
		t.Fatalf("%q\n%s", text, log.String())
	}
	return c.out.String()
}
