package guard

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
)

// book decides by the sender's local part, and remembers what it was asked. What it says to content is after, or else
// whether it is signed by the sender's domain.
type book struct {
	asked []string
	after *Decision
	told  ContactContent
}

func (b *book) Decide(_ context.Context, x ContactQuestion) (Decision, error) {
	q := x.Sender.String() + " " + x.IP.String()
	if x.Proven {
		q += " proven"
	}
	if x.Failed {
		q += " disowned"
	}
	b.asked = append(b.asked, q)
	name, _, _ := strings.Cut(x.Sender.Local, ".")
	if x.Sender.IsNull() {
		return Look, nil
	}
	if d, ok := map[string]Decision{"friend": Accept, "stranger": Apart, "later": Later, "bad": Refuse, "prove": Prove, "known": Known, "look": Look}[name]; ok {
		return d, nil
	}
	return Refuse, errors.New("disk on fire")
}

func (b *book) Content(_ context.Context, q ContactContent) (Decision, error) {
	b.told = q
	switch {
	case b.after != nil:
		return *b.after, nil
	case q.First == Apart:
		return Apart, nil
	case q.First == Prove && !slices.Contains(q.Signed, q.Sender.Domain):
		return Refuse, nil
	}
	return Known, nil
}

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
	is := func(d Decision) *Decision { return &d }
	const apart = "251 2.1.5 <alice@example.test>;folder=Contacts/Unknown"
	for _, x := range []struct {
		from, to  string
		after     *Decision
		rcpt, end string
	}{
		{from: "friend@far.test", to: "alice@example.test", rcpt: "<alice@example.test>", end: "250"},
		{from: "stranger@far.test", to: "alice@example.test", rcpt: "<alice@example.test>;folder=Contacts/Unknown", end: "250"},
		{from: "stranger@far.test", to: "alice@example.test", after: is(Known), rcpt: "<alice@example.test>;folder=Contacts/Unknown", end: "251 2.1.5 <alice@example.test>"},
		{from: "stranger@far.test", to: "alice@example.test", after: is(Refuse), rcpt: "<alice@example.test>;folder=Contacts/Unknown", end: closed},
		{from: "later@far.test", to: "alice@example.test", rcpt: put},
		{from: "bad@far.test", to: "alice@example.test", rcpt: closed},
		{from: "fire@far.test", to: "alice@example.test", rcpt: "451 4.3.0"},
		{from: "bad@far.test", to: "bob@example.test", rcpt: "<bob@example.test>", end: "250"},
		{from: "bad@far.test", to: "team@example.test", rcpt: "<bob@example.test>", end: "250"},
		{from: "later@far.test", to: "team@example.test", rcpt: "<alice@example.test>;folder=Contacts/Unknown <bob@example.test>", end: "250"},
		{from: "look@far.test", to: "team@example.test", after: is(Later), rcpt: "<alice@example.test>;folder=Contacts/Unknown <bob@example.test>", end: "250"},
		{from: "prove@far.test", to: "alice@example.test", after: is(Known), rcpt: "<alice@example.test>", end: "250"},
		{from: "prove@far.test", to: "alice@example.test", after: is(Refuse), rcpt: "<alice@example.test>", end: closed},
		{from: "prove@far.test", to: "alice@example.test", after: is(Apart), rcpt: "<alice@example.test>", end: apart},
		{from: "look@far.test", to: "alice@example.test", after: is(Later), rcpt: "<alice@example.test>", end: put},
		{from: "look@far.test", to: "alice@example.test", after: is(Known), rcpt: "<alice@example.test>", end: "251 2.1.5 <alice@example.test>"},
		{from: "look@far.test", to: "alice@example.test", after: is(Apart), rcpt: "<alice@example.test>", end: apart},
	} {
		rcpt, prepared, end := judged(t, Config{Rules: gated, Contacts: &book{after: x.after}}, &mail.Session{}, x.from, x.to)
		if !strings.HasPrefix(rcpt, x.rcpt) || !strings.HasPrefix(end, x.end) || prepared != end {
			t.Errorf("%s to %s: %s, then %s and %s; want %s, then %s", x.from, x.to, rcpt, prepared, end, x.rcpt, x.end)
		}
	}
	if rcpt, _, _ := judged(t, Config{Rules: gated}, &mail.Session{}, "friend@far.test", "alice@example.test"); !strings.HasPrefix(rcpt, "451") {
		t.Error("nobody can be asked, and mail is let in:", rcpt)
	}
}

// Where the content is not shown it is not waited for: nobody comes in because he would have been looked at.
func TestContactsUnseen(t *testing.T) {
	gated := rules{"alice@example.test": {OurDomain: true, Targets: []mail.Target{{Address: address(t, "alice@example.test")}}, Gated: []bool{true}}}
	is := func(d Decision) *Decision { return &d }
	for from, x := range map[string]struct {
		after *Decision
		want  string
	}{"look@far.test": {is(Later), "450 4.7.1"}, "prove@far.test": {nil, "550 5.7.1"}, "known@far.test": {nil, "<alice"}, "": {is(Refuse), "<alice"}, "friend@far.test": {nil, "<alice"}} {
		b, s := &book{after: x.after}, &mail.Session{Service: ServicePolicy}
		if rcpt, _, _ := judged(t, Config{Rules: gated, Contacts: b}, s, from, "alice@example.test"); !strings.HasPrefix(rcpt, x.want) {
			t.Errorf("%s: %s, want %s", from, rcpt, x.want)
		}
	}
}

