package lists

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/message"
)

// replaced are the fields of a list that sent the message to this one: there is one List-Id at most (RFC 2919 section 3), and
// the others speak of a list that the reader may not be on (RFC 2369 section 4).
var replaced = []string{"List-Id", "List-Post", "List-Owner", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Help", "List-Archive"}

// listID is the name of a list in List-Id (RFC 2919 section 3).
func listID(a mail.Address) string { return a.Local + "." + a.Domain }

// fields are those of the list, the last on top.
func fields(p *Post) []mail.Field {
	id := "<" + listID(p.List) + ">"
	if p.Title != "" {
		id = phrase(p.Title) + " " + id
	}
	post := "<mailto:" + p.List.String() + ">"
	if p.Closed {
		post = "NO" // RFC 2369 section 3.4
	}
	return []mail.Field{
		{Name: "List-Owner", Value: "<mailto:" + p.Owner.String() + ">"},
		{Name: "List-Post", Value: post},
		{Name: "List-Unsubscribe", Value: "<mailto:" + p.Owner.String() + "?subject=unsubscribe>"},
		{Name: "List-Id", Value: id},
	}
}

// phrase writes a title as RFC 5322 section 3.2.5 has it: quoted, or as an encoded word.
func phrase(title string) string {
	for i := range len(title) {
		if title[i] < ' ' || title[i] > '~' {
			return message.EncodeText(title)
		}
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(title) + `"`
}

// allowed refuses who may not post. A name of ours is only good for who has logged in, or is proved by SPF.
func (t *transaction) allowed(p *Post, author mail.Address) *mail.Reply {
	switch {
	case author.IsNull(): // RFC 5321 section 4.5.5: reports are for whoever sent
		return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s: reports are not posted to a list, write to %s", p.List.Path(), p.Owner.Path())
	case !p.Allowed && p.Closed:
		return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s: %s is not among those who may post to this list, write to %s", p.List.Path(), author.Path(), p.Owner.Path())
	case !p.Allowed:
		return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s: only members may post to this list, and %s is none; write to %s", p.List.Path(), author.Path(), p.Owner.Path())
	case p.Ours && !p.Open && t.s.Login.Account == "" && !t.proven(author):
		return mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s: to post as %s log in first", p.List.Path(), author.Path())
	}
	return nil
}

// proven reports whether SPF has authenticated the domain (RFC 7208).
func (t *transaction) proven(author mail.Address) bool {
	return t.s.Fact("spf") == "pass" && strings.EqualFold(t.s.Fact("spf_domain"), author.Domain)
}

// judge looks at the header once it is complete.
func (t *transaction) judge(raw []byte) {
	t.judged = true
	h := message.ParseHeader(raw)
	for _, p := range t.parts[1:] {
		if refusal := t.against(&h, p.post); refusal != nil {
			t.refuse(p, refusal)
		}
	}
}

// refuseLists refuses it to all lists.
func (t *transaction) refuseLists(reply *mail.Reply) {
	t.judged = true
	for _, p := range t.parts[1:] {
		t.refuse(p, reply)
	}
}

// refuse takes a list out. Where somebody else takes the message, the refusal is reported by the queue.
func (t *transaction) refuse(p *part, reply *mail.Reply) {
	p.tx.Abort() //nolint:errcheck // given up
	t.refused(p.post.List, reply)
	others := false
	for _, o := range t.parts {
		others = others || o != p && o.accepted > 0 && o.refused == nil
	}
	main := t.parts[0]
	if others && reply.Permanent() {
		failed := mail.Recipient{Address: p.rcpt.Address, Notify: p.rcpt.Notify, Original: p.rcpt.Original, Failed: reply}
		if err := main.tx.Recipient(t.ctx, &failed); err == nil {
			for i := range t.to {
				for j := range t.to[i].at {
					if at := &t.to[i].at[j]; at.part == p {
						*at = place{main, main.accepted}
					}
				}
			}
			main.accepted++
		}
	}
	p.refused = reply
	if others && !reply.Permanent() && t.later == nil {
		t.later = reply
	}
}

// against says what speaks against posting a message; nil: nothing.
func (t *transaction) against(h *message.Header, p *Post) *mail.Reply {
	own := listID(p.List)
	for _, v := range h.Values("List-Id") {
		if strings.EqualFold(idOf(v), own) {
			return mail.NewReply(554, mail.Enhanced{5, 4, 6}, "%s: the message has been through this list already", p.List.Path())
		}
	}
	// RFC 3834 section 5: what a program answers is for one person. What it says of itself (auto-generated) may be wanted.
	if v := strings.ToLower(string(bytes.TrimSpace(h.Get("Auto-Submitted")))); strings.HasPrefix(v, "auto-replied") || strings.HasPrefix(v, "auto-notified") {
		return mail.NewReply(554, mail.Enhanced{5, 7, 1}, "%s: automatic answers are not posted to a list", p.List.Path())
	}
	if v := strings.ToLower(string(bytes.TrimSpace(h.Get("Content-Type")))); strings.HasPrefix(v, "multipart/report") {
		return mail.NewReply(554, mail.Enhanced{5, 7, 1}, "%s: reports are not posted to a list, write to %s", p.List.Path(), p.Owner.Path())
	}
	if p.Open {
		return nil
	}
	return t.author(h, p)
}

// maxAuthors of a From field are looked at.
const maxAuthors = 20

// author asks whether somebody of those in From may post.
func (t *transaction) author(h *message.Header, p *Post) *mail.Reply {
	refusal := mail.NewReply(550, mail.Enhanced{5, 7, 1}, "%s: the message has no author, in a From field", p.List.Path())
	values := h.Values("From")
	if len(values) != 1 {
		return refusal
	}
	for i, a := range message.ParseAddressList(values[0]) {
		if i == maxAuthors {
			break
		}
		if a.Group || a.Address.Domain == "" {
			continue
		}
		post, err := t.c.Rules.PostTo(t.ctx, p.List, a.Address, true)
		if err != nil {
			return mail.AsReply(err)
		}
		if refusal = t.allowed(&post, a.Address); refusal == nil {
			return nil
		}
	}
	return refusal
}

// idOf takes the name out of a List-Id field: what stands in the last angle brackets, else all of it.
func idOf(v []byte) string {
	s := strings.TrimSpace(string(v))
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		s, _, _ = strings.Cut(s[i+1:], ">")
	}
	return strings.TrimSpace(s)
}

func (t *transaction) event(kind string, to mail.Address) mail.Event {
	from := t.from.Address.String()
	if from == "" {
		from = "<>"
	}
	return mail.Event{Time: t.c.Clock(), Trace: t.s.ID, Room: "qm", Kind: kind, From: from, To: to.String()}
}

func (t *transaction) refused(list mail.Address, reply *mail.Reply) {
	e := t.event("refused", list)
	e.Code, e.Text = reply.Code, reply.String()
	t.c.Journal.Record(t.ctx, e)
}

func (t *transaction) posted(ctx context.Context, p *part) {
	e := t.event("posted", p.post.List)
	e.Code = 250
	e.Text = fmt.Sprintf("to %d members of the list, as %s", p.accepted, p.post.Sender)
	if len(p.replies) > 0 {
		e.Text += ": " + p.replies[0].String()
	}
	t.c.Journal.Record(ctx, e)
}
