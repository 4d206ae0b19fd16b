package management

import (
	"context"
	"iter"
	"time"
)

// Destinations is what is asked of the queue manager about where mail goes, and where not.
type Destinations interface {
	// Pause keeps a destination from being tried, Resume ends that.
	Pause(ctx context.Context, dest string) error
	Resume(ctx context.Context, dest string) error
	// Suppress keeps an address elsewhere, or with @DOMAIN all of a domain, from being written to.
	Suppress(ctx context.Context, a SuppressArgs) (Suppressed, error)
	Unsuppress(ctx context.Context, address string) error
	Suppressions(ctx context.Context) iter.Seq2[Suppressed, error]
}

// SuppressArgs is suppress/add.
type SuppressArgs struct {
	Address string `json:"address"`
	Why     string `json:"why,omitempty"`
}

// Suppressed is an address that is not written to.
type Suppressed struct {
	Address   string    `json:"address"` // or @DOMAIN
	Since     time.Time `json:"since"`
	Why       string    `json:"why,omitempty"`
	Automatic bool      `json:"automatic"` // it refused for good too often
}

// destinationVerbs adds the verbs about destinations.
func (h *Handler) destinationVerbs(t map[string]verb) {
	d := h.cfg.Destinations
	if d == nil {
		return
	}
	t["queue/pause"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return nil, d.Pause(ctx, a.Name) })
	t["queue/resume"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return nil, d.Resume(ctx, a.Name) })
	t["suppress/add"] = on(func(ctx context.Context, a SuppressArgs, _ *sender) (any, error) { return d.Suppress(ctx, a) })
	t["suppress/remove"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return nil, d.Unsuppress(ctx, a.Name) })
	t["suppress/list"] = on(func(ctx context.Context, _ struct{}, out *sender) (any, error) {
		return list(d.Suppressions(ctx), out)
	})
}
