package management

import (
	"context"
	"time"
)

// Bans is what is asked about who may not speak to this house at all.
type Bans interface {
	Bans(ctx context.Context) ([]Ban, error)
	Ban(ctx context.Context, a BanArgs) (Ban, error)
	Unban(ctx context.Context, network string) error
}

// Ban is a network that may not speak to us.
type Ban struct {
	Network   string    `json:"network"`
	Reason    string    `json:"reason"`
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until,omitzero"` // none: for ever
	Automatic bool      `json:"automatic"`      // by a threshold of [guard]
}

// BanArgs is ban/add.
type BanArgs struct {
	Network string        `json:"network"`          // or an address
	For     time.Duration `json:"for_ns,omitempty"` // 0: for ever
	Reason  string        `json:"reason,omitempty"`
}

// banVerbs adds the verbs about bans.
func (h *Handler) banVerbs(t map[string]verb) {
	b := h.cfg.Bans
	if b == nil {
		return
	}
	t["ban/list"] = on(func(ctx context.Context, _ struct{}, out *sender) (any, error) {
		bans, err := b.Bans(ctx)
		return sendAll(bans, err, out)
	})
	t["ban/add"] = on(func(ctx context.Context, a BanArgs, _ *sender) (any, error) {
		x, err := b.Ban(ctx, a)
		if err == nil {
			h.cfg.Log.Info("banned", "network", x.Network, "reason", x.Reason, "until", x.Until)
		}
		return x, err
	})
	t["ban/remove"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) {
		err := b.Unban(ctx, a.Name)
		if err == nil {
			h.cfg.Log.Info("ban removed", "network", a.Name)
		}
		return nil, err
	})
}