// What was asked about is what SPF has authenticated, for the very domain.
func TestContactsProven(t *testing.T) {
	gated := rules{"alice@example.test": {OurDomain: true, Targets: []mail.Target{{Address: address(t, "alice@example.test")}}, Gated: []bool{true}}}
	for facts, want := range map[[2]string]string{
		{"pass", "Far.test"}: "friend@far.test 192.0.2.1 proven", {"pass", "other.test"}: "friend@far.test 192.0.2.1",
		{"fail", "far.test"}: "friend@far.test 192.0.2.1 disowned", {"softfail", "far.test"}: "friend@far.test 192.0.2.1 disowned",
		{"fail", "other.test"}: "friend@far.test 192.0.2.1", {"neutral", "far.test"}: "friend@far.test 192.0.2.1", {"", ""}: "friend@far.test 192.0.2.1",
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

// What owners are told of the content: the list, the subject, who signed, and of a report what it is about.
func TestContactsLearn(t *testing.T) {
	gated := rules{"alice@example.test": {OurDomain: true, Targets: []mail.Target{{Address: address(t, "alice@example.test")}}, Gated: []bool{true}}}
	b, s := &book{}, &mail.Session{}
	s.SetFact("dkim_domains", "far.test list.test")
	s.SetFact("dkim_lists", "list.test")
	judgedContent(t, Config{Rules: gated, Contacts: b}, s, "look@far.test", "alice@example.test",
		"List-Id: The =?utf-8?q?N=C3=BCs?= <evil> list\r\n <News.List.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <a@b>\r\n\r\nbody\r\n")
	if q := b.told; q.List != "News.List.test" || q.Subject != "Grüße" || len(q.Refers) != 0 || len(q.Signed) != 2 || len(q.ListSigned) != 1 || q.First != Look {
		t.Errorf("%+v", q)
	}
	// Of two only one could be signed, and of a header that is too long not all is seen: neither is of a list.
	for _, content := range []string{"List-Id: <forged.test>\r\nList-Id: <news.list.test>\r\n\r\n",
		"List-Id: <forged.test>\r\nX: " + strings.Repeat("x", learntHeaderOctets) + "\r\nList-Id: <news.list.test>\r\n\r\n"} {
		judgedContent(t, Config{Rules: gated, Contacts: b}, s, "look@far.test", "alice@example.test", content)
		if b.told.List != "" {
			t.Errorf("of the list %s", b.told.List)
		}
	}
	report := "Message-ID: <own@far>\r\nReferences: <one@us>\r\n\t<two@us> <three@us>\r\nSubject: failed\r\n\r\n--x\r\n<not@this>\r\nMESSAGE-ID:\r\n <four@us>\r\n" +
		strings.Repeat("x", 10_000) + "\r\nOriginal-Message-ID: <five@us>"
	judgedContent(t, Config{Rules: gated, Contacts: b}, &mail.Session{}, "", "alice@example.test", report)
	if got := strings.Join(b.told.Refers, " "); got != "own@far one@us two@us three@us four@us five@us" {
		t.Error(got)
	}
}

// A recipient who may still be put off at the end is alone: else the others would be put off with him.
func TestContactsAlone(t *testing.T) {
	r := rules{"bob@example.test": {OurDomain: true, Targets: []mail.Target{{Address: address(t, "bob@example.test")}}},
		"alice@example.test": {OurDomain: true, Targets: []mail.Target{{Address: address(t, "alice@example.test")}}, Gated: []bool{true}}}
	for _, order := range [][]string{{"alice", "bob"}, {"bob", "alice"}} {
		s := &mail.Session{RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}}
		rec, err := New(Config{Rules: r, Contacts: &book{}}).Open(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := rec.Begin(t.Context(), s, mail.Sender{Address: address(t, "look@far.test")})
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range order {
			err := tx.Recipient(t.Context(), &mail.Recipient{Address: address(t, name+"@example.test")})
			if i == 0 && err != nil || i == 1 && (err == nil || mail.AsReply(err).Code != 452) {
				t.Errorf("%v: %s: %v", order, name, err)
			}
		}
	}
}

func FuzzLearnt(f *testing.F) {
	f.Add([]byte("List-Id: <a.b>\r\nReferences: <x@y> <z>\r\n\r\n<a"), 3)
	f.Fuzz(func(t *testing.T, content []byte, cut int) {
		var l learnt
		cut = max(1, cut%100)
		for p := content; len(p) > 0; p = p[min(cut, len(p)):] {
			l.write(p[:min(cut, len(p))], true)
		}
		var whole learnt
		whole.write(content, true)
		var a, b ContactContent
		l.tell(&a)
		whole.tell(&b)
		if a.List != b.List || a.Subject != b.Subject || strings.Join(a.Refers, " ") != strings.Join(b.Refers, " ") || len(a.Refers) > maxRefers {
			t.Errorf("%+v is not %+v", a, b)
		}
	})
}
