package house

import (
	"context"
	"net"
	"testing"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/accounts/lists"
	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
	"github.com/samotop/samotop/mailbox"
	"github.com/samotop/samotop/mta"
	"github.com/samotop/samotop/smtp"
	"github.com/samotop/samotop/smtp/smtptest"
	"github.com/samotop/samotop/store/mem"
)

// TestVerdicts speaks with an MTA in front of what the rules of accounts say: each verdict with its code and enhanced code.
func TestVerdicts(t *testing.T) {
	ctx := t.Context()
	a, err := accounts.Open(ctx, accounts.Config{Engine: mem.New(mem.Options{}), Hash: accounts.HashParams{MemoryKiB: 64, Passes: 1, Threads: 1, ScramIterations: 16}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	fillRules(ctx, t, a)
	box, err := mailbox.Open(ctx, mailbox.Config{Engine: mem.New(mem.Options{}), Directory: directory{a}})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	queue := &mailtest.Recorder{Prepares: true}
	door, err := mta.New(mta.Config{Hostname: "mx.our.test", Mailbox: box.Door(), Queue: lists.Door(queue, lists.Config{Rules: listRules{a}}),
		Guard: guard.New(guard.Config{Rules: guardRules{a, machine{hostname: "mx.our.test", local: "host.test", user: func(name string) bool { return name == "root" }}}, Contacts: guardContacts{a}})})
	if err != nil {
		t.Fatal(err)
	}
	stranger := mail.DoorFunc(func(ctx context.Context, s *mail.Session) (mail.Receiver, error) {
		s.RemoteAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 25} // whoever is on a pipe would be one of us
		return door.Open(ctx, s)
	})
	srv := &smtp.Server{Door: stranger, Hostname: "mx.our.test", MaxErrors: 100}
	smtptest.Script(t, srv, `
		S: 220 *
		C: EHLO far.test
		S: 250-*
		S: 250-*
		S: 250-*
		S: 250-*
		S: 250-*
		S: 250-*
		S: 250-*
		S: 250 *
		C: MAIL FROM:<x@far.test>
		S: 250 2.1.0 *
		C: RCPT TO:<full@our.test>
		S: 250 2.1.5 *
		C: DATA
		S: 354 *
		C: .
		S: 250 *
		C: MAIL FROM:<x@far.test>
		S: 250 2.1.0 *
		# not ours, nobody, disabled, a circle of rules, a rule that makes no address of this one
		C: RCPT TO:<x@elsewhere.test>
		S: 550 5.7.1 <x@elsewhere.test>: relaying denied
		C: RCPT TO:<nobody@our.test>
		S: 550 5.1.1 <nobody@our.test>: no such user here
		# the machine itself: its users have addresses in another domain here than its name
		C: RCPT TO:<nobody@host.test>
		S: 550 5.1.1 <nobody@host.test>: no such user here
		C: RCPT TO:<root@mx.our.test>
		S: 550 5.1.1 <root@mx.our.test>: no such user here
		C: RCPT TO:<root@x.host.test>
		S: 550 5.7.1 <root@x.host.test>: relaying denied
		C: RCPT TO:<root@host.test>
		S: 250 2.1.5 *
		C: RCPT TO:<uid4711@HOST.test>
		S: 250 2.1.5 *
		C: RCPT TO:<abuse@MX.our.test>
		S: 250 2.1.5 *
		C: RCPT TO:<bob+x@plain.test>
		S: 550 5.1.1 <bob+x@plain.test>: no such user here
		C: RCPT TO:<gone@our.test>
		S: 550 5.2.1 <gone@our.test>: account is disabled
		C: RCPT TO:<n12@our.test>
		S: 451 4.4.6 The address is rewritten in a circle
		C: RCPT TO:<odd-.@our.test>
		S: 501 *
		C: RCPT TO:<odd-x..@our.test>
		S: 501 *
		C: RCPT TO:<"odd-.x"@our.test>
		S: 550 5.1.3 A rule makes no valid address of this one
		# contacts: refused, put off
		C: RCPT TO:<closed@our.test>
		S: 550 5.7.1 <closed@our.test>: the recipient takes no mail from you
		C: RCPT TO:<ask@our.test>
		S: 450 4.7.1 <ask@our.test>: the recipient was asked whether you may write, please try again later
		# full for now
		C: RCPT TO:<full@our.test>
		S: 452 4.2.2 Mailbox is full
		# lists: no member, not listed
		C: RCPT TO:<team@our.test>
		S: 550 5.7.1 <team@our.test>: only members may post to this list, and <x@far.test> is none; write to <team-owner@our.test>
		C: RCPT TO:<news@our.test>
		S: 550 5.7.1 <news@our.test>: <x@far.test> is not among those who may post to this list, write to <news-owner@our.test>
		# what is taken: an account, a detail, another name of the domain, a rule, what is left, owners of a list, roles
		C: RCPT TO:<ALICE@our.test>
		S: 250 2.1.5 *
		C: RCPT TO:<alice-x@our.test>
		S: 250 2.1.5 *
		C: RCPT TO:<alice@alias.test>
		S: 250 2.1.5 *
		C: RCPT TO:<sales-now@our.test>
		S: 250 2.1.5 *
		C: RCPT TO:<anybody@rest.test>
		S: 250 2.1.5 *
		C: RCPT TO:<team-bounces@our.test>
		S: 250 2.1.5 *
		C: RCPT TO:<postmaster@rest.test>
		S: 250 2.1.5 *
		C: RCPT TO:<Postmaster>
		S: 250 2.1.5 *
		C: RSET
		S: 250 *
		# a report is no post, but its place is with the owners
		C: MAIL FROM:<>
		S: 250 2.1.0 *
		C: RCPT TO:<team@our.test>
		S: 550 5.7.1 <team@our.test>: reports are not posted to a list, write to <team-owner@our.test>
		C: RCPT TO:<team-bounces@our.test>
		S: 250 2.1.5 *
		C: RSET
		S: 250 *
		# what could never fit
		C: MAIL FROM:<x@far.test> SIZE=5000
		S: 250 2.1.0 *
		C: RCPT TO:<small@our.test>
		S: 552 5.2.2 Message is larger than all that the mailbox may hold
		C: RSET
		S: 250 *
		# a name of ours, used by a stranger
		C: MAIL FROM:<alice@our.test>
		S: 250 2.1.0 *
		C: RCPT TO:<team@our.test>
		S: 550 5.7.1 <team@our.test>: to post as <alice@our.test> log in first
		C: RSET
		S: 250 *
		# after the content: a loop, another author
		C: MAIL FROM:<friend@far.test>
		S: 250 2.1.0 *
		C: RCPT TO:<team@our.test>
		S: 250 2.1.5 *
		C: DATA
		S: 354 *
		C: From: friend@far.test
		C: List-Id: <team.our.test>
		C: 
		C: .
		S: 554 5.4.6 <team@our.test>: the message has been through this list already
		C: MAIL FROM:<friend@far.test>
		S: 250 2.1.0 *
		C: RCPT TO:<team@our.test>
		S: 250 2.1.5 *
		C: DATA
		S: 354 *
		C: From: other@far.test
		C: 
		C: .
		S: 550 5.7.1 <team@our.test>: only members may post to this list, and <other@far.test> is none; write to <team-owner@our.test>
		# the same where somebody else takes it: he has it, and the refusal is the queue's to report
		C: MAIL FROM:<friend@far.test>
		S: 250 2.1.0 *
		C: RCPT TO:<team@our.test>
		S: 250 2.1.5 *
		C: RCPT TO:<alice@our.test>
		S: 250 2.1.5 *
		C: DATA
		S: 354 *
		C: From: other@far.test
		C: 
		C: .
		S: 250 *
		C: QUIT
		S: 221 *
	`)
	var failed []string
	for _, m := range queue.Messages() {
		for _, r := range m.To {
			if r.Failed == nil {
				t.Errorf("queued for %s", r.Address)
				continue
			}
			failed = append(failed, r.Address.String()+" "+r.Failed.Enhanced.String())
		}
	}
	if len(failed) != 1 || failed[0] != "team@our.test 5.7.1" {
		t.Errorf("to be reported: %q", failed)
	}
}

// fillRules makes accounts and rules of each kind.
func fillRules(ctx context.Context, t *testing.T, a *accounts.Accounts) {
	t.Helper()
	off, none, alias, separators := false, accounts.NoSeparators, "our.test", "+-"
	one, small := int64(1), int64(1000)
	add := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"our.test", "alias.test", "plain.test", "rest.test"} {
		add(a.AddDomain(ctx, d))
	}
	for _, n := range []string{"alice@our.test", "gone@our.test", "closed@our.test", "ask@our.test", "full@our.test", "small@our.test", "bob@plain.test"} {
		add(a.AddAccount(ctx, n, accounts.Options{Admin: n == "alice@our.test"}))
	}
	add(a.SetAccount(ctx, "gone@our.test", accounts.Change{Enabled: &off}))
	add(a.SetAccount(ctx, "full@our.test", accounts.Change{QuotaMessages: &one}))
	add(a.SetAccount(ctx, "small@our.test", accounts.Change{Quota: &small}))
	add(nil, a.SetPolicy(ctx, "closed@our.test", accounts.PolicyClosed))
	add(nil, a.SetPolicy(ctx, "ask@our.test", accounts.PolicyAsk))
	add(a.SetDomain(ctx, "alias.test", accounts.DomainChange{AliasOf: &alias}))
	add(a.SetDomain(ctx, "plain.test", accounts.DomainChange{Separators: &none}))
	add(a.SetDomain(ctx, "our.test", accounts.DomainChange{Separators: &separators}))
	add(a.AddRule(ctx, "our.test", accounts.MapRule{Pattern: `n(\d+)`, Replace: "n$1"}, 0))
	add(a.AddRule(ctx, "our.test", accounts.MapRule{Pattern: `"?odd-(.*?)"?`, Replace: "$1@elsewhere.test"}, 0))
	add(a.AddRule(ctx, "our.test", accounts.MapRule{Pattern: `sales-.*`, Replace: "alice"}, 0))
	add(a.AddAlias(ctx, "@rest.test", "alice@our.test"))
	add(a.AddList(ctx, "team@our.test", accounts.NewList{Owners: []string{"alice@our.test"}}))
	add(a.AddMembers(ctx, "team@our.test", "alice@our.test", "friend@far.test"))
	add(a.AddList(ctx, "news@our.test", accounts.NewList{Owners: []string{"alice@our.test"}, Posting: accounts.PostListed}))
}
