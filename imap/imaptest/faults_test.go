package imaptest

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/samotop/samotop/imap"
	"github.com/samotop/samotop/imap/imapmem"
)

// lyingConn rewrites what the server says, line by line. What stands in literals is as good as lines here.
type lyingConn struct {
	net.Conn
	what    *regexp.Regexp
	with    []byte
	held    []byte // read, not given on yet
	ready   []byte
	changed *int
}

func (c *lyingConn) Read(p []byte) (int, error) {
	for len(c.ready) == 0 {
		buf := make([]byte, 4096)
		n, err := c.Conn.Read(buf)
		c.held = append(c.held, buf[:n]...)
		if eol := bytes.LastIndexByte(c.held, '\n'); eol >= 0 {
			lines := c.held[:eol+1]
			out := c.what.ReplaceAll(lines, c.with)
			if !bytes.Equal(out, lines) {
				*c.changed++
			}
			c.ready, c.held = out, append([]byte(nil), c.held[eol+1:]...)
		}
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

// faults are lies of a server, one for each kind of response, and dialogues that must notice them.
var faults = []struct{ name, script, what, with string }{
	{"exists", "state: created\n\nok select $mailbox\nok append\n* 1 exists\n", `\* 1 EXISTS`, `* 2 EXISTS`},
	{"recent", "state: created\n\nok append\nok select $mailbox\n* 1 recent\n", `\* 1 RECENT`, `* 0 RECENT`},
	{"expunge", "messages: 3\n\nok store 2 +flags \\deleted\nok expunge\n* $2 expunge\n", `\* 2 EXPUNGE`, `* 3 EXPUNGE`},
	{"no expunge", "connections: 2\nmessages: 3\n\n1 ok store 2 +flags \\deleted\n1 ok expunge\n2 ok search all\n! $2 expunge\n", `\* SEARCH`, "* 2 EXPUNGE\r\n* SEARCH"},
	{"flags", "messages: 1\n\nok store 1 flags (\\seen)\n* 1 fetch (flags (\\seen))\n", `FLAGS \(\\Recent \\Seen\)`, `FLAGS (\Recent \Seen \Flagged)`},
	{"keyword", "messages: 1\n\nok store 1 flags ($$hello)\n* 1 fetch (flags ($$hello))\n", `\$hello\)\)`, `$$hallo))`},
	{"uid", "messages: 2\n\nok fetch 2 uid\n* 2 fetch (uid $a)\nok uid search all\n* search $b $a\n", `\* 2 FETCH \(UID 2\)`, `* 2 FETCH (UID 3)`},
	{"envelope", "messages: 1\n\nok fetch 1 envelope\n* 1 fetch (envelope ($ \"s1\" ((NIL NIL \"user1\" \"domain.org\")) $ $ NIL NIL NIL NIL NIL))\n", `"user1"`, `"user9"`},
	{"bodystructure", "messages: 1\n\nok fetch 1 body\n* 1 fetch (body (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 9 2))\n", ` 9 2\)`, ` 9 3)`},
	{"literal", "messages: 1\n\nok fetch 1 body.peek[text]\n* 1 fetch (body[text] {{{\nbody1\n\n\n}}})\n", `body1`, `body2`},
	{"partial", "messages: 1\n\nok fetch 1 body.peek[text]<0.3>\n* 1 fetch (body[text]<0> \"bod\")\n", `<0>`, `<1>`},
	{"internaldate", "messages: 1\n\nok fetch 1 internaldate\n* 1 fetch (internaldate \"22-Feb-2008 17:06:23 +0000\")\n", `17:06:23`, `17:06:24`},
	{"size", "messages: 1\n\nok fetch 1 rfc822.size\n* 1 fetch (rfc822.size $size)\nok fetch 1 fast\n* 1 fetch (flags () internaldate $ rfc822.size $size)\n", `" RFC822.SIZE \d+`, `" RFC822.SIZE 1`},
	{"search", "messages: 3\n\nok search all\n* search 1 2 3\n", `\* SEARCH 1 2 3`, `* SEARCH 1 2`},
	{"search empty", "messages: 3\n\nok search seen\n* search\n", `\* SEARCH`, `* SEARCH 1`},
	{"esearch", "messages: 3\n\nok search return (max) all\n* esearch (tag $tag) max 3\n", `MAX 3`, `MAX 2`},
	{"esearch tag", "messages: 3\n\nok search return (max) all\n* esearch (tag $tag) max 3\n", `TAG "t`, `TAG "u`},
	{"list", "state: created\n\nok list \"\" $mailbox\n* list (\\hasnochildren) $sep $mailbox\n", `\\HasNoChildren`, `\HasChildren`},
	{"list banned", "state: created\n\nok list \"\" $mailbox\n! list ($!unordered \\noselect) $sep $mailbox\n", `\\HasNoChildren`, `\Noselect`},
	{"lsub", "state: created\n\nok subscribe $mailbox\nok lsub \"\" $mailbox\n* lsub () $sep $mailbox\n", `LSUB \(.*\) "/" `, `LSUB () "." no`},
	{"status", "state: created\n\nok append\nok status $mailbox (messages unseen)\n* status $mailbox (messages 1 unseen 1)\n", `UNSEEN 1`, `UNSEEN 2`},
	{"ok to a refusal", "state: created\n\nno create $mailbox\n", `(t\d+) NO \[ALREADYEXISTS\]`, `$1 OK [X]`},
	{"no to a command", "state: created\n\nok noop\n", `(t\d+) OK NOOP`, `$1 NO NOOP`},
	{"response code", "state: created\n\nselect $mailbox\n* ok [uidvalidity $v]\nok [read-write]\n", `READ-WRITE`, `READ-ONLY`},
	{"untagged code", "state: created\n\nok append\nok select $mailbox\n* ok [unseen 1]\n", `UNSEEN 1`, `UNSEEN 2`},
	{"appenduid", "state: created\n\nselect $mailbox\n* ok [uidvalidity $v]\n* ok [uidnext $n]\nok\nappend\nok [appenduid $v $n]\n", `APPENDUID (\d+) 1`, `APPENDUID $1 2`},
	{"copyuid", "messages: 2\n\nok fetch 1:2 uid\n* 1 fetch (uid $a)\n* 2 fetch (uid $b)\ncopy 1:2 $mailbox\nok [copyuid $v $a:$b $c]\n", `COPYUID (\d+) 1:2`, `COPYUID $1 1:3`},
	{"bye", "state: auth\n\nok noop\n! bye\n", `(t\d+) OK NOOP`, "* BYE\r\n$1 OK NOOP"},
	{"strict", "state: auth\nignore_extra_untagged: no\n\nok noop\n", `(t\d+) OK NOOP`, "* 3 EXISTS\r\n$1 OK NOOP"},
}

// TestPlantedFaults: each lie is noticed, and the same dialogue passes without it.
func TestPlantedFaults(t *testing.T) {
	srv := &imap.Server{
		Backend: imapmem.New(), Auth: imapmem.Passwords{"alice": "secret"}, PlaintextLoopback: true,
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(context.Background(), l)
	t.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
	dir := t.TempDir()
	mbox := "From user@domain  Fri Feb 22 17:06:23 2008\nFrom: user1@domain.org\nDate: Sat, 24 Mar 2007 23:00:00 +0200\nSubject: s1\n\nbody1\n\n"
	if err := os.WriteFile(filepath.Join(dir, "default.mbox"), []byte(mbox+mbox+mbox), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			path := filepath.Join(dir, "script")
			if err := os.WriteFile(path, []byte(f.script), 0o600); err != nil {
				t.Fatal(err)
			}
			run := func(lie bool) (*Report, int) {
				changed := 0
				rep, err := Run(t.Context(), Config{
					User: "alice", Password: "secret", Script: path, Timeout: 5 * time.Second,
					Dial: func(context.Context) (net.Conn, error) {
						nc, err := net.Dial("tcp", l.Addr().String())
						if err != nil || !lie {
							return nc, err
						}
						return &lyingConn{Conn: nc, what: regexp.MustCompile(f.what), with: []byte(f.with), changed: &changed}, nil
					},
				})
				if err != nil || rep.Skipped != "" {
					t.Fatal(err, rep)
				}
				return rep, changed
			}
			if rep, _ := run(false); len(rep.Failures) > 0 {
				t.Fatalf("the honest server fails: %v", rep.Failures)
			}
			if rep, changed := run(true); changed == 0 || len(rep.Failures) == 0 {
				t.Errorf("the lie was told %d times and was not noticed", changed)
			}
		})
	}
}
