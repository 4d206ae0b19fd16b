package guard

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
)

// scores says what it is told to: score by the sender's local part at RCPT, and by the content.
type scores struct {
	sender  map[string]float64
	account map[string]float64 // to whom
	broken  bool
	closed  int
	read    strings.Builder
}

func (s *scores) Judge(_ context.Context, m *Message, to mail.Address) (o Opinion) {
	of, name := s.sender[m.From.Address.Local], "sender"
	if !to.IsNull() {
		of, name = s.account[to.Local], "account"
	}
	if of != 0 {
		o.Say(of, "%s", name)
	}
	return o
}

func (s *scores) Read(context.Context, *Message) (Reading, error) {
	if s.broken {
		return nil, errors.New("no memory")
	}
	return reading{s}, nil
}

type reading struct{ s *scores }

func (r reading) Write(p []byte) (int, error) { return r.s.read.Write(p) }
func (r reading) Close()                      { r.s.closed++ }
func (r reading) Opinion(_ context.Context, to mail.Address) (o Opinion, err error) {
	_, rest, found := strings.Cut(r.s.read.String(), to.Local+":")
	switch {
	case strings.HasPrefix(rest, "junk"):
		o.Say(6, "looks like junk")
	case strings.HasPrefix(rest, "spam"):
		o.Say(20, "looks like spam")
	case strings.HasPrefix(rest, "good"):
		o.Say(-6, "looks good")
	case found:
		err = errors.New("cannot tell")
	}
	return o, err
}

// events keeps what is told.
type events []mail.Event

func (e *events) Record(_ context.Context, x mail.Event) { *e = append(*e, x) }

// listing is a list by the sender's local part.
type listing map[string]Listed

func (l listing) Listed(_ context.Context, q ListedQuestion) (Listed, error) {
	if q.From.Local == "broken" {
		return Listed{}, errors.New("disk on fire")
	}
	return l[q.From.Local+" "+q.To.Local], nil
}

