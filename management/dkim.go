package management

import (
	"context"
	"time"
)

// Keys is what is asked of the DKIM keys.
type Keys interface {
	// Keys lists those of a domain, or with "" all.
	Keys(ctx context.Context, domain string) ([]Key, error)
	// Rotate does the next step of exchanging a domain's keys; force does not ask whether they are published.
	Rotate(ctx context.Context, domain string, force bool) (Rotated, error)
}

// Key is one DKIM key.
type Key struct {
	Domain    string    `json:"domain"`
	Selector  string    `json:"selector"`
	Algorithm string    `json:"algorithm"`
	State     string    `json:"state"` // "active" signs, "next" is published and will, "old" did
	Since     time.Time `json:"since"`
	Name      string    `json:"name"`   // of the record
	Record    string    `json:"record"` // its text
}

// Rotated is the answer to dkim/rotate.
type Rotated struct {
	Made    []Key `json:"made,omitempty"`    // to be published
	Active  []Key `json:"active,omitempty"`  // they sign from now on
	Old     []Key `json:"old,omitempty"`     // stay published for now
	Removed []Key `json:"removed,omitempty"` // their records can go
}

// RotateArgs is dkim/rotate.
type RotateArgs struct {
	Domain string `json:"domain"`
	Force  bool   `json:"force,omitempty"`
}

// keyVerbs adds the verbs about keys.
func (h *Handler) keyVerbs(t map[string]verb) {
	k := h.cfg.Keys
	if k == nil {
		return
	}
	t["dkim/list"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
		keys, err := k.Keys(ctx, a.Name)
		return sendAll(keys, err, out)
	})
	t["dkim/rotate"] = on(func(ctx context.Context, a RotateArgs, _ *sender) (any, error) {
		done, err := k.Rotate(ctx, a.Domain, a.Force)
		if err == nil {
			h.cfg.Log.Info("dkim keys rotated", "domain", a.Domain, "made", len(done.Made), "active", len(done.Active), "old", len(done.Old), "removed", len(done.Removed))
		}
		return done, err
	})
}
