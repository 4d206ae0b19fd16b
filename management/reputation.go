package management

import (
	"context"
	"time"
)

// Reputation is what is asked about what the guard has learned of senders.
type Reputation interface {
	// Reputation tells what is known of a sender, an address, @domain or an IP address, for an account or, with "", for all.
	Reputation(ctx context.Context, a SenderArgs) ([]Reputed, error)
	// ForgetReputation forgets what is known under the sender's own name, and tells how many counts that were.
	ForgetReputation(ctx context.Context, a SenderArgs) (int, error)
	// PurgeEvidence forgets what the guard keeps of an account that was removed.
	PurgeEvidence(ctx context.Context, owner uint64, address string) error
}

// Reputed is what is known of a sender under one of his names.
type Reputed struct {
	Name  string    `json:"name"` // network, address, domain or sender
	Of    string    `json:"of"`
	Since time.Time `json:"since"`
	Good  float64   `json:"good"` // faded counts: of wanted mail, and of unwanted
	Bad   float64   `json:"bad"`
	Score float64   `json:"score"` // what it adds to the score of his mail
}

// Forgotten answers reputation/forget.
type Forgotten struct {
	Counts int `json:"counts"`
}

// PurgeArgs is reputation/purge.
type PurgeArgs struct {
	Owner   uint64 `json:"owner"`
	Address string `json:"address"`
}

// reputationVerbs adds the verbs about what is known of senders.
func (h *Handler) reputationVerbs(t map[string]verb) {
	r := h.cfg.Reputation
	if r == nil {
		return
	}
	t["reputation/show"] = on(func(ctx context.Context, a SenderArgs, out *sender) (any, error) {
		known, err := r.Reputation(ctx, a)
		return sendAll(known, err, out)
	})
	t["reputation/forget"] = on(func(ctx context.Context, a SenderArgs, _ *sender) (any, error) {
		n, err := r.ForgetReputation(ctx, a)
		if err == nil {
			h.cfg.Log.Info("reputation forgotten", "sender", a.Sender, "account", a.Account)
		}
		return Forgotten{n}, err
	})
	t["reputation/purge"] = on(func(ctx context.Context, a PurgeArgs, _ *sender) (any, error) {
		return nil, r.PurgeEvidence(ctx, a.Owner, a.Address)
	})
}
