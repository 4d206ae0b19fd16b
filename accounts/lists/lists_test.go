package lists

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mail/mailtest"
)

func addr(s string) mail.Address {
	a, _, err := mail.ParsePath("<" + s + ">")
	if err != nil {
		panic(err)
	}
	return a
}

// rules: alice and bob are members of team@, anybody may post to open@, only alice to news@; mixed@ leads to team@ and carol.
type rules struct{}

func (rules) Resolve(_ context.Context, to mail.Address) (Resolution, error) {
	switch to.Local {
	case "team", "open", "news":
		return Resolution{Targets: []mail.Target{{Address: to, Remote: true}}, Lists: []bool{true}}, nil
	case "mixed":
		return Resolution{Targets: []mail.Target{{Address: addr("team@our.test"), Remote: true}, {Address: addr("carol@our.test")}}, Lists: []bool{true, false}}, nil
	case "broken":
		return Resolution{}, errors.New("disk on fire")
	case "old":
		return Resolution{Notes: []string{"<old@our.test> is now <carol@our.test>, by rule 1 of our.test"}, Targets: []mail.Target{{Address: addr("carol@our.test")}}}, nil
	}
	return Resolution{Targets: []mail.Target{{Address: to}}}, nil
}

func (rules) PostTo(_ context.Context, list, author mail.Address, _ bool) (Post, error) {
	if author.Local == "trouble" {
		return Post{}, errors.New("disk on fire")
	}
	p := Post{List: list, Title: "The \"team\"", Owner: addr(list.Local + "-owner@our.test"), Sender: addr(list.Local + "-bounces@our.test"),
		Ours: author.Domain == "our.test", Open: list.Local == "open", Closed: list.Local == "news",
		Members: []mail.Target{{Address: addr("alice@our.test")}, {Address: addr("bob@far.test"), Remote: true}}}
	p.Allowed = !author.IsNull() && (p.Open || author.Local == "alice" || author.Local == "bob" && list.Local == "team")
	return p, nil
}

type notes struct{ events []mail.Event }

func (n *notes) Record(_ context.Context, e mail.Event) { n.events = append(n.events, e) }

// send gives the answers of RCPT that are refusals, and those at the end.
func send(t *testing.T, d mail.Door, s *mail.Session, from, content string, to ...string) []string {
	t.Helper()
	r, err := d.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := r.Begin(t.Context(), s, mail.Sender{Address: addr(from), EnvelopeID: "id", Ret: mail.RetFull})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	var said []string
	tx.Trace(mail.Field{Name: "Received", Value: "x"})
	for i, a := range to {
		if err := tx.Recipient(t.Context(), &mail.Recipient{Address: addr(a), DeliveryID: fmt.Sprint("d", i)}); err != nil {
			said = append(said, mail.AsReply(err).String())
		}
	}
	for len(content) > 0 { // in the worst pieces
		n := min(7, len(content))
		if _, err := tx.Write([]byte(content[:n])); err != nil {
			return append(said, "write: "+mail.AsReply(err).String())
		}
		content = content[n:]
	}
	if p, ok := tx.(mail.Preparer); ok {
		if _, err := p.Prepare(t.Context()); err != nil {
			return append(said, "prepare: "+mail.AsReply(err).String())
		}
	}
	replies, err := tx.Commit(t.Context())
	if err != nil {
		return append(said, "commit: "+mail.AsReply(err).String())
	}
	for _, r := range replies {
		said = append(said, r.String())
	}
	return said
}

// took says what the queue took: sender, recipients with their targets, of each message.
func took(q *mailtest.Recorder) string {
	var all []string
	for _, m := range q.Messages() {
		var to []string
		for _, r := range m.To {
			s := r.Address.String()
			if r.Failed != nil {
				s += fmt.Sprint(" failed ", r.Failed.Code)
			}
			to = append(to, s)
		}
		all = append(all, m.From.Address.Path()+" "+strings.Join(to, ","))
	}
	slices.Sort(all)
	return strings.Join(all, " | ")
}

const ok = "250 2.0.0 OK"

