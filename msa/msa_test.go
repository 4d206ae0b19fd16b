package msa_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/msa"
)

// senders: the account may send as itself, its plus forms and team@.
type senders struct{}

func (senders) MaySendAs(_ context.Context, account string, from mail.Address) (bool, error) {
	local, _, _ := strings.Cut(from.Local, "+")
	if from.Local == "broken" {
		return false, errors.New("disk on fire")
	}
	return local+"@"+from.Domain == account || from.Local == "team", nil
}

func door(t testing.TB, q mail.Door, change func(*msa.Config)) mail.Door {
	c := msa.Config{Queue: q, Senders: senders{}, Hostname: "mx.test", MaxHops: 3, MaxHeaderBytes: 2000,
		Clock: func() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }, Rand: bytes.NewReader(make([]byte, 1<<16))}
	if change != nil {
		change(&c)
	}
	d, err := msa.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func submit(t testing.TB, d mail.Door, login, from, msg string, to ...string) error {
	s := &mail.Session{Hello: "laptop.home", Extended: true, Login: mail.Identity{Account: login},
		RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 1}}
	r, err := d.Open(t.Context(), s)
	if err != nil {
		return err
	}
	sender := mail.Sender{}
	if from != "" {
		sender.Address, _ = mail.ParseAddress(from)
	}
	tx, err := r.Begin(t.Context(), s, sender)
	if err != nil {
		return err
	}
	defer tx.Abort()
	for _, a := range to {
		addr, _ := mail.ParseAddress(a)
		if err := tx.Recipient(t.Context(), &mail.Recipient{Address: addr}); err != nil {
			return err
		}
	}
	for line := range strings.Lines(msg) {
		if _, err := tx.Write([]byte(line)); err != nil {
			return err
		}
	}
	_, err = tx.Commit(t.Context())
	return err
}

const (
	alice    = "alice@our.test"
	received = "Received: by mx.test with ESMTPA id 00000000000000000000\r\n\tfor <bob@far.test>;\r\n\tSun, 22 Nov 2026 10:00:00 +0000\r\n"
	date     = "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
	id       = "Message-ID: <20261122100000.00000000000000000000@mx.test>\r\n"
	from     = "From: Alice <alice@our.test>\r\n"
)

func TestMessages(t *testing.T) {
	for _, c := range []struct{ name, in, out string }{
		{"whole", from + date + id + "Subject: x\r\n\r\nhi\r\n", received + from + date + id + "Subject: x\r\n\r\nhi\r\n"},
		{"without Date and Message-ID", from + "\r\nhi\r\n", received + date + id + from + "\r\nhi\r\n"},
		{"without a body", from + date, received + id + from + date},
		{"Bcc goes", from + date + id + "Bcc: secret@far.test,\r\n other@far.test\r\nTo: bob@far.test\r\nBCC: x@y\r\nResent-Bcc: z@y\r\n\r\nBcc: stays\r\n",
			received + from + date + id + "To: bob@far.test\r\n\r\nBcc: stays\r\n"},
		{"Return-Path goes", "Return-Path: <x@y>\r\n" + from + date + id + "\r\n", received + from + date + id + "\r\n"},
		{"plus form and team", "From: alice+shop@our.test, Team <team@our.test>\r\nSender: alice@our.test\r\n" + date + id + "\r\n",
			received + "From: alice+shop@our.test, Team <team@our.test>\r\nSender: alice@our.test\r\n" + date + id + "\r\n"},
	} {
		q := &mailtest.Recorder{}
		if err := submit(t, door(t, q, nil), alice, alice, c.in, "bob@far.test"); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := string(q.Messages()[0].Content); got != c.out {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.out)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, login, from, msg string
		code                   int
		enhanced               mail.Enhanced
	}{
		{"no login", "", alice, from, 530, mail.Enhanced{5, 7, 0}},
		{"another's reverse-path", alice, "bob@our.test", from, 553, mail.Enhanced{5, 7, 1}},
		{"another's From", alice, alice, "From: bob@our.test\r\n\r\n", 550, mail.Enhanced{5, 7, 1}},
		{"another beside me in From", alice, alice, "From: alice@our.test, bob@our.test\r\n\r\n", 550, mail.Enhanced{5, 7, 1}},
		{"another in a second From", alice, alice, from + "FROM: bob@our.test\r\n\r\n", 550, mail.Enhanced{5, 7, 1}},
		{"another in a group", alice, alice, "From: all: bob@our.test;\r\n\r\n", 550, mail.Enhanced{5, 7, 1}},
		{"another's Sender", alice, alice, from + "Sender: bob@our.test\r\n\r\n", 550, mail.Enhanced{5, 7, 1}},
		{"no From", alice, alice, "Subject: x\r\n\r\nFrom: alice@our.test\r\n", 550, mail.Enhanced{5, 7, 1}},
		{"no header", alice, alice, "\r\nhello\r\n", 550, mail.Enhanced{5, 7, 1}},
		{"From without an address", alice, alice, "From: Alice\r\n\r\n", 550, mail.Enhanced{5, 7, 1}},
		{"nothing at all", alice, alice, "", 550, mail.Enhanced{5, 7, 1}},
		{"null reverse-path, another's From", alice, "", "From: bob@our.test\r\n\r\n", 550, mail.Enhanced{5, 7, 1}},
		{"loop", alice, alice, strings.Repeat("Received: x\r\n", 4) + from + "\r\n", 554, mail.Enhanced{5, 4, 6}},
		{"header too long", alice, alice, from + "X: " + strings.Repeat("x", 3000) + "\r\n\r\n", 552, mail.Enhanced{5, 3, 4}},
		{"accounts do not answer", alice, "broken@our.test", from, 451, mail.Enhanced{4, 3, 0}},
	} {
		q := &mailtest.Recorder{}
		reply := mail.AsReply(submit(t, door(t, q, nil), c.login, c.from, c.msg, "bob@far.test"))
		if reply == nil || reply.Code != c.code || reply.Enhanced != c.enhanced {
			t.Errorf("%s: %v, want %d %s", c.name, reply, c.code, c.enhanced)
		}
		if len(q.Messages()) != 0 {
			t.Errorf("%s: the queue has it", c.name)
		}
	}
}

func TestNullReversePath(t *testing.T) {
	q := &mailtest.Recorder{}
	if err := submit(t, door(t, q, nil), alice, "", from+"\r\n", "bob@far.test"); err != nil || len(q.Messages()) != 1 {
		t.Error(err)
	}
}

func TestShowClient(t *testing.T) {
	q := &mailtest.Recorder{}
	d := door(t, q, func(c *msa.Config) { c.ShowClient = true })
	if err := submit(t, d, alice, alice, from+"\r\n", "b@x.test", "c@x.test"); err != nil {
		t.Fatal(err)
	}
	if got := string(q.Messages()[0].Content); !strings.HasPrefix(got, "Received: from laptop.home ([192.0.2.9])\r\n\tby mx.test with ESMTPA id 00") || strings.Contains(got, "for <") {
		t.Errorf("%q", got)
	}
}

func TestSuite(t *testing.T) {
	mailtest.Run(t, mailtest.Suite{
		New: func(t *testing.T) (mail.Door, mailtest.Probe) {
			q := &mailtest.Recorder{}
			return door(t, q, func(c *msa.Config) { c.Rand, c.MaxHeaderBytes = nil, 0 }), q.Probe
		},
		Known: []mail.Address{{Local: "a", Domain: "our.test"}, {Local: "b", Domain: "our.test"}},
		Login: mail.Identity{Account: alice}, From: mail.Address{Local: "alice", Domain: "our.test"},
	})
}
