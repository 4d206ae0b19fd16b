package management

import (
	"context"
	"iter"
	"time"
)

// Senders is what is asked about the lists of senders who are allowed and denied.
type Senders interface {
	// ListedSenders yields the list of an account, "" for the one for all, or with every all lists.
	ListedSenders(ctx context.Context, account string, every bool) iter.Seq2[ListedSender, error]
	ListSender(ctx context.Context, x ListedSender) (ListedSender, error)
	UnlistSender(ctx context.Context, account, entry string) error
}

// ListedSender is an entry of a list.
type ListedSender struct {
	Account string    `json:"account,omitempty"` // none: for all
	Sender  string    `json:"sender"`            // an address, @domain, @.domain, or a network
	Verdict string    `json:"verdict"`           // allow or deny
	Since   time.Time `json:"since,omitzero"`
	Note    string    `json:"note,omitempty"`
}

// SenderArgs is sender/list and sender/remove.
type SenderArgs struct {
	Account string `json:"account,omitempty"`
	Every   bool   `json:"every,omitempty"`
	Sender  string `json:"sender,omitempty"`
}

// senderVerbs adds the verbs about lists.
func (h *Handler) senderVerbs(t map[string]verb) {
	s := h.cfg.Senders
	if s == nil {
		return
	}
	t["sender/list"] = on(func(ctx context.Context, a SenderArgs, out *sender) (any, error) {
		return list(s.ListedSenders(ctx, a.Account, a.Every), out)
	})
	t["sender/set"] = on(func(ctx context.Context, x ListedSender, _ *sender) (any, error) {
		x, err := s.ListSender(ctx, x)
		if err == nil {
			h.cfg.Log.Info("sender listed", "sender", x.Sender, "verdict", x.Verdict, "account", x.Account)
		}
		return x, err
	})
	t["sender/remove"] = on(func(ctx context.Context, a SenderArgs, _ *sender) (any, error) {
		return nil, s.UnlistSender(ctx, a.Account, a.Sender)
	})
}