func TestPosts(t *testing.T) {
	alice := &mail.Session{Login: mail.Identity{Account: "alice@our.test"}}
	stranger := &mail.Session{}
	proven := &mail.Session{Facts: []mail.Fact{{Name: "spf", Value: "pass"}, {Name: "spf_domain", Value: "our.test"}}}
	post := "<team-bounces@our.test> alice@our.test,bob@far.test"
	for _, c := range []struct {
		name     string
		s        *mail.Session
		from, to string
		head     string
		said     string
		took     string
	}{
		{"a member posts", alice, "alice@our.test", "team@our.test", "From: a <alice@our.test>\r\n", ok, post},
		{"from outside", stranger, "bob@far.test", "team@our.test", "From: bob@far.test\r\n", ok, post},
		{"a name of ours from outside", stranger, "alice@our.test", "team@our.test", "From: alice@our.test\r\n", "550 5.7.1 <team@our.test>: to post as <alice@our.test> log in first", ""},
		{"a name of ours from outside, proved", proven, "alice@our.test", "team@our.test", "From: alice@our.test\r\n", ok, post},
		{"a member's envelope with another author", alice, "alice@our.test", "team@our.test", "From: x@far.test\r\n",
			"550 5.7.1 <team@our.test>: only members may post to this list, and <x@far.test> is none; write to <team-owner@our.test>", ""},
		{"no author", alice, "alice@our.test", "team@our.test", "Subject: x\r\n", "550 5.7.1 <team@our.test>: the message has no author, in a From field", ""},
		{"a stranger", stranger, "x@far.test", "team@our.test", "", "550 5.7.1 <team@our.test>: only members may post to this list, and <x@far.test> is none; write to <team-owner@our.test>", ""},
		{"a stranger to an open list", stranger, "x@far.test", "open@our.test", "", ok, "<open-bounces@our.test> alice@our.test,bob@far.test"},
		{"not listed", stranger, "bob@far.test", "news@our.test", "", "550 5.7.1 <news@our.test>: <bob@far.test> is not among those who may post to this list, write to <news-owner@our.test>", ""},
		{"a report", stranger, "", "open@our.test", "", "550 5.7.1 <open@our.test>: reports are not posted to a list, write to <open-owner@our.test>", ""},
		{"a loop", stranger, "x@far.test", "open@our.test", "List-Id: what ever\r\n <OPEN.our.test>\r\n", "554 5.4.6 <open@our.test>: the message has been through this list already", ""},
		{"an automatic answer", stranger, "x@far.test", "open@our.test", "Auto-Submitted: Auto-Replied (vacation)\r\n", "554 5.7.1 <open@our.test>: automatic answers are not posted to a list", ""},
		{"what a program says of itself", stranger, "x@far.test", "open@our.test", "Auto-Submitted: auto-generated\r\n", ok, "<open-bounces@our.test> alice@our.test,bob@far.test"},
		{"a report with a sender", stranger, "x@far.test", "open@our.test", "Content-Type: multipart/report; x=y\r\n", "554 5.7.1 <open@our.test>: reports are not posted to a list, write to <open-owner@our.test>", ""},
		{"nobody is a list", stranger, "x@far.test", "carol@our.test dan@our.test", "", ok + "; " + ok, "<x@far.test> carol@our.test,dan@our.test"},
		{"a list and somebody", alice, "alice@our.test", "carol@our.test team@our.test", "From: alice@our.test\r\n", ok + "; " + ok, "<alice@our.test> carol@our.test | " + post},
		{"two lists", alice, "alice@our.test", "news@our.test team@our.test", "From: alice@our.test\r\n", ok + "; " + ok, "<news-bounces@our.test> alice@our.test,bob@far.test | " + post},
		{"an alias of a list and somebody", alice, "alice@our.test", "mixed@our.test team@our.test", "From: alice@our.test\r\n", ok + "; " + ok, "<alice@our.test> mixed@our.test | " + post},
		{"the same, and the list refuses", stranger, "x@far.test", "mixed@our.test", "", ok, "<x@far.test> mixed@our.test,mixed@our.test failed 550"},
		{"a list and somebody, and the header says no", alice, "alice@our.test", "team@our.test carol@our.test", "From: x@far.test\r\n", ok + "; " + ok,
			"<alice@our.test> carol@our.test,team@our.test failed 550"},
		{"the rules fail", alice, "alice@our.test", "broken@our.test carol@our.test", "", "451 4.3.0 Temporary local problem, please try again later; " + ok, "<alice@our.test> carol@our.test"},
		{"the rules fail at the header, and nobody else takes it", alice, "alice@our.test", "team@our.test", "From: trouble@our.test\r\n", "451 4.3.0 Temporary local problem, please try again later", ""},
		{"the rules fail at the header: all of it is put off", alice, "alice@our.test", "team@our.test carol@our.test", "From: trouble@our.test\r\n", "prepare: 451 4.3.0 Temporary local problem, please try again later", ""},
		{"a rule", stranger, "x@far.test", "old@our.test", "", ok, "<x@far.test> old@our.test"},
	} {
		for _, prepares := range []bool{true, false} {
			q, n := &mailtest.Recorder{Prepares: prepares}, &notes{}
			s := *c.s
			said := strings.Join(send(t, Door(q, Config{Rules: rules{}, Journal: n}), &s, c.from, c.head+"\r\nbody\r\n", strings.Fields(c.to)...), "; ")
			want := c.said
			if !prepares {
				want = strings.Replace(want, "prepare: ", "commit: ", 1)
			}
			if said != want {
				t.Errorf("%s: said %s\nwant %s", c.name, said, want)
			}
			if got := took(q); got != c.took {
				t.Errorf("%s: took %s\nwant %s", c.name, got, c.took)
			}
			if c.name == "a rule" && (len(n.events) != 1 || n.events[0].Code != 251) {
				t.Error(n.events)
			}
		}
	}
}

