package house

import (
	"context"
	"time"
)

// SendReports writes what was counted and sends the reports that are due at a time.
func SendReports(ctx context.Context, h *House, now time.Time) error {
	if err := h.counts.Flush(ctx); err != nil {
		return err
	}
	h.sendReports(ctx, now.UTC().Truncate(24*time.Hour).Add(23*time.Hour))
	return nil
}

// FailuresADomain is how many failure reports a domain gets in an hour.
const FailuresADomain = failuresADomain
