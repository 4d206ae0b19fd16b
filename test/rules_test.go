package test

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestRules changes rules in a house of one process, and in one of a process for each room: what is changed holds at once.
func TestRules(t *testing.T) {
	t.Run("merged", func(t *testing.T) {
		h := newHouse(t, "r.test", "alice", "bob", "carol")
		h.start()
		changeRules(t, h)
	})
	t.Run("split", func(t *testing.T) { changeRules(t, newSplit(t, "r.test", "alice", "bob", "carol").house) })
}

func changeRules(t *testing.T, h *house) {
	stranger := func(to string) error {
		return h.send("x@x.example", []string{to}, letter("x@x.example", to, "to "+to, "hello"))
	}
	// An answer that is kept elsewhere goes when the event comes; what takes effect is awaited, what does not would time out.
	answers := func(what, code string, try func() error) {
		t.Helper()
		var err error
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if err = try(); code == "" && err == nil || err != nil && code != "" && strings.HasPrefix(strings.ReplaceAll(err.Error(), "\"", ""), code) {
				return
			}
		}
		t.Fatalf("%s: %v, not %q", what, err, code)
	}
	in := func(user, folder, subject string) bool {
		for _, m := range h.messages(user, folder) {
			if strings.Contains(m, "Subject: "+subject) {
				return true
			}
		}
		return false
	}
	arrives := func(user, folder, subject string) {
		t.Helper()
		for end := time.Now().Add(patience); !in(user, folder, subject); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s did not get %q in %s", user, subject, folder)
			}
		}
	}

	// Domains, rules and what is left.
	h.run("", "domain", "add", "alias.test")
	answers("a domain without addresses", "550 5.1.1", func() error { return stranger("bob@alias.test") })
	h.run("", "domain", "set", "alias.test", "--alias-of", "r.test")
	answers("another name of a domain", "", func() error { return stranger("bob@alias.test") })
	arrives("bob@r.test", "INBOX", "to bob@alias.test")
	answers("what nobody has", "550 5.1.1", func() error { return stranger("sales-1@r.test") })
	h.run("", "domain", "rule", "add", "r.test", `sales-(\d+)`, "carol+$1")
	answers("a rule", "", func() error { return stranger("sales-1@r.test") })
	arrives("carol@r.test", "INBOX", "to sales-1@r.test")
	answers("what the rule does not match", "550 5.1.1", func() error { return stranger("sales-x@r.test") })
	h.run("", "alias", "add", "@r.test", "alice@r.test")
	answers("the rest", "", func() error { return stranger("sales-x@r.test") })
	arrives("alice@r.test", "INBOX", "to sales-x@r.test")
	h.until("why tells of the rule", func() bool { // other processes send their events now and then
		out, err := h.try("", "why", "sales-1@r.test")
		return err == nil && strings.Contains(out, "<sales-1@r.test> is now <carol+1@r.test>, by rule 1 of r.test")
	})

	// Settings of accounts.
	h.run("", "account", "set", "carol@r.test", "--plus-folders", "on")
	answers("a folder of an address", "", func() error {
		if err := stranger("carol+work@alias.test"); err != nil {
			return err
		}
		for _, f := range h.folders("carol@r.test") {
			if f == "work" {
				return nil
			}
		}
		return errNotYet
	})
	arrives("carol@r.test", "work", "to carol+work@alias.test")
	h.run("", "account", "set", "bob@r.test", "--quota-messages", "1")
	answers("over quota", "452 4.2.2", func() error { return stranger("bob@r.test") })
	h.run("", "account", "set", "bob@r.test", "--quota-messages", "0", "--quota", "5000")
	answers("a message that never fits", "552 5.2.2", func() error {
		return h.send("x@x.example", []string{"bob@r.test"}, letter("x@x.example", "bob@r.test", "big", strings.Repeat("hello ", 2000)))
	})
	h.run("", "account", "set", "bob@r.test", "--quota", "0", "--no-enabled")
	answers("disabled", "550 5.2.1", func() error { return stranger("bob@r.test") })
	h.run("", "account", "set", "bob@r.test", "--enabled")
	answers("enabled", "", func() error { return stranger("bob@r.test") })

	// Rights to send as others.
	asInfo := func() error {
		c, err := h.login("bob@r.test")
		if err != nil {
			return err
		}
		defer c.Close()
		return transact(c, "info@r.test", []string{"alice@r.test"}, letter("info@r.test", "alice@r.test", "as info", "hello"))
	}
	h.run("", "alias", "add", "info@r.test", "alice@r.test", "bob@r.test")
	answers("not granted", "553 5.7.1", asInfo)
	h.run("", "account", "grant", "bob@r.test", "info@r.test")
	answers("granted", "", asInfo)
	h.run("", "account", "revoke", "bob@r.test", "info@r.test")
	answers("revoked", "553 5.7.1", asInfo)

	// Lists.
	h.run("", "list", "add", "team@r.test", "--owner", "alice@r.test", "--title", "Our team")
	h.run("", "list", "member", "add", "team@r.test", "bob@r.test", "carol@r.test")
	answers("a stranger", "550 5.7.1", func() error { return stranger("team@r.test") })
	answers("a name of ours, forged", "550 5.7.1", func() error {
		return h.send("bob@r.test", []string{"team@r.test"}, letter("bob@r.test", "team@r.test", "forged", "hello"))
	})
	answers("a post", "", func() error {
		return h.submit("bob@r.test", []string{"team@alias.test"}, letter("bob@r.test", "team@alias.test", "a post", "hello"))
	})
	arrives("bob@r.test", "INBOX", "a post")
	arrives("carol@r.test", "INBOX", "a post")
	for _, m := range h.messages("carol@r.test", "INBOX") {
		if !strings.Contains(m, "Subject: a post") {
			continue
		}
		for _, want := range []string{"Return-Path: <team-bounces@r.test>", "List-Id: \"Our team\" <team.r.test>", "List-Post: <mailto:team@r.test>", "From: bob@r.test"} {
			if !strings.Contains(m, want) {
				t.Errorf("the post has no %q:\n%s", want, m)
			}
		}
		answers("a post that has been there", "554 5.4.6", func() error {
			return h.submit("bob@r.test", []string{"team@r.test"}, m[strings.Index(m, "List-Id:"):])
		})
	}
	answers("a report to whoever looks after the list", "", func() error {
		return h.send("", []string{"team-bounces@r.test"}, letter("mailer-daemon@x.example", "team-bounces@r.test", "it came back", "hello"))
	})
	arrives("alice@r.test", "INBOX", "it came back")
	if out := h.run("", "verify"); !strings.Contains(out, "nothing is damaged") {
		t.Error(out)
	}
}

var errNotYet = errors.New("not yet")

// folders lists the mailboxes of an account.
func (h *house) folders(user string) (names []string) {
	h.t.Helper()
	c := h.imap(user)
	defer c.Close()
	list, err := c.List("", "*", nil).Collect()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, m := range list {
		names = append(names, m.Mailbox)
	}
	return names
}
