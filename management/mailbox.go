package management

import "context"

// Mailboxes is what is asked of the mailbox room.
type Mailboxes interface {
	// Reindex makes the text index of an account anew. Progress is called from time to time.
	Reindex(ctx context.Context, address string, progress func(done, total int64) error) (Reindexed, error)
}

// Reindexed is the answer to mailbox/reindex.
type Reindexed struct {
	Address  string  `json:"address"`
	Messages int64   `json:"messages"` // of the account, copies of one counted once, those that went meanwhile too
	Seconds  float64 `json:"seconds"`
}

func (h *Handler) mailboxVerbs(t map[string]verb) {
	x := h.cfg.Mailboxes
	if x == nil {
		return
	}
	t["mailbox/reindex"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
		return x.Reindex(ctx, a.Name, func(done, total int64) error {
			return out.send(line{Progress: &Progress{"indexed", done, total}})
		})
	})
}
