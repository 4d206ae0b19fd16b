package management

import "context"

// Copies makes the copies of which backups are made.
type Copies interface {
	// Cut makes a consistent copy of a database beside it, and says in which directory it is. It shares the files that
	// never change. One that was there is brought up to date.
	Cut(ctx context.Context, database string) (dir string, err error)
	// Uncut removes it.
	Uncut(ctx context.Context, database string) error
}

// CopyOf is the answer to store/cut.
type CopyOf struct {
	Dir string `json:"dir"`
}

// copyVerbs adds the verbs about copies.
func (h *Handler) copyVerbs(t map[string]verb) {
	c := h.cfg.Copies
	if c == nil {
		return
	}
	t["store/cut"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) {
		dir, err := c.Cut(ctx, a.Name)
		return CopyOf{dir}, err
	})
	t["store/uncut"] = on(func(ctx context.Context, a NameArgs, _ *sender) (any, error) { return nil, c.Uncut(ctx, a.Name) })
}
