package test

import (
	"regexp"
	"strings"
	"testing"
)

// TestSentOn: what an alias sends outside leaves under a path of this house, and what comes back to it goes to the sender.
func TestSentOn(t *testing.T) {
	a, b := newHouse(t, "a.test", "alice"), newHouse(t, "b.test", "bob", "carol")
	for a.base == b.base {
		b = newHouse(t, "b.test", "bob", "carol")
	}
	a.route(b)
	a.start()
	b.start()
	a.run("", "alias", "add", "team@a.test", "carol@b.test")
	if err := a.send("bob@b.test", []string{"team@a.test"}, letter("bob@b.test", "team@a.test", "to the team", "hello")); err != nil {
		t.Fatal(err)
	}
	got := b.await("carol@b.test", 1)[0]
	found := regexp.MustCompile(`(?m)^Return-Path: <(SRS0=[a-z2-7]{8}=[a-z2-7]{2}=b\.test=bob@a\.test)>`).FindStringSubmatch(got)
	if found == nil {
		t.Fatalf("not sent on under a path of a.test:\n%s", got)
	}
	if !strings.Contains(got, "ARC-Seal: ") {
		t.Errorf("not sealed:\n%s", got)
	}
	// Other hosts may write it all in lower case.
	if err := a.send("", []string{strings.ToLower(found[1])}, letter("mailer-daemon@b.test", "bob@b.test", "a report", "it was not delivered")); err != nil {
		t.Fatal(err)
	}
	if got := b.await("bob@b.test", 1)[0]; !strings.Contains(got, "Return-Path: <>") || !strings.Contains(got, "Subject: a report") {
		t.Error(got)
	}
	forged := strings.Replace(found[1], "=b.test=bob", "=victim.test=bob", 1)
	if err := a.send("", []string{forged}, letter("x@x.example", "y@victim.test", "relay me", "")); err == nil || !strings.HasPrefix(err.Error(), "550 ") {
		t.Error("a forged path was taken:", err)
	}
	a.queued(0)
}
