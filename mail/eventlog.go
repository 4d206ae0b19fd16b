package mail

import (
	"context"
	"log/slog"
)

// LogEvents returns a Journal that writes each event as one structured line of the log, level info, and then hands it on.
// Its attributes are the same whichever room speaks: room, trace, id, message_id, from, to, peer, code, text, and the facts.
func LogEvents(log *slog.Logger, next Journal) Journal {
	if next == nil {
		next = NoJournal
	}
	if log == nil {
		return next
	}
	return eventLog{log, next}
}

type eventLog struct {
	log  *slog.Logger
	next Journal
}

func (l eventLog) Record(ctx context.Context, e Event) {
	if l.log.Enabled(ctx, slog.LevelInfo) {
		attrs := make([]slog.Attr, 0, 10+len(e.Facts))
		for _, a := range [...]struct{ name, value string }{{"room", e.Room}, {"trace", e.Trace}, {"id", e.ID},
			{"message_id", e.MessageID}, {"from", e.From}, {"to", e.To}, {"peer", e.Peer}, {"text", e.Text}} {
			if a.value != "" {
				attrs = append(attrs, slog.String(a.name, a.value))
			}
		}
		if e.Code != 0 {
			attrs = append(attrs, slog.Int("code", e.Code))
		}
		for _, f := range e.Facts {
			if f.Value != "" {
				attrs = append(attrs, slog.String(f.Name, f.Value))
			}
		}
		l.log.LogAttrs(ctx, slog.LevelInfo, e.Kind, attrs...)
	}
	l.next.Record(ctx, e)
}
