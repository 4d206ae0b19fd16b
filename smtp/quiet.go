package smtp

import (
	"context"
	"time"
)

// WaitQuiet lets a Door hold its answer back for d, at most, and find out whether the peer speaks out of turn: it
// returns early as soon as the peer sends something, or has sent more than it was asked for. At StageConnect that is a
// peer that does not wait for the banner (RFC 5321 section 4.3.1). What was sent stays in the buffer. With a ctx that
// does not come from a Server it only waits.
func WaitQuiet(ctx context.Context, d time.Duration) (early bool, err error) {
	ses, ok := ctx.Value(sessionKey{}).(*session)
	if !ok {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	if ses.w.buffered() > 0 {
		return true, nil
	}
	ses.w.readTimeout, ses.w.until = max(d, time.Nanosecond), time.Time{}
	switch err := ses.w.fill(); {
	case err == nil:
		return true, nil
	case isTimeout(err) && ctx.Err() == nil:
		return false, nil
	default:
		ses.fail(err)
		return false, err
	}
}
