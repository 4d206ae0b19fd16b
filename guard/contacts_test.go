package guard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
)

// book decides by the sender's local part, and remembers what it was asked.
type book struct {
	asked    []string
	unproven Decision
}

func (b *book) Decide(_ context.Context, to, sender mail.Address, ip netip.Addr, proven bool) (Decision, error) {
	q := sender.String() + " " + ip.String()
	if proven {
		q += " proven"
	}
	b.asked = append(b.asked, q)
	name, _, _ := strings.Cut(sender.Local, ".")
	if d, ok := map[string]Decision{"friend": Accept, "stranger": Apart, "later": Later, "bad": Refuse, "prove": Prove, "known": Known}[name]; ok {
		return d, nil
	}
	return Refuse, errors.New("disk on fire")
}

func (b *book) Unproven(context.Context, mail.Address) (Decision, error) { return b.unproven, nil }

// judged is one message to one recipient: the answer at RCPT with where it goes, and the one at the end, by Prepare and by
// Commit.
func judged(t *testing.T, c Config, s *mail.Session, from, to string) (rcpt, prepared, end string) {
	t.Helper()
	return judgedContent(t, c, s, from, to, "")
}

func judgedContent(t *testing.T, c Config, s *mail.Session, from, to, content string) (rcpt, prepared, end string) {
	t.Helper()
	s.RemoteAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}
	r, err := New(c).Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(t.Context(), s, mail.Sender{Address: address(t, from)})
	if err != nil {
		t.Fatal(err)
	}
	rec := mail.Recipient{Address: address(t, to)}
	if err := tx.Recipient(t.Context(), &rec); err != nil {
		return mail.AsReply(err).String(), "", ""
	}
	said := func(replies []mail.Reply, err error) string {
		if err != nil {
			return mail.AsReply(err).String()
		}
		return replies[0].String()
	}
	for i := range content {
		if _, err := tx.Write([]byte{content[i]}); err != nil {
			t.Fatal(err)
		}
	}
	prepared = said(tx.(mail.Preparer).Prepare(t.Context()))
	return mail.FormatTargets(rec.Targets), prepared, said(tx.Commit(t.Context()))
}

func TestContacts(t *testing.T) {
	alice, bob := mail.Target{Address: address(t, "alice@example.test")}, mail.Target{Address: address(t, "bob@example.test")}
	gated := rules{
		"alice@example.test": {OurDomain: true, Targets: []mail.Target{alice}, Gated: []bool{true}},
		"bob@example.test":   {OurDomain: true, Targets: []mail.Target{bob}},
		"team@example.test":  {OurDomain: true, Targets: []mail.Target{alice, bob}, Gated: []bool{true, false}},
	}
	const put, closed = "450 4.7.1 <alice@example.test>: the recipient was asked", "550 5.7.1 <alice@example.test>: the recipient takes no mail from you"
	for _, x := range []struct {
		from, to, facts string
		unproven        Decision
		rcpt, end       string
	}{
		{from: "friend@far.test", to: "alice@example.test", rcpt: "<alice@example.test>", end: "250"},
		{from: "stranger@far.test", to: "alice@example.test", rcpt: "<alice@example.test>;folder=Contacts/Unknown", end: "250"},
		{from: "later@far.test", to: "alice@example.test", rcpt: put},
		{from: "bad@far.test", to: "alice@example.test", rcpt: closed},
		{from: "fire@far.test", to: "alice@example.test", rcpt: "451 4.3.0"},
		{from: "bad@far.test", to: "bob@example.test", rcpt: "<bob@example.test>", end: "250"},
		{from: "bad@far.test", to: "team@example.test", rcpt: "<bob@example.test>", end: "250"},
		{from: "later@far.test", to: "team@example.test", rcpt: "<alice@example.test>;folder=Contacts/Unknown <bob@example.test>", end: "250"},
		{from: "prove@far.test", to: "alice@example.test", facts: "far.test", rcpt: "<alice@example.test>", end: "250"},
		{from: "prove@sub.far.test", to: "alice@example.test", facts: "other.test far.test", rcpt: "<alice@example.test>", end: "250"},
		{from: "prove@far.test", to: "alice@example.test", facts: "sub.far.test", unproven: Refuse, rcpt: "<alice@example.test>", end: closed},
		{from: "prove@far.test", to: "alice@example.test", unproven: Apart, rcpt: "<alice@example.test>", end: "251 2.1.5 <alice@example.test>;folder=Contacts/Unknown"},
		{from: "prove@notfar.test", to: "alice@example.test", facts: "far.test", unproven: Refuse, rcpt: "<alice@example.test>", end: closed},
	} {
		s := &mail.Session{}
		s.SetFact("dkim_domains", x.facts)
		rcpt, prepared, end := judged(t, Config{Rules: gated, Contacts: &book{unproven: x.unproven}}, s, x.from, x.to)
		if !strings.HasPrefix(rcpt, x.rcpt) || !strings.HasPrefix(end, x.end) || prepared != end {
			t.Errorf("%s to %s: %s, then %s and %s; want %s, then %s", x.from, x.to, rcpt, prepared, end, x.rcpt, x.end)
		}
	}
	if rcpt, _, _ := judged(t, Config{Rules: gated}, &mail.Session{}, "friend@far.test", "alice@example.test"); !strings.HasPrefix(rcpt, "451") {
		t.Error("nobody can be asked, and mail is let in:", rcpt)
	}
}

// What was asked about is what SPF has authenticated, for the very domain.
func TestContactsProven(t *testing.T) {
	gated := rules{"alice@example.test": {OurDomain: true, Targets: []mail.Target{{Address: address(t, "alice@example.test")}}, Gated: []bool{true}}}
	for facts, want := range map[[2]string]string{
		{"pass", "Far.test"}: "friend@far.test 192.0.2.1 proven", {"pass", "other.test"}: "friend@far.test 192.0.2.1",
		{"fail", "far.test"}: "friend@far.test 192.0.2.1", {"", ""}: "friend@far.test 192.0.2.1",
	} {
		b, s := &book{}, &mail.Session{}
		s.SetFact("spf", facts[0])
		s.SetFact("spf_domain", facts[1])
		judged(t, Config{Rules: gated, Contacts: b}, s, "friend@far.test", "alice@example.test")
		if len(b.asked) != 1 || b.asked[0] != want {
			t.Errorf("%v: asked %q, want %q", facts, b.asked, want)
		}
	}
}
