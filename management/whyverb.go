package management

import (
	"context"

	"github.com/samotop/samotop/mail"
)

// RecordArgs is journal/record, by which rooms of other processes tell their events.
type RecordArgs struct {
	Packed []byte `json:"packed"` // by PackEvents
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
			return nil, unpackEvents(a.Packed, func(e mail.Event) { j.Record(ctx, e) })
		})
	}
}
