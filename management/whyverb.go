package management

import (
	"context"

	"github.com/samotop/samotop/mail"
)

// RecordArgs is journal/record, by which rooms of other processes tell their events.
type RecordArgs struct {
	Events []mail.Event `json:"events"`
}

// journalVerbs adds the verbs about the life of messages.
func (h *Handler) journalVerbs(t map[string]verb) {
	if w := h.cfg.Why; w != nil {
		t["journal/why"] = on(func(ctx context.Context, a NameArgs, out *sender) (any, error) {
			steps, err := w.Why(ctx, a.Name)
			return sendAll(steps, err, out)
		})
	}
	if j := h.cfg.Record; j != nil {
		t["journal/record"] = on(func(ctx context.Context, a RecordArgs, _ *sender) (any, error) {
			for _, e := range a.Events {
				j.Record(ctx, e)
			}
			return nil, nil
		})
	}
}
