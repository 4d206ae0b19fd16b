package qm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/samotop/samotop/mailtls/mtasts"
	"github.com/samotop/samotop/store"
)

const (
	sweepInterval = 24 * time.Hour
	sweepRows     = 1000 // looked at in one view, and deleted by one batch
)

// sweeper forgets what no longer means anything: MTA-STS policies that have expired, and refusals of addresses that were
// not enough to suppress them.
func (q *QM) sweeper(ctx context.Context) {
	for {
		for _, kind := range []struct {
			tag  byte
			over func(value []byte, now time.Time) bool
		}{{'s', policyOver}, {'n', refusalsOver}} {
			if err := q.sweep(ctx, kind.tag, kind.over); err != nil && ctx.Err() == nil {
				q.cfg.Log.Error("forget what has expired", "rows", string(kind.tag), "err", err)
			}
		}
		if !pause(ctx, sweepInterval) {
			return
		}
	}
}

// policyOver reports whether a policy has expired (RFC 8461 section 3.2), or cannot be read.
func policyOver(value []byte, now time.Time) bool {
	c := &mtasts.Cached{}
	return json.Unmarshal(value, c) != nil || now.After(c.Expires())
}

func refusalsOver(value []byte, now time.Time) bool {
	s, err := decodeSuppressed(value)
	return err != nil || !s.active && now.Sub(s.since) > forgetRefusals
}

// sweep deletes the rows of a kind that are over, page by page.
func (q *QM) sweep(ctx context.Context, tag byte, over func(value []byte, now time.Time) bool) error {
	now := q.now()
	for lo := []byte{tag}; lo != nil; {
		var next []byte
		b := &store.Batch{Deletes: true}
		err := q.cfg.Engine.View(ctx, func(r store.Reader) error {
			n := 0
			for kv, err := range r.Scan(ctx, lo, []byte{tag + 1}, false) {
				if err != nil {
					return err
				}
				if n++; n > sweepRows {
					next = bytes.Clone(kv.Key)
					return nil
				}
				if over(kv.Value, now) {
					// It may be put anew meanwhile: then it stays.
					b.Asserts = append(b.Asserts, store.Assert{Key: bytes.Clone(kv.Key), Value: bytes.Clone(kv.Value)})
					b.Ops = append(b.Ops, store.Delete(bytes.Clone(kv.Key)))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(b.Ops) > 0 {
			if err := q.commit(ctx, b); err != nil && !errors.Is(err, store.ErrConflict) { // a row has changed: another day
				return err
			}
		}
		lo = next
	}
	return nil
}
