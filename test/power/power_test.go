// Package power_test cuts the power of a whole house at the moment each reply has been read, throws away every octet
// that was not synced, starts it again, and looks whether what was acknowledged is there.
package power_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/management"
)

const (
	alice, bob = "alice@example.test", "bob@example.test"
	password   = "correct horse battery"
	smtpPort   = "127.0.0.1:10025"
	lmtpPort   = "127.0.0.1:10024"
	submission = "127.0.0.1:10587"
	imapPort   = "127.0.0.1:10143"
)

func text(subject string) string {
	return "From: alice@example.test\r\nTo: bob@example.test\r\nSubject: " + subject + "\r\nMessage-ID: <" + subject + "@example.test>\r\n\r\n" +
		strings.Repeat("A line of "+subject+".\r\n", 500)
}

// step is one acknowledged change, and how to see it afterwards.
type step struct {
	name  string
	do    func(m *machine) error
	check func(m *machine) error
}

func (m *machine) imap(user string) *conn { return m.dial(imapPort).login(user, password) }

// subjects lists what a mailbox holds, as "subject flags".
func (m *machine) subjects(user, box string) (string, error) {
	c := m.imap(user)
	defer c.c.Close()
	if status, lines := c.try("EXAMINE " + box); status != "OK" {
		return "", missing("%s of %s: %v", box, user, lines)
	}
	var all []string
	flags := ""
	for _, l := range c.do("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])") {
		if _, f, ok := strings.Cut(l, "FLAGS ("); ok {
			f, _, _ = strings.Cut(f, ")")
			words := slices.DeleteFunc(strings.Fields(f), func(w string) bool { return w == `\Recent` })
			slices.Sort(words)
			flags = strings.Join(words, " ")
		}
		if s, ok := strings.CutPrefix(l, "Subject: "); ok {
			all = append(all, strings.TrimSpace(s+" "+flags))
		}
	}
	return strings.Join(all, "|"), nil
}

func holds(user, box, want string) func(*machine) error {
	return func(m *machine) error {
		got, err := m.subjects(user, box)
		if err == nil && got != want {
			return missing("%s of %s holds %q, want %q", box, user, got, want)
		}
		return err
	}
}

// on runs IMAP commands in a selected mailbox; the last one's reply is the one that counts.
func on(user, box string, commands ...string) func(*machine) error {
	return func(m *machine) error {
		c := m.imap(user)
		if box != "" {
			c.do("SELECT " + box)
		}
		for _, cmd := range commands {
			c.do(cmd)
		}
		return nil
	}
}

func verb(name string, args any) func(*machine) error {
	return func(m *machine) error { return m.verb(name, args, nil) }
}

func folders(user, command, want string) func(*machine) error {
	return func(m *machine) error {
		c := m.imap(user)
		defer c.c.Close()
		for _, l := range c.do(command) {
			if strings.HasSuffix(l, " "+want) || strings.HasSuffix(l, ` "`+want+`"`) {
				return nil
			}
		}
		return missing("%s is not in %s", want, command)
	}
}

