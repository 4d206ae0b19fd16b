package management

import "context"

// Mail is what other rooms ask of the mailbox about the owner of an account.
type Mail interface {
	Usage(ctx context.Context, owner uint64) (any, error)
	Purge(ctx context.Context, owner uint64) error
}

// OwnerArgs is mailbox/usage and mailbox/purge.
type OwnerArgs struct {
	Owner uint64 `json:"owner"`
}

// mailVerbs adds the verbs by which the accounts room in another process asks about mail.
func (h *Handler) mailVerbs(t map[string]verb) {
	m := h.cfg.Mail
	if m == nil {
		return
	}
	t["mailbox/usage"] = on(func(ctx context.Context, a OwnerArgs, _ *sender) (any, error) { return m.Usage(ctx, a.Owner) })
	t["mailbox/purge"] = on(func(ctx context.Context, a OwnerArgs, _ *sender) (any, error) { return nil, m.Purge(ctx, a.Owner) })
}
