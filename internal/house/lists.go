package house

import (
	"context"
	"strings"

	"github.com/samotop/samotop/accounts"
	"github.com/samotop/samotop/accounts/lists"
	"github.com/samotop/samotop/accounts/ruleproto"
	"github.com/samotop/samotop/guard"
	"github.com/samotop/samotop/mail"
	"github.com/samotop/samotop/mailbox"
)

// postTo is a question of the door of the lists.
type postTo struct {
	List, Author mail.Address
	Check        bool
}

func postMethod(a accountsRoom) ruleproto.Method {
	return ruleproto.Handle(func(ctx context.Context, q postTo) (accounts.Post, error) {
		return a.PostTo(ctx, q.List, q.Author, q.Check)
	})
}

// PostTo is never kept: it may hold thousands of members, and is asked once for each post.
func (r *remoteAccounts) PostTo(ctx context.Context, list, author mail.Address, check bool) (accounts.Post, error) {
	return ruleproto.Ask[accounts.Post](ctx, r.c, "post-to", postTo{list, author, check}, nil)
}

// listRules shows the accounts room to the door of the lists.
type listRules struct{ a accountsRoom }

var _ lists.Rules = listRules{}

func (l listRules) Resolve(ctx context.Context, to mail.Address) (lists.Resolution, error) {
	r, err := l.a.Resolve(ctx, to)
	out := lists.Resolution{Targets: r.Targets, Lists: r.Lists}
	for _, w := range r.Rewritten {
		out.Notes = append(out.Notes, w.String())
	}
	return out, err
}

func (l listRules) PostTo(ctx context.Context, list, author mail.Address, check bool) (lists.Post, error) {
	p, err := l.a.PostTo(ctx, list, author, check)
	return lists.Post{Allowed: p.Allowed, Open: p.Open, Closed: p.Closed, Ours: p.Ours, List: p.List, Title: p.Title, Owner: p.Owner,
		Sender: p.Sender, Members: p.Members}, err
}

// listed puts the lists in front of the queue.
func (h *House) listed(queue mail.Door) mail.Door {
	return lists.Door(queue, lists.Config{Rules: listRules{h.rules}, Log: h.log.With("part", "lists"), Journal: h.events})
}

// withoutLists leaves out the targets that are lists: what the queue writes itself are reports, which no list takes.
func withoutLists(r accounts.Resolution) []mail.Target {
	if len(r.Lists) != len(r.Targets) {
		return r.Targets
	}
	var out []mail.Target
	for i, t := range r.Targets {
		if !r.Lists[i] {
			out = append(out, t)
		}
	}
	return out
}

// rewritten tells the guard what rules made of an address.
func rewritten(r accounts.Resolution) []guard.Rewrite {
	var out []guard.Rewrite
	for _, w := range r.Rewritten {
		out = append(out, guard.Rewrite{From: w.From, To: w.To, Text: w.String()})
	}
	return out
}

// plusFolder is the folder that a detail names; "": none. What could be anything but a plain name is none.
func plusFolder(o accounts.Owner) string {
	if !o.PlusFolders || o.Detail == "" || strings.ContainsAny(o.Detail, "/\\%*&\"") || strings.EqualFold(o.Detail, "INBOX") {
		return ""
	}
	return o.Detail
}

// ownerOf is an account as the mailbox sees it.
func ownerOf(o accounts.Owner) mailbox.Owner {
	return mailbox.Owner{ID: o.ID, Address: o.Address.String(), QuotaOctets: o.Quota, QuotaMessages: o.QuotaMessages, PlusFolder: plusFolder(o)}
}