func TestJudge(t *testing.T) {
	alice, bob := mail.Target{Address: address(t, "alice@example.test")}, mail.Target{Address: address(t, "bob@example.test")}
	away := mail.Target{Address: address(t, "x@far.test"), Remote: true}
	book := &book{}
	where := rules{
		"alice@example.test":      {OurDomain: true, Targets: []mail.Target{alice}},
		"gated@example.test":      {OurDomain: true, Targets: []mail.Target{alice}, Gated: []bool{true}},
		"team@example.test":       {OurDomain: true, Targets: []mail.Target{alice, bob, away}},
		"both@example.test":       {OurDomain: true, Targets: []mail.Target{alice, bob}},
		"postmaster@example.test": {OurDomain: true, Targets: []mail.Target{alice}},
	}
	lists := listing{
		"denied alice": {Denied, "denied@far.test", true}, "net alice": {Allowed, "192.0.2.0/24", false},
		"named alice": {Allowed, "named@far.test", true}, "denied bob": {}, "spammer bob": {Allowed, "192.0.2.0/24", false},
	}
	senders := map[string]float64{"spammer": 15, "net": 20, "named": 20, "dubious": 8, "prove": 20, "known": 20, "shady": 12, "nice": -3}
	const spamText, junk = "550 5.7.1 <alice@example.test>: this looks like spam", "251 2.1.5 <alice@example.test>;folder=Junk"
	for _, x := range []struct {
		from, to, facts, content string
		rcpt, end, told          string
	}{
		{from: "x@far.test", to: "alice@example.test", rcpt: "<alice", end: "250"},
		{from: "spammer@far.test", to: "alice@example.test", rcpt: spamText, told: "refused, score 15.0: sender +15.0"},
		{from: "shady@far.test", to: "alice@example.test", rcpt: "450 4.7.1 <alice@example.test>: we are not sure", told: "put off, score 12.0"},
		{from: "dubious@far.test", to: "alice@example.test", rcpt: "<alice", end: junk, told: "filed as junk, score 8.0"},
		{from: "dubious@far.test", to: "alice@example.test", content: "alice:good", rcpt: "<alice", end: "250", told: "accepted, score 2.0: sender +8.0, looks good -6.0"},
		{from: "dubious@far.test", to: "alice@example.test", content: "alice:spam", rcpt: "<alice", end: spamText, told: "refused, score 28.0"},
		{from: "dubious@far.test", to: "alice@example.test", content: "alice:?", rcpt: "<alice", end: junk, told: "filed as junk, score 8.0"},
		{from: "x@far.test", to: "alice@example.test", content: "alice:junk", rcpt: "<alice", end: junk, told: "filed as junk, score 6.0: looks like junk +6.0"},
		{from: "nice@far.test", to: "alice@example.test", content: "alice:junk", rcpt: "<alice", end: "250", told: "accepted, score 3.0: sender -3.0, looks like junk +6.0"},
		// Nobody is kept from postmaster, whatever is thought of him.
		{from: "spammer@far.test", to: "postmaster@example.test", content: "alice:spam", rcpt: "<alice", end: junk, told: "filed as junk, score 35.0"},
		{from: "denied@far.test", to: "postmaster@example.test", rcpt: "<alice", end: "250"},
		// Lists: denied before all else; a name helps who proves it, a network everybody in it.
		{from: "denied@far.test", to: "alice@example.test", rcpt: "550 5.7.1 <alice@example.test>: the recipient takes no mail from you", told: "refused, score 0.0: denied by the list entry denied@far.test"},
		{from: "denied@far.test", to: "both@example.test", rcpt: "<bob@example.test>", end: "250"},
		{from: "broken@far.test", to: "alice@example.test", rcpt: "451 4.3.0"},
		{from: "net@far.test", to: "alice@example.test", content: "alice:spam", rcpt: "<alice", end: "250"},
		{from: "named@far.test", to: "alice@example.test", facts: "spf", content: "alice:spam", rcpt: "<alice", end: "250"},
		{from: "named@far.test", to: "alice@example.test", facts: "dkim", content: "alice:spam", rcpt: "<alice", end: "250", told: "accepted, score 40.0: sender +20.0, looks like spam +20.0, let in all the same"},
		{from: "named@far.test", to: "alice@example.test", rcpt: "<alice", end: spamText, told: "refused, score 20.0"},
		// Contacts that are known are not scored, nor are those that prove it by the content.
		{from: "known@far.test", to: "gated@example.test", content: "alice:spam", rcpt: "<alice", end: "250"},
		{from: "prove@far.test", to: "gated@example.test", facts: "dkim", content: "alice:spam", rcpt: "<alice", end: "250", told: "accepted, score 40.0"},
		{from: "prove@far.test", to: "gated@example.test", rcpt: "<alice", end: "550 5.7.1 <gated@example.test>: the recipient takes no mail"},
		// Several targets: only where nobody wants it it is refused.
		{from: "spammer@far.test", to: "both@example.test", rcpt: "<bob@example.test>", end: "250", told: "refused, score 15.0"},
		{from: "x@far.test", to: "both@example.test", content: "alice:spam", rcpt: "<alice", end: junk, told: "filed as junk, score 20.0"},
		{from: "x@far.test", to: "both@example.test", content: "alice:spam bob:spam", rcpt: "<alice", end: "550 5.7.1 <both@example.test>: this looks like spam", told: "refused, score 20.0"},
		{from: "x@far.test", to: "team@example.test", content: "alice:spam bob:spam", rcpt: "<alice", end: junk + " <bob@example.test>;folder=Junk", told: "filed as junk"},
	} {
		s := &mail.Session{}
		switch x.facts {
		case "spf":
			s.SetFact("spf", "pass")
			s.SetFact("spf_domain", "far.test")
		case "dkim":
			s.SetFact("dkim_domains", "far.test")
		}
		said, told := &scores{sender: senders}, events{}
		rcpt, prepared, end := judgedContent(t, Config{Rules: where, Contacts: book, Lists: lists, Judges: []Judge{said}, Readers: []Reader{said},
			Thresholds: Thresholds{Defer: 12}, Journal: &told}, s, x.from, x.to, x.content)
		if strings.Contains(end, ";note=") != (x.told != "" && strings.HasPrefix(end, "2")) && x.from != "spammer@far.test" {
			t.Errorf("%s to %s, %q: %s tells %q", x.from, x.to, x.content, end, x.told)
		}
		prepared, end = withoutNotes(prepared), withoutNotes(end)
		if !strings.HasPrefix(rcpt, x.rcpt) || !strings.HasPrefix(end, x.end) || prepared != end {
			t.Errorf("%s to %s, %q: %s, then %s and %s; want %s, then %s", x.from, x.to, x.content, rcpt, prepared, end, x.rcpt, x.end)
		}
		text := ""
		if len(told) > 0 {
			text = told[0].Text
		}
		if !strings.HasPrefix(text, x.told) || (x.told == "") != (text == "") {
			t.Errorf("%s to %s, %q: told %q, want %q", x.from, x.to, x.content, text, x.told)
		}
		if began := said.read.Len() > 0; began && said.closed != 1 {
			t.Errorf("%s to %s, %q: the reading was closed %d times", x.from, x.to, x.content, said.closed)
		}
	}
}

