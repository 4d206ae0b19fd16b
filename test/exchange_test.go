package test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// twoHouses makes two houses with routes to each other, and starts them.
func twoHouses(t *testing.T) (a, b *house) {
	a, b = newHouse(t, "a.test", "alice"), newHouse(t, "b.test", "bob")
	for a.base == b.base {
		b = newHouse(t, "b.test", "bob")
	}
	a.route(b)
	b.route(a)
	a.start()
	b.start()
	return a, b
}

func TestExchange(t *testing.T) {
	a, b := twoHouses(t)
	if err := a.submit("alice@a.test", []string{"bob@b.test", "alice@a.test"}, letter("alice@a.test", "bob@b.test", "there", "hello")); err != nil {
		t.Fatal(err)
	}
	if err := b.submit("bob@b.test", []string{"alice@a.test"}, letter("bob@b.test", "alice@a.test", "and back", "hello")); err != nil {
		t.Fatal(err)
	}
	got := b.await("bob@b.test", 1)[0]
	if !strings.Contains(got, "Subject: there\r\n") || !strings.HasPrefix(got, "Return-Path: <alice@a.test>\r\n") || !strings.Contains(got, "by mx.b.test with ESMTPS ") {
		t.Error(got)
	}
	a.await("alice@a.test", 2)
	a.queued(0)
	b.queued(0)
}

// TestUnknownRecipient: the other house refuses, and the sender is told why.
func TestUnknownRecipient(t *testing.T) {
	a, _ := twoHouses(t)
	if err := a.submit("alice@a.test", []string{"nobody@b.test"}, letter("alice@a.test", "nobody@b.test", "lost", "hello")); err != nil {
		t.Fatal(err)
	}
	got := a.await("alice@a.test", 1)[0]
	for _, want := range []string{"Return-Path: <>", "multipart/report", "Final-Recipient: rfc822;", "nobody@b.test", "Status: 5.1.1", "Subject: lost"} {
		if !strings.Contains(got, want) {
			t.Errorf("the report has no %q:\n%s", want, got)
		}
	}
}

// TestReceiverStops: what is sent while the other house is down arrives once when it is up again.
func TestReceiverStops(t *testing.T) {
	a, b := twoHouses(t)
	b.drain()
	const n = 20
	for i := range n {
		if err := a.submit("alice@a.test", []string{"bob@b.test"}, letter("alice@a.test", "bob@b.test", fmt.Sprint("while away ", i), "hello")); err != nil {
			t.Fatal(err)
		}
	}
	a.queued(n)
	if out := a.run("", "queue", "stats"); !strings.Contains(out, "b.test") && !strings.Contains(out, b.addr(25)) {
		t.Error(out)
	}
	a.drain() // the queue is on disk
	a.queued(n)
	a.run("", "queue", "hold", "--recipient", "@b.test")
	a.start()
	b.start()
	if out := a.run("", "queue", "list", "--state", "held"); strings.Count(out, "while") > 0 || strings.Count(out, "held") != n {
		t.Error(out)
	}
	a.run("", "queue", "release", "--all")
	a.queued(0)
	seen := map[string]int{}
	for _, m := range b.await("bob@b.test", n) {
		_, rest, _ := strings.Cut(m, "Subject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		seen[subject]++
	}
	for i := range n {
		if c := seen[fmt.Sprint("while away ", i)]; c != 1 {
			t.Errorf("message %d arrived %d times", i, c)
		}
	}
}

// TestLargeMessage: 25 MB go through both houses as they were.
func TestLargeMessage(t *testing.T) {
	a, b := twoHouses(t)
	line := strings.Repeat("0123456789abcdef", 4) + "\r\n"
	body := strings.Repeat(line, 25<<20/len(line))
	if err := a.submit("alice@a.test", []string{"bob@b.test"}, letter("alice@a.test", "bob@b.test", "large", body)); err != nil {
		t.Fatal(err)
	}
	_, got, ok := strings.Cut(b.await("bob@b.test", 1)[0], "\r\n\r\n")
	if !ok || sha256.Sum256([]byte(got)) != sha256.Sum256([]byte(body+"\r\n")) {
		t.Errorf("arrived changed: %d octets of %d", len(got), len(body)+2)
	}
}

// TestSMTPUTF8: addresses beyond ASCII, both ways.
func TestSMTPUTF8(t *testing.T) {
	a, b := twoHouses(t)
	a.run(password, "account", "add", "jürgen@a.test", "--password-file", "-")
	b.run(password, "account", "add", "ελένη@b.test", "--password-file", "-")
	m := letter("jürgen@a.test", "ελένη@b.test", "Grüße", "schön")
	if err := a.submit("jürgen@a.test", []string{"ελένη@b.test"}, m); err != nil {
		t.Fatal(err)
	}
	got := b.await("ελένη@b.test", 1)[0]
	if !strings.Contains(got, "Subject: Grüße\r\n") || !strings.Contains(got, "Return-Path: <jürgen@a.test>") || !strings.Contains(got, "UTF8SMTPS") {
		t.Error(got)
	}
	if err := b.submit("ελένη@b.test", []string{"jürgen@a.test"}, letter("ελένη@b.test", "jürgen@a.test", "Re: Grüße", "καλά")); err != nil {
		t.Fatal(err)
	}
	a.await("jürgen@a.test", 1)
}

// TestForward: an alias that leads outside hands mail from strangers on.
func TestForward(t *testing.T) {
	a, b := twoHouses(t)
	a.run("", "alias", "add", "team@a.test", "alice@a.test", "bob@b.test")
	if err := a.send("x@x.example", []string{"team@a.test"}, letter("x@x.example", "team@a.test", "to the team", "hello")); err != nil {
		t.Fatal(err)
	}
	a.await("alice@a.test", 1)
	b.await("bob@b.test", 1)
	a.queued(0)
}