func TestPostAsItLeaves(t *testing.T) {
	q, n := &mailtest.Recorder{}, &notes{}
	s := &mail.Session{Login: mail.Identity{Account: "alice@our.test"}}
	content := "Subject: hi\r\nList-Id: other <other.far.test>\r\nFrom: alice@our.test\r\nlist-post: <mailto:x@y.test>,\r\n <mailto:z@y.test>\r\nX:  kept\r\n\r\n.body\r\n\r\nList-Id: kept\r\n"
	send(t, Door(q, Config{Rules: rules{}, Journal: n}), s, "alice@our.test", content, "team@our.test")
	m := q.Messages()
	if len(m) != 1 {
		t.Fatal(m)
	}
	want := "Received: x\r\nList-Id: \"The \\\"team\\\"\" <team.our.test>\r\nList-Unsubscribe: <mailto:team-owner@our.test?subject=unsubscribe>\r\n" +
		"List-Post: <mailto:team@our.test>\r\nList-Owner: <mailto:team-owner@our.test>\r\n" +
		"Subject: hi\r\nFrom: alice@our.test\r\nX:  kept\r\n\r\n.body\r\n\r\nList-Id: kept\r\n"
	if got := string(m[0].Content); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if f := m[0].From; f.EnvelopeID != "" || f.Ret != mail.RetHeaders {
		t.Errorf("%+v", f)
	}
	if r := m[0].To[1]; r.Notify != mail.NotifyFailure || r.DeliveryID != "d0.team.1" || len(r.Targets) != 1 || !r.Targets[0].Remote {
		t.Errorf("%+v", r)
	}
	if len(n.events) != 1 || n.events[0].Kind != "posted" || !strings.HasPrefix(n.events[0].Text, "to 2 members of the list, as team-bounces@our.test") {
		t.Error(n.events)
	}
}

func TestHeaderOnlyAndTooLong(t *testing.T) {
	for content, want := range map[string]string{
		"From: bob@far.test\r\n":             ok,
		"From: bob@far.test":                 ok,
		"\r\nFrom: bob@far.test\r\n":         "550 5.7.1 <team@our.test>: the message has no author, in a From field",
		"":                                   "550 5.7.1 <team@our.test>: the message has no author, in a From field",
		"From: bob@far.test\nX: y\n\nbody\n": ok,
		"From: bob@far.test\r\n" + strings.Repeat("x", 2000):                 "552 5.3.4 The header is larger than the 1000 octets that a list takes",
		strings.Repeat("X: y\r\n", 160) + "\r\n" + strings.Repeat("x", 2000): "550 5.7.1 <team@our.test>: the message has no author, in a From field",
	} {
		q := &mailtest.Recorder{}
		said := strings.Join(send(t, Door(q, Config{Rules: rules{}, MaxHeaderBytes: 1000}), &mail.Session{}, "bob@far.test", content, "team@our.test"), "; ")
		if said != want {
			t.Errorf("%.30q: %s", content, said)
		}
		if m := q.Messages(); want == ok && !strings.HasSuffix(string(m[0].Content), content) {
			t.Errorf("%.30q became %q", content, m[0].Content)
		}
	}
}

// FuzzPost: whatever comes, a post is the list's fields in front of what came, without such fields of others.
func FuzzPost(f *testing.F) {
	for _, s := range []string{"From: bob@far.test\r\n\r\nbody", "List-Id: <x>\r\n y\r\nFrom: bob@far.test\r\n\r\n", "\n\n", "a\rb\r\n\r\n", "List-Id: <team.our.test>\r\n\r\n",
		"From: a, b:bob@far.test;, \"\\", "Auto-Submitted:\r\n auto-replied\r\n\r\n"} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, content []byte, step uint8) {
		q := &mailtest.Recorder{}
		s := &mail.Session{}
		r, _ := Door(q, Config{Rules: rules{}, MaxHeaderBytes: 4096}).Open(t.Context(), s)
		tx, _ := r.Begin(t.Context(), s, mail.Sender{Address: addr("bob@far.test")})
		if err := tx.Recipient(t.Context(), &mail.Recipient{Address: addr("open@our.test")}); err != nil {
			t.Fatal(err)
		}
		for rest := content; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			if _, err := tx.Write(rest[:n]); err != nil {
				return // refused
			}
			rest = rest[n:]
		}
		replies, err := tx.Commit(t.Context())
		if err != nil || !replies[0].Positive() {
			return
		}
		got := string(q.Messages()[0].Content)
		if !strings.HasPrefix(got, "List-Id: \"The") {
			t.Errorf("%q", got)
		}
		if !strings.Contains(strings.ToLower(string(content)), "list-") && !strings.HasSuffix(got, string(content)) {
			t.Errorf("%q became %q", content, got)
		}
	})
}