// A judge that thinks something of one account alone; a reader that fails; a peer that has logged in.
func TestJudgeOdd(t *testing.T) {
	alice := mail.Target{Address: address(t, "alice@example.test")}
	where := rules{"alice@example.test": {OurDomain: true, Targets: []mail.Target{alice}}}
	for _, x := range []struct {
		s     *scores
		login string
		end   string
	}{
		{&scores{account: map[string]float64{"alice": 7}}, "", "251"},
		{&scores{account: map[string]float64{"bob": 7}}, "", "250"},
		{&scores{account: map[string]float64{"alice": 7}, broken: true}, "", "251"},
		{&scores{sender: map[string]float64{"x": 70}}, "bob@example.test", "250"},
	} {
		s := &mail.Session{Login: mail.Identity{Account: x.login}}
		_, _, end := judgedContent(t, Config{Rules: where, Judges: []Judge{x.s}, Readers: []Reader{x.s}}, s, "x@far.test", "alice@example.test", "content")
		if !strings.HasPrefix(end, x.end) {
			t.Errorf("%+v: %s, want %s", x, end, x.end)
		}
	}
}

// A target that its score refuses is not asked about at the end, where nothing would go to it.
func TestJudgeDropsProofs(t *testing.T) {
	alice, bob := mail.Target{Address: address(t, "alice@example.test")}, mail.Target{Address: address(t, "bob@example.test")}
	where := rules{"both@example.test": {OurDomain: true, Targets: []mail.Target{alice, bob}, Gated: []bool{true, false}}}
	said := &scores{account: map[string]float64{"alice": 20}}
	rcpt, _, end := judgedContent(t, Config{Rules: where, Contacts: &book{}, Judges: []Judge{said}}, &mail.Session{}, "stranger@far.test", "both@example.test", "content")
	if rcpt != "<bob@example.test>" || !strings.HasPrefix(end, "250") {
		t.Errorf("%s, then %s", rcpt, end)
	}
}

func TestOpinionIsBounded(t *testing.T) {
	var o, more Opinion
	for i := range 3 * MaxReasons {
		o.Say(1, "reason %d", i)
		more.Say(1, "more")
	}
	for range 3 {
		o.add(more)
	}
	if len(o.Reasons) != MaxReasons || o.Score != 12*MaxReasons {
		t.Error(len(o.Reasons), o.Score)
	}
}

// withoutNotes takes from an answer what is thought of the message, which changes nothing.
func withoutNotes(answer string) string {
	if answer = regexp.MustCompile(";note=[^ ]*").ReplaceAllString(answer, ""); !strings.Contains(answer, ";folder=") && strings.HasPrefix(answer, "251 ") {
		return "250"
	}
	return answer
}
