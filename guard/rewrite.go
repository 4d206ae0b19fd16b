package guard

import (
	"context"
	"log/slog"

	"github.com/samotop/samotop/mail"
)

// Rewrite is what a rule of a domain made of a recipient's address.
type Rewrite struct {
	From, To mail.Address
	Text     string // in words, for the log
}

// tellRewritten writes into the log and the journal where an address was led. The peer is not told: 251 (RFC 5321 section
// 3.4) would show him who is behind it.
func (t *transaction) tellRewritten(ctx context.Context, res *Resolution, to mail.Address) {
	for _, w := range res.Rewritten {
		t.c.Log.LogAttrs(ctx, slog.LevelInfo, "recipient rewritten", slog.String("session", t.session.ID),
			slog.String("from", w.From.String()), slog.String("to", w.To.String()))
		e := mail.Event{Trace: t.session.ID, Room: "guard", Kind: "judged", From: t.from.String(), To: to.String(), Code: 251, Text: w.Text}
		if e.From == "" {
			e.From = "<>"
		}
		if t.c.Clock != nil {
			e.Time = t.c.Clock()
		}
		t.c.Journal.Record(ctx, e)
	}
}