var steps = []step{
	{"domain add", verb("domain/add", management.NameArgs{Name: "example.test"}), func(m *machine) error {
		return m.verb("domain/show", management.NameArgs{Name: "example.test"}, nil)
	}},
	{"account add", verb("account/add", management.AccountArgs{Address: alice, Password: password, Admin: true}), func(m *machine) error {
		return m.verb("account/show", management.NameArgs{Name: alice}, nil)
	}},
	{"second account add", verb("account/add", management.AccountArgs{Address: bob, Password: password}), func(m *machine) error {
		m.imap(bob).c.Close()
		return nil
	}},
	{"alias add", verb("alias/add", management.AliasArgs{Address: "both@example.test", Targets: []string{alice, bob}}), func(m *machine) error {
		return m.alias("both@example.test")
	}},
	{"deliver by SMTP", func(m *machine) error {
		m.dial(smtpPort).smtp("EHLO", "x@far.test", []string{bob}, text("one"), false)
		return nil
	}, holds(bob, "INBOX", "one")},
	{"deliver to an alias", func(m *machine) error {
		m.dial(smtpPort).smtp("EHLO", "x@far.test", []string{"both@example.test"}, text("two"), false)
		return nil
	}, func(m *machine) error {
		if err := holds(alice, "INBOX", "two")(m); err != nil {
			return err
		}
		return holds(bob, "INBOX", "one|two")(m)
	}},
	{"deliver by LMTP", func(m *machine) error {
		m.dial(lmtpPort).smtp("LHLO", "x@far.test", []string{alice, bob}, text("three"), true)
		return nil
	}, holds(bob, "INBOX", "one|two|three")},
	{"STORE", on(bob, "INBOX", `STORE 1 +FLAGS (\Seen \Flagged hello)`), holds(bob, "INBOX", `one \Flagged \Seen hello|two|three`)},
	{"CREATE", on(bob, "", "CREATE Work/2026"), folders(bob, `LIST "" *`, "Work/2026")},
	{"COPY", on(bob, "INBOX", "COPY 1:2 Work/2026"), holds(bob, "Work/2026", `one \Flagged \Seen hello|two`)},
	{"MOVE", on(bob, "INBOX", "MOVE 3 Work/2026"), holds(bob, "Work/2026", `one \Flagged \Seen hello|two|three`)},
	{"after MOVE, the other side", func(*machine) error { return nil }, holds(bob, "INBOX", `one \Flagged \Seen hello|two`)},
	{"SUBSCRIBE", on(bob, "", "SUBSCRIBE Work/2026"), folders(bob, `LSUB "" *`, "Work/2026")},
	{"RENAME", on(bob, "", "RENAME Work/2026 Work/old"), holds(bob, "Work/old", `one \Flagged \Seen hello|two|three`)},
	{"APPEND", func(m *machine) error {
		c := m.imap(bob)
		s := text("four")
		c.do(fmt.Sprintf(`APPEND INBOX (\Draft) "22-Nov-2026 10:00:00 +0000" {%d}`, len(s)), s)
		return nil
	}, holds(bob, "INBOX", `one \Flagged \Seen hello|two|four \Draft`)},
	{"EXPUNGE", on(bob, "INBOX", `STORE 2 +FLAGS.SILENT (\Deleted)`, "EXPUNGE"), holds(bob, "INBOX", `one \Flagged \Seen hello|four \Draft`)},
	{"UID EXPUNGE", on(bob, "Work/old", `STORE 1:* +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 2"), holds(bob, "Work/old", `one \Deleted \Flagged \Seen hello|three \Deleted`)},
	{"CLOSE", on(bob, "Work/old", "CLOSE"), holds(bob, "Work/old", "")},
	{"DELETE", on(bob, "", "DELETE Work/old"), func(m *machine) error {
		if folders(bob, `LIST "" *`, "Work/old")(m) == nil {
			return missing("the deletion of Work/old")
		}
		return nil
	}},
	{"UNSUBSCRIBE", on(bob, "", "SUBSCRIBE Gone", "UNSUBSCRIBE Gone"), func(m *machine) error {
		if folders(bob, `LSUB "" *`, "Gone")(m) == nil {
			return missing("the end of the subscription")
		}
		return nil
	}},
	{"submission to outside", func(m *machine) error {
		m.dial(submission).submit(alice, password, "someone@far.test", text("five"))
		return nil
	}, func(m *machine) error {
		n := 0
		err := each(m, "queue/list", management.Filter{}, func(e management.Entry) {
			if len(e.Recipients) == 1 && e.Recipients[0].Address == "someone@far.test" && e.Sender == alice {
				n++
			}
		})
		if err != nil {
			return err
		}
		if n != 1 {
			return missing("the queue holds it %d times", n)
		}
		return nil
	}},
	{"submission inside", func(m *machine) error {
		m.dial(submission).submit(alice, password, bob, text("six"))
		return nil
	}, func(m *machine) error {
		// It is in the queue or in the mailbox, and comes to the mailbox once.
		return eventually(func() error { return holds(bob, "INBOX", `one \Flagged \Seen hello|four \Draft|six`)(m) })
	}},
	{"account password", verb("account/password", management.SetArgs{Address: bob, Password: ptr("another long password")}), func(m *machine) error {
		m.dial(imapPort).login(bob, "another long password").c.Close()
		return nil
	}},
	{"alias remove", verb("alias/remove", management.AliasArgs{Address: "both@example.test"}), func(m *machine) error {
		if m.alias("both@example.test") == nil {
			return missing("the removal of the alias")
		}
		return nil
	}},
	{"account remove", verb("account/remove", management.NameArgs{Name: bob}), func(m *machine) error {
		if m.verb("account/show", management.NameArgs{Name: bob}, nil) == nil {
			return missing("the removal of the account")
		}
		return nil
	}},
}

// alias fails unless the alias is there.
func (m *machine) alias(address string) error {
	found := false
	err := each(m, "alias/list", management.NameArgs{}, func(a management.Alias) { found = found || a.Address == address })
	if err == nil && !found {
		return missing("the alias %s", address)
	}
	return err
}

// each calls a verb that lists things.
func each[T any](m *machine, name string, args any, item func(T)) error {
	c := management.Client{HTTP: management.Direct(m.house.Handler())}
	_, err := c.Each(context.Background(), name, args, func(raw json.RawMessage) error {
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		item(v)
		return nil
	})
	return err
}

// tellQueue logs what waits, for whoever looks for the reason of a failure.
func (m *machine) tellQueue() {
	err := each(m, "queue/list", management.Filter{}, func(e management.Entry) {
		b, err := json.Marshal(e)
		m.Logf("queued: %s %v", b, err)
	})
	if err != nil {
		m.Logf("queue: %v", err)
	}
}

// eventually asks until there is no error, for a quarter of a minute.
func eventually(ask func() error) (err error) {
	for range 150 {
		if err = ask(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func ptr[T any](v T) *T { return &v }

// TestEachReplySurvives cuts the power after each step.
func TestEachReplySurvives(t *testing.T) {
	m := newMachine(t, false)
	for _, s := range steps {
		if err := s.do(m); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		m.cut()
		if err := s.check(m); err != nil {
			t.Errorf("%s: %v", s.name, err)
			m.tellQueue()
		}
	}
	if err := each(m, "store/verify", struct{}{}, func(f management.Fault) { t.Errorf("verify: %+v", f) }); err != nil {
		t.Fatalf("verify: %v", err)
	}
}

// TestALyingDiskIsNoticed: where syncs do nothing, the same steps must not survive, or the test above proves nothing.
func TestALyingDiskIsNoticed(t *testing.T) {
	m := newMachine(t, true)
	if err := steps[0].do(m); err != nil {
		t.Fatal(err)
	}
	m.lie = false
	m.cut()
	if err := steps[0].check(m); err == nil {
		t.Error("a domain was there after the power cut, although nothing was synced")
	}
}
