package house

import (
	"context"
	"errors"
	"time"

	"github.com/samotop/samotop/store"
)

// Space that deleted bodies take is given back while the house serves, in steps that leave the disk to the mail.
const (
	collectInterval = time.Minute
	collectPause    = time.Second // between two steps where there is more to do
	collectOctets   = 32 << 20    // of live bodies moved in one step
)

// collect gives back the space of one database until ctx ends or the database stops.
func (h *House) collect(ctx context.Context, name string, m store.Maintainer) {
	log := h.log.With("database", name)
	for wait := collectInterval; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		done, err := m.Collect(ctx, collectOctets)
		switch {
		case errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrClosed), ctx.Err() != nil:
			return
		case err != nil:
			log.Warn("space could not be given back", "err", err)
		case done.FreedOctets > 0:
			log.Info("space given back", "octets", done.FreedOctets, "moved", done.MovedOctets, "segments", done.Segments)
		}
		wait = collectInterval
		if err == nil && done.MoreToDo {
			wait = collectPause
		}
	}
}
