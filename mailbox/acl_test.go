package mailbox

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
)

// talker is a client that says lines and waits for others.
type talker struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

// serveAll starts a server for three users; connect logs one in.
func serveAll(t *testing.T, m *Mailbox) (connect func(n int) *talker) {
	t.Helper()
	addr := serveTo(t, m, imap.Limits{LoginDelay: -1}, 3)
	return func(n int) *talker {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		c := &talker{t, nc, bufio.NewReader(nc)}
		c.until(`^\* OK`)
		c.do(`LOGIN `+user(n)+` secret`, "OK")
		return c
	}
}

func (c *talker) say(line string) {
	c.t.Helper()
	if _, err := fmt.Fprint(c.nc, line+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

// until reads lines to the first that matches, and returns them.
func (c *talker) until(pattern string) string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		all.WriteString(line)
		if re.MatchString(line) {
			return all.String()
		}
		if err != nil {
			c.t.Fatalf("waiting for %s: %v after\n%s", pattern, err, all.String())
		}
	}
}

// do says a command whose answer must begin as wanted, after lines that hold each of some texts.
func (c *talker) do(command, want string, lines ...string) string {
	c.t.Helper()
	c.say("x " + command)
	got := c.until(`^x `)
	at := strings.LastIndex(got, "x "+want)
	if at < 0 {
		c.t.Errorf("%s: not %s but\n%s", command, want, got)
	}
	for _, l := range lines {
		if l, not := strings.CutPrefix(l, "!"); strings.Contains(got, l) == not {
			c.t.Errorf("%s: %q is there: %v, in\n%s", command, l, not, got)
		}
	}
	return got
}

func (c *talker) append(box, flags string) {
	c.t.Helper()
	c.say(fmt.Sprintf("x APPEND %s (%s) {%d+}\r\n%s", box, flags, len(letter(1)), letter(1)))
	if got := c.until(`^x `); !strings.Contains(got, "x OK") {
		c.t.Errorf("APPEND: %s", got)
	}
}

const work = `"Other Users/user1@example.test/Work"`

// TestSharedDialogue walks through RFC 4314 with two clients.
func TestSharedDialogue(t *testing.T) {
	m := newBox(t, Config{})
	connect := serveAll(t, m)
	a, b := connect(1), connect(2)
	a.do(`NAMESPACE`, "OK", `* NAMESPACE (("" "/")) (("Other Users/" "/")) NIL`)
	a.do(`CREATE Work`, "OK")
	a.append("Work", `\Seen \Flagged`)
	b.do(`LIST "" "Other Users*"`, "OK", "!Other Users")
	for _, c := range []string{"SELECT", "STATUS %s (MESSAGES)", "GETACL", "MYRIGHTS", "DELETE", "LISTRIGHTS %s x", "SETACL %s x l"} {
		if !strings.Contains(c, "%s") {
			c += " %s"
		}
		b.do(fmt.Sprintf(c, work), "NO [NONEXISTENT]")
	}
	b.do(`CREATE "Other Users/user1@example.test/New"`, "NO [NOPERM]")
	b.do(`CREATE "Other Users/nobody@example.test/New"`, "NO [NOPERM]")
	b.do(`CREATE "Other Users"`, "NO [CANNOT]")

	// Section 3.1 and 3.3 to 3.5.
	a.do(`SETACL Work user2@example.test l`, "OK")
	b.do(`SELECT `+work, "NO [NOPERM]")
	b.do(`LIST "" "Other Users*"`, "OK", `(\HasNoChildren) "/" `+work, `"Other Users/user1@example.test"`)
	a.do(`SETACL Work user2 +r`, "OK") // in the owner's domain
	a.do(`SETACL Work nobody +r`, "NO")
	a.do(`SETACL Work user2 +Z`, "BAD")
	a.do(`SETACL Work user1 lr`, "NO [CANNOT]")
	a.do(`GETACL Work`, "OK", `* ACL "Work" "user1@example.test" "lrswipkxteacd" "user2@example.test" "lr"`)
	a.do(`LISTRIGHTS Work user2`, "OK", `* LISTRIGHTS "Work" "user2" "" "l" "r" "s" "w" "i" "p" "k" "x" "t" "e" "a" "c" "d"`)
	b.do(`MYRIGHTS `+work, "OK", `"lr"`)
	b.do(`LIST "" "Other Users/*" RETURN (MYRIGHTS STATUS (UNSEEN))`, "OK", `* MYRIGHTS `+work+` "lr"`, `(UNSEEN 1)`)
	b.do(`GETACL `+work, "NO [NOPERM]")

	// Section 5.2: with l and r it is read-only; what the owner has seen is not seen by another.
	b.do(`SELECT `+work, "OK [READ-ONLY]", "PERMANENTFLAGS ()", "* 1 EXISTS")
	b.do(`FETCH 1 (FLAGS)`, "OK", `FLAGS (\Flagged)`)
	b.do(`FETCH 1 BODY[]`, "OK", "!\\Seen")
	b.do(`STORE 1 +FLAGS (\Seen)`, "NO [NOPERM]")
	b.do(`APPEND `+work+` {3+}`+"\r\nabc", "NO [NOPERM]")
	b.do(`COPY 1 INBOX`, "OK [COPYUID")

	// Section 5.1.1: rights that come and go while it is selected.
	b.say("y IDLE")
	b.until(`^\+`)
	a.do(`SETACL Work anyone +st`, "OK")
	b.until(`PERMANENTFLAGS \(\\Seen \\Deleted\)`)
	b.until(`READ-WRITE`)
	b.say("DONE")
	b.until("^y OK")
	b.do(`FETCH 1 BODY[TEXT]`, "OK", `\Seen`)
	b.do(`STORE 1 +FLAGS (\Deleted \Answered)`, "OK", `\Deleted`, "!Answered")
	b.do(`EXPUNGE`, "NO [NOPERM]")
	b.do(`MOVE 1 INBOX`, "NO [NOPERM]")
	a.do(`SELECT Work`, "OK")
	a.do(`FETCH 1 FLAGS`, "OK", `(\Recent \Seen \Flagged \Deleted)`)
	a.do(`STORE 1 -FLAGS (\Seen)`, "OK")
	b.do(`FETCH 1 FLAGS`, "OK", `\Seen`)
	b.do(`CLOSE`, "OK") // which expunges nothing: e is missing
	a.do(`NOOP`, "OK", "!EXPUNGE")
	b.do(`STATUS `+work+` (MESSAGES UNSEEN)`, "OK", "(MESSAGES 1 UNSEEN 0)")
	b.do(`GETQUOTAROOT `+work, "OK", "!* QUOTA ")
	b.do(`SUBSCRIBE `+work, "OK")
	b.do(`LSUB "" "Other Users/*"`, "OK", work)

	// The right to read goes: the session is told BYE.
	b.do(`SELECT `+work, "OK")
	b.say("y IDLE")
	b.until(`^\+`)
	a.do(`SETACL Work -anyone rl`, "OK")
	b.until(`^\* BYE`)
	b = connect(2)
	b.do(`SELECT `+work, "NO [NONEXISTENT]")
	b.do(`LIST "" "Other Users/*"`, "OK", "!"+work)
	b.do(`LSUB "" "Other Users/*"`, "OK", work)
	verify(t, m)
}

// TestSharedNotify: what is shared and what not any more is told (RFC 5465 section 5.4), and what happens in it.
func TestSharedNotify(t *testing.T) {
	m := newBox(t, Config{})
	connect := serveAll(t, m)
	a, b := connect(1), connect(2)
	a.do(`CREATE Work`, "OK")
	b.do(`NOTIFY SET (SUBTREE "Other Users" (MessageNew MessageExpunge FlagChange MailboxName))`, "OK")
	b.say("y IDLE")
	b.until(`^\+`)
	a.do(`SETACL Work user2 lr`, "OK")
	b.until(regexp.QuoteMeta(`"/" ` + work))
	a.append("Work", "")
	b.until(`^\* STATUS ` + work + ` \(MESSAGES 1 `)
	a.do(`SELECT Work`, "OK")
	a.do(`STORE 1 +FLAGS (\Deleted)`, "OK")
	b.until(`^\* STATUS ` + work)
	a.do(`RENAME Work Play`, "OK")
	b.until(`user1@example.test/Play" .*OLDNAME`)
	a.do(`CREATE Play/Inner`, "OK") // with the list of the one above
	b.until(`user1@example.test/Play/Inner"`)
	a.do(`CREATE Secret`, "OK")
	a.append("Secret", "")
	a.do(`SETACL Play user2 -r`, "OK")
	a.append("Play", "") // may be looked up, not read
	a.do(`DELETEACL Play user2`, "OK")
	if got := b.until(`NonExistent.*Play"`); strings.Contains(got, "Secret") || strings.Contains(got, "STATUS") {
		t.Errorf("told too much: %s", got)
	}
	b.say("DONE")
	b.until("^y OK")
	verify(t, m)
}

// TestSharedQuota: what others put into a mailbox counts for its owner.
func TestSharedQuota(t *testing.T) {
	ctx := context.Background()
	m := newBox(t, Config{Directory: people{quota: int64(len(letter(1))) + 10}})
	a, b := login(t, m, 1), login(t, m, 2)
	if err := a.(imap.ACLs).SetACL(ctx, "INBOX", user(2), imap.StoreReplace, "lri"); err != nil {
		t.Fatal(err)
	}
	put(t, b, "INBOX", imap.AppendOptions{}, letter(1))
	box, _ := choose(t, b, "INBOX")
	const theirs = "Other Users/user1@example.test/INBOX"
	if _, err := box.Copy(ctx, everything(), theirs, false); err != nil {
		t.Fatal(err)
	}
	if _, err := box.Copy(ctx, everything(), theirs, false); code(err) != "OVERQUOTA" {
		t.Errorf("the second copy: %v", err)
	}
	ap, err := b.Append(ctx, theirs)
	if err == nil {
		_, err = ap.Next(ctx, imap.AppendOptions{Size: 20})
	}
	if code(err) != "OVERQUOTA" {
		t.Errorf("append: %v", err)
	}
	one, _ := choose(t, a, "INBOX")
	for msg, err := range one.Fetch(ctx, everything(), imap.NeedContent) {
		if err != nil || read(t, msg) != letter(1) {
			t.Errorf("%v, %q", err, read(t, msg))
		}
	}
	verify(t, m)
}
